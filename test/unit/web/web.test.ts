/**
 * Goal: each page of the web page says what the API says, changes what it says it changes, and is of use on a narrow
 * and a wide screen, in the dark, without jumping, without a mouse, with the peer dead and with the daemon gone.
 * Method: the page as built, in Chromium, served by the real API server with a Control of made-up answers behind it; a
 * TCP port leads to its unix socket. Screenshots are left in out/web-screenshots.
 */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import type { Control } from '../../../src/api.js';
import { type ApiServer, startApiServer } from '../../../src/io/api_server.js';

import { costs, failover, mirror, pools, stubControl, survival, virtualServers } from '../../support/control_stub.js';
import { repositoryRoot } from '../../support/lab/paths.js';
import { memoryCaptures } from '../../support/memory_captures.js';
import { type Door, launchBrowser, noBrowser, openDoor } from '../../support/web/browser.js';
import { contrastFaults } from '../../support/web/contrast.js';
import { WebPage } from '../../support/web/page.js';

/** For expect.poll, whose own patience is a second: the machine may be busy. */
const soon = { timeout: 15_000 };

const pages = [
  { hash: '#/pair', title: 'Pair', says: survival.reasons[0]! },
  { hash: '#/virtual-servers', title: 'Virtual servers', says: '12,345' },
  { hash: '#/virtual-servers/www', title: 'www', says: '1,234,567' },
  { hash: '#/pools', title: 'Pools', says: 'connection refused' },
  { hash: '#/connections', title: 'Connections', says: '198.51.100.7:40000' },
  { hash: '#/events', title: 'Events', says: failover.trafficGroups[0]!.transitions[0]!.reason },
] as const;

/** A tenth of what passes for good (https://web.dev/articles/cls): figures that grow move each other by a pixel. */
const SHIFT_MAX = 0.01;

/** What moved without the reader's doing since the page was opened, and how far, as Chromium sums it. */
function layoutShifts(): Promise<{ readonly shift: number; readonly moved: readonly string[] }> {
  interface Shift extends PerformanceEntry {
    readonly value: number;
    readonly sources: readonly { readonly node: Element | null }[];
  }
  return new Promise((resolve) => {
    const found: Shift[] = [];
    new PerformanceObserver((list) => found.push(...(list.getEntries() as Shift[]))).observe({
      type: 'layout-shift',
      buffered: true,
    });
    setTimeout(() => {
      const moved = found.flatMap(({ value, sources }) =>
        sources.map(({ node }) => `${value.toFixed(3)} ${node?.nodeName} ${node?.textContent?.slice(0, 40)}`),
      );
      resolve({ shift: found.reduce((sum, { value }) => sum + value, 0), moved });
    }, 50);
  });
}

