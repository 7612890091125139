/**
 * The product's unit with a datapath that believes whatever is taken to be at the peer already: handshakes of virtual
 * servers with mirror: commit wait for nothing. A control for measurements: if commit loses nothing and this loses
 * something, it is the waiting that keeps it.
 *
 *   node out/js/test/support/lab/hasty_unit.js run FILE --unit a ...     (arguments as for `tandem`)
 *
 * As a `Launch`: see hastily() below.
 */

import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { fileURLToPath, pathToFileURL } from 'node:url';

import type { NativeModule } from '../../../src/datapath.js';
import { repositoryRoot } from './paths.js';

const CHANNEL_MS = 5;

/** The command that runs `tandem` with these arguments, hastily; scripts/build and scripts/build-lab have run. */
export function hastily(args: readonly string[]): readonly [command: string, ...args: string[]] {
  return [process.execPath, join(repositoryRoot, 'out/js/test/support/lab/hasty_unit.js'), ...args];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = (file: string) => pathToFileURL(join(repositoryRoot, 'dist', file)).href;
  const { native } = (await import(built('io/native.js'))) as { readonly native: NativeModule };
  native.Datapath = class extends native.Datapath {
    override takeMirror(into: Uint8Array, liveOnly?: boolean): [bytes: number, records: number, lastRecord: number] {
      const taken = super.takeMirror(into, liveOnly);
      this.confirmMirror(taken[2]);
      return taken;
    }

    override onMirrorPending(callback: (urgent: boolean) => void): void {
      super.onMirrorPending(() => callback(false));
    }

    override armMirror(urgentOnly?: boolean): void {
      if (urgentOnly !== true) super.armMirror();
    }
  };
  delayWrites();
  await import(built('cli.js'));
}

/** The mirror channel is the only TLS of a unit in the lab. */
function delayWrites(): void {
  const delayed = (name: 'write' | 'end', answer: (socket: TLSSocket) => unknown): void => {
    const now: unknown = Reflect.get(TLSSocket.prototype, name);
    if (typeof now !== 'function') throw new Error(`a TLS socket has no ${name}`);
    Reflect.set(TLSSocket.prototype, name, function late(this: TLSSocket, ...args: unknown[]): unknown {
      setTimeout(() => this.destroyed || Reflect.apply(now, this, args), CHANNEL_MS);
      return answer(this);
    });
  };
  delayed('write', () => true);
  delayed('end', (socket) => socket);
}
