/**
 * The classic pcap file format, as far as Tandem writes it: little endian, nanoseconds, Ethernet.
 * Read first: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/
 *
 *   file header   magic u32, major u16 = 2, minor u16 = 4, reserved u32 x 2, snaplen u32, link type u32
 *   per frame     seconds u32, nanoseconds u32, captured bytes u32, original bytes u32, then the frame
 */

export const PCAP_FILE_HEADER_BYTES = 24;
export const PCAP_FRAME_HEADER_BYTES = 16;
export const LINK_TYPE_ETHERNET = 1;
/** As libpcap's MAXIMUM_SNAPLEN: a frame claimed to be longer is damage. */
export const PCAP_FRAME_BYTES_MAX = 262_144;

/** The first four octets of a file, as hexadecimal digits in the file's order. */
export const PcapMagic = {
  microsecondsLittle: 'd4c3b2a1',
  microsecondsBig: 'a1b2c3d4',
  nanosecondsLittle: '4d3cb2a1',
  nanosecondsBig: 'a1b23c4d',
  pcapng: '0a0d0d0a',
} as const;

const NANOSECONDS_PER_SECOND = 1_000_000_000n;

export function pcapFileHeader(): Uint8Array {
  const bytes = new Uint8Array(PCAP_FILE_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b23c4d, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, PCAP_FRAME_BYTES_MAX, true);
  view.setUint32(20, LINK_TYPE_ETHERNET, true);
  return bytes;
}

/** `timeNs` since the epoch. */
export function pcapFrame(timeNs: bigint, frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PCAP_FRAME_HEADER_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Number(timeNs / NANOSECONDS_PER_SECOND), true);
  view.setUint32(4, Number(timeNs % NANOSECONDS_PER_SECOND), true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, frame.length, true);
  bytes.set(frame, PCAP_FRAME_HEADER_BYTES);
  return bytes;
}
