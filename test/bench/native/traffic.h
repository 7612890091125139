// The network around one unit in memory: many clients, members that answer, 64-byte frames of either, written into
// buffers laid out like a device's. It writes frames only; what forwards them, and what that costs, is engine.cc's.
#pragma once

#include <memory>
#include <vector>

#include "../../../native/reserved_memory.h"
#include "../../../native/wire/headers.h"
#include "../../native/unit.h"

namespace tandem::bench {

inline constexpr size_t kMembers = 32;
inline constexpr size_t kVirtualServers = 8;
// Of the frame on the wire, its 4 octets of check sequence not counted: the 64 bytes of the smallest Ethernet frame.
inline constexpr uint32_t kFrameBytes = 60;
inline constexpr uint8_t kData = wire::kAck | 0x08;  // ACK and PSH
inline constexpr uint8_t kSynAck = wire::kSyn | wire::kAck;

// Virtual servers 10.1.0.100.. port 80 over one pool, with as many SNAT addresses as `connections` need ports.
std::unique_ptr<Policy> policy_for(size_t connections);

// A generator that is small, fast and the same every time (xorshift64*, Vigna 2016).
class Chance {
 public:
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  // Below `limit`.
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>((next() >> 32) * limit >> 32); }

 private:
  uint64_t state_ = 0x9e3779b97f4a7c15;
};

class Traffic {
 public:
  explicit Traffic(size_t connections);

  // Into buffer `at` of the next burst.
  void from_client(size_t at, uint32_t connection, uint8_t flags);
  void from_member(size_t at, uint32_t connection, uint8_t flags);
  // Buffer `at` holds the client's SYN as the member receives it: where the member's answers go from now on.
  void learn(size_t at, uint32_t connection);
  // Memory that from_member() will read.
  void prefetch(uint32_t connection) const { __builtin_prefetch(&servers_[connection]); }

  // Bursts take turns in the buffers, as they do in a device's ring.
  void next_burst();
  Frame* frames() { return frames_.data(); }

 private:
  // How the members see a connection; all in network byte order as in a frame.
  struct ServerSide {
    uint32_t member, snat;
    uint16_t snat_port;
  };
  // A frame without addresses and ports, and the sums of what it holds.
  struct Template {
    uint8_t octets[64];
    uint64_t network_sum, transport_sum;
  };

  static Template make_template(const char* to, const char* from, uint16_t source_port, uint16_t destination_port);
  void write(size_t at, const Template& from, uint8_t device, uint32_t source, uint32_t destination, uint32_t ports,
             uint8_t flags);

  // As in an AF_XDP umem: chunks of 2 KiB with the headroom the kernel leaves.
  static constexpr size_t kChunks = 512, kChunkBytes = 2048, kHeadroom = 256;

  ReservedMemory server_memory_;
  ServerSide* servers_;
  Template client_template_, member_template_;
  std::vector<uint8_t> memory_;
  size_t first_ = 0;
  std::array<Frame, kBurst> frames_;
};

}  // namespace tandem::bench
