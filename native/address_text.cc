// Text of addresses, through inet_pton(3) and inet_ntop(3), which write IPv6 canonically (RFC 5952).
#include "address_text.h"

#include <arpa/inet.h>

#include <cstdio>

namespace tandem {

bool parse_address(const std::string& text, Address* address) {
  *address = Address{};
  if (inet_pton(AF_INET, text.c_str(), address->octets) == 1) {
    address->family = 4;
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), address->octets) == 1) {
    address->family = 6;
    return true;
  }
  return false;
}

std::string address_text(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(address.family == 4 ? AF_INET : AF_INET6, address.octets, text, sizeof text);
  return text;
}

std::string address_port_text(const Address& address, uint16_t port) {
  std::string text = address_text(address);
  if (port == 0) return text;
  return (address.family == 4 ? text : "[" + text + "]") + ":" + std::to_string(port);
}

bool parse_mac(const std::string& text, MacAddress* mac) {
  unsigned octets[6];
  char rest;
  if (text.size() != 17 || sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &octets[0], &octets[1], &octets[2],
                                  &octets[3], &octets[4], &octets[5], &rest) != 6) {
    return false;
  }
  for (size_t i = 0; i < 6; i++) mac->octets[i] = static_cast<uint8_t>(octets[i]);
  return true;
}

std::string mac_text(const MacAddress& mac) {
  char text[18];
  snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac.octets[0], mac.octets[1], mac.octets[2],
           mac.octets[3], mac.octets[4], mac.octets[5]);
  return text;
}

uint64_t hop_word(const MacAddress& mac, uint8_t device, uint16_t vlan) {
  uint64_t word = uint64_t{device} << 48 | uint64_t{vlan} << 52;
  for (size_t i = 0; i < 6; i++) word |= uint64_t{mac.octets[i]} << 8 * i;
  return word;
}

MacAddress hop_mac(uint64_t hop) {
  MacAddress mac;
  for (size_t i = 0; i < 6; i++) mac.octets[i] = static_cast<uint8_t>(hop >> 8 * i);
  return mac;
}

}  // namespace tandem
