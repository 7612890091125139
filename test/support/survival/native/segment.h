// TCP segments as frames, RFC 9293 section 3.1 over IPv4 and IPv6 over Ethernet: written whole, read with every
// checksum looked at. Options are ignored, IPv4 options and IPv6 extension headers refused: the far ends send none.
#pragma once

#include <optional>

#include "native/wire/checksum.h"
#include "native/wire/headers.h"
#include "packet_socket.h"

namespace survival {

// IPv4 in the first four octets, the others zero.
using Address = std::array<uint8_t, 16>;

inline constexpr uint8_t kPush = 0x08;

struct Segment {
  Mac to_mac, from_mac;
  uint8_t family;  // 4 or 6
  Address from, to;
  uint16_t from_port, to_port;
  uint32_t sequence, acknowledgment;
  uint8_t flags;
  uint16_t window;
  const uint8_t* data;
  size_t bytes;
};

inline size_t address_bytes(uint8_t family) { return family == 4 ? 4 : 16; }

// Of a pseudo-header and what follows it: 0 if a received one is right.
inline tandem::wire::be16 transport_checksum(uint8_t family, const uint8_t* addresses, uint8_t protocol,
                                             const uint8_t* transport, size_t bytes) {
  return tandem::wire::checksum_of(
      tandem::wire::sum_pseudo_header(family, addresses, static_cast<uint32_t>(bytes), protocol) +
      tandem::wire::sum_octets(transport, bytes));
}

// So that a far end's answer fits a frame, and a question the ring's slot: what a far end takes at once.
inline constexpr uint16_t kWindow = 512;
static_assert(sizeof(tandem::wire::EthernetHeader) + sizeof(tandem::wire::Ipv6Header) +
                  sizeof(tandem::wire::TcpHeader) + kWindow <=
              PacketSocket::kFrameBytesMax);

// Of at most kWindow octets of data, into a frame of kFrameBytesMax octets; returns how many were written.
inline size_t write_segment(const Segment& segment, uint8_t* frame) {
  using namespace tandem::wire;
  auto& ethernet = header_in<EthernetHeader>(frame, 0);
  std::memcpy(ethernet.destination, segment.to_mac.data(), 6);
  std::memcpy(ethernet.source, segment.from_mac.data(), 6);
  const size_t transport_bytes = sizeof(TcpHeader) + segment.bytes;
  const uint8_t* addresses;
  size_t at = sizeof(EthernetHeader);
  if (segment.family == 4) {
    ethernet.ethertype = kEtherIpv4;
    auto& ip = header_in<Ipv4Header>(frame, at);
    ip = {};
    ip.version_ihl = 0x45;
    ip.total_length = static_cast<uint16_t>(sizeof(Ipv4Header) + transport_bytes);
    ip.flags_fragment = 0x4000;
    ip.ttl = 64;
    ip.protocol = kTcp;
    std::memcpy(ip.source, segment.from.data(), 4);
    std::memcpy(ip.destination, segment.to.data(), 4);
    ip.checksum = checksum_of(sum_octets(frame + at, sizeof ip));
    addresses = ip.source;
    at += sizeof ip;
  } else {
    ethernet.ethertype = kEtherIpv6;
    auto& ip = header_in<Ipv6Header>(frame, at);
    ip.version_class_flow = 6u << 28;
    ip.payload_length = static_cast<uint16_t>(transport_bytes);
    ip.next_header = kTcp;
    ip.hop_limit = 64;
    std::memcpy(ip.source, segment.from.data(), 16);
    std::memcpy(ip.destination, segment.to.data(), 16);
    addresses = ip.source;
    at += sizeof ip;
  }
  auto& tcp = header_in<TcpHeader>(frame, at);
  tcp = {};
  tcp.source_port = segment.from_port;
  tcp.destination_port = segment.to_port;
  tcp.sequence = segment.sequence;
  tcp.acknowledgment = segment.acknowledgment;
  tcp.data_offset = sizeof tcp / 4 << 4;
  tcp.flags = segment.flags;
  tcp.window = segment.window;
  if (segment.bytes > 0) std::memcpy(frame + at + sizeof tcp, segment.data, segment.bytes);
  tcp.checksum = transport_checksum(segment.family, addresses, kTcp, frame + at, transport_bytes);
  return at + transport_bytes;
}

enum class ReadResult { kSegment, kOther, kBadChecksum };

// `segment->data` points into the frame.
inline ReadResult read_segment(const Received& received, Segment* segment) {
  using namespace tandem::wire;
  const auto* ethernet = header_at<EthernetHeader>(received.frame, received.bytes, 0);
  if (ethernet == nullptr) return ReadResult::kOther;
  std::memcpy(segment->to_mac.data(), ethernet->destination, 6);
  std::memcpy(segment->from_mac.data(), ethernet->source, 6);
  const uint8_t* addresses;
  size_t at = sizeof(EthernetHeader), transport_bytes;
  segment->from = segment->to = {};
  if (ethernet->ethertype.host() == kEtherIpv4) {
    const auto* ip = header_at<Ipv4Header>(received.frame, received.bytes, at);
    if (ip == nullptr || ip->version_ihl != 0x45 || ip->protocol != kTcp) return ReadResult::kOther;
    if ((ip->flags_fragment.host() & 0x3fff) != 0 || ip->total_length.host() < sizeof *ip) return ReadResult::kOther;
    if (checksum_of(sum_octets(received.frame + at, sizeof *ip)).host() != 0) return ReadResult::kBadChecksum;
    transport_bytes = ip->total_length.host() - sizeof *ip;
    addresses = ip->source;
    at += sizeof *ip;
  } else if (ethernet->ethertype.host() == kEtherIpv6) {
    const auto* ip = header_at<Ipv6Header>(received.frame, received.bytes, at);
    if (ip == nullptr || ip->next_header != kTcp) return ReadResult::kOther;
    transport_bytes = ip->payload_length.host();
    addresses = ip->source;
    at += sizeof *ip;
  } else {
    return ReadResult::kOther;
  }
  segment->family = ethernet->ethertype.host() == kEtherIpv4 ? 4 : 6;
  const auto* tcp = header_at<TcpHeader>(received.frame, received.bytes, at);
  // What was longer than a slot of the ring is no segment of a far end.
  if (tcp == nullptr || received.bytes < at + transport_bytes) return ReadResult::kOther;
  const size_t header_bytes = size_t{4} * (tcp->data_offset >> 4);
  if (header_bytes < sizeof *tcp || header_bytes > transport_bytes) return ReadResult::kOther;
  if (!received.checksum_unfinished &&
      transport_checksum(segment->family, addresses, kTcp, received.frame + at, transport_bytes).host() != 0) {
    return ReadResult::kBadChecksum;
  }
  std::memcpy(segment->from.data(), addresses, address_bytes(segment->family));
  std::memcpy(segment->to.data(), addresses + address_bytes(segment->family), address_bytes(segment->family));
  segment->from_port = tcp->source_port.host();
  segment->to_port = tcp->destination_port.host();
  segment->sequence = tcp->sequence.host();
  segment->acknowledgment = tcp->acknowledgment.host();
  segment->flags = tcp->flags;
  segment->window = tcp->window.host();
  segment->data = received.frame + at + header_bytes;
  segment->bytes = transport_bytes - header_bytes;
  return ReadResult::kSegment;
}

// The window of a RST that a far end sends: a RST with any other came from somebody between the two.
inline constexpr uint16_t kMembersRst = 0x5253;

inline Address address_of(const std::string& text) {
  Address address = {};
  if (inet_pton(text.find(':') == std::string::npos ? AF_INET : AF_INET6, text.c_str(), address.data()) != 1) {
    errno = EINVAL;
    wire::fail(text);
  }
  return address;
}

inline Mac mac_of(const std::string& text) {
  Mac mac = {};
  unsigned octets[6] = {};
  if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &octets[0], &octets[1], &octets[2], &octets[3], &octets[4],
                  &octets[5]) != 6) {
    errno = EINVAL;
    wire::fail(text);
  }
  for (size_t i = 0; i < 6; ++i) mac[i] = static_cast<uint8_t>(octets[i]);
  return mac;
}

// splitmix64's finalizer: every bit of the result depends on every bit of `value`.
inline uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace survival
