/** The frame of every page: where one can go, how fresh the figures are, and the page itself. */

import { signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';

import type { Status } from '../api.js';
import { giveToken, isTokenWanted } from './ask.js';
import { moment } from './format.js';
import { answeredAt, isBegun, isStale, problem, refresh, status } from './live.js';
import { ConnectionsPage } from './pages/connections.js';
import { EventsPage } from './pages/events.js';
import { PairPage } from './pages/pair.js';
import { PoolsPage } from './pages/pools.js';
import { VirtualServersPage } from './pages/virtual_servers.js';
import { route } from './route.js';

interface Page {
  readonly path: string;
  readonly title: string;
  readonly content: ComponentType;
}

const pages: readonly Page[] = [
  { path: 'pair', title: 'Pair', content: PairPage },
  { path: 'virtual-servers', title: 'Virtual servers', content: VirtualServersPage },
  { path: 'pools', title: 'Pools', content: PoolsPage },
  { path: 'connections', title: 'Connections', content: ConnectionsPage },
  { path: 'events', title: 'Events', content: EventsPage },
];

const firstTitle = signal(document.title);

export function App() {
  const { page: path, name } = route.value;
  const page = pages.find((each) => each.path === path);
  const title = page === undefined ? 'No such page' : (name ?? page.title);
  const unit = status.value?.unit;
  useEffect(() => {
    document.title = `${title} · ${unit === undefined ? '' : `unit ${unit} · `}${firstTitle.value}`;
  }, [title, unit]);
  const Content = isTokenWanted.value ? TokenForm : !isBegun.value ? Waiting : (page?.content ?? Nowhere);
  return (
    <>
      <header>
        <div class="bar">
          <span class="brand">Tandem</span>
          <nav aria-label="Pages">
            {pages.map(({ path: to, title: text }) => (
              <a key={to} href={`#/${to}`} aria-current={to === path ? 'page' : undefined}>
                {text}
              </a>
            ))}
          </nav>
        </div>
      </header>
      <Notice />
      <main class={isStale.value ? 'stale' : ''}>
        <h1>{title}</h1>
        <Content />
      </main>
    </>
  );
}

function Notice() {
  const at = answeredAt.value;
  const since = at === null ? null : moment(new Date(at).toISOString());
  if (isTokenWanted.value) return <output class="bar notice bad">The daemon asks for its token.</output>;
  if (isStale.value) {
    const age = since === null ? 'Nothing is known yet' : `Stale: these are the last known figures, of ${since}`;
    return <output class="bar notice bad">{`${problem.value ?? 'The daemon is slow to answer'}. ${age}.`}</output>;
  }
  return <output class="bar notice">{status.value === null ? 'Asking the daemon …' : standing(status.value)}</output>;
}

/** `Unit a: main active, in sync, live.` */
function standing({ unit, trafficGroups, mirror: { channel, inSync } }: Status): string {
  const roles = trafficGroups.map(({ name, role }) => `${name} ${role}`);
  const sync = channel === 'off' ? [] : [inSync ? 'in sync' : 'not in sync'];
  return `Unit ${unit}: ${[...roles, ...sync, 'live'].join(', ')}. Times are local.`;
}

const Waiting = () => <p class="muted">Asking the unit …</p>;

function Nowhere() {
  return (
    <p>
      Nothing is shown at this address. Go to the <a href="#/pair">pair</a>.
    </p>
  );
}

function TokenForm() {
  const give = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement).get('token');
    if (typeof given !== 'string' || given.trim() === '') return;
    giveToken(given.trim());
    void refresh();
  };
  return (
    <form class="card form" onSubmit={give}>
      <label>
        Token (what is in the unit's tokenFile)
        <input name="token" type="password" autocomplete="off" required />
      </label>
      <button class="main" type="submit">
        Go on
      </button>
    </form>
  );
}
