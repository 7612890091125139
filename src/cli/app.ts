/** The command line: every command, its flags and its words, and nothing of how it is done. */

import { buildApplication, buildChoiceParser, buildCommand, buildRouteMap, numberParser } from '@stricli/core';

import { CONNECTIONS_PAGE_MAX, type ConnectionsPage, type Control, DEFAULT_SOCKET } from '../api.js';
import { formatConfigError } from '../config/faults.js';
import { configJsonSchema } from '../config/schema.js';
import { applyCommand } from './apply.js';
import { conclude, type Outcome } from './command.js';
import { type CliContext, LOG_LEVELS, type LogLevel } from './context.js';
import { convertCommand } from './convert.js';
import { jsonFlag, stateDirectory, stateFlag, unitFlag } from './flags.js';
import { pairRoutes } from './pair.js';
import {
  showConnections,
  showCounters,
  showFailover,
  showMirror,
  showPools,
  showReplay,
  showStatus,
  showVirtualServers,
} from './show.js';

const CONNECTIONS_SHOWN = 100;

const socketFlag = {
  kind: 'parsed',
  parse: String,
  optional: true,
  placeholder: 'path',
  brief: `The daemon's socket; else $TANDEM_SOCKET, else ${DEFAULT_SOCKET}`,
} as const;
const clientFlags = { socket: socketFlag, json: jsonFlag } as const;

interface ClientFlags {
  readonly socket?: string;
  readonly json: boolean;
}

function socketPath(context: CliContext, flag: string | undefined): string {
  return flag ?? context.process.env?.['TANDEM_SOCKET'] ?? DEFAULT_SOCKET;
}

/** A command that asks the daemon one thing. */
function asking<Flags extends ClientFlags, Args extends string[]>(
  ask: (control: Control, now: number, flags: Flags, ...args: Args) => Promise<Outcome>,
) {
  return async function (this: CliContext, flags: Flags, ...args: Args): Promise<void> {
    const control = this.connect(socketPath(this, flags.socket));
    await conclude(this, flags.json, () => ask(control, this.now(), flags, ...args));
  };
}

function showing<Answer>(
  brief: string,
  ask: (control: Control) => Promise<Answer>,
  show: (answer: Answer, now: number) => string,
) {
  return buildCommand<ClientFlags, [], CliContext>({
    docs: { brief },
    parameters: { flags: clientFlags },
    func: asking(async (control, now) => {
      const answer = await ask(control);
      return { json: answer, text: show(answer, now) };
    }),
  });
}

// ----------------------------------------------------------------------------------------------- show

const showRoutes = buildRouteMap({
  docs: { brief: 'Show what the daemon knows' },
  routes: {
    virtual: showing(
      'Virtual servers, their traffic and their mirroring',
      (control) => control.virtualServers(),
      showVirtualServers,
    ),
    pool: showing('Pools, their members and what monitors say', (control) => control.pools(), showPools),
    connections: buildCommand<ClientFlags & { readonly virtual?: string; readonly limit: number }, [], CliContext>({
      docs: { brief: 'Connections in the table' },
      parameters: {
        flags: {
          ...clientFlags,
          virtual: {
            kind: 'parsed',
            parse: String,
            optional: true,
            placeholder: 'name',
            brief: 'Only of this virtual server',
          },
          limit: {
            kind: 'parsed',
            parse: positiveNumber,
            default: String(CONNECTIONS_SHOWN),
            placeholder: 'count',
            brief: 'Show at most so many',
          },
        },
      },
      func: asking(async (control, _now, { virtual, limit }) => {
        const page = await readConnections(control, virtual ?? null, limit);
        return { json: page, text: showConnections(page) };
      }),
    }),
    mirror: showing(
      'The mirror channel: in sync, lag, what was sent and applied',
      (control) => control.mirror(),
      showMirror,
    ),
    failover: showing(
      'Traffic groups, priorities, adverts, role changes',
      (control) => control.failover(),
      showFailover,
    ),
    counters: buildCommand<ClientFlags & { readonly all: boolean }, [], CliContext>({
      docs: { brief: 'What the datapath counted, and why it dropped what it dropped' },
      parameters: {
        flags: {
          ...clientFlags,
          all: { kind: 'boolean', default: false, withNegated: false, brief: 'Also those that are zero' },
        },
      },
      func: asking(async (control, _now, { all }) => {
        const counters = await control.counters();
        return { json: counters, text: showCounters(counters, all) };
      }),
    }),
  },
});

