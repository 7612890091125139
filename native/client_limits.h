// How many connections one client may open through one virtual server in a time: a token bucket for each, in one table
// for all workers.
//
//   bucket (64 bytes)   | client | client | ... 8 |     client: 24-bit tag | 40-bit time
//
// The time is when the client's allowance is whole again (the generic cell rate algorithm: each opening moves it on by
// one interval, and it may be ahead of now by the burst). A client whose time has come is as one that was never seen,
// so its place is free for the next. Place and tag come from a hash with a key chosen at start.
//
// Two clients are taken for one, and share an allowance, when bucket and tag are the same: at most once in 2 million
// pairs of clients that open connections at the same time. When all eight of a bucket are ahead, the one nearest to
// its whole allowance is forgotten: beyond some 100,000 clients at a time a limit gets looser, never stricter.
//
// A client is an IPv4 address or an IPv6 /64, for whoever has one address of a /64 has them all (RFC 6177).
//
// Threads: any worker. One atomic word for each client; no lock. Memory is reserved at start and touched as it is used.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "reserved_memory.h"

namespace tandem {

// What is allowed to each client; in ticks of 1,024 ns.
struct ClientRate {
  uint32_t interval;  // between two openings; 0: there is no limit
  uint64_t ahead;     // how far an allowance may be overdrawn: (burst - 1) intervals

  // `per_s` 0..kPerSMax, 0: no limit; `burst` at least 1 and so many that it lasts kBurstSMax at most.
  static ClientRate of(uint32_t per_s, uint32_t burst);
  static constexpr uint32_t kPerSMax = 100'000;
  static constexpr uint32_t kBurstSMax = 3600;
};

class ClientLimits {
 public:
  ClientLimits() = default;
  ClientLimits(const ClientLimits&) = delete;
  ClientLimits& operator=(const ClientLimits&) = delete;

  // Once, before any thread. False: no memory (errno).
  bool reserve();

  // Whether the client with this hash may open one more now. The hash is of the client and of what it is limited for,
  // with a key that nobody else knows. Before reserve(): always.
  bool take(uint64_t hash, const ClientRate& rate, Nanos now);

  static constexpr size_t kPlaces = 8;
  static constexpr size_t kBuckets = size_t{1} << 16;
  size_t bytes() const { return memory_.bytes(); }

 private:
  struct alignas(64) Bucket {
    std::atomic<uint64_t> clients[kPlaces];  // tag << 40 | time; 0: never used
  };

  ReservedMemory memory_;
  Bucket* buckets_ = nullptr;
};

}  // namespace tandem
