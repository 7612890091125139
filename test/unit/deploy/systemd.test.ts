/**
 * Goal: systemd takes the unit as it is written, and finds it well locked in.
 * Method: systemd-analyze, which needs no running systemd. Only the command is another one, since Tandem is not
 * installed here.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('../../../deploy/systemd', import.meta.url));
const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;
const why = hasAnalyze ? '' : ' (skipped: no systemd-analyze here)';

/** systemd's own measure, in tenths of 0 to 10; what a service with raw sockets and no root can have is about 2. */
const exposureMax = 25;

/** Runs `systemd-analyze VERB... FILE` on the unit, with or without the drop-in. */
function analyze(verb: readonly string[], withXdp: boolean) {
  const directory = mkdtempSync(join(tmpdir(), 'tandem-systemd-'));
  try {
    const text = readFileSync(join(folder, 'tandem@.service'), 'utf8').replaceAll('/usr/bin/tandem', '/bin/true');
    // The instance is a file of its own: the verb `security` wants one offline.
    const unit = join(directory, 'tandem@a.service');
    writeFileSync(unit, text);
    writeFileSync(join(directory, 'tandem@.service'), text);
    if (withXdp) {
      mkdirSync(`${unit}.d`);
      copyFileSync(join(folder, 'xdp.conf'), join(`${unit}.d`, 'xdp.conf'));
    }
    const { status, stdout, stderr } = spawnSync('systemd-analyze', [...verb, unit], { encoding: 'utf8' });
    return { status, stdout, stderr: stderr.replaceAll(directory, '') };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test.skipIf(!hasAnalyze).each([
  ['alone', false],
  ['with the drop-in for AF_XDP', true],
])(`systemd has nothing to say about the unit %s${why}`, (_name, withXdp) => {
  expect(analyze(['verify', '--man=no'], withXdp)).toEqual({ status: 0, stdout: '', stderr: '' });
});

test.skipIf(!hasAnalyze)(`systemd's own measure of exposure is low${why}`, () => {
  const { status, stdout } = analyze(['security', '--offline=true', `--threshold=${exposureMax}`, '--no-pager'], false);
  expect(status, stdout).toBe(0);
});

test('the unit has exactly the two capabilities, the drop-in one more', () => {
  const values = (file: string, key: string) =>
    readFileSync(join(folder, file), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith(`${key}=`))
      .map((line) => line.slice(key.length + 1));
  for (const key of ['AmbientCapabilities', 'CapabilityBoundingSet']) {
    expect(values('tandem@.service', key)).toEqual(['CAP_NET_RAW CAP_NET_ADMIN']);
    expect(values('xdp.conf', key)).toEqual(['CAP_BPF']);
  }
});
