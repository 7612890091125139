/**
 * Goal: what `npm pack` gives can be installed by another user in another place, without what building needs, and runs.
 * Method: npm itself, as `nobody`, in a folder of its own and with a copy of npm's cache; then one unit in the lab.
 */

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect } from 'vitest';

import { labTest } from '../support/lab/lab_test.js';
import { repositoryRoot } from '../support/lab/paths.js';
import { becoming, expectRuns, twoCapabilities, whyNoNode } from './installed_unit.js';

const nobody = 65_534;

labTest(
  'the npm package is installed by another user elsewhere, and runs',
  async (lab) => {
    const directory = mkdtempSync(join(tmpdir(), 'tandem-npm-'));
    try {
      chmodSync(directory, 0o755);
      const npm = { encoding: 'utf8', cwd: repositoryRoot } as const;
      const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], npm).trim();
      const home = join(directory, 'home');
      const application = join(directory, 'application');
      for (const folder of [home, application]) mkdirSync(folder);
      const cache = execFileSync('npm', ['config', 'get', 'cache'], npm).trim();
      if (existsSync(cache)) cpSync(join(cache, '_cacache'), join(home, 'cache', '_cacache'), { recursive: true });
      writeFileSync(join(application, 'package.json'), '{ "name": "application", "private": true }\n');
      execFileSync('chown', ['--recursive', `${nobody}:${nobody}`, home, application]);
      chownSync(join(directory, tarball), nobody, nobody);

      const headers = execFileSync(join(repositoryRoot, 'scripts/node-headers'), { encoding: 'utf8' }).trim();
      const install = ['npm', 'install', '--prefer-offline', '--omit=dev', '--no-audit', '--no-fund'];
      execFileSync('setpriv', [...becoming(nobody, nobody), ...install, join(directory, tarball)], {
        cwd: application,
        env: {
          PATH: process.env['PATH'],
          HOME: home,
          npm_config_cache: join(home, 'cache'),
          npm_config_nodedir: headers,
        },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      const modules = join(application, 'node_modules');
      // What builds and tests Tandem is no part of it.
      for (const development of ['vitest', 'typescript', 'vite', 'playwright-core']) {
        expect(readdirSync(modules)).not.toContain(development);
      }

      const { version } = JSON.parse(
        execFileSync('node', ['-p', 'JSON.stringify(require("./package.json"))'], npm),
      ) as { readonly version: string };
      const tandem = join(modules, '.bin', 'tandem');
      const unit = await expectRuns(lab, {
        version,
        uid: nobody,
        gid: nobody,
        command: (args, withCapabilities) => [
          'setpriv',
          ...becoming(nobody, nobody),
          ...(withCapabilities ? twoCapabilities : []),
          tandem,
          ...args,
        ],
      });
      await unit.stop();
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  600_000,
  whyNoNode,
);
