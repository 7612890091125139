// Reading what an error quotes, and translating it; in the order in which forward.cc asks.
#include "icmp_error.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "wire/checksum.h"
#include "wire/headers.h"

namespace tandem {
namespace {

using namespace wire;  // every name here is a field of a packet

// RFC 792: "the internet header plus the first 64 bits of the original datagram's data".
constexpr size_t kQuotedTransportBytes = 8;
constexpr uint16_t kFragmentOffsetMask = 0x1fff;

uint64_t sum_message(const Frame& frame, const Packet& packet) {
  const uint32_t bytes = packet.end - packet.transport;
  const uint64_t sum = sum_octets(frame.data + packet.transport, bytes);
  if (packet.family == 4) return sum;
  const auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
  return sum + sum_pseudo_header(6, ip.source, bytes, wire::kIcmpv6);
}

QuoteFault find_transport_v4(const Frame& frame, uint32_t end, Quote* quote) {
  const auto* ip = header_at<Ipv4Header>(frame.data, end, quote->network);
  if (ip == nullptr) return QuoteFault::kTruncated;
  const size_t header_bytes = size_t{4} * (ip->version_ihl & 0x0f);
  if (ip->version_ihl >> 4 != 4 || header_bytes < sizeof(Ipv4Header)) return QuoteFault::kBadHeader;
  if ((ip->flags_fragment.host() & kFragmentOffsetMask) != 0) return QuoteFault::kUnspeakable;
  quote->protocol = ip->protocol;
  quote->transport = static_cast<uint16_t>(quote->network + header_bytes);
  quote->end = std::min<uint32_t>(end, quote->network + ip->total_length.host());
  return QuoteFault::kNone;
}

QuoteFault find_transport_v6(const Frame& frame, uint32_t end, Quote* quote) {
  const auto* ip = header_at<Ipv6Header>(frame.data, end, quote->network);
  if (ip == nullptr) return QuoteFault::kTruncated;
  if (ip->version_class_flow.host() >> 28 != 6) return QuoteFault::kBadHeader;
  quote->end = std::min<uint32_t>(end, quote->network + sizeof(Ipv6Header) + ip->payload_length.host());

  uint8_t next = ip->next_header;
  size_t offset = quote->network + sizeof(Ipv6Header);
  for (size_t headers = 0; headers < kExtensionHeadersMax; ++headers) {
    const bool fragment = next == kFragmentHeader;
    if (!fragment && next != kHopByHop && next != kRouting && next != kDestinationOptions) break;
    const auto* extension = header_at<ExtensionHeader>(frame.data, end, offset);
    const auto* fragment_offset = header_at<be16>(frame.data, end, offset + 2);
    if (extension == nullptr || fragment_offset == nullptr) return QuoteFault::kTruncated;
    if (fragment && fragment_offset->host() >> 3 != 0) return QuoteFault::kUnspeakable;
    next = extension->next_header;
    offset += fragment ? 8 : 8 * (size_t{extension->length} + 1);
    if (offset > end) return QuoteFault::kTruncated;
  }
  quote->protocol = next;
  quote->transport = static_cast<uint16_t>(offset);
  return QuoteFault::kNone;
}

FlowKey reply_to(const Frame& frame, uint8_t family, const Quote& quote) {
  UdpHeader ports = {};
  if (has_ports(quote.protocol)) ports = header_in<UdpHeader>(frame.data, quote.transport);  // TCP begins alike
  if (family == 6) {
    const auto& ip = header_in<Ipv6Header>(frame.data, quote.network);
    return FlowKey::v6(ip.destination, ip.source, ports.destination_port, ports.source_port, quote.protocol);
  }
  const auto& ip = header_in<Ipv4Header>(frame.data, quote.network);
  return FlowKey::v4(std::bit_cast<be32>(ip.destination), std::bit_cast<be32>(ip.source), ports.destination_port,
                     ports.source_port, quote.protocol);
}

void put_address(uint8_t* to, const uint8_t* address, size_t bytes, ChecksumChange* change) {
  for (size_t at = 0; at < bytes; at += 4) change->replace(load32(to + at), load32(address + at));
  std::memcpy(to, address, bytes);
}

// The checksum of the quoted transport, or nullptr if the quote ends before it.
be16* quoted_checksum(const Frame& frame, const Quote& quote) {
  const size_t at = quote.protocol == wire::kTcp ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum);
  return header_at<be16>(frame.data, quote.end, quote.transport + at);
}

void translate_quote(const Frame& frame, uint8_t family, const Quote& quote, const Ends& ends) {
  ChecksumChange change;
  if (family == 4) {
    auto& ip = header_in<Ipv4Header>(frame.data, quote.network);
    put_address(ip.source, ends.source, sizeof ip.source, &change);
    put_address(ip.destination, ends.destination, sizeof ip.destination, &change);
    change.apply(ip.checksum);
  } else {
    auto& ip = header_in<Ipv6Header>(frame.data, quote.network);
    put_address(ip.source, ends.source, sizeof ip.source, &change);
    put_address(ip.destination, ends.destination, sizeof ip.destination, &change);
  }
  if (!has_ports(quote.protocol)) return;
  uint8_t* ports = frame.data + quote.transport;
  change.replace(load32(ports), ends.ports);
  std::memcpy(ports, &ends.ports, sizeof ends.ports);

  be16* checksum = quoted_checksum(frame, quote);
  if (checksum == nullptr) return;
  const be16 none(0);
  const bool udp = quote.protocol == wire::kUdp;
  if (udp && *checksum == none) return;  // RFC 768: the sender generated no checksum
  change.apply(*checksum);
  if (udp && *checksum == none) *checksum = 0xffff;
}

void translate_outer(Frame& frame, const Packet& packet, const ErrorEnds& ends) {
  if (packet.family == 6) {
    auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
    if (ends.outer_source != nullptr) std::memcpy(ip.source, ends.outer_source, sizeof ip.source);
    std::memcpy(ip.destination, ends.outer_destination, sizeof ip.destination);
    ip.hop_limit--;
    return;
  }
  auto& ip = header_in<Ipv4Header>(frame.data, packet.network);
  if (ends.outer_source != nullptr) std::memcpy(ip.source, ends.outer_source, sizeof ip.source);
  std::memcpy(ip.destination, ends.outer_destination, sizeof ip.destination);
  ip.ttl--;
  ip.checksum = 0;
  ip.checksum = checksum_of(sum_octets(frame.data + packet.network, packet.transport - packet.network)).host();
}

}  // namespace

