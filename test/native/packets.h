// Frames for tests, built field by field from a description and summed up by an implementation of RFC 1071
// that shares nothing with native/wire/checksum.h.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace tandem::test {

using Bytes = std::vector<uint8_t>;

inline void put16(Bytes& to, uint32_t value) {
  to.push_back(static_cast<uint8_t>(value >> 8));
  to.push_back(static_cast<uint8_t>(value));
}

inline void put32(Bytes& to, uint32_t value) {
  put16(to, value >> 16);
  put16(to, value);
}

inline void put(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

inline void set16(Bytes& in, size_t at, uint32_t value) {
  in[at] = static_cast<uint8_t>(value >> 8);
  in[at + 1] = static_cast<uint8_t>(value);
}

inline Bytes mac(const char* text) {
  unsigned o[6] = {};
  std::sscanf(text, "%x:%x:%x:%x:%x:%x", &o[0], &o[1], &o[2], &o[3], &o[4], &o[5]);
  Bytes octets;
  for (const unsigned octet : o) octets.push_back(static_cast<uint8_t>(octet));
  return octets;
}

inline bool is_v6(const std::string& address) { return address.find(':') != std::string::npos; }

// 4 or 16 octets.
inline Bytes address(const std::string& text) {
  Bytes octets(is_v6(text) ? 16 : 4);
  inet_pton(is_v6(text) ? AF_INET6 : AF_INET, text.c_str(), octets.data());
  return octets;
}

// RFC 1071 section 4.1, word by word in network order.
inline uint16_t reference_sum(const Bytes& octets) {
  uint32_t sum = 0;
  for (size_t i = 0; i < octets.size(); ++i) sum += i % 2 == 0 ? octets[i] << 8 : octets[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

struct Link {
  const char* destination;
  const char* source;
  std::vector<uint16_t> vlans = {};  // outer first
  uint16_t tpid = 0x8100;            // of the outer one
};

inline Bytes ethernet(const Link& link, uint16_t ethertype, const Bytes& payload) {
  Bytes frame = mac(link.destination);
  put(frame, mac(link.source));
  for (size_t i = 0; i < link.vlans.size(); ++i) {
    put16(frame, i == 0 ? link.tpid : 0x8100);
    put16(frame, link.vlans[i]);
  }
  put16(frame, ethertype);
  put(frame, payload);
  return frame;
}

struct Ip {
  std::string source, destination;
  uint8_t ttl = 64;
  uint16_t identification = 0x1234;
  uint16_t flags_fragment = 0x4000;
  Bytes options = {};           // IPv4: a multiple of four octets
  Bytes extensions = {};        // IPv6: whole headers; the last must name the protocol itself
  uint8_t first_extension = 0;  // protocol number of the first
  uint8_t tos = 0;              // IPv4
};

inline Bytes ip_packet(const Ip& ip, uint8_t protocol, const Bytes& payload) {
  Bytes packet;
  if (is_v6(ip.source)) {
    put32(packet, 0x60000000);
    put16(packet, static_cast<uint32_t>(ip.extensions.size() + payload.size()));
    packet.push_back(ip.extensions.empty() ? protocol : ip.first_extension);
    packet.push_back(ip.ttl);
    put(packet, address(ip.source));
    put(packet, address(ip.destination));
    put(packet, ip.extensions);
  } else {
    const size_t header_bytes = 20 + ip.options.size();
    packet.push_back(static_cast<uint8_t>(0x40 | header_bytes / 4));
    packet.push_back(ip.tos);
    put16(packet, static_cast<uint32_t>(header_bytes + payload.size()));
    put16(packet, ip.identification);
    put16(packet, ip.flags_fragment);
    packet.push_back(ip.ttl);
    packet.push_back(protocol);
    put16(packet, 0);
    put(packet, address(ip.source));
    put(packet, address(ip.destination));
    put(packet, ip.options);
    set16(packet, 10, static_cast<uint16_t>(~reference_sum(packet)));
  }
  put(packet, payload);
  return packet;
}

// Fills the 16 bits at `at` of a transport header, pseudo-header included (ICMP of IPv4 has none).
inline void finish_transport(const Ip& ip, uint8_t protocol, size_t at, Bytes* transport) {
  Bytes summed;
  if (protocol != 1) {
    put(summed, address(ip.source));
    put(summed, address(ip.destination));
    put32(summed, static_cast<uint32_t>(transport->size()));
    put32(summed, protocol);
  }
  put(summed, *transport);
  uint16_t checksum = static_cast<uint16_t>(~reference_sum(summed));
  if (protocol == 17 && checksum == 0) checksum = 0xffff;
  set16(*transport, at, checksum);
}

struct Tcp {
  uint16_t source_port, destination_port;
  uint8_t flags;
  uint32_t sequence = 1000, acknowledgment = 1001;
  std::string payload = {};
  uint16_t window = 0x2000;
};

inline Bytes tcp_frame(const Link& link, const Ip& ip, const Tcp& tcp) {
  Bytes segment;
  put16(segment, tcp.source_port);
  put16(segment, tcp.destination_port);
  put32(segment, tcp.sequence);
  put32(segment, tcp.acknowledgment);
  segment.push_back(5 << 4);
  segment.push_back(tcp.flags);
  put16(segment, tcp.window);
  put32(segment, 0);
  put(segment, Bytes(tcp.payload.begin(), tcp.payload.end()));
  finish_transport(ip, 6, 16, &segment);
  return ethernet(link, is_v6(ip.source) ? 0x86dd : 0x0800, ip_packet(ip, 6, segment));
}

struct Udp {
  uint16_t source_port, destination_port;
  std::string payload = {};
  bool checksum = true;
};

inline Bytes udp_frame(const Link& link, const Ip& ip, const Udp& udp) {
  Bytes datagram;
  put16(datagram, udp.source_port);
  put16(datagram, udp.destination_port);
  put16(datagram, static_cast<uint32_t>(8 + udp.payload.size()));
  put16(datagram, 0);
  put(datagram, Bytes(udp.payload.begin(), udp.payload.end()));
  if (udp.checksum) finish_transport(ip, 17, 6, &datagram);
  return ethernet(link, is_v6(ip.source) ? 0x86dd : 0x0800, ip_packet(ip, 17, datagram));
}

// ICMP or ICMPv6 by the family; `body` is everything behind the checksum.
inline Bytes icmp_frame(const Link& link, const Ip& ip, uint8_t type, uint8_t code, const Bytes& body) {
  Bytes message = {type, code, 0, 0};
  put(message, body);
  const uint8_t protocol = is_v6(ip.source) ? 58 : 1;
  finish_transport(ip, protocol, 2, &message);
  return ethernet(link, is_v6(ip.source) ? 0x86dd : 0x0800, ip_packet(ip, protocol, message));
}

struct Arp {
  uint16_t operation;
  const char* sender_mac;
  std::string sender;
  const char* target_mac;
  std::string target;
};

inline Bytes arp_frame(const Link& link, const Arp& arp) {
  Bytes packet = {0, 1, 8, 0, 6, 4};
  put16(packet, arp.operation);
  put(packet, mac(arp.sender_mac));
  put(packet, address(arp.sender));
  put(packet, mac(arp.target_mac));
  put(packet, address(arp.target));
  return ethernet(link, 0x0806, packet);
}

inline std::string hex(const Bytes& octets) {
  std::string text;
  char two[4];
  for (size_t i = 0; i < octets.size(); ++i) {
    std::snprintf(two, sizeof two, "%02x%s", octets[i], i % 2 == 1 ? " " : "");
    text += two;
  }
  return text;
}

}  // namespace tandem::test
