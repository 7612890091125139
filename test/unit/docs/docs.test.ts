/**
 * Goal: what the documents show is what the program takes.
 * Method: every YAML block goes through the real checker (a part of a config is laid over README's whole one), every
 * `tandem ...` command through the real command line, in a made-up world; what is written from the program is up to
 * date; names and numbers are looked up where they are defined.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';

import { buildCli } from '../../../src/cli/app.js';
import { BIGIP_PHRASES } from '../../../src/cli/bigip_words.js';
import { commandsOf } from '../../../src/cli/commands.js';
import { manPage } from '../../../src/cli/man_page.js';
import { loadConfig } from '../../../src/config/load.js';
import { configReference } from '../../../src/config/reference.js';
import * as schema from '../../../src/config/schema.js';
import { runCli } from '../../support/cli_context.js';
import { parseArguments } from '../../support/shell_words.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const documents = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];
const { version } = JSON.parse(read('package.json')) as { version: string };

// --------------------------------------------------------------------------------------------- configs

interface Block {
  readonly place: string;
  readonly language: string;
  readonly text: string;
}

function blocksOf(file: string): Block[] {
  const blocks = read(file).matchAll(/^([ ]*)```(\w*)\n([\s\S]*?)^\1```$/gm);
  return [...blocks].map(({ 1: indent = '', 2: language = '', 3: body = '', index }) => ({
    place: `${file}:${read(file).slice(0, index).split('\n').length}`,
    language,
    text: body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
}

const blocks = documents.flatMap(blocksOf);
const configs = blocks.filter(({ language }) => language === 'yaml');
const whole = parse(configs.find(({ place }) => place.startsWith('README'))!.text) as object;

/** Sections are joined, everything else is replaced. */
function laidOver(below: unknown, above: unknown): unknown {
  if (!isSection(below) || !isSection(above)) return above;
  const keys = [...Object.keys(below), ...Object.keys(above)];
  const value = (key: string) => (Object.hasOwn(above, key) ? laidOver(below[key], above[key]) : below[key]);
  return Object.fromEntries(keys.map((key) => [key, value(key)]));
}

