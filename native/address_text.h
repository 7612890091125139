// Addresses as the operator writes and reads them. Cold paths only.
#pragma once

#include <cstdint>
#include <string>

#include "policy.h"

namespace tandem {

// `10.0.0.1` or `fd00::1`. False: neither.
bool parse_address(const std::string& text, Address* address);
std::string address_text(const Address& address);
// `10.0.0.1:80` or `[fd00::1]:80`. `port` in host byte order.
std::string address_port_text(const Address& address, uint16_t port);

// `02:00:00:00:00:01`, six octets in hexadecimal. False: it is not.
bool parse_mac(const std::string& text, MacAddress* mac);
std::string mac_text(const MacAddress& mac);

// LastHop and NextHop are one word: octet 0 of the MAC address lowest, device in bits 48..51, 802.1Q id in
// 52..63.
uint64_t hop_word(const MacAddress& mac, uint8_t device, uint16_t vlan);
MacAddress hop_mac(uint64_t hop);
inline uint8_t hop_device(uint64_t hop) { return static_cast<uint8_t>(hop >> 48 & 0x0f); }
inline uint16_t hop_vlan(uint64_t hop) { return static_cast<uint16_t>(hop >> 52); }

}  // namespace tandem
