/** The other end of sd_notify: a datagram socket as a service manager has it. Python's, since node has none. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const listener = `
import json, socket, sys
path = sys.argv[1]
heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind('\\0' + path[1:] if path.startswith('@') else path)
print(json.dumps('listening'), flush=True)
while True:
    print(json.dumps(heard.recv(65536).decode()), flush=True)
`;

export class NotifySocket {
  /** Every message so far, in order. */
  readonly messages: string[] = [];
  readonly #child: ChildProcess;
  #changed: () => void = () => undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** `path` may begin with @, for an abstract address. Resolves when it can be sent to. */
  static async open(path: string): Promise<NotifySocket> {
    const child = spawn('python3', ['-c', listener, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const socket = new NotifySocket(child);
    if (child.stdout === null) throw new Error('python3 has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      socket.messages.push(JSON.parse(line) as string);
      socket.#changed();
    });
    await socket.until('listening', (messages) => messages.length > 0);
    socket.messages.length = 0;
    return socket;
  }

  async until(what: string, ready: (messages: readonly string[]) => boolean, timeoutMs = 20_000): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const why = () => reject(new Error(`not ${what} within ${timeoutMs} ms; heard ${JSON.stringify(this.messages)}`));
      timer = setTimeout(why, timeoutMs);
    });
    try {
      while (!ready(this.messages)) {
        await Promise.race([late, new Promise<void>((resolve) => (this.#changed = resolve))]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
