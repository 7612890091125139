/** Recomputes the checksums of every frame of a capture: a check that owes nothing to the datapath's own code. */

import { foldChecksum, sumPseudoHeader, sumWords } from '../../src/wire/bytes.js';
import { PCAP_FILE_HEADER_BYTES, PCAP_FRAME_HEADER_BYTES } from '../../src/wire/pcap.js';

const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 58: 2 };

/** One sentence for each wrong checksum in a pcap file as src/wire/pcap.ts writes it. */
export function checksumFaults(capture: Uint8Array): string[] {
  return framesOf(capture).flatMap((frame, index) => frameFaults(frame).map((fault) => `frame ${index + 1}: ${fault}`));
}

export function framesOf(capture: Uint8Array): Uint8Array[] {
  const view = new DataView(capture.buffer, capture.byteOffset, capture.byteLength);
  const frames: Uint8Array[] = [];
  for (let at = PCAP_FILE_HEADER_BYTES; at < capture.length; ) {
    const bytes = view.getUint32(at + 8, true);
    at += PCAP_FRAME_HEADER_BYTES;
    frames.push(capture.subarray(at, at + bytes));
    at += bytes;
  }
  return frames;
}

function frameFaults(frame: Uint8Array): string[] {
  let at = 12;
  while (frame[at] === 0x81 && frame[at + 1] === 0) at += 4;
  const type = (frame[at]! << 8) | frame[at + 1]!;
  return type === 0x0800 || type === 0x86dd ? packetFaults(frame.subarray(at + 2)) : [];
}

/** Of an IP packet, and of the packet in it when it is a tunnel's. */
function packetFaults(packet: Uint8Array): string[] {
  if (packet[0]! >> 4 === 4) {
    const headerBytes = (packet[0]! & 15) * 4;
    const total = (packet[2]! << 8) | packet[3]!;
    const header = foldChecksum(sumWords(packet.subarray(0, headerBytes))) === 0 ? [] : ['IPv4 header checksum'];
    // A fragment holds a part of what its transport checksum is over.
    if ((((packet[6]! << 8) | packet[7]!) & 0x3fff) !== 0) return header;
    const [source, destination] = [packet.subarray(12, 16), packet.subarray(16, 20)];
    return [...header, ...transportFaults(packet[9]!, source, destination, packet.subarray(headerBytes, total))];
  }
  const payload = (packet[4]! << 8) | packet[5]!;
  return transportFaults(
    packet[6]!,
    packet.subarray(8, 24),
    packet.subarray(24, 40),
    packet.subarray(40, 40 + payload),
  );
}

/** draft-ietf-intarea-gue: UDP to one of these ports holds 4 octets and a packet. */
const GUE_PORTS = [6080, 6081];

function insideFaults(protocol: number, message: Uint8Array): string[] {
  if (protocol === 4 || protocol === 41) return packetFaults(message);
  const gue = protocol === 17 && GUE_PORTS.includes((message[2]! << 8) | message[3]!);
  return gue ? packetFaults(message.subarray(12)) : [];
}

function transportFaults(protocol: number, source: Uint8Array, destination: Uint8Array, message: Uint8Array): string[] {
  // RFC 792: ICMP has no pseudo-header.
  if (protocol === 1) return foldChecksum(sumWords(message)) === 0 ? [] : ['ICMP checksum'];
  const at = CHECKSUM_AT[protocol];
  const inside = insideFaults(protocol, message);
  if (at === undefined) return inside;
  // RFC 768: zero is "none" over IPv4.
  if (protocol === 17 && source.length === 4 && message[at] === 0 && message[at + 1] === 0) return inside;
  const sum = sumPseudoHeader(source, destination, protocol, message.length) + sumWords(message);
  return [...inside, ...(foldChecksum(sum) === 0 ? [] : [`checksum of protocol ${protocol}`])];
}