/** Follows pages until `limit` rows are there or the table ends. */
async function readConnections(
  control: Control,
  virtualServer: string | null,
  limit: number,
): Promise<ConnectionsPage> {
  let page: ConnectionsPage = { rows: [], next: 0, used: 0 };
  while (page.next !== null && page.rows.length < limit) {
    const missing = Math.min(limit - page.rows.length, CONNECTIONS_PAGE_MAX);
    const more = await control.connections({ virtualServer, cursor: page.next, limit: missing });
    page = { ...more, rows: [...page.rows, ...more.rows] };
  }
  return page;
}

// --------------------------------------------------------------------------------------------- actions

const standby = buildCommand<
  ClientFlags & { readonly force: boolean; readonly release: boolean },
  [group?: string],
  CliContext
>({
  docs: {
    brief: 'Hand a traffic group, or all, to the peer',
    fullDescription: [
      'Hands over without losing a packet of an established connection: changes are flushed to the peer, the peer',
      'takes over, and this unit keeps out of the way until it is released or the peer fails. Refused while the peer',
      'does not hold our connections; --force hands over nevertheless, and connections may be lost.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      ...clientFlags,
      force: { kind: 'boolean', default: false, withNegated: false, brief: 'Even if the peer is not in sync' },
      release: { kind: 'boolean', default: false, withNegated: false, brief: 'The unit may become active again' },
    },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, optional: true, placeholder: 'GROUP', brief: 'The traffic group; default: all' }],
    },
  },
  async func(flags, group) {
    const control = this.connect(socketPath(this, flags.socket));
    await conclude(this, flags.json, async () => {
      const name = group ?? null;
      const result = flags.release ? await control.releaseStandby(name) : await control.standby(name, flags.force);
      const text = result.trafficGroups
        .map((row) => `traffic group ${row.name}: ${row.outcome} (now ${row.role})`)
        .join('\n');
      return { json: result, text };
    });
  },
});

const reload = buildCommand<ClientFlags, [], CliContext>({
  docs: { brief: 'Read the config file again; connections go on' },
  parameters: { flags: clientFlags },
  func: asking(async (control) => {
    const result = await control.reload();
    const text =
      result.changes.length === 0 ? 'reloaded: nothing changed' : ['reloaded:', ...result.changes].join('\n  ');
    return { json: result, text };
  }),
});

const MODE_OF_WORD = { enable: 'async', commit: 'commit', disable: 'off' } as const;

const virtual = buildCommand<
  ClientFlags,
  [name: string, mirror: 'mirror', conn: 'conn', mode: 'enable' | 'commit' | 'disable'],
  CliContext
>({
  docs: {
    brief: 'Switch connection mirroring: virtual NAME mirror conn enable|commit|disable',
    fullDescription: [
      'Switches connection mirroring of one virtual server while it runs. enable: async; commit: a handshake waits',
      'until the peer has its connection. Connections are not touched: those that',
      'are open are told to the peer when they next change. The config file says what holds after a reload.',
    ].join('\n'),
  },
  parameters: {
    flags: clientFlags,
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'NAME', brief: 'The virtual server' },
        { parse: buildChoiceParser(['mirror']), placeholder: 'mirror', brief: 'The word mirror' },
        { parse: buildChoiceParser(['conn']), placeholder: 'conn', brief: 'The word conn' },
        {
          parse: buildChoiceParser(['enable', 'commit', 'disable']),
          placeholder: 'mode',
          brief: 'enable, commit or disable',
        },
      ],
    },
  },
  func: asking(async (control, _now, _flags, name, _mirror, _conn, mode) => {
    const result = await control.setVirtualServer(name, { mirror: MODE_OF_WORD[mode] });
    const { was, now } = result;
    const same = was.mirror === now.mirror ? ', as it was' : `, was ${was.mirror}`;
    return { json: result, text: `virtual server ${result.name}: mirror ${now.mirror}${same}` };
  }),
});

// ---------------------------------------------------------------------------------------- without daemon

const runDaemon = buildCommand<
  { readonly unit: 'a' | 'b'; readonly socket?: string; readonly state?: string; readonly logLevel: LogLevel },
  [file: string],
  CliContext
>({
  docs: { brief: 'Run one unit in the foreground: run FILE --unit a' },
  parameters: {
    flags: {
      unit: unitFlag,
      socket: socketFlag,
      state: stateFlag,
      logLevel: { kind: 'enum', values: LOG_LEVELS, default: 'info', brief: 'How much is logged' },
    },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config, for both units' }],
    },
  },
  async func({ unit, socket, state, logLevel }, file) {
    await conclude(this, false, async () => {
      const paths = { socket: socketPath(this, socket), state: stateDirectory(this, state) };
      await this.runDaemon({ file, unit, ...paths, logLevel });
      return { json: null, text: '' };
    });
  },
});

