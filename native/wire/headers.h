// Packet headers, laid out exactly as they are sent. Nothing here has behaviour.
#pragma once

#include <cstddef>
#include <cstdint>

#include "big_endian.h"

namespace tandem::wire {

// EtherTypes, IEEE 802 numbers.
inline constexpr uint16_t kEtherIpv4 = 0x0800;
inline constexpr uint16_t kEtherArp = 0x0806;
inline constexpr uint16_t kEtherIpv6 = 0x86dd;
inline constexpr uint16_t kEtherVlan = 0x8100;         // 802.1Q
inline constexpr uint16_t kEtherServiceVlan = 0x88a8;  // 802.1ad

// IANA protocol numbers, and IPv6 extension headers among them (RFC 8200 section 4.1).
inline constexpr uint8_t kHopByHop = 0;
inline constexpr uint8_t kIcmp = 1;
inline constexpr uint8_t kIpv4InIp = 4;  // RFC 2003
inline constexpr uint8_t kTcp = 6;
inline constexpr uint8_t kUdp = 17;
inline constexpr uint8_t kIpv6InIp = 41;  // RFC 4213, RFC 2473
inline constexpr uint8_t kRouting = 43;
inline constexpr uint8_t kFragmentHeader = 44;
inline constexpr uint8_t kAuthentication = 51;
inline constexpr uint8_t kIcmpv6 = 58;
inline constexpr uint8_t kDestinationOptions = 60;

struct EthernetHeader {
  uint8_t destination[6];
  uint8_t source[6];
  be16 ethertype;
};
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);

// IEEE 802.1Q: follows the source address; the ethertype that was there comes behind it.
struct VlanTag {
  be16 tpid;     // kEtherVlan or kEtherServiceVlan
  be16 control;  // 3 bits priority, 1 bit drop eligible, 12 bits VLAN id
};
static_assert(sizeof(VlanTag) == 4 && alignof(VlanTag) == 1);

// RFC 826, for IPv4 over Ethernet.
struct ArpPacket {
  be16 hardware;           // 1: Ethernet
  be16 protocol;           // kEtherIpv4
  uint8_t hardware_bytes;  // 6
  uint8_t protocol_bytes;  // 4
  be16 operation;          // 1 request, 2 reply
  uint8_t sender_mac[6];
  uint8_t sender_address[4];
  uint8_t target_mac[6];
  uint8_t target_address[4];
};
static_assert(sizeof(ArpPacket) == 28 && alignof(ArpPacket) == 1);

// RFC 791 section 3.1. Options, if any, follow the struct.
struct Ipv4Header {
  uint8_t version_ihl;  // 4 bits version (4), 4 bits header length in 32-bit words (5..15)
  uint8_t tos;          // DSCP and ECN, RFC 2474 and RFC 3168
  be16 total_length;    // bytes, header included
  be16 identification;
  be16 flags_fragment;  // 3 bits flags, 13 bits offset in units of 8 bytes
  uint8_t ttl;
  uint8_t protocol;
  be16 checksum;  // RFC 1071, over the header only
  uint8_t source[4];
  uint8_t destination[4];
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);
static_assert(offsetof(Ipv4Header, source) == 12);

// RFC 8200 section 3.
struct Ipv6Header {
  be32 version_class_flow;  // 4 bits version (6), 8 bits traffic class, 20 bits flow label
  be16 payload_length;      // bytes behind this header, extension headers included
  uint8_t next_header;
  uint8_t hop_limit;
  uint8_t source[16];
  uint8_t destination[16];
};
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);
static_assert(offsetof(Ipv6Header, source) == 8);

// RFC 8200 sections 4.3, 4.4 and 4.6: what hop-by-hop, routing and destination options begin with.
struct ExtensionHeader {
  uint8_t next_header;
  uint8_t length;         // in units of 8 bytes, the first 8 not counted
  uint8_t routing_type;   // routing header only
  uint8_t segments_left;  // routing header only
};
static_assert(sizeof(ExtensionHeader) == 4 && alignof(ExtensionHeader) == 1);

// RFC 8200 section 4.5.
struct Ipv6FragmentHeader {
  uint8_t next_header;
  uint8_t reserved;
  be16 offset_more;  // 13 bits offset in units of 8 bytes, 2 reserved, 1 more fragments
  be32 identification;
};
static_assert(sizeof(Ipv6FragmentHeader) == 8 && alignof(Ipv6FragmentHeader) == 1);