function isSection(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

test('there are YAML blocks to look at', () => {
  expect(configs.length).toBeGreaterThanOrEqual(4);
});

test.each(configs)('the config of $place passes the checker', ({ text }) => {
  const isWhole = /^links:/m.test(text);
  // docs/failover.md speaks of a pool that it shows beside.
  const pools = { gateway: { monitor: { type: 'icmp' }, members: [{ address: '10.1.0.254', port: 1 }] } };
  const config = isWhole ? text : stringify(laidOver(laidOver(whole, { pools }), parse(text)));
  const result = loadConfig(config, 'f');
  expect(result.ok ? [] : result.errors).toEqual([]);
});

// -------------------------------------------------------------------------------------------- commands

const COMMAND = /^(?:sudo (?:-u \w+ )?)?(?:setpriv .* )?(?:scripts\/)?tandem (.*)$/;

/** Commands of code blocks, one a line, and those in backquotes. */
function commandsIn(file: string): { readonly place: string; readonly command: string }[] {
  const inBlocks = blocksOf(file).flatMap(({ place, language, text }) =>
    language !== '' && language !== 'sh'
      ? []
      : text
          .replaceAll(/\\\n\s*/g, '')
          .split('\n')
          .flatMap((line) => {
            const command = COMMAND.exec(line.replace(/\s+#.*$/, '').replace(/^\s*(\$ )?/, ''))?.[1];
            return command === undefined ? [] : [{ place, command }];
          }),
  );
  const prose = read(file).replaceAll(/^([ ]*)```[\s\S]*?^\1```$/gm, '');
  const inline = [...prose.matchAll(/`(?:sudo )?(?:scripts\/)?tandem ([^`]+)`/g)].flatMap(
    ({ 1: command = '', index }) => {
      const place = `${file} "${prose.slice(index, index + 40)}"`;
      // `tandem show virtual \| pool`: several at once.
      const [first = '', ...others] = command.split(/ \\?\| /);
      const stem = first.split(' ').slice(0, -1).join(' ');
      return [first, ...others.map((other) => `${stem} ${other}`)].map((each) => ({ place, command: each }));
    },
  );
  return [...inBlocks, ...inline];
}

const shown = documents.flatMap(commandsIn);
const known = commandsOf(buildCli(version)).commands.map(({ words }) => words.join(' '));

test('there are commands to look at', () => {
  expect(shown.length).toBeGreaterThan(40);
});

test.each(shown)('tandem $command ($place) is understood', async ({ command }) => {
  // A command that is only spoken of, without what it needs: `tandem apply`.
  if (known.some((words) => words === command || words.startsWith(`${command} `))) return;
  const { err, code } = await runCli(parseArguments(command.replace(/ [>|] .*$/, '')));
  expect({ command, err, understood: code >= 0 && code !== 2 }).toEqual({ command, err, understood: true });
});

test('every phrase of BIG-IP that is understood stands in docs/coming-from.md', () => {
  const text = read('docs/coming-from.md');
  const missing = BIGIP_PHRASES.filter(({ theirs }) => {
    const fixed = theirs.filter((word) => !word.startsWith('<'));
    // The words before a name, which the page replaces, and the one behind it.
    return ![fixed.slice(0, 3).join(' '), fixed.at(-1)!].every((part) => text.includes(part));
  });
  expect(missing).toEqual([]);
});

// --------------------------------------------------------------------------------------------- written

describe('what scripts/docs writes is up to date', () => {
  const mend = 'out of date: run scripts/docs';
  test('docs/config.md', () => {
    expect(read('docs/config.md'), mend).toBe(configReference(schema.configJsonSchema()));
  });
  test('docs/tandem.schema.json', () => {
    expect(JSON.parse(read('docs/tandem.schema.json')), mend).toEqual(schema.configJsonSchema());
  });
  test('docs/tandem.1', () => {
    expect(read('docs/tandem.1'), mend).toBe(manPage(buildCli(version), version));
  });
});

test('the manual page names every command and every flag', () => {
  const page = read('docs/tandem.1').replaceAll('\\-', '-');
  const { commands } = commandsOf(buildCli(version));
  const chapters = new Map(page.split('\n.SS ').map((chapter) => [/^"tandem ([^"]*)"/.exec(chapter)?.[1], chapter]));
  for (const { words, usage, flags } of commands) {
    const chapter = chapters.get([...words, ...usage].join(' '));
    expect(chapter, words.join(' ')).toBeDefined();
    for (const { name } of flags) expect(chapter).toContain(`.B ${name}`);
  }
  expect(commands.length).toBeGreaterThan(15);
});

test('docs/config.md names every key that the checker knows', () => {
  const reference = read('docs/config.md');
  const keys = Object.entries(schema.configSchema.shape).filter(([name]) => name !== '$schema');
  for (const [name] of keys) expect(reference).toContain(`## ${name}\n`);
  for (const section of ['pools', 'trafficGroups', 'virtualServers'] as const)
    for (const key of Object.keys(schema.entitySchemas[section].shape))
      expect(reference).toContain(`\`${section}.NAME.${key}\``);
});

test('a config that names its schema for the editor is a config', () => {
  const text = stringify({ $schema: 'docs/tandem.schema.json', ...whole });
  expect(loadConfig(text, 'f').ok).toBe(true);
});

// --------------------------------------------------------------------------------------- names and numbers

test('docs/limits.md has the numbers that the checker has', () => {
  const limits = read('docs/limits.md');
  const { LINKS_MAX, TRAFFIC_GROUPS_MAX, VIRTUAL_SERVERS_MAX, MEMBERS_MAX, SNAT_ADDRESSES_MAX } = schema;
  const rows: readonly (readonly [string, number])[] = [
    ['links', LINKS_MAX],
    ['traffic groups', TRAFFIC_GROUPS_MAX],
    ['virtual servers', VIRTUAL_SERVERS_MAX],
    ['members, of all pools', MEMBERS_MAX],
    ['floating and SNAT addresses', SNAT_ADDRESSES_MAX],
  ];
  for (const [what, most] of rows) expect(limits).toMatch(new RegExp(`^\\| ${what} \\| ${most}[ ,]`, 'm'));
});

const alertsFile = 'deploy/prometheus/alerts.yml';
test.skipIf(!existsSync(join(root, alertsFile)))(
  `docs/runbook.md has a chapter for each alert of ${alertsFile}`,
  () => {
    const { groups } = parse(read(alertsFile)) as { groups: { rules: { alert?: string }[] }[] };
    const alerts = groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => (alert === undefined ? [] : [alert])));
    const chapters = [...read('docs/runbook.md').matchAll(/^## (\w+)$/gm)].map((match) => match[1]);
    expect(new Set(chapters)).toEqual(new Set(alerts));
  },
);

test('every page that a document links to exists', () => {
  const broken = documents.flatMap((file) =>
    [...read(file).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)]
      .map((match) => join(file, '..', match[1]!))
      .filter((target) => !existsSync(join(root, target)))
      .map((target) => `${file}: ${target}`),
  );
  expect(broken).toEqual([]);
});
