// One Linux interface as AF_PACKET sees it, shared by the workers that use it: its index, own MAC address
// and MTU, and the MAC addresses whose frames its NIC shall let through.
//
// Opened and joined on the JavaScript thread. The own MAC address is read once: a change of it while
// Tandem runs is not followed. Read packet(7) first.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "../system_error.h"
#include "device.h"

namespace tandem {

class PacketInterface {
 public:
  PacketInterface() = default;
  PacketInterface(const PacketInterface&) = delete;
  PacketInterface& operator=(const PacketInterface&) = delete;
  ~PacketInterface() { close(); }

  // `place` is where the config names the interface, for the error's sentence; it may be empty.
  SystemError open(const std::string& name, const std::string& place);
  void close();

  const std::string& name() const { return name_; }
  int index() const { return index_; }
  MacAddress mac() const { return mac_; }
  // Octets behind the Ethernet header that the interface sends.
  uint32_t mtu() const { return mtu_.load(std::memory_order_relaxed); }
  // Any thread. An interface that is gone keeps its last MTU.
  void refresh_mtu();

  // Makes `wanted` the whole set of MAC addresses received beside the own one. A NIC without room for a
  // unicast address goes promiscuous by itself; veth and bridge ports receive everything anyway.
  SystemError join(const std::vector<MacAddress>& wanted);

 private:
  std::string name_;
  int index_ = 0;
  int socket_ = -1;
  MacAddress mac_{};
  std::atomic<uint32_t> mtu_{1500};
  std::vector<MacAddress> joined_;
};

// An AF_PACKET socket bound to an interface and receiving nothing (protocol 0): for sending and for
// memberships. -1 and `error` when refused.
int open_packet_socket(const std::string& interface, int index, SystemError* error);

}  // namespace tandem
