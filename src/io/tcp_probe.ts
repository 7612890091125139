/** TCP monitor: the member is well if it completes a handshake. The connection is closed at once; nothing is sent. */

import { connect } from 'node:net';

import { type Probe, probeFault } from './probe.js';

export const tcpProbe: Probe = ({ address, port }, signal) =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const finish = (ok: boolean, reason: string) => {
      signal.removeEventListener('abort', cancel);
      // The socket may fail again while it closes; the verdict has been given.
      socket.removeAllListeners().on('error', () => {});
      socket.destroy();
      resolve({ ok, reason });
    };
    const cancel = () => finish(false, 'cancelled');
    signal.addEventListener('abort', cancel);
    socket.once('connect', () => finish(true, 'TCP connected'));
    socket.once('error', (error) => finish(false, probeFault(error)));
  });
