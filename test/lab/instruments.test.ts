/**
 * Goal: the lab's own instruments tell the truth, since every other lab test leans on them.
 * Method: put a plain Linux router with NAT where unit a would be -- the very thing that Tandem must not be -- and see
 * that a cut shows as a silence, silence for good as hung, a reset as reset, and that the capture catches the kernel
 * answering ARP and sending resets for an address of Tandem's.
 */

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { serverAddress, tandemAddresses, virtualAddress } from '../support/lab/topology.js';
import { startCapture, startDownload, startEcho, startHttp, startIdle, startServers } from '../support/lab/traffic.js';
import { suspicion } from '../support/traffic/frames.js';
import { longestSilence, requestOutcomes, streamOutcome } from '../support/traffic/outcome.js';
import { monotonicMs, pause } from '../support/traffic/time.js';

labTest('a cut that is mended shows as a silence and nothing is lost', async (lab) => {
  startLinuxRouter(lab);
  await startServers(lab);
  const [echo, download, http] = await Promise.all([
    startEcho(lab),
    startDownload(lab, 8_000_000, 8_000_000),
    startHttp(lab, 25, 5, 1_500),
  ]);
  await pause(700);
  const cutAtMs = monotonicMs();
  lab.cutLinks('a');
  await pause(300);
  lab.restoreLinks('a');
  const cutMs = monotonicMs() - cutAtMs;
  await pause(2_000 + cutMs);
  const [echoReport, downloadReport, httpReport] = await Promise.all([echo.stop(), download.stop(), http.stop()]);
  expect(streamOutcome(echoReport, cutAtMs)).toBe('survived');
  expect(streamOutcome(downloadReport, cutAtMs)).toBe('survived');
  for (const report of [echoReport, downloadReport]) {
    const silence = longestSilence(report, cutAtMs, cutAtMs + cutMs + 2_000)?.ms;
    expect(silence).toBeGreaterThan(290);
    // TCP asks again at twice the time that it has waited, 200 ms at first.
    expect(silence).toBeLessThan(2 * cutMs + 900);
  }
  expect(requestOutcomes(httpReport, cutAtMs).across).toEqual({ ok: 5, hung: 0, reset: 0 });
});

labTest('silence for good, with the carrier there, shows as hung', async (lab) => {
  startLinuxRouter(lab);
  await startServers(lab);
  const [echo, idle] = await Promise.all([startEcho(lab), startIdle(lab, 20)]);
  await pause(300);
  const silencedAtMs = monotonicMs();
  lab.silenceLinks('a');
  expect(lab.run('a', 'ip', ['link', 'show', 'client'])).toContain('LOWER_UP');
  await pause(500);
  const [echoReport, idleReport] = await Promise.all([echo.stop(), idle.stop()]);
  expect(streamOutcome(echoReport, silencedAtMs)).toBe('hung');
  expect(idleReport).toEqual({ survived: 0, hung: 20, reset: 0 });
});

labTest('a kernel that resets connections and answers ARP is caught', async (lab) => {
  startLinuxRouter(lab);
  await startServers(lab);
  const capture = await startCapture(lab);
  const echo = await startEcho(lab);
  await pause(200);
  const resetAtMs = monotonicMs();
  lab.run(
    'a',
    'nft',
    ['-f', '-'],
    'table ip cut {\n chain f {\n type filter hook forward priority 0;\n reject with tcp reset\n }\n}\n',
  );
  await pause(300);
  const report = await echo.stop();
  expect(streamOutcome(report, resetAtMs)).toBe('reset');
  const own = (JSON.parse(lab.run('client', 'ip', ['-json', 'link', 'show', 'client'])) as { address: string }[])[0]!
    .address;
  const { frames } = await capture.stop();
  const kinds = frames.map((each) => suspicion(Buffer.from(each.frame, 'base64'), [own], tandemAddresses)?.kind);
  expect(kinds).toContain('arp answer');
  expect(kinds).toContain('rst');
});

/** Linux as the load balancer: the virtual address on its interface, NAT both ways. */
function startLinuxRouter(lab: Lab): void {
  const rules = `table ip nat {
    chain in {
      type nat hook prerouting priority -100;
      ip daddr ${virtualAddress.ipv4} dnat to ${serverAddress.s1.ipv4};
    }
    chain out {
      type nat hook postrouting priority 100;
      oifname "server" masquerade;
    }
  }\n`;
  lab.run('a', 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  lab.run('a', 'ip', ['address', 'add', `${virtualAddress.ipv4}/24`, 'dev', 'client']);
  lab.run('a', 'nft', ['-f', '-'], rules);
}
