// Bytes of a frame into a packet: where its headers are, and what is wrong with it if it is no packet.
// Looks at nothing but the frame; changes nothing; bounded by kExtensionHeadersMax.
//
// Two steps, because most frames that are not Tandem's are known by their destination address alone:
//   parse_link()     Ethernet and up to two tags (802.1Q, 802.1ad)
//   parse_network()  IPv4 (RFC 791) or IPv6 (RFC 8200) and the transport's fixed header, or ARP (RFC 826)
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem::wire {

enum class PacketKind : uint8_t {
  kTcp,
  kUdp,
  kIcmp,
  kIcmpv6,
  kOther,  // IP with another protocol behind it
  kArp,    // IPv4 over Ethernet, request or reply
  kNotIp,
  kFault,  // `fault` says why
};

enum class Fault : uint8_t {
  kTruncated,         // a header or the stated length runs past the end of the frame
  kBadHeader,         // version, length or IPv4 header checksum is wrong
  kFragment,          // no ports to be had, or not all of the packet
  kExtensionHeaders,  // hides the transport, or too many of them
};

inline constexpr size_t kVlanTagsMax = 2;
inline constexpr size_t kExtensionHeadersMax = 8;

struct Packet {
  PacketKind kind;
  uint8_t protocol;    // IANA protocol number, extension headers skipped
  uint8_t tcp_flags;   // 0 if not kTcp
  uint8_t ttl;         // or hop limit
  uint8_t family;      // 4, 6; 0 if not IP
  Fault fault;         // kFault only
  uint8_t tags;        // VLAN tags before the network header
  uint8_t icmp_type;   // kIcmp and kIcmpv6 only
  uint16_t ethertype;  // behind the tags, host byte order
  uint16_t vlan;       // id in the outer tag; 0 without one
  uint16_t network;    // offset of the IP header or ARP packet
  uint16_t transport;  // offset of the TCP, UDP, ICMP or ICMPv6 header
  uint32_t end;        // offset of the octet behind the IP packet; what follows is padding
};

// False (and a fault) if the Ethernet header or a tag does not fit.
bool parse_link(const uint8_t* frame, size_t bytes, Packet* packet);

// After parse_link(). Fills kind and everything from it on. On a fault, `family` tells how far it got.
void parse_network(const uint8_t* frame, size_t bytes, Packet* packet);

}  // namespace tandem::wire
