// The frames of the wire benchmark: IPv4 with UDP or TCP, payload all zeros, source address and port left to the
// generator (shared.h says what is written here).
#pragma once

#include <arpa/inet.h>

#include <cstdint>

#include "options.h"
#include "shared.h"

namespace wire {

inline uint32_t sum16(const uint8_t* octets, size_t count) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < count; i += 2) {
    uint16_t word;
    std::memcpy(&word, octets + i, 2);
    sum += word;
  }
  return sum;
}

inline void put16(uint8_t* to, size_t value) {
  to[0] = static_cast<uint8_t>(value >> 8);
  to[1] = static_cast<uint8_t>(value);
}

inline void put32(uint8_t* to, uint32_t value) {
  put16(to, value >> 16);
  put16(to + 2, value & 0xffff);
}

inline void put_mac(uint8_t* to, const std::string& text) {
  unsigned octets[6] = {};
  std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5);
  for (size_t i = 0; i < 6; ++i) to[i] = static_cast<uint8_t>(octets[i]);
}

inline uint32_t address_of(const std::string& text) {
  uint32_t address;
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) fail("address " + text);
  return address;
}

// `bytes` without the check sequence. TCP packets end with their header: what fills the frame up is padding.
inline void describe(wire_template* to, const std::string& to_mac, const std::string& from_mac, uint32_t address,
                     uint16_t port, bool tcp, bool opens, size_t bytes) {
  uint8_t* frame = to->headers;
  std::memset(to, 0, sizeof *to);
  put_mac(frame, to_mac);
  put_mac(frame + 6, from_mac);
  put16(frame + 12, 0x0800);
  const size_t packet = tcp ? 40 : bytes - 14;
  uint8_t* ip = frame + 14;
  ip[0] = 0x45;
  put16(ip + 2, packet);
  put16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = tcp ? 6 : 17;
  std::memcpy(ip + 16, &address, 4);
  uint8_t* transport = ip + 20;
  put16(transport + 2, port);
  if (tcp) {
    put32(transport + 4, WIRE_CLIENT_SEQUENCE + (opens ? 0 : 1));
    put32(transport + 8, opens ? 0 : WIRE_SERVER_SEQUENCE + 1);
    transport[12] = 0x50;
    transport[13] = opens ? 0x02 : 0x18;
    put16(transport + 14, 65535);
  } else {
    put16(transport + 4, packet - 20);
  }
  to->network_sum = sum16(ip, 20);
  to->probe_sum = htons(WIRE_PROBE_TOS);
  to->transport_sum =
      sum16(ip + 12, 8) + sum16(transport, 20) + htons(ip[9]) + htons(static_cast<uint16_t>(packet - 20));
}

}  // namespace wire
