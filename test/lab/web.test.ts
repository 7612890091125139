/**
 * Goal: the web page of a real pair says what its API says, and follows a failover that happens while it is open.
 * Method: the standby's page in Chromium, under idle connections and a stream; the active unit is killed. Screenshots
 * of each page before and after are left in out/web-screenshots.
 */

import { expect } from 'vitest';

import { ApiClient } from '../../src/io/api_client.js';
import { labTest } from '../support/lab/lab_test.js';
import { startEcho, startIdle, startServers } from '../support/lab/traffic.js';
import { hasRole, startPair } from '../support/lab/unit.js';
import { streamOutcome } from '../support/traffic/outcome.js';
import { browserOfFile, noBrowser, openDoor } from '../support/web/browser.js';
import { WebPage } from '../support/web/page.js';

const IDLE = 40;
/** For expect.poll, whose own patience is a second: the machine may be busy. */
const soon = { timeout: 15_000 };
const browser = browserOfFile();

const pages = [
  { hash: '#/pair', says: 'If this unit failed now' },
  { hash: '#/virtual-servers', says: 'echo' },
  { hash: '#/virtual-servers/echo', says: 'Connections opened per second' },
  { hash: '#/pools', says: 'Monitor says' },
  { hash: '#/connections', says: 'established' },
  { hash: '#/events', says: 'Silence' },
] as const;

labTest(
  'the web page says what the API says, and follows a failover',
  async (lab) => {
    await startServers(lab);
    const pair = await startPair(lab, { mirror: 'async' });
    const [idle, echo] = [await startIdle(lab, IDLE), await startEcho(lab)];
    await pair.b.waitUntil('holding them', ({ table }) => table.used > IDLE);
    const api = new ApiClient(pair.b.socket);
    const door = await openDoor(pair.b.socket);
    const web = await WebPage.open(browser(), door.url);

    const photograph = async (when: string) => {
      for (const { hash, says } of pages) {
        await web.show(hash, says);
        if (hash === '#/virtual-servers/echo') await web.page.getByRole('button', { name: 'Advanced' }).click();
        await web.screenshot(`lab-${when}${hash.replaceAll(/\W+/g, '-')}`);
      }
    };
    const survivalOnPage = () => web.page.locator('[data-figure=survival]').innerText();

    await web.show('#/pair', 'Unit b (this one)');
    expect(await web.page.locator('output.notice').innerText()).toContain('Unit b: main standby, in sync, live');
    await expect.poll(() => web.fact('Group main'), soon).toBe('standby');
    await expect.poll(() => web.page.locator('dt:text-is("Group main") + dd').nth(1).innerText(), soon).toBe('active');
    expect(await survivalOnPage()).toBe(`${IDLE + 1} connections would survive, 0 would be lost.`);
    await web.show('#/connections', 'yes');
    expect(await web.column('Peer holds it')).toEqual(Array.from({ length: IDLE + 1 }, () => 'yes'));
    await photograph('before');

    await web.show('#/pair', 'Unit b (this one)');
    const killedAt = pair.a.kill();
    await pair.b.waitUntil('active', (status) => hasRole(status, 'active'));
    await expect.poll(() => web.fact('Group main'), soon).toBe('active');
    await web.page.getByText('dead, or not to be reached').waitFor();
    await web.page.locator('output.notice', { hasText: 'Unit b: main active' }).waitFor();
    const survival = await api.survival();
    expect(survival.wouldSurvive).toBe(0);
    await expect
      .poll(survivalOnPage, soon)
      .toBe(`0 connections would survive, ${IDLE + 1} would be lost, because ${survival.reasons.join('; ')}.`);

    const [takeover] = (await api.failover()).trafficGroups[0]!.transitions;
    expect(takeover).toMatchObject({ role: 'active', silenceMs: expect.any(Number) });
    await web.show('#/events', 'active');
    const { silenceMs } = takeover!;
    const silence = silenceMs! < 10 ? Math.round(10 * silenceMs!) / 10 : Math.round(silenceMs!);
    expect((await web.column('Silence'))[0]).toBe(`${silence} ms`);
    expect((await web.column('Because'))[0]).toBe(takeover!.reason.replaceAll('_', ' '));
    await web.show('#/connections', 'no: not connected');
    await photograph('after');

    expect((await idle.stop()).survived).toBe(IDLE);
    expect(streamOutcome(await echo.stop(), killedAt)).toBe('survived');
    await web.close();
    door.server.close();
    expect(web.faults).toEqual([]);
  },
  60_000,
  () => noBrowser || null,
);
