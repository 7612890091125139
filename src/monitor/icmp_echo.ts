/**
 * ICMP echo as a monitor sends and reads it: RFC 792 for IPv4, RFC 4443 section 4 for IPv6.
 *
 *    0                   1                   2                   3
 *   +---------------+---------------+-------------------------------+
 *   |     type      |    code 0     |           checksum            |
 *   +---------------+---------------+-------------------------------+
 *   |          identifier           |        sequence number        |
 *   +-------------------------------+-------------------------------+
 *   |           token, 8 octets: only our own answers match         |
 *   +---------------------------------------------------------------+
 */

const ECHO_BYTES = 16;
const TOKEN_BYTES = 8;
const IPV4_HEADER_BYTES_MIN = 20;

const ECHO_TYPES = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;

export interface Echo {
  /** 16 bits. */
  readonly identifier: number;
  /** 16 bits. */
  readonly sequence: number;
  /** 64 bits. */
  readonly token: bigint;
}

/** The ICMP message alone. For IPv6 the checksum is 0: the kernel fills it on raw sockets, RFC 3542 section 3.1. */
export function encodeEchoRequest(family: 4 | 6, echo: Echo): Uint8Array {
  const message = new Uint8Array(ECHO_BYTES);
  const view = new DataView(message.buffer);
  view.setUint8(0, ECHO_TYPES[family].request);
  view.setUint16(4, echo.identifier);
  view.setUint16(6, echo.sequence);
  view.setBigUint64(8, echo.token);
  if (family === 4) view.setUint16(2, internetChecksum(message));
  return message;
}

/**
 * What a raw socket received: with the IPv4 header in front for IPv4, the bare message for IPv6. Null for
 * everything that is not an echo reply with a token.
 */
export function decodeEchoReply(family: 4 | 6, received: Uint8Array): Echo | null {
  const message = family === 4 ? withoutIpv4Header(received) : received;
  if (message === null || message.length < 8 + TOKEN_BYTES) return null;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  if (view.getUint8(0) !== ECHO_TYPES[family].reply || view.getUint8(1) !== 0) return null;
  return { identifier: view.getUint16(4), sequence: view.getUint16(6), token: view.getBigUint64(8) };
}

function withoutIpv4Header(packet: Uint8Array): Uint8Array | null {
  if (packet.length < IPV4_HEADER_BYTES_MIN) return null;
  const headerBytes = (packet[0]! & 0x0f) * 4;
  if (headerBytes < IPV4_HEADER_BYTES_MIN || headerBytes > packet.length) return null;
  return packet.subarray(headerBytes);
}

/** RFC 1071, over an even number of octets. */
function internetChecksum(message: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < message.length; index += 2) sum += (message[index]! << 8) | message[index + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
