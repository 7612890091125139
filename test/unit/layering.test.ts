/**
 * Goal: imports go one way, and only the outermost layers touch the world.
 * Method: read the import and include lines of every source file and hold them against the two tables below. A file
 * that stands in no table is an offence, so that a new one is given its place on purpose.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

// ------------------------------------------------------------------------------------------- TypeScript

interface TypescriptLayer {
  readonly name: string;
  readonly rank: number;
  readonly files: RegExp;
}

/** A file may import from its own layer and from those of lower rank; layers of one rank do not know each other. */
const typescriptLayers: readonly TypescriptLayer[] = [
  { name: 'contract', rank: 0, files: /^src\/(datapath|api|api_live|config\/model)\.ts$/ },
  { name: 'wire', rank: 1, files: /^src\/wire\// },
  // What is asked over HTTP, of any Control: routes and schemas, no socket.
  { name: 'http', rank: 2, files: /^src\/http\// },
  { name: 'config', rank: 2, files: /^src\/config\// },
  { name: 'failover', rank: 2, files: /^src\/failover\// },
  { name: 'mirror', rank: 2, files: /^src\/mirror\// },
  { name: 'doctor', rank: 2, files: /^src\/doctor\// },
  { name: 'monitor', rank: 2, files: /^src\/monitor\// },
  { name: 'convert', rank: 3, files: /^src\/convert\// },
  { name: 'config_sync', rank: 3, files: /^src\/config_sync\// },
  { name: 'balancer', rank: 3, files: /^src\/balancer(\/|\.ts$)/ },
  { name: 'io', rank: 4, files: /^src\/io\// },
  // What runs in a browser: beside io, which it cannot know.
  { name: 'web', rank: 4, files: /^src\/web\// },
  { name: 'replay', rank: 5, files: /^src\/replay(\/|\.ts$)/ },
  { name: 'cli', rank: 6, files: /^src\/cli\// },
  // Entry points: the command line's own gives src/cli/ the real world, the daemon included.
  { name: 'main', rank: 7, files: /^src\/(main|cli|[a-z_]+_main)\.ts$/ },
];

/** The layers up to here are pure: no world, no time, no chance. */
const pureRankMax = 3;
const worldlyImport = /^(node:(?!util$|assert)|raw-socket|netlink|pino|pcap-parser)/;
const worldlyWord = /\b(Date\.now|performance\.now|process\.\w+|setTimeout|setInterval|setImmediate|Math\.random)\b/;

test('a TypeScript file imports from lower layers only, and pure layers touch no world, time or chance', () => {
  const offences = sources('src', /\.tsx?$/).flatMap((file) => {
    const layer = typescriptLayer(file);
    if (layer === undefined) return [`${file} stands in no layer`];
    const text = readFileSync(join(root, file), 'utf8');
    const isPure = layer.rank <= pureRankMax;
    const word = isPure ? worldlyWord.exec(withoutComments(text))?.[0] : undefined;
    return [
      ...importsOf(text).flatMap((imported) => typescriptImportOffence(file, layer, imported)),
      ...(word === undefined ? [] : [`${file} (${layer.name}, pure) says ${word}`]),
    ];
  });
  expect(offences).toEqual([]);
});

function typescriptImportOffence(file: string, layer: TypescriptLayer, imported: string): string[] {
  if (!imported.startsWith('.')) {
    return layer.rank <= pureRankMax && worldlyImport.test(imported) ? [`${file} (pure) imports ${imported}`] : [];
  }
  const target = relative(root, join(root, dirname(file), imported)).replace(/\.js$/, '.ts');
  const below = typescriptLayer(target);
  if (below !== undefined && (below.name === layer.name || below.rank < layer.rank)) return [];
  return [`${file} (${layer.name}) imports ${target} (${below?.name ?? 'no layer'})`];
}

function typescriptLayer(file: string): TypescriptLayer | undefined {
  return typescriptLayers.find((each) => each.files.test(file));
}

function importsOf(text: string): string[] {
  const statements = text.matchAll(
    /^(?:import|export)\b[^;]*?from '([^']+)';|^import '([^']+)';|\bimport\('([^']+)'\)/gm,
  );
  return [...statements].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

// ------------------------------------------------------------------------------------------------ C++

interface NativeLayer {
  readonly name: string;
  /** Stems of paths below native/. */
  readonly files: RegExp;
  /** Layers it may include besides its own and `base`. */
  readonly includes: readonly string[];
}

const base = [
  ...['clock', 'counters', 'frame', 'icmp_pace', 'limits', 'mac_address', 'pace', 'ring', 'system_error'],
  ...['capture_ring', 'hazard_slot', 'reserved_memory', 'seam', 'serial_number', 'spin_lock'],
];
const tables = [
  ...[
    'address_text',
    'client_limits',
    'conn_table',
    'connection_close',
    'flow_index',
    'fragments',
    'half_open',
    'hold_queue',
    'id_registry',
    'mirror',
    'mirror_digest',
    'mirror_rule',
    'mirror_sink',
  ],
  ...[
    'mirror_source',
    'policy',
    'persistence',
    'policy_slot',
    'runtime',
    'schedule_hash',
    'schedule_tables',
    'scheduler',
    'shared_state',
    'slot_pool',
    'snat_ports',
    'tcp_state',
  ],
];
const nativeLayers: readonly NativeLayer[] = [
  { name: 'base', files: oneOf(base), includes: [] },
  { name: 'wire', files: /^wire\//, includes: [] },
  { name: 'device', files: /^device\//, includes: ['wire'] },
  { name: 'table', files: oneOf(tables), includes: ['wire'] },
  {
    name: 'forward',
    files: oneOf([
      'answer',
      'burst',
      'capture',
      'choose_member',
      'commit',
      'connect',
      'evict',
      'forward',
      'forward_related',
      'forward_datagram',
      'forward_tunnel',
      'forward_unknown',
      'icmp_error',
      'member_down',
      'rewrite',
      'sweep',
      'tunnel',
    ]),
    includes: ['table', 'wire'],
  },
  { name: 'worker', files: /^worker(_\w+)?$/, includes: ['forward', 'table', 'wire', 'device'] },
  { name: 'engine', files: /^(engine|replay)(_\w+)?$/, includes: ['worker', 'forward', 'table', 'wire', 'device'] },
  { name: 'addon', files: /^addon(_\w+)?$/, includes: ['engine', 'worker', 'forward', 'table', 'wire', 'device'] },
];

test('a C++ file includes lower layers only, and the addon alone knows JavaScript', () => {
  const offences = sources('native', /\.(h|cc)$/).flatMap((file) => {
    const layer = nativeLayer(file);
    if (layer === undefined) return [`${file} stands in no layer`];
    const text = readFileSync(join(root, file), 'utf8');
    const included = [...text.matchAll(/^#include "([^"]+)"/gm)].map((match) => match[1] ?? '');
    const knowsJavaScript = /#include <(napi|node_api)\.h>/.test(text);
    return [
      ...included.flatMap((each) => nativeIncludeOffence(file, layer, each)),
      ...(knowsJavaScript && layer.name !== 'addon' ? [`${file} (${layer.name}) includes Node-API`] : []),
    ];
  });
  expect(offences).toEqual([]);
});

function nativeIncludeOffence(file: string, layer: NativeLayer, included: string): string[] {
  // As the compiler does: beside the file first, then below native/.
  const beside = join(dirname(file), included);
  const target = existsSync(join(root, beside)) ? beside : `native/${included}`;
  const below = nativeLayer(target);
  if (below !== undefined && (below === layer || below.name === 'base' || layer.includes.includes(below.name)))
    return [];
  return [`${file} (${layer.name}) includes ${target} (${below?.name ?? 'no layer'})`];
}

function oneOf(stems: readonly string[]): RegExp {
  return new RegExp(`^(${stems.join('|')})$`);
}

function nativeLayer(file: string): NativeLayer | undefined {
  const stem = file.replace(/^native\//, '').replace(/\.(h|cc)$/, '');
  return nativeLayers.find((each) => each.files.test(stem));
}

// ---------------------------------------------------------------------------------------------- reading

function sources(folder: string, name: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => name.test(file))
    .map((file) => `${folder}/${file}`)
    .toSorted();
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
}
