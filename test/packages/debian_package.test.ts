/**
 * Goal: the Debian package installs, runs as its own user, is upgraded under a running unit and leaves nothing behind.
 * Method: dpkg itself, in a mount namespace whose root is this host's with a layer in memory above: the host stays as
 * it is. systemd does not run there; its unit is checked in test/unit/deploy.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from 'vitest';

import type { Lab } from '../support/lab/lab.js';
import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { becoming, expectRuns, twoCapabilities, whyNoNode } from './installed_unit.js';

/** `$@`: folders that both sides see. */
const anotherRoot = `
set -e
mount -t tmpfs tandem-test /mnt
mkdir /mnt/above /mnt/work /mnt/root
mount -t overlay tandem-test -o lowerdir=/,upperdir=/mnt/above,workdir=/mnt/work /mnt/root
mount --bind /proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
mount -t tmpfs tandem-test /mnt/root/run
for folder; do
  mkdir -p "/mnt/root$folder"
  mount --bind "$folder" "/mnt/root$folder"
done
exec chroot /mnt/root sh -c 'echo ready; exec sleep infinity'
`;

class AnotherRoot {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async make(...folders: string[]): Promise<AnotherRoot> {
    const args = ['--mount', '--propagation', 'private', 'bash', '-c', anotherRoot, 'bash', ...folders];
    const holder = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((resolve, reject) => {
      holder.stdout?.once('data', () => resolve());
      holder.once('exit', (code) => reject(new Error(`no other root could be made (exit code ${code})`)));
    });
    return new AnotherRoot(holder);
  }

  command(...command: string[]): [command: string, ...args: string[]] {
    return ['nsenter', '--target', String(this.#holder.pid), '--mount', '--root', '--wd', ...command];
  }

  run(...command: string[]): string {
    const [nsenter, ...args] = this.command(...command);
    const { status, stdout, stderr } = spawnSync(nsenter, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}${stdout}`);
    return `${stdout}${stderr}`;
  }

  end(): void {
    this.#holder.kill('SIGKILL');
  }
}

/** Paths that the package may have, and the permissions of what stands there. */
const allowed =
  /^\.\/(usr\/(lib\/tandem|share\/(doc\/tandem|man\/man1|bash-c|zsh|fish)|bin\/tandem$)|lib\/systemd\/system\/)/;

function expectTidy(file: string): void {
  const lines = execFileSync('dpkg-deb', ['--contents', file], { encoding: 'utf8', maxBuffer: 1 << 26 })
    .split('\n')
    .filter(Boolean);
  const faults = lines.flatMap((line) => {
    const [mode = '', owner = '', , , , path = ''] = line.split(/\s+/);
    const isFolder = mode.startsWith('d');
    const modes = isFolder ? ['drwxr-xr-x'] : ['-rw-r--r--', '-rwxr-xr-x', 'lrwxrwxrwx'];
    return [
      ...(owner === 'root/root' ? [] : [`${path} is ${owner}'s`]),
      ...(modes.includes(mode) ? [] : [`${path} is ${mode}`]),
      ...(isFolder || allowed.test(path) ? [] : [`${path} stands where it should not`]),
      ...(/\.(cc|h|o|ts|map|gyp)$|\/\.[^/]+$/.test(path) ? [`${path} is not needed to run`] : []),
    ];
  });
  expect(faults).toEqual([]);
  const mustHave = [
    'usr/bin/tandem',
    'usr/lib/tandem/build/Release/tandem.node',
    'usr/lib/tandem/deploy/systemd/xdp.conf',
    'usr/share/man/man1/tandem.1.gz',
    'lib/systemd/system/tandem@.service',
  ];
  for (const path of mustHave)
    expect(
      lines.some((line) => line.includes(` ./${path}`)),
      path,
    ).toBe(true);
}

async function tryPackage(lab: Lab, root: AnotherRoot, file: string): Promise<void> {
  const said = root.run('dpkg', '--install', file);
  expect(said).not.toMatch(/there is no node|built for Node/);
  expect(root.run('dpkg', '--verify', 'tandem')).toBe('');
  const [uid = 0, gid = 0] = root.run('getent', 'passwd', 'tandem').split(':').slice(2, 4).map(Number);
  expect(uid).toBeGreaterThan(0);
  expect(root.run('stat', '--format', '%U:%G %a', '/etc/tandem', '/var/lib/tandem')).toBe(
    'tandem:tandem 750\ntandem:tandem 700\n',
  );

  const version = execFileSync('dpkg-deb', ['--field', file, 'Version'], { encoding: 'utf8' }).trim();
  // The file system of interfaces is that of the network namespace in which it is mounted.
  const withInterfaces = 'mount -t sysfs sysfs /sys; exec "$@"';
  const unit = await expectRuns(lab, {
    version,
    uid,
    gid,
    command: (args, withCapabilities) =>
      root.command(
        ...['unshare', '--mount', 'sh', '-ec', withInterfaces, 'sh', 'setpriv', ...becoming(uid, gid)],
        ...(withCapabilities ? twoCapabilities : []),
        ...['tandem', ...args],
      ),
  });
  const { pid } = await unit.status();
  root.run('dpkg', '--install', file);
  expect((await unit.status()).pid, 'a running unit is left alone').toBe(pid);
  await unit.stop();

  root.run('dpkg', '--purge', 'tandem');
  for (const path of ['/usr/lib/tandem', '/usr/bin/tandem', '/etc/tandem', '/var/lib/tandem']) {
    expect(() => root.run('test', '!', '-e', path), path).not.toThrow();
  }
  expect(() => root.run('getent', 'passwd', 'tandem')).toThrow();
}

labTest(
  'the Debian package installs, runs, is upgraded and purged',
  async (lab) => {
    const built =
      execFileSync(join(repositoryRoot, 'scripts/deb'), { encoding: 'utf8' }).trim().split('\n').at(-1) ?? '';
    const file = join(lab.directory, 'tandem.deb');
    copyFileSync(join(repositoryRoot, built), file);
    expectTidy(file);
    const root = await AnotherRoot.make(lab.directory, lab.socketDirectory);
    try {
      await tryPackage(lab, root, file);
    } finally {
      root.end();
    }
  },
  180_000,
  whyNoNode,
);
