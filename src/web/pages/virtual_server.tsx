/** One virtual server: what it does now, and what may be changed of it. */

import { useState } from 'preact/hooks';

import type { Costs, VirtualServerChanged, VirtualServerStatus } from '../../api.js';
import { change } from '../ask.js';
import { Chart } from '../chart.js';
import { bytes, count, moment, ports } from '../format.js';
import { costs, rates, refresh, virtualServers } from '../live.js';
import { Badge, Card, Choice, type FactRow, Facts, Outcome } from '../parts.js';

export function VirtualServerPage({ name }: { readonly name: string }) {
  const server = virtualServers.value?.find((each) => each.name === name);
  if (server === undefined) {
    return <p>{virtualServers.value === null ? 'Not known yet.' : `No virtual server is called ${name}.`}</p>;
  }
  return (
    <>
      <LiveCharts name={name} />
      <div class="cards">
        <Card title="Now">
          <Facts rows={facts(server)} />
        </Card>
        <Configuration server={server} />
      </div>
    </>
  );
}

function LiveCharts({ name }: { readonly name: string }) {
  const points = rates.value.flatMap(({ at, virtualServers: servers }) => {
    const found = servers.find((each) => each.name === name);
    return found === undefined ? [] : [{ ...found, at: Date.parse(at) / 1_000 }];
  });
  const times = points.map(({ at }) => at);
  return (
    <Card title="Last two minutes">
      <div class="cards">
        <Chart title="Packets per second" times={times} values={points.map((each) => each.packetsPerS)} />
        <Chart title="Connections opened per second" times={times} values={points.map((each) => each.opensPerS)} />
        <Chart title="Open connections" times={times} values={points.map((each) => each.connections)} />
      </div>
    </Card>
  );
}

function facts(server: VirtualServerStatus): FactRow[] {
  const { pool, membersUp, membersTotal, commit, mirror } = server;
  return [
    ['State', <Availability key="state" server={server} />],
    ['Pool', <a key="pool" href="#/pools">{`${pool}, ${membersUp} of ${membersTotal} up`}</a>],
    ['Role', server.role],
    [
      'Open connections',
      <a key="open" href={`#/connections?virtualServer=${encodeURIComponent(server.name)}`}>
        {count(server.connections)}
      </a>,
    ],
    ['Opened', count(server.opened)],
    ['In', `${count(server.packetsIn)} packets, ${bytes(server.bytesIn)}`],
    ['Out', `${count(server.packetsOut)} packets, ${bytes(server.bytesOut)}`],
    ...(mirror === 'commit'
      ? [['Unprotected', `${count(commit.unprotected)} open that the peer may not have`] as const]
      : []),
  ];
}

export function Availability({ server }: { readonly server: VirtualServerStatus }) {
  if (!server.enabled) return <Badge tone="warn">disabled</Badge>;
  if (server.membersUp === 0) return <Badge tone="bad">no member up</Badge>;
  return <Badge tone="good">available</Badge>;
}

const modes = ['off', 'async', 'commit'] as const;
const depths = ['Basic', 'Advanced'] as const;
const promises: Readonly<Record<(typeof modes)[number], string>> = {
  off: 'A failover loses every connection.',
  async: 'A failover keeps every connection but the newest.',
  commit: 'A client hears of its connection only when the peer holds it: a failover keeps all.',
};

interface Answer {
  readonly text: string;
  readonly isError: boolean;
}