// RFC 9293 section 3.1.
struct TcpHeader {
  be16 source_port;
  be16 destination_port;
  be32 sequence;
  be32 acknowledgment;
  uint8_t data_offset;  // high 4 bits: header length in 32-bit words (5..15)
  uint8_t flags;
  be16 window;
  be16 checksum;
  be16 urgent;
};
static_assert(sizeof(TcpHeader) == 20 && alignof(TcpHeader) == 1);
static_assert(offsetof(TcpHeader, checksum) == 16);

inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kRst = 0x04;
inline constexpr uint8_t kAck = 0x10;

// RFC 768.
struct UdpHeader {
  be16 source_port;
  be16 destination_port;
  be16 length;    // bytes, header included
  be16 checksum;  // 0: none (IPv4)
};
static_assert(sizeof(UdpHeader) == 8 && alignof(UdpHeader) == 1);
static_assert(offsetof(UdpHeader, checksum) == 6);

// draft-ietf-intarea-gue section 3.1, variant 0.
struct GueHeader {
  uint8_t variant_length;  // 2 bits variant (0), 1 bit control, 5 bits length of extensions in 32-bit words
  uint8_t protocol;        // IANA protocol number of what follows
  be16 flags;              // which extensions there are
};
static_assert(sizeof(GueHeader) == 4 && alignof(GueHeader) == 1);

// RFC 792 and RFC 4443 section 2.1.
struct IcmpHeader {
  uint8_t type;
  uint8_t code;
  be16 checksum;
  be32 rest;  // by type; echo: identifier and sequence number
};
static_assert(sizeof(IcmpHeader) == 8 && alignof(IcmpHeader) == 1);

inline constexpr uint8_t kIcmpEchoReply = 0;
inline constexpr uint8_t kIcmpUnreachable = 3;
inline constexpr uint8_t kIcmpEchoRequest = 8;
inline constexpr uint8_t kIcmpTimeExceeded = 11;
inline constexpr uint8_t kIcmpParameterProblem = 12;
inline constexpr uint8_t kIcmpv6Unreachable = 1;
inline constexpr uint8_t kIcmpv6PacketTooBig = 2;
inline constexpr uint8_t kIcmpv6TimeExceeded = 3;
inline constexpr uint8_t kIcmpv6ParameterProblem = 4;
inline constexpr uint8_t kIcmpv6EchoRequest = 128;
inline constexpr uint8_t kIcmpv6EchoReply = 129;
inline constexpr uint8_t kMldQuery = 130;
inline constexpr uint8_t kNeighbourSolicitation = 135;
inline constexpr uint8_t kNeighbourAdvertisement = 136;

// RFC 4861 sections 4.3 and 4.4: solicitation and advertisement differ in `flags` only. Options follow.
struct NeighbourMessage {
  uint8_t type;
  uint8_t code;
  be16 checksum;
  be32 flags;  // advertisement: bit 31 router, 30 solicited, 29 override
  uint8_t target[16];
};
static_assert(sizeof(NeighbourMessage) == 24 && alignof(NeighbourMessage) == 1);

// RFC 4861 section 4.6.1.
struct LinkLayerOption {
  uint8_t type;    // 1 source, 2 target
  uint8_t length;  // in units of 8 bytes: 1
  uint8_t mac[6];
};
static_assert(sizeof(LinkLayerOption) == 8 && alignof(LinkLayerOption) == 1);

// The one place where bytes become a header. Returns nullptr if the header does not fit, so a caller
// cannot read a field that was not received.
template <typename Header>
Header* header_at(uint8_t* frame, size_t frame_bytes, size_t offset) {
  static_assert(alignof(Header) == 1);
  if (offset > frame_bytes) return nullptr;
  if (frame_bytes - offset < sizeof(Header)) return nullptr;
  return reinterpret_cast<Header*>(frame + offset);
}

template <typename Header>
const Header* header_at(const uint8_t* frame, size_t frame_bytes, size_t offset) {
  return header_at<Header>(const_cast<uint8_t*>(frame), frame_bytes, offset);
}

// A header that parse() has found whole already, or that an answer is about to write in the frame's tailroom.
template <typename Header>
Header& header_in(uint8_t* frame, size_t offset) {
  static_assert(alignof(Header) == 1);
  return *reinterpret_cast<Header*>(frame + offset);
}

}  // namespace tandem::wire
