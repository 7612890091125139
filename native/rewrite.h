// A packet made into what the other side must see: addresses, ports, TTL, checksums, MAC addresses, tag.
// Everything is written into the frame; nothing is decided here. What every packet of a connection goes through is
// inline.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "conn_table.h"
#include "frame.h"
#include "mac_address.h"
#include "wire/checksum.h"
#include "wire/headers.h"
#include "wire/parse.h"

namespace tandem {

// Where a packet is to come from and go to, as the receiver reads it.
struct Ends {
  const uint8_t* source;       // 4 or 16 octets, by the packet's family
  const uint8_t* destination;  // same
  uint32_t ports;              // source and destination port as they lie in the header
};

// Of a TCP or UDP packet with a TTL above 1, which is counted down.
void rewrite_packet(Frame& frame, const wire::Packet& packet, const Ends& ends);

// Of a later fragment of such a packet, which has no transport header: addresses and TTL.
void rewrite_addresses(Frame& frame, const wire::Packet& packet, const Ends& ends);

// A MAC address in one word, as a LastHop holds it: octet 0 lowest.
using MacWord = uint64_t;
MacWord mac_word(const uint8_t octets[6]);
// RFC 9568 section 7.3: 00-00-5E-00-01-{VRID}, of IPv6 00-00-5E-00-02-{VRID}.
constexpr MacWord virtual_mac_word(uint8_t family, uint8_t vrid) {
  return 0x5e0000 | MacWord{family == 4 ? 1u : 2u} << 32 | MacWord{vrid} << 40;
}

// Ethernet header and 802.1Q tag: kept, replaced, put in (into the headroom) or taken out, as `to` says. The
// frame has at most one tag.
void rewrite_link(Frame& frame, const wire::Packet& packet, LastHop to, MacWord from);

// The way back to whoever sent this frame. Its tags must be repeatable().
LastHop last_hop_of(const Frame& frame, const wire::Packet& packet);
// Whether a LastHop can hold the frame's tags: none, or one 802.1Q tag.
bool tags_are_repeatable(const Frame& frame, const wire::Packet& packet);

constexpr uint8_t device_of(LastHop hop) { return hop >> 48 & 0xf; }
constexpr uint16_t vlan_of(LastHop hop) { return static_cast<uint16_t>(hop >> 52); }

// ---- inline

namespace rewriting {

inline void put32(void* to, uint32_t word) { std::memcpy(to, &word, sizeof word); }

// Replaces an address of `words` 32-bit words and notes the difference.
template <size_t words>
inline void replace_address(uint8_t* address, const uint8_t* with, wire::ChecksumChange* change) {
  for (size_t at = 0; at < 4 * words; at += 4) {
    const uint32_t before = wire::load32(address + at), after = wire::load32(with + at);
    change->replace(before, after);
    put32(address + at, after);
  }
}

[[gnu::always_inline]] inline void rewrite_transport(const Frame& frame, const wire::Packet& packet, uint32_t ports,
                                                     wire::ChecksumChange change) {
  uint8_t* transport = frame.data + packet.transport;
  const uint32_t ports_before = wire::load32(transport);
  put32(transport, ports);

  const bool udp = packet.kind == wire::PacketKind::kUdp;
  // The sender's NIC was to add everything behind the pseudo-header, ports included: only addresses count.
  if (frame.checksum_partial) [[unlikely]]
    return change.apply_partial(udp ? wire::header_in<wire::UdpHeader>(transport, 0).checksum
                                    : wire::header_in<wire::TcpHeader>(transport, 0).checksum);
  change.replace(ports_before, ports);
  if (!udp) return change.apply(wire::header_in<wire::TcpHeader>(transport, 0).checksum);
  wire::be16& checksum = wire::header_in<wire::UdpHeader>(transport, 0).checksum;
  const wire::be16 none(0);
  if (checksum == none) return;  // RFC 768: the sender generated no checksum
  change.apply(checksum);
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  if (checksum == none) checksum = 0xffff;
}

// Both return what changed under the transport's checksum, too.
[[gnu::always_inline]] inline wire::ChecksumChange rewrite_header4(Frame& frame, const wire::Packet& packet,
                                                                   const Ends& ends) {
  auto& ip = wire::header_in<wire::Ipv4Header>(frame.data, packet.network);
  wire::ChecksumChange addresses;
  replace_address<1>(ip.source, ends.source, &addresses);
  replace_address<1>(ip.destination, ends.destination, &addresses);

  wire::ChecksumChange header = addresses;
  ip.ttl--;
  header.count_down();
  header.apply(ip.checksum);
  return addresses;
}

inline wire::ChecksumChange rewrite_header6(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  auto& ip = wire::header_in<wire::Ipv6Header>(frame.data, packet.network);
  wire::ChecksumChange addresses;
  replace_address<4>(ip.source, ends.source, &addresses);
  replace_address<4>(ip.destination, ends.destination, &addresses);
  ip.hop_limit--;
  return addresses;
}

// Makes room for the tag, takes it out or replaces it; the MAC addresses are written anew afterwards.
void rewrite_tag(Frame& frame, uint8_t tags, uint16_t vlan);
// Whether the frame's outer tag is an 802.1Q tag.
bool is_customer_tag(const Frame& frame);

}  // namespace rewriting

static_assert(std::endian::native == std::endian::little, "octet 0 of a MacWord is its lowest");

inline MacWord mac_word(const uint8_t octets[6]) {
  uint16_t high;
  std::memcpy(&high, octets + 4, sizeof high);
  return wire::load32(octets) | MacWord{high} << 32;
}

[[gnu::always_inline]] inline void rewrite_packet(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  const wire::ChecksumChange change = packet.family == 4 ? rewriting::rewrite_header4(frame, packet, ends)
                                                         : rewriting::rewrite_header6(frame, packet, ends);
  rewriting::rewrite_transport(frame, packet, ends.ports, change);
}

// In whole words, for a short store that a longer load follows would stall: with the destination two octets that the
// source is written over, with the source the two behind it as they are.
[[gnu::always_inline]] inline void rewrite_link(Frame& frame, const wire::Packet& packet, LastHop to, MacWord from) {
  if ((packet.tags | vlan_of(to)) != 0) [[unlikely]]
    rewriting::rewrite_tag(frame, packet.tags, vlan_of(to));
  uint8_t* const link = frame.data;
  uint16_t behind;
  std::memcpy(&behind, link + offsetof(wire::EthernetHeader, ethertype), sizeof behind);
  const uint64_t rest = from | uint64_t{behind} << 48;
  std::memcpy(link + offsetof(wire::EthernetHeader, destination), &to, sizeof to);
  std::memcpy(link + offsetof(wire::EthernetHeader, source), &rest, sizeof rest);
}

inline LastHop last_hop_of(const Frame& frame, const wire::Packet& packet) {
  // The source and two octets of what follows it, in one load.
  uint64_t source;
  std::memcpy(&source, frame.data + offsetof(wire::EthernetHeader, source), sizeof source);
  constexpr MacWord kMac = (MacWord{1} << 48) - 1;
  return (source & kMac) | LastHop{frame.device} << 48 | LastHop{packet.vlan} << 52;
}

inline bool tags_are_repeatable(const Frame& frame, const wire::Packet& packet) {
  return packet.tags == 0 || (packet.tags == 1 && rewriting::is_customer_tag(frame));
}

}  // namespace tandem