function Configuration({ server }: { readonly server: VirtualServerStatus }) {
  const [depth, setDepth] = useState<(typeof depths)[number]>('Basic');
  const [enabled, setEnabled] = useState<boolean | null>(null);
  const [mode, setMode] = useState<(typeof modes)[number] | null>(null);
  const [answer, setAnswer] = useState<Answer>({ text: '', isError: false });
  const wanted = { enabled: enabled ?? server.enabled, mirror: mode ?? server.mirror };
  const changed = wanted.enabled !== server.enabled || wanted.mirror !== server.mirror;

  async function update(event: Event): Promise<void> {
    event.preventDefault();
    try {
      const { now, holds } = await change<VirtualServerChanged>(
        `/v1/virtual-servers/${encodeURIComponent(server.name)}`,
        {
          ...(wanted.enabled === server.enabled ? {} : { enabled: wanted.enabled }),
          ...(wanted.mirror === server.mirror ? {} : { mirror: wanted.mirror }),
        },
      );
      const text = `Now ${now.enabled ? 'enabled' : 'disabled'}, mirroring ${now.mirror}, ${holds}.`;
      setAnswer({ text, isError: false });
      await refresh();
      setEnabled(null);
      setMode(null);
    } catch (error) {
      setAnswer({ text: error instanceof Error ? error.message : String(error), isError: true });
    }
  }

  return (
    <Card title="Configuration">
      <form class="stack" onSubmit={(event) => void update(event)}>
        <Choice label="Configuration" values={depths} chosen={depth} onChoose={setDepth} />
        <label class="option">
          <input
            type="checkbox"
            checked={wanted.enabled}
            onChange={(event) => setEnabled(event.currentTarget.checked)}
          />
          <span>Enabled: new connections are scheduled. Open ones go on in any case.</span>
        </label>
        <Facts
          rows={[
            ['Address', `${server.address}, ${ports(server.port, server.portLast)}`],
            ['Protocol', server.protocol],
            ['Traffic group', server.trafficGroup],
          ]}
        />
        {depth === 'Advanced' && (
          <fieldset>
            <legend>Connection mirroring (the config says {server.mirrorConfigured})</legend>
            <p class="muted">
              {costs.value ? `Measured ${moment(costs.value.measuredAt)} on ${costs.value.machine}.` : ''}
            </p>
            {modes.map((each) => (
              <label key={each} class="option">
                <input type="radio" name="mirror" checked={wanted.mirror === each} onChange={() => setMode(each)} />
                <span>
                  <strong>{each}</strong> {promises[each]}
                  <span class="muted">
                    {costsOf(each, costs.value).map((line) => (
                      <span key={line}>
                        <br />
                        {line}
                      </span>
                    ))}
                  </span>
                </span>
              </label>
            ))}
          </fieldset>
        )}
        <p>
          <button class={changed ? 'main' : ''} type="submit" disabled={!changed}>
            Update
          </button>{' '}
          <span class="muted">Holds on this unit until the config is read again.</span>
        </p>
        <Outcome {...answer} />
      </form>
    </Card>
  );
}

const LINES_MAX = 6;

/** The rows of scripts/bench that say the mode's name; those against `off` alone, if there are any. */
function costsOf(mode: (typeof modes)[number], measured: Costs | null | undefined): string[] {
  if (mode === 'off') return ['Costs nothing.'];
  if (measured === undefined) return ['What it costs is not known yet.'];
  if (measured === null) return ['What it costs was never measured here: scripts/bench mirror commit measures it.'];
  const ofMode = measured.rows.filter(
    ({ name }) => new RegExp(`\\b${mode}\\b`).test(name) && !/conntrackd/i.test(name),
  );
  const relative = ofMode.filter(({ name, unit }) => unit === 'ratio' || name.startsWith('added by'));
  const rows = (relative.length > 0 ? relative : ofMode).slice(0, LINES_MAX);
  if (rows.length === 0) return [`The last measurement (${moment(measured.measuredAt)}) has nothing of it.`];
  return rows.map(costText);
}

/** `Throughput, all new: 88.3 % of what it is without (85.1 to 90 %)`, `Handshake, p50: 15.8 µs more (12 to 30 µs)`. */
function costText({ name, unit, median, least, most }: Costs['rows'][number]): string {
  const what = name.split(': ').at(-1)!;
  if (unit === 'ratio') {
    const [is, low, high] = [median, least, most].map((value) => precise(100 * value));
    return `Throughput, ${what}: ${is} % of what it is without (${low} to ${high} %)`;
  }
  const range = `${precise(least)} to ${precise(most)} ${unit}`;
  if (name.startsWith('added by')) return `Handshake, ${what}: ${precise(median)} ${unit} more (${range})`;
  return `${name}: ${precise(median)} ${unit} (${range})`;
}

const precise = (value: number) => Number(value.toPrecision(3)).toString();
