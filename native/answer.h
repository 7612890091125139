// Answers that Tandem gives itself, written over the question in the frame's own memory: ARP (RFC 826),
// neighbour advertisements (RFC 4861), echo replies (RFC 792, RFC 4443) and TCP resets (RFC 9293).
//
// Whether to answer is decided in forward.cc. An answer leaves on the device its question came from, to the
// MAC address that asked, with the virtual MAC as its source and the question's VLAN tags.
#pragma once

#include "frame.h"
#include "mac_address.h"
#include "wire/parse.h"

namespace tandem {

// Of an ARP request.
void write_arp_reply(Frame& frame, const wire::Packet& packet, const MacAddress& virtual_mac);

// The address a neighbour solicitation asks for, 16 octets in the frame; nullptr if a host must discard the
// message (RFC 4861 section 7.1.1).
const uint8_t* solicited_address(const Frame& frame, const wire::Packet& packet);
// Of a valid solicitation. May be 8 bytes longer than it, hence kFrameTailroom.
void write_neighbour_advertisement(Frame& frame, const wire::Packet& packet, const MacAddress& virtual_mac);

// Of an ICMP or ICMPv6 echo request.
void write_echo_reply(Frame& frame, const wire::Packet& packet, const MacAddress& virtual_mac);

// Of a TCP segment that is no reset itself.
void write_reset(Frame& frame, const wire::Packet& packet, const MacAddress& virtual_mac);

}  // namespace tandem
