// A packet made into what the other side must see: addresses, ports, TTL, checksums, MAC addresses, tag.
// Everything is written into the frame; nothing is decided here.
#pragma once

#include <cstdint>

#include "conn_table.h"
#include "frame.h"
#include "mac_address.h"
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

}  // namespace tandem