const check = buildCommand<{ readonly json: boolean }, [file: string], CliContext>({
  docs: { brief: 'Check a config file and print every error in it' },
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [{ parse: String, placeholder: 'FILE', brief: 'The config' }] },
  },
  async func({ json }, file) {
    await conclude(this, json, async () => {
      const result = this.readConfig(file);
      if (!result.ok) {
        const errors = result.errors;
        const total = `${errors.length} ${errors.length === 1 ? 'error' : 'errors'}`;
        return {
          json: { ok: false, errors },
          text: [...errors.map(formatConfigError), total].join('\n'),
          failed: true,
        };
      }
      const { trafficGroups, pools, virtualServers } = result.config;
      const members = pools.reduce((sum, pool) => sum + pool.members.length, 0);
      const what = [
        `${trafficGroups.length} traffic group(s)`,
        `${virtualServers.length} virtual server(s)`,
        `${pools.length} pool(s)`,
        `${members} member(s)`,
      ].join(', ');
      return { json: { ok: true, errors: [] }, text: `${file} is valid: ${what}` };
    });
  },
});

const schema = buildCommand<Record<never, never>, [], CliContext>({
  docs: { brief: "Print the config's JSON Schema, for editors" },
  parameters: {},
  async func() {
    await conclude(this, true, async () => ({ json: configJsonSchema(), text: '' }));
  },
});

interface ReplayFlags {
  readonly config: string;
  readonly unit: 'a' | 'b';
  readonly standby: boolean;
  readonly keepMac: boolean;
  readonly json: boolean;
}

const replay = buildCommand<ReplayFlags, [input: string, output: string], CliContext>({
  docs: {
    brief: 'Send a capture through the datapath, offline: replay --config F in.pcap out.pcap',
    fullDescription: [
      'Forwards the frames of a pcap file as the unit would, with nothing sent anywhere, and writes what it would',
      'have sent. Every member is up. Times are those of the capture.',
      '',
      'A frame from a member arrives on the link whose addresses are nearest to the member; any other on the first',
      'link where its destination is answered. Members have the MAC addresses 02:00:00:00:00:01 and on, in the order',
      'of the config. A capture was made with other MAC addresses: frames to our addresses and frames from members',
      'are given the virtual MAC as destination, unless --keep-mac is given.',
      '',
      'Exit code 1 if the file is damaged, or forwarded + punted + dropped is not what was read.',
    ].join('\n'),
  },
  parameters: {
    flags: {
      config: { kind: 'parsed', parse: String, placeholder: 'file', brief: 'The config' },
      unit: { ...unitFlag, default: 'a' },
      standby: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'As the standby unit: nothing is forwarded',
      },
      keepMac: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: "Leave frames' destination MAC as captured",
      },
      json: jsonFlag,
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'IN', brief: 'Capture to read (pcap, Ethernet)' },
        { parse: String, placeholder: 'OUT', brief: 'Capture to write: frames forwarded' },
      ],
    },
  },
  async func({ config: file, unit, standby: asStandby, keepMac, json }, input, output) {
    await conclude(this, json, async () => {
      const result = this.readConfig(file);
      if (!result.ok) throw new Error([`${file} is not valid`, ...result.errors.map(formatConfigError)].join('\n'));
      const options = {
        config: result.config,
        unit,
        input,
        output,
        role: asStandby ? 'standby' : 'active',
        keepMac,
      } as const;
      const summary = await this.replay(options);
      return { json: summary, text: showReplay(summary), failed: !summary.accounted || summary.damage !== null };
    });
  },
});

// ------------------------------------------------------------------------------------------------- all

const routes = buildRouteMap({
  docs: {
    brief: 'Tandem: a layer-4 load balancer in pairs',
    fullDescription: [
      'Tandem: a layer-4 load balancer in pairs.',
      '',
      `Commands that ask the daemon find it at --socket, $TANDEM_SOCKET or ${DEFAULT_SOCKET}.`,
      'Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no daemon answers.',
    ].join('\n'),
  },
  routes: {
    run: runDaemon,
    check,
    schema,
    convert: convertCommand,
    status: showing('The unit at a glance', (control) => control.status(), showStatus),
    show: showRoutes,
    standby,
    apply: applyCommand(clientFlags, socketPath),
    reload,
    virtual,
    pair: pairRoutes,
    replay,
  },
});

export function buildCli(version: string) {
  return buildApplication<CliContext>(routes, {
    name: 'tandem',
    versionInfo: { currentVersion: version },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    documentation: { caseStyle: 'convert-camel-to-kebab' },
  });
}

function positiveNumber(text: string): number {
  const value = numberParser(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new SyntaxError(`${text} is not a whole number above 0`);
}
