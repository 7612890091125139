/**
 * Carrier of one interface, read from sysfs when asked to. Netlink reports a lost carrier up to a second
 * late (the kernel's link watch), sysfs at once. Reads are asynchronous: the kernel may hold them while
 * another interface is being changed, and no advert must wait for that.
 */

import { close, open, read } from 'node:fs';

export interface CarrierEvents {
  /** After each change, and once after the first read. */
  readonly onChange: (up: boolean) => void;
  /** The interface is there again after it had gone: sockets bound to it are dead. */
  readonly onReplaced: () => void;
}

export class CarrierWatch {
  readonly #path: string;
  readonly #events: CarrierEvents;
  readonly #buffer = Buffer.alloc(8);
  #descriptor: number | null = null;
  #up: boolean | null = null;
  #opens = 0;
  #busy = false;
  #closed = false;

  constructor(interfaceName: string, events: CarrierEvents) {
    this.#path = `/sys/class/net/${interfaceName}/carrier`;
    this.#events = events;
  }

  /** Reads once; does nothing while a read is under way. */
  poll(): void {
    if (this.#busy || this.#closed) return;
    this.#busy = true;
    if (this.#descriptor === null) this.#open();
    else this.#read(this.#descriptor);
  }

  close(): void {
    this.#closed = true;
    if (!this.#busy) this.#release();
  }

  #open(): void {
    open(this.#path, 'r', (error, descriptor) => {
      if (error !== null) return this.#finish(false);
      this.#descriptor = descriptor;
      if (this.#opens++ > 0 && !this.#closed) this.#events.onReplaced();
      this.#read(descriptor);
    });
  }

  #read(descriptor: number): void {
    read(descriptor, this.#buffer, 0, this.#buffer.length, 0, (error, bytes) => {
      // EINVAL: the interface is down. Anything else: it is gone, and the descriptor with it.
      if (error !== null && error.code !== 'EINVAL') this.#release();
      this.#finish(error === null && bytes > 0 && this.#buffer[0] === 0x31);
    });
  }

  #finish(up: boolean): void {
    this.#busy = false;
    if (this.#closed) return this.#release();
    if (up === this.#up) return;
    this.#up = up;
    this.#events.onChange(up);
  }

  #release(): void {
    if (this.#descriptor === null) return;
    close(this.#descriptor, () => {});
    this.#descriptor = null;
  }
}