describe.skipIf(noBrowser !== '')(`the web page${noBrowser}`, () => {
  let browser: Browser;
  let folder: string;
  let server: ApiServer | null;
  let door: Door;
  let page: Page;
  let web: WebPage;

  beforeAll(async () => {
    if (!existsSync(join(repositoryRoot, 'out/web/index.html')))
      throw new Error('the page is not built: run scripts/build');
    browser = await launchBrowser();
  }, 60_000);
  afterAll(async () => browser?.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tandem-web-'));
  });
  afterEach(async () => {
    await web.close();
    door.server.close();
    await server?.close();
    rmSync(folder, { recursive: true });
    expect(web.faults).toEqual([]);
  });

  async function open(control: Control, colorScheme: 'light' | 'dark' = 'light', width = 1280): Promise<void> {
    const socketPath = join(folder, 'tandem.sock');
    const nothing = () => {};
    server = await startApiServer({
      socketPath,
      control,
      captures: memoryCaptures(),
      version: '0.1.0',
      onInternalError: nothing,
      onChange: nothing,
      eventsEachMs: 100,
    });
    door = await openDoor(socketPath);
    web = await WebPage.open(browser, door.url, { colorScheme, width });
    page = web.page;
  }

  const show = ({ hash, says }: { readonly hash: string; readonly says: string }) => web.show(hash, says);
  const mainText = () => web.text();

  test('each page says what the API says', async () => {
    await open(stubControl());
    await show(pages[0]);
    expect(await page.locator('[data-figure=survival]').innerText()).toBe(
      `12,000 connections would survive, 345 would be lost, because ${survival.reasons[0]}.`,
    );
    expect(await mainText()).toContain('12,345 of 20,000, 10K/s, 1 s left');
    expect(await mainText()).toContain('pool web6 has no member that is up');
    await show(pages[1]);
    const [www] = virtualServers;
    for (const said of [www!.name, '10.1.0.100:80 tcp', 'web, 2 of 2 up']) expect(await mainText()).toContain(said);
    await show(pages[3]);
    for (const { address } of pools.flatMap(({ members }) => members)) expect(await mainText()).toContain(address);
    await show(pages[4]);
    expect(await page.locator('tbody tr').count()).toBe(50);
    expect(await mainText()).toContain('2,500 connections');
    await show(pages[5]);
    expect(await mainText()).toContain('standby');
  });

  test.each([
    { colorScheme: 'light', width: 1280 },
    { colorScheme: 'dark', width: 1280 },
    { colorScheme: 'light', width: 400 },
    { colorScheme: 'dark', width: 3840 },
  ] as const)('$width pixels, $colorScheme: it fits, and all of it can be read', async ({ colorScheme, width }) => {
    await open(stubControl(), colorScheme, width);
    for (const each of pages) {
      await show(each);
      if (each.hash === '#/virtual-servers/www') await page.getByRole('button', { name: 'Advanced' }).click();
      const overhang = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overhang), `${each.hash} scrolls sideways`).toBeLessThanOrEqual(0);
      expect(await page.evaluate(contrastFaults), `${each.hash}: text of too little contrast`).toEqual([]);
      const name = `${each.hash.replaceAll(/\W+/g, '-').slice(1)}-${width}-${colorScheme}`;
      await web.screenshot(name, width < 3840);
    }
  });

  test.each([1280, 400])('%d pixels: nothing jumps when answers come late, nor when figures change', async (width) => {
    const control = stubControl();
    const late = <Answer>(value: Answer) => new Promise<Answer>((resolve) => setTimeout(() => resolve(value), 300));
    let grown = 0;
    const servers = () => {
      grown = 10 * grown + 9;
      return late(virtualServers.map((each) => ({ ...each, connections: each.connections + grown, opened: grown })));
    };
    await open({ ...control, virtualServers: servers, survival: () => late(survival) }, 'light', width);
    for (const { hash, says } of pages) {
      grown = 0;
      await page.goto('about:blank');
      await page.goto(`/${hash}`);
      const said = hash.startsWith('#/virtual-servers') ? virtualServers[0]!.pool : says;
      await page.locator('main').getByText(said).first().waitFor();
      await page.waitForTimeout(700);
      const { shift, moved } = await page.evaluate(layoutShifts);
      expect(shift, `${hash}: ${moved.join('; ')}`).toBeLessThanOrEqual(SHIFT_MAX);
    }
  });

  test('the keyboard leads to each page, and shows where it is', async () => {
    await open(stubControl());
    await show(pages[0]);
    for (const title of ['Pair', 'Virtual servers', 'Pools', 'Connections', 'Events']) {
      await page.keyboard.press('Tab');
      const focused = page.locator(':focus-visible');
      expect(await focused.innerText()).toBe(title);
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
      await page.keyboard.press('Enter');
      await page.locator('h1').getByText(title, { exact: true }).waitFor();
    }
  });

  test('mirroring is changed among the advanced settings, which say what it costs', async () => {
    const control = stubControl();
    await open(control);
    await show(pages[2]);
    expect(await page.getByRole('radio').count()).toBe(0);
    await page.getByRole('button', { name: 'Advanced' }).click();
    expect(await mainText()).toContain('async: 12.5 ns (11 to 14 ns)');
    await page.getByRole('radio', { name: 'commit' }).check();
    await page.getByRole('button', { name: 'Update' }).click();
    await page.getByText('until reload or restart').waitFor();
    expect(control.asked).toContain('setVirtualServer "www" {"mirror":"commit"}');
  });

  test('costs as scripts/bench writes them are said in sentences', async () => {
    const row = (name: string, unit: string, median: number, least: number, most: number) => {
      return { section: 'mirror', name, unit, median, least, most };
    };
    const rows = [
      row('Tandem xdp, mirror async ÷ off: all new', 'ratio', 0.88252, 0.85, 0.9),
      row('Tandem xdp, mirror commit ÷ off: all new', 'ratio', 0.354, 0.34, 0.4),
      row('nft + conntrackd FT-FW, mirror on ÷ off: all new', 'ratio', 0.52, 0.5, 0.6),
      row('Tandem xdp, mirror async: all new', 'M connections/s', 0.1585, 0.15, 0.16),
      row('added by async: p50', 'µs', 15.8, 12, 30),
    ];
    await open({ ...stubControl(), costs: () => Promise.resolve({ ...costs, rows }) });
    await show(pages[2]);
    await page.getByRole('button', { name: 'Advanced' }).click();
    const said = await page.locator('label.option').allInnerTexts();
    expect(said[1]).toContain('off A failover loses every connection.');
    expect(said[2]!.split('\n').slice(1)).toEqual([
      'Throughput, all new: 88.3 % of what it is without (85 to 90 %)',
      'Handshake, p50: 15.8 µs more (12 to 30 µs)',
    ]);
    expect(said[3]!.split('\n').slice(1)).toEqual(['Throughput, all new: 35.4 % of what it is without (34 to 40 %)']);
  });

  test('a slow daemon: the last figures stay, and it says of when they are', async () => {
    await open(stubControl());
    await show(pages[1]);
    await page.route('**/v1/virtual-servers', () => {});
    await page.locator('output.notice', { hasText: 'last known figures' }).waitFor();
    expect(await mainText()).toContain('12,345');
    await page.unroute('**/v1/virtual-servers');
    await page.locator('output.notice', { hasText: 'live' }).waitFor();
  });

  test('a member is drained', async () => {
    const control = stubControl();
    await open(control);
    await show(pages[3]);
    await page.getByRole('group', { name: 'State of [fd02::12]:80' }).getByRole('button', { name: 'draining' }).click();
    await page.locator('output', { hasText: '[fd02::12]:80: draining' }).waitFor();
    expect(control.asked).toContain('setMember "web" "fd02::12" 80 "draining"');
  });

  test('connections are filtered by client, and come part by part', async () => {
    const control = stubControl();
    await open(control);
    await show(pages[4]);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('Part 2').waitFor();
    await page.getByRole('textbox', { name: 'Client' }).fill('198.51.100.7');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByText('Part 1').waitFor();
    await expect.poll(() => control.asked, soon).toContain('connections null 0 50 {"address":"198.51.100.7","port":0}');
    expect(control.asked).toContain('connections null 50 50');
    await page.getByRole('textbox', { name: 'Client' }).fill('nowhere');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByText('must be an address, or ADDRESS:PORT').waitFor();
  });

  test('charts are drawn from events', async () => {
    await open(stubControl());
    await show(pages[2]);
    await expect.poll(async () => page.locator('figcaption strong').allInnerTexts(), soon).toEqual(['0', '0', '12.3K']);
    // The third line is a plateau of 12,345: pixels of the accent colour, for each canvas.
    const drawn = `[...document.querySelectorAll('figure canvas')].map((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return Array.from({ length: data.length / 4 }, (_, at) => data.slice(4 * at, 4 * at + 3))
        .some(([red, green, blue]) => blue > 150 && red < 60 && green < 130);
    })`;
    await expect.poll(async () => page.evaluate(drawn), soon).toEqual([true, true, true]);
  });

  test('it says that the peer is gone', async () => {
    const gone = { ...mirror, channel: 'connecting', peerUnit: null, connectedSince: null } as const;
    await open({ ...stubControl(), mirror: () => Promise.resolve(gone) });
    await show({ hash: '#/pair', says: 'connecting' });
    expect(await mainText()).toContain('Unit b (the peer, as seen from here)');
    expect(await mainText()).toContain('connection reset');
  });

  test('when the daemon is gone it says so, and keeps the last figures', async () => {
    await open(stubControl());
    await show(pages[1]);
    await server!.close();
    await page.getByText('The daemon does not answer').waitFor();
    expect(await page.locator('output.notice').innerText()).toContain('last known figures');
    expect(await mainText()).toContain('12,345');
    await web.screenshot('daemon-gone');
  });

  test('without events it asks for everything', async () => {
    await open(stubControl());
    await page.route('**/v1/events', (route) => route.fulfill({ status: 404, body: 'no such request' }));
    await page.reload();
    await show(pages[0]);
    expect(await page.locator('[data-figure=survival]').innerText()).toContain('12,000');
    await show(pages[2]);
    await expect.poll(async () => page.locator('figcaption strong').allInnerTexts(), soon).toEqual(['0', '0', '12.3K']);
  });

  test('where a token is asked for, it asks the reader for it', async () => {
    await open(stubControl());
    await page.route('**/v1/**', async (route) => {
      if (route.request().headers().authorization === 'Bearer secret') return route.continue();
      const error = { kind: 'bad_request', code: 'no_token', message: 'no token', mend: null };
      return route.fulfill({ status: 401, json: { error } });
    });
    await page.reload();
    await page.getByLabel('Token').fill('secret');
    await page.getByRole('button', { name: 'Go on' }).click();
    await show(pages[0]);
    expect(await page.locator('output.notice').innerText()).toContain('Unit a: main active, in sync, live');
  });
});
