/**
 * One interface as the failover process uses it: raw sockets for adverts, a packet socket for announcements,
 * and its carrier. What cannot be opened, or fails, is opened again after a while; nothing here throws.
 */

import type { CarrierWatch, FrameSender, Ipv6AdvertSocket, NativeModule } from '../datapath.js';
import type { Counts } from '../failover/counts.js';
import type { Fault } from '../failover/messages.js';
import { fromIpv4Packet, type ReceivedMessage } from '../failover/receive.js';
import { ipAddress } from '../wire/ip_address.js';
import { AdvertSocket } from './advert_socket.js';

export interface InterfaceSettings {
  readonly name: string;
  readonly families: ReadonlySet<4 | 6>;
  /** Source of IPv4 adverts. */
  readonly source: Uint8Array | null;
}

export interface InterfaceEvents {
  readonly onAdvert: (received: ReceivedMessage) => void;
  /** An IPv4 packet without a whole header. */
  readonly onBrokenPacket: () => void;
  readonly onCarrier: (up: boolean) => void;
  readonly onFault: (fault: Fault) => void;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

type Socket = AdvertSocket | Ipv6AdvertSocket | FrameSender;

/** A socket that may be missing, and when to try again. */
interface Slot<S extends Socket> {
  readonly what: string;
  readonly open: () => S;
  socket: S | null;
  retryAt: number;
  retryMs: number;
}

export class FailoverInterface {
  readonly settings: InterfaceSettings;
  readonly #counts: Counts;
  readonly #events: InterfaceEvents;
  readonly #carrier: CarrierWatch;
  readonly #ipv4: Slot<AdvertSocket> | null;
  readonly #ipv6: Slot<AdvertSocket> | null;
  readonly #ipv6Receiver: Slot<Ipv6AdvertSocket> | null;
  readonly #frames: Slot<FrameSender>;
  #closed = false;

  constructor(
    settings: InterfaceSettings,
    native: Pick<NativeModule, 'CarrierWatch' | 'FrameSender' | 'Ipv6AdvertSocket'>,
    carrierPollMs: number,
    counts: Counts,
    events: InterfaceEvents,
  ) {
    const { name, families, source } = settings;
    this.settings = settings;
    this.#counts = counts;
    this.#events = events;
    this.#ipv4 = families.has(4) ? slot('IPv4 adverts', () => this.#openAdverts(4, source)) : null;
    this.#ipv6 = families.has(6) ? slot('IPv6 adverts', () => this.#openAdverts(6, null)) : null;
    this.#ipv6Receiver = families.has(6) ? slot('received IPv6 adverts', () => this.#openIpv6Receiver(native)) : null;
    this.#frames = slot('announcements', () => new native.FrameSender(name));
    this.#carrier = new native.CarrierWatch(name, carrierPollMs, (up, isReplaced) => {
      if (this.#closed) return;
      if (isReplaced) this.#reopenAll();
      events.onCarrier(up);
    });
    this.openMissing();
  }

  /** Opens what is missing and due. */
  openMissing(): void {
    const now = performance.now();
    for (const one of this.#slots()) if (one.socket === null && now >= one.retryAt) this.#tryOpen(one, now);
  }

  pollCarrierEach(pollMs: number): void {
    this.#carrier.pollEach(pollMs);
  }

  sendAdvert(family: 4 | 6, message: Uint8Array): void {
    const slot = family === 4 ? this.#ipv4 : this.#ipv6;
    if (slot?.socket) slot.socket.send(message);
    else this.#counts.send_errors++;
  }

  sendFrame(frame: Uint8Array): void {
    if (this.#frames.socket === null) {
      this.#counts.send_errors++;
      return;
    }
    try {
      this.#frames.socket.send(frame);
      this.#counts.announcement_frames_sent++;
    } catch {
      // The interface is down or gone, which the carrier tells; or its queue is full, and there are more rounds.
      this.#counts.send_errors++;
    }
  }

  /** Adverts that the kernel has not taken yet. */
  get sending(): number {
    return (this.#ipv4?.socket?.sending ?? 0) + (this.#ipv6?.socket?.sending ?? 0);
  }

  close(): void {
    this.#closed = true;
    this.#carrier.close();
    for (const one of this.#slots()) closeSlot(one);
  }

  #slots(): Slot<Socket>[] {
    return [this.#ipv4, this.#ipv6, this.#ipv6Receiver, this.#frames].filter((one) => one !== null);
  }

  #tryOpen(one: Slot<Socket>, now: number): void {
    try {
      one.socket = one.open();
      one.retryMs = RETRY_MS_MIN;
      this.#counts.socket_opens++;
    } catch (error) {
      // Told once per run of failures; the retries after it are only counted.
      if (one.retryMs === RETRY_MS_MIN) this.#fault('socket', `cannot open the socket for ${one.what}`, error);
      this.#counts.socket_errors++;
      one.retryAt = now + one.retryMs;
      one.retryMs = Math.min(RETRY_MS_MAX, 2 * one.retryMs);
    }
  }

  #reopenAll(): void {
    for (const one of this.#slots()) {
      closeSlot(one);
      one.retryAt = 0;
      one.retryMs = RETRY_MS_MIN;
    }
    this.openMissing();
  }

  #openAdverts(family: 4 | 6, source: Uint8Array | null): AdvertSocket {
    const socket: AdvertSocket = new AdvertSocket(family, this.settings.name, source, {
      onPacket: (packet) => {
        const received = fromIpv4Packet(packet);
        if (received === null) this.#events.onBrokenPacket();
        else this.#events.onAdvert(received);
      },
      // A raw socket reports what befell its interface (ENETDOWN) and works on, unless it says it was closed.
      onError: () => this.#counts.socket_errors++,
      onSendError: () => this.#counts.send_errors++,
    });
    return socket;
  }

  #openIpv6Receiver(native: Pick<NativeModule, 'Ipv6AdvertSocket'>): Ipv6AdvertSocket {
    return new native.Ipv6AdvertSocket(this.settings.name, ({ message, source, destination, hopLimit }) => {
      if (this.#closed) return;
      this.#events.onAdvert({
        family: 6,
        message,
        source: ipAddress(withoutZone(source)).octets,
        destination: ipAddress(withoutZone(destination)).octets,
        hopLimit,
      });
    });
  }

  #fault(code: string, what: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#events.onFault({ code, message: `${this.settings.name}: ${what}: ${reason}${mend(reason)}` });
  }
}

function slot<S extends Socket>(what: string, open: () => S): Slot<S> {
  return { what, open, socket: null, retryAt: 0, retryMs: RETRY_MS_MIN };
}

function closeSlot(one: Slot<Socket>): void {
  one.socket?.close();
  one.socket = null;
}

/** `fe80::1%eth0` without its zone. */
function withoutZone(address: string): string {
  const percent = address.indexOf('%');
  return percent < 0 ? address : address.slice(0, percent);
}

function mend(reason: string): string {
  return /not permitted|EPERM|permission/i.test(reason)
    ? '; give the daemon CAP_NET_RAW (setcap cap_net_raw,cap_net_admin+ep, or AmbientCapabilities in its unit file)'
    : '';
}
