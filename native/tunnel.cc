// Outer headers, written and read.
#include "tunnel.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "wire/checksum.h"

namespace tandem {
namespace {

using namespace wire;  // every name here is a field of a packet

constexpr uint8_t kOuterTtl = 64;  // RFC 2003 section 3.1: of its own, not the packet's
constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kDynamicPorts = 0xc000;  // the first of 16,384

// A device may have put a tag, which it took out of the bytes, into the headroom already; the other way round, one is
// put in behind the outer header when the frame leaves.
static_assert(kTunnelOverheadMax + sizeof(VlanTag) <= kFrameHeadroom);

constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint8_t traffic_class(const Frame& frame, const Packet& packet) {
  if (packet.family == 4) return header_in<Ipv4Header>(frame.data, packet.network).tos;
  return static_cast<uint8_t>(header_in<Ipv6Header>(frame.data, packet.network).version_class_flow.host() >> 20);
}

// RFC 9293 section 3.1, RFC 768: over all of the segment, which is there.
void finish_checksum(Frame& frame, const Packet& packet) {
  const bool udp = packet.kind == PacketKind::kUdp;
  uint8_t* const transport = frame.data + packet.transport;
  be16& checksum = udp ? header_in<UdpHeader>(transport, 0).checksum : header_in<TcpHeader>(transport, 0).checksum;
  const uint8_t* addresses = packet.family == 4 ? header_in<Ipv4Header>(frame.data, packet.network).source
                                                : header_in<Ipv6Header>(frame.data, packet.network).source;
  const uint32_t bytes = packet.end - packet.transport;
  checksum = 0;
  checksum =
      checksum_of(sum_pseudo_header(packet.family, addresses, bytes, packet.protocol) + sum_octets(transport, bytes))
          .host();
  if (udp && checksum == be16(0)) checksum = 0xffff;
  frame.checksum_partial = false;
}

void write_outer4(uint8_t* at, const Tunnel& tunnel, uint8_t protocol, uint8_t tos, uint32_t total) {
  auto& ip = header_in<Ipv4Header>(at, 0);
  ip = {};
  ip.version_ihl = 0x45;
  ip.tos = tos;
  ip.total_length = static_cast<uint16_t>(total);
  // RFC 6864 section 4.1: of a packet that is never fragmented the identification means nothing.
  ip.identification = 0;
  ip.flags_fragment = kDontFragment;
  ip.ttl = kOuterTtl;
  ip.protocol = protocol;
  std::memcpy(ip.source, tunnel.source, sizeof ip.source);
  std::memcpy(ip.destination, tunnel.destination, sizeof ip.destination);
  ip.checksum = checksum_of(sum_octets(at, sizeof ip)).host();
}

void write_outer6(uint8_t* at, const Tunnel& tunnel, uint8_t protocol, uint8_t tos, uint32_t payload,
                  uint32_t entropy) {
  constexpr uint32_t kFlowLabelMask = 0xfffff;
  auto& ip = header_in<Ipv6Header>(at, 0);
  ip.version_class_flow = uint32_t{6} << 28 | uint32_t{tos} << 20 | (entropy & kFlowLabelMask);
  ip.payload_length = static_cast<uint16_t>(payload);
  ip.next_header = protocol;
  ip.hop_limit = kOuterTtl;
  std::memcpy(ip.source, tunnel.source, sizeof ip.source);
  std::memcpy(ip.destination, tunnel.destination, sizeof ip.destination);
}

// `bytes` octets of UDP lie at `at`, the packet among them. Over IPv4 without a checksum, for the packet has its own
// (draft section 5.7.1); over IPv6 with one, for there it would guard the addresses alone (RFC 8200 section 8.1), and a
// receiver need not take it without.
void write_gue(uint8_t* at, const Tunnel& tunnel, uint8_t inner_protocol, uint32_t bytes, uint32_t entropy) {
  auto& udp = header_in<UdpHeader>(at, 0);
  udp.source_port = static_cast<uint16_t>(kDynamicPorts | (entropy >> 16 & 0x3fff));
  udp.destination_port = tunnel.port;
  udp.length = static_cast<uint16_t>(bytes);
  udp.checksum = 0;
  auto& gue = header_in<GueHeader>(at, sizeof udp);
  gue = {};
  gue.protocol = inner_protocol;
  if (tunnel.family == 4) return;
  const uint8_t* addresses = header_in<Ipv6Header>(at - sizeof(Ipv6Header), 0).source;
  udp.checksum = checksum_of(sum_pseudo_header(6, addresses, bytes, kUdp) + sum_octets(at, bytes)).host();
  if (udp.checksum == be16(0)) udp.checksum = 0xffff;
}

}  // namespace

uint32_t tunnel_entropy(const FlowKey& flow) {
  uint64_t mixed = 0;
  for (const uint64_t word : flow.words) mixed = mix(mixed ^ word);
  return static_cast<uint32_t>(mixed >> 32);
}

void enter_tunnel(Frame& frame, const Packet& packet, const Tunnel& tunnel, uint32_t entropy) {
  const bool has_checksum = packet.kind == PacketKind::kTcp || packet.kind == PacketKind::kUdp;
  if (frame.checksum_partial && has_checksum) finish_checksum(frame, packet);
  const uint8_t tos = traffic_class(frame, packet);
  const uint8_t inner = packet.family == 4 ? kIpv4InIp : kIpv6InIp;
  const uint32_t overhead = tunnel_overhead(tunnel.how, tunnel.family);
  const uint32_t total = overhead + packet.end - packet.network;
  const bool gue = tunnel.how == Forwarding::kGue;
  const uint8_t protocol = gue ? kUdp : inner;

  std::memmove(frame.data - overhead, frame.data, packet.network);
  frame.data -= overhead;
  frame.bytes = packet.end + overhead;
  uint8_t* const outer = frame.data + packet.network;
  header_in<be16>(outer - sizeof(be16), 0) = tunnel.family == 4 ? kEtherIpv4 : kEtherIpv6;
  const size_t outer_bytes = tunnel.family == 4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  if (tunnel.family == 4) {
    write_outer4(outer, tunnel, protocol, tos, total);
  } else {
    write_outer6(outer, tunnel, protocol, tos, total - sizeof(Ipv6Header), entropy);
  }
  if (gue) write_gue(outer + outer_bytes, tunnel, inner, total - static_cast<uint32_t>(outer_bytes), entropy);
}

// Options of RFC 9293 section 3.1: one octet each of kind 0 (the end) and 1, the others with their length behind.
void clamp_segment_size(Frame& frame, const Packet& packet, uint32_t mtu) {
  constexpr uint8_t kEnd = 0, kNothing = 1, kSegmentSize = 2, kSegmentSizeBytes = 4;
  if (packet.kind != PacketKind::kTcp || (packet.tcp_flags & wire::kSyn) == 0) return;
  const uint32_t ip_bytes = packet.family == 4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  if (mtu <= ip_bytes + sizeof(TcpHeader)) return;
  const auto fits = static_cast<uint16_t>(std::min<uint32_t>(mtu - ip_bytes - sizeof(TcpHeader), UINT16_MAX));

  auto& tcp = header_in<TcpHeader>(frame.data, packet.transport);
  const size_t end = packet.transport + size_t{4} * (tcp.data_offset >> 4);
  for (size_t at = packet.transport + sizeof tcp; at < end;) {
    const uint8_t kind = frame.data[at];
    if (kind == kEnd) return;
    if (kind == kNothing) {
      ++at;
      continue;
    }
    if (end - at < 2) return;
    const uint8_t length = frame.data[at + 1];
    if (length < 2 || length > end - at) return;
    if (kind != kSegmentSize || length != kSegmentSizeBytes) {
      at += length;
      continue;
    }
    be16& announced = header_in<be16>(frame.data, at + 2);
    if (announced.host() <= fits) return;
    uint16_t before = std::bit_cast<uint16_t>(announced);
    announced = fits;
    uint16_t after = std::bit_cast<uint16_t>(announced);
    // An unfinished checksum covers no options yet. Off the 16-bit grid the octets weigh the other way round.
    if (frame.checksum_partial) return;
    if ((at - packet.transport) % 2 != 0) {
      before = byte_swap(before);
      after = byte_swap(after);
    }
    ChecksumChange change;
    change.replace(before, after);
    change.apply(tcp.checksum);
    return;
  }
}

// ---- errors

namespace {

// RFC 792 and RFC 1191: destination unreachable, fragmentation needed, the MTU in the low 16 bits; RFC 4443 section
// 3.2: packet too big.
uint32_t mtu_told(const Frame& frame, const Packet& packet) {
  constexpr uint8_t kFragmentationNeeded = 4;
  const auto& icmp = header_in<IcmpHeader>(frame.data, packet.transport);
  if (packet.family == 6) return icmp.type == kIcmpv6PacketTooBig ? icmp.rest.host() : 0;
  return icmp.type == kIcmpUnreachable && icmp.code == kFragmentationNeeded ? icmp.rest.host() & 0xffff : 0;
}

}  // namespace

QuoteFault read_tunnel_quote(const Frame& frame, const Packet& packet, const Quote& quote, TunnelQuote* inside) {
  size_t at = quote.transport;
  uint8_t protocol = quote.protocol;
  inside->how = Forwarding::kIpip;
  inside->port = 0;
  if (protocol == wire::kUdp) {
    const auto* udp = header_at<UdpHeader>(frame.data, quote.end, at);
    const auto* gue = header_at<GueHeader>(frame.data, quote.end, at + sizeof(UdpHeader));
    if (udp == nullptr || gue == nullptr) return QuoteFault::kTruncated;
    if (gue->variant_length != 0) return QuoteFault::kUnspeakable;
    inside->how = Forwarding::kGue;
    inside->port = udp->destination_port.host();
    protocol = gue->protocol;
    at += sizeof *udp + sizeof *gue;
  }
  if (protocol != kIpv4InIp && protocol != kIpv6InIp) return QuoteFault::kUnspeakable;
  inside->family = protocol == kIpv4InIp ? 4 : 6;
  inside->outer = quote.network;
  inside->mtu = mtu_told(frame, packet);
  return read_quoted_packet(frame, inside->family, static_cast<uint16_t>(at), quote.end, &inside->inside);
}

void leave_tunnel_quote(Frame& frame, Packet* packet, const TunnelQuote& quote) {
  const uint16_t gone = static_cast<uint16_t>(quote.inside.network - packet->network);
  std::memmove(frame.data + gone, frame.data, packet->network);
  frame.data += gone;
  frame.bytes -= gone;
  header_in<be16>(frame.data, packet->network - sizeof(be16)) = quote.family == 4 ? kEtherIpv4 : kEtherIpv6;
  packet->family = quote.family;
  packet->ethertype = quote.family == 4 ? kEtherIpv4 : kEtherIpv6;
  packet->protocol = quote.inside.protocol;
  packet->transport = static_cast<uint16_t>(quote.inside.transport - gone);
  packet->end = quote.inside.end - gone;
}

}  // namespace tandem
