#include "parse.h"

#include "checksum.h"
#include "headers.h"

namespace tandem::wire {
namespace {

void fail(Packet* packet, Fault fault) {
  packet->kind = PacketKind::kFault;
  packet->fault = fault;
}

void parse_tcp(const uint8_t* frame, Packet* packet) {
  const auto* tcp = header_at<TcpHeader>(frame, packet->end, packet->transport);
  if (tcp == nullptr) return fail(packet, Fault::kTruncated);
  const size_t header_bytes = size_t{4} * (tcp->data_offset >> 4);
  if (header_bytes < sizeof(TcpHeader)) return fail(packet, Fault::kBadHeader);
  if (header_bytes > packet->end - packet->transport) return fail(packet, Fault::kTruncated);
  packet->kind = PacketKind::kTcp;
  packet->tcp_flags = tcp->flags;
}

void parse_udp(const uint8_t* frame, Packet* packet) {
  const auto* udp = header_at<UdpHeader>(frame, packet->end, packet->transport);
  if (udp == nullptr) return fail(packet, Fault::kTruncated);
  const size_t length = udp->length.host();
  if (length < sizeof(UdpHeader)) return fail(packet, Fault::kBadHeader);
  if (length > packet->end - packet->transport) return fail(packet, Fault::kTruncated);
  packet->kind = PacketKind::kUdp;
}

void parse_icmp(const uint8_t* frame, PacketKind kind, Packet* packet) {
  const auto* icmp = header_at<IcmpHeader>(frame, packet->end, packet->transport);
  if (icmp == nullptr) return fail(packet, Fault::kTruncated);
  packet->kind = kind;
  packet->icmp_type = icmp->type;
}

void parse_transport(const uint8_t* frame, Packet* packet) {
  switch (packet->protocol) {
    case kTcp:
      return parse_tcp(frame, packet);
    case kUdp:
      return parse_udp(frame, packet);
    case kIcmp:
      if (packet->family == 4) return parse_icmp(frame, PacketKind::kIcmp, packet);
      break;
    case kIcmpv6:
      if (packet->family == 6) return parse_icmp(frame, PacketKind::kIcmpv6, packet);
      break;
    default:
      break;
  }
  packet->kind = PacketKind::kOther;
}

void parse_ipv4(const uint8_t* frame, size_t bytes, Packet* packet) {
  const auto* ip = header_at<Ipv4Header>(frame, bytes, packet->network);
  if (ip == nullptr) return fail(packet, Fault::kTruncated);
  if (ip->version_ihl >> 4 != 4) return fail(packet, Fault::kBadHeader);
  const size_t header_bytes = size_t{4} * (ip->version_ihl & 0x0f);
  const size_t total = ip->total_length.host();
  if (header_bytes < sizeof(Ipv4Header) || total < header_bytes) return fail(packet, Fault::kBadHeader);
  if (total > bytes - packet->network) return fail(packet, Fault::kTruncated);
  if (!folds_to_ones(sum_octets(frame + packet->network, header_bytes))) return fail(packet, Fault::kBadHeader);

  packet->protocol = ip->protocol;
  packet->ttl = ip->ttl;
  packet->transport = static_cast<uint16_t>(packet->network + header_bytes);
  packet->end = static_cast<uint32_t>(packet->network + total);
  // More fragments, or an offset: not the whole packet.
  if ((ip->flags_fragment.host() & 0x3fff) != 0) return fail(packet, Fault::kFragment);
  parse_transport(frame, packet);
}

void parse_ipv6(const uint8_t* frame, size_t bytes, Packet* packet) {
  const auto* ip = header_at<Ipv6Header>(frame, bytes, packet->network);
  if (ip == nullptr) return fail(packet, Fault::kTruncated);
  if (ip->version_class_flow.host() >> 28 != 6) return fail(packet, Fault::kBadHeader);
  const size_t payload = ip->payload_length.host();
  if (payload > bytes - packet->network - sizeof(Ipv6Header)) return fail(packet, Fault::kTruncated);

  packet->ttl = ip->hop_limit;
  packet->end = static_cast<uint32_t>(packet->network + sizeof(Ipv6Header) + payload);
  uint8_t next = ip->next_header;
  size_t offset = packet->network + sizeof(Ipv6Header);
  for (size_t headers = 0;; ++headers) {
    if (next == kFragmentHeader) return fail(packet, Fault::kFragment);
    if (next == kAuthentication) return fail(packet, Fault::kExtensionHeaders);
    if (next != kHopByHop && next != kRouting && next != kDestinationOptions) break;
    if (headers == kExtensionHeadersMax) return fail(packet, Fault::kExtensionHeaders);
    const auto* extension = header_at<ExtensionHeader>(frame, packet->end, offset);
    if (extension == nullptr) return fail(packet, Fault::kTruncated);
    // With segments left, the destination address is a stop on the way and not the packet's destination.
    if (next == kRouting && extension->segments_left != 0) return fail(packet, Fault::kExtensionHeaders);
    next = extension->next_header;
    offset += 8 * (size_t{extension->length} + 1);
    if (offset > packet->end) return fail(packet, Fault::kTruncated);
  }
  packet->protocol = next;
  packet->transport = static_cast<uint16_t>(offset);
  parse_transport(frame, packet);
}

void parse_arp(const uint8_t* frame, size_t bytes, Packet* packet) {
  const auto* arp = header_at<ArpPacket>(frame, bytes, packet->network);
  if (arp == nullptr) return fail(packet, Fault::kTruncated);
  const bool ipv4_over_ethernet = arp->hardware.host() == 1 && arp->protocol.host() == kEtherIpv4 &&
                                  arp->hardware_bytes == 6 && arp->protocol_bytes == 4;
  packet->kind = ipv4_over_ethernet ? PacketKind::kArp : PacketKind::kNotIp;
}

}  // namespace

bool parse_link(const uint8_t* frame, size_t bytes, Packet* packet) {
  *packet = {};
  const auto* ethernet = header_at<EthernetHeader>(frame, bytes, 0);
  if (ethernet == nullptr) {
    fail(packet, Fault::kTruncated);
    return false;
  }
  uint16_t ethertype = ethernet->ethertype.host();
  size_t offset = sizeof(EthernetHeader);
  while ((ethertype == kEtherVlan || ethertype == kEtherServiceVlan) && packet->tags < kVlanTagsMax) {
    // The tag began where the ethertype was: its control field comes next, then the ethertype moved back.
    const auto* control = header_at<be16>(frame, bytes, offset);
    const auto* next = header_at<be16>(frame, bytes, offset + sizeof(be16));
    if (next == nullptr) {
      fail(packet, Fault::kTruncated);
      return false;
    }
    if (packet->tags == 0) packet->vlan = control->host() & 0x0fff;
    packet->tags++;
    ethertype = next->host();
    offset += sizeof(VlanTag);
  }
  packet->ethertype = ethertype;
  packet->network = static_cast<uint16_t>(offset);
  packet->kind = PacketKind::kNotIp;
  return true;
}

void parse_network(const uint8_t* frame, size_t bytes, Packet* packet) {
  switch (packet->ethertype) {
    case kEtherIpv4:
      packet->family = 4;
      return parse_ipv4(frame, bytes, packet);
    case kEtherIpv6:
      packet->family = 6;
      return parse_ipv6(frame, bytes, packet);
    case kEtherArp:
      return parse_arp(frame, bytes, packet);
    default:
      packet->kind = PacketKind::kNotIp;
  }
}

}  // namespace tandem::wire