bool is_icmp_error(const Packet& packet) {
  if (packet.kind == PacketKind::kIcmpv6) {
    return packet.icmp_type >= kIcmpv6Unreachable && packet.icmp_type <= kIcmpv6ParameterProblem;
  }
  return packet.kind == PacketKind::kIcmp &&
         (packet.icmp_type == kIcmpUnreachable || packet.icmp_type == kIcmpTimeExceeded ||
          packet.icmp_type == kIcmpParameterProblem);
}

QuoteFault read_quote(const Frame& frame, const Packet& packet, Quote* quote) {
  if (!frame.checksum_partial && fold(sum_message(frame, packet)) != 0xffff) return QuoteFault::kBadHeader;
  const auto network = static_cast<uint16_t>(packet.transport + sizeof(IcmpHeader));
  return read_quoted_packet(frame, packet.family, network, packet.end, quote);
}

QuoteFault read_quoted_packet(const Frame& frame, uint8_t family, uint16_t network, uint32_t end, Quote* quote) {
  *quote = {};
  quote->network = network;
  const QuoteFault fault = family == 4 ? find_transport_v4(frame, end, quote) : find_transport_v6(frame, end, quote);
  if (fault != QuoteFault::kNone) return fault;
  if (quote->protocol == wire::kIcmp || quote->protocol == wire::kIcmpv6) return QuoteFault::kUnspeakable;
  if (has_ports(quote->protocol) && quote->transport + kQuotedTransportBytes > quote->end)
    return QuoteFault::kTruncated;
  quote->reply = reply_to(frame, family, *quote);
  return QuoteFault::kNone;
}

void translate_icmp_error(Frame& frame, const Packet& packet, const Quote& quote, const ErrorEnds& ends) {
  translate_quote(frame, packet.family, quote, ends.inner);
  translate_outer(frame, packet, ends);
  auto& icmp = header_in<IcmpHeader>(frame.data, packet.transport);
  icmp.checksum = 0;
  icmp.checksum = checksum_of(sum_message(frame, packet)).host();
  frame.checksum_partial = false;
}

}  // namespace tandem
