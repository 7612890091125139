// The frame that nearly all frames are, recognised in a few loads: Ethernet without tags, IPv4 without options, whole
// and with a right checksum, TCP or UDP. Of anything else, right or wrong, parse.h tells what it is.
#pragma once

#include "checksum.h"
#include "headers.h"
#include "parse.h"

namespace tandem::wire {

// What such a frame is parsed to: but for these, everything is known beforehand.
constexpr Packet usual_packet(PacketKind kind, uint8_t protocol, uint8_t tcp_flags, uint8_t ttl, uint32_t end) {
  constexpr uint16_t network = sizeof(EthernetHeader);
  return {.kind = kind,
          .protocol = protocol,
          .tcp_flags = tcp_flags,
          .ttl = ttl,
          .family = 4,
          .fault = Fault::kTruncated,
          .tags = 0,
          .icmp_type = 0,
          .ethertype = kEtherIpv4,
          .vlan = 0,
          .network = network,
          .transport = network + sizeof(Ipv4Header),
          .end = end};
}

// True: `packet` is what parse_link() and parse_network() make of the frame. False: ask them.
[[gnu::always_inline]] inline bool parse_usual(const uint8_t* frame, size_t bytes, Packet* packet) {
  constexpr uint16_t network = sizeof(EthernetHeader), transport = network + sizeof(Ipv4Header);
  // A frame with a shorter UDP datagram is padded to 60 octets, so nothing usual is lost.
  if (bytes < transport + sizeof(TcpHeader)) return false;
  // 08 00 45: the ethertype, the version and a header of five words.
  static_assert(std::endian::native == std::endian::little);
  if ((load32(frame + offsetof(EthernetHeader, ethertype)) & 0xffffff) != 0x450008) return false;

  const auto& ip = *reinterpret_cast<const Ipv4Header*>(frame + network);
  const uint32_t total = ip.total_length.host();
  if (total > bytes - network) return false;
  if ((ip.flags_fragment.host() & 0x3fff) != 0) return false;
  if (!folds_to_ones(sum_octets(frame + network, sizeof ip))) return false;

  uint8_t tcp_flags = 0;
  if (ip.protocol == kTcp) {
    const auto& tcp = *reinterpret_cast<const TcpHeader*>(frame + transport);
    const uint32_t header_bytes = 4u * (tcp.data_offset >> 4);
    if (header_bytes < sizeof tcp || sizeof ip + header_bytes > total) return false;
    tcp_flags = tcp.flags;
  } else if (ip.protocol == kUdp) {
    const uint32_t length = reinterpret_cast<const UdpHeader*>(frame + transport)->length.host();
    if (length < sizeof(UdpHeader) || sizeof ip + length > total) return false;
  } else {
    return false;
  }
  const PacketKind kind = ip.protocol == kTcp ? PacketKind::kTcp : PacketKind::kUdp;
  *packet = usual_packet(kind, ip.protocol, tcp_flags, ip.ttl, network + total);
  return true;
}

}  // namespace tandem::wire
