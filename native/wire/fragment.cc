// RFC 791 section 3.2 and RFC 8200 section 4.5, field by field.
#include "fragment.h"

#include <cstring>

#include "headers.h"

namespace tandem::wire {
namespace {

constexpr uint16_t kMoreFragments4 = 0x2000, kOffsetMask4 = 0x1fff;
constexpr uint16_t kMoreFragments6 = 0x0001, kOffsetMask6 = 0xfff8;
constexpr uint32_t kPayloadBytesMax = 65535;

FragmentFault find_v4(const uint8_t* frame, const Packet& packet, Fragment* fragment) {
  const auto& ip = header_in<Ipv4Header>(const_cast<uint8_t*>(frame), packet.network);
  const uint16_t word = ip.flags_fragment.host();
  uint16_t identification;
  std::memcpy(&identification, &ip.identification, sizeof identification);
  fragment->identification = identification;
  fragment->protocol = ip.protocol;
  fragment->more = (word & kMoreFragments4) != 0;
  fragment->begin = 8u * (word & kOffsetMask4);
  fragment->payload = packet.transport;
  return FragmentFault::kNone;
}

FragmentFault find_v6(const uint8_t* frame, const Packet& packet, Fragment* fragment) {
  uint8_t next = header_in<Ipv6Header>(const_cast<uint8_t*>(frame), packet.network).next_header;
  size_t offset = packet.network + sizeof(Ipv6Header);
  for (size_t headers = 0; next != kFragmentHeader; ++headers) {
    if (headers == kExtensionHeadersMax) return FragmentFault::kExtensionHeaders;
    const auto* extension = header_at<ExtensionHeader>(frame, packet.end, offset);
    if (extension == nullptr) return FragmentFault::kTruncated;
    next = extension->next_header;
    offset += 8 * (size_t{extension->length} + 1);
  }
  const auto* header = header_at<Ipv6FragmentHeader>(frame, packet.end, offset);
  if (header == nullptr) return FragmentFault::kTruncated;
  std::memcpy(&fragment->identification, &header->identification, sizeof fragment->identification);
  fragment->protocol = header->next_header;
  fragment->more = (header->offset_more.host() & kMoreFragments6) != 0;
  fragment->begin = header->offset_more.host() & kOffsetMask6;
  fragment->payload = static_cast<uint16_t>(offset + sizeof *header);
  return FragmentFault::kNone;
}

}  // namespace

FragmentFault parse_fragment(const uint8_t* frame, const Packet& packet, Fragment* fragment) {
  const FragmentFault fault = packet.family == 4 ? find_v4(frame, packet, fragment) : find_v6(frame, packet, fragment);
  if (fault != FragmentFault::kNone) return fault;
  const uint32_t bytes = packet.end - fragment->payload;
  fragment->end = fragment->begin + bytes;
  if (bytes == 0 || fragment->end > kPayloadBytesMax) return FragmentFault::kBadHeader;
  if (fragment->more && bytes % 8 != 0) return FragmentFault::kBadHeader;
  // RFC 1858 section 3.2.2: a later fragment of TCP that begins within its header.
  if (fragment->protocol == kTcp && fragment->begin != 0 && fragment->begin < sizeof(TcpHeader))
    return FragmentFault::kTiny;
  return FragmentFault::kNone;
}

FragmentFault parse_first_fragment(const uint8_t* frame, const Fragment& fragment, Packet* packet) {
  packet->protocol = fragment.protocol;
  packet->transport = fragment.payload;
  packet->kind = PacketKind::kOther;
  if (fragment.protocol == kTcp) {
    const auto* tcp = header_at<TcpHeader>(frame, packet->end, packet->transport);
    if (tcp == nullptr) return FragmentFault::kTiny;
    const size_t header_bytes = size_t{4} * (tcp->data_offset >> 4);
    if (header_bytes < sizeof(TcpHeader)) return FragmentFault::kBadHeader;
    if (header_bytes > packet->end - packet->transport) return FragmentFault::kTiny;
    packet->kind = PacketKind::kTcp;
    packet->tcp_flags = tcp->flags;
  } else if (fragment.protocol == kUdp) {
    const auto* udp = header_at<UdpHeader>(frame, packet->end, packet->transport);
    if (udp == nullptr) return FragmentFault::kTiny;
    // Its length is the whole datagram's, of which this is a part.
    if (udp->length.host() < packet->end - packet->transport) return FragmentFault::kBadHeader;
    packet->kind = PacketKind::kUdp;
  }
  return FragmentFault::kNone;
}

}  // namespace tandem::wire
