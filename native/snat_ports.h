// Which SNAT ports are free. A port is unique per (SNAT address, member, member port), so the same
// port serves every member once.
//
// The units of a pair allocate from disjoint halves of 1024..65535 (unit 0 the even ports, unit 1 the
// odd ones), so a takeover, a partition or a connection that was not mirrored yet never gives a port
// twice. A freed port goes to the end of its queue: the oldest is reused first. Those of connections that were
// never established have a queue of their own: no member has them in TIME-WAIT. They are given, oldest first, before
// those freed less than 60 s ago (TIME-WAIT at the member, RFC 9293 section 3.6.1), which are given only when no
// other is left, and that is counted. So a flood of half-open connections uses up no rested ports.
//
// A unit that was started again learns from the peer's records which ports of its half are in use (learn()); such a
// port is not given before it was freed, and then rests like any other. One in use that it does not know of yet is
// found out when the table refuses the flow: the caller then asks for the next.
#pragma once

#include <cstddef>
#include <cstdint>

#include "clock.h"

namespace tandem {

class SnatPorts {
 public:
  struct Allocation {
    uint16_t port;  // host byte order; 0: none is free
    bool early;     // freed by an established connection less than 60 s ago
  };

  SnatPorts() = default;
  SnatPorts(const SnatPorts&) = delete;
  SnatPorts& operator=(const SnatPorts&) = delete;
  ~SnatPorts();

  // Which port of a queue is given first. Random on a network: after a restart, members may hold our last ports in
  // TIME-WAIT. The lowest in a replay, which gives the same result every time.
  enum class First : uint8_t { kRandom, kLowest };

  // Once, before any thread. `unit` is 0 or 1.
  void start(uint8_t unit, First first = First::kRandom);

  // SNAT addresses are numbered here, for as long as this object lives: whoever closes a connection knows the
  // address only, and the policy that it came with may be gone. JavaScript thread; the same address gets the
  // same index. -1: there are kAddressesMax. `octets` are 4 or 16 in network byte order.
  static constexpr size_t kAddressesMax = 256;
  int add_address(uint8_t family, const uint8_t* octets);
  // Any thread. -1: never added.
  int find_address(uint8_t family, const uint8_t* octets) const;

  // Thread-safe; a spin lock per (address, endpoint). `address` is the index of the SNAT address, `endpoint`
  // the member's id. Memory for a pair (under 264 KiB, touched as ports are used) is made when it is first
  // used, on the JavaScript thread, by prepare(), false: there is none; allocate() of an unprepared pair gives 0.
  bool prepare(uint16_t address, uint16_t endpoint);
  Allocation allocate(uint16_t address, uint16_t endpoint, Nanos now);
  // A connection of the peer's has a port of ours: it was given before we started. JavaScript thread. Ports that were
  // given or learnt since, or are not of this unit's half, or of a pair that was not prepared, are passed over.
  void learn(uint16_t address, uint16_t endpoint, uint16_t port);
  // Whether a port has to rest before its next use.
  enum class Rest : uint8_t { kNone, kTimeWait };
  // Only ports of this unit's half are taken back; others are ignored. Twice is once.
  void release(uint16_t address, uint16_t endpoint, uint16_t port, Nanos now, Rest rest = Rest::kTimeWait);
  // The ports in use, one with each call, from the one given first on and round again: where every port that is freed
  // is given at once, that is the order in which they were given. 0: none is found.
  uint16_t next_in_use(uint16_t address, uint16_t endpoint);

  size_t free(uint16_t address, uint16_t endpoint) const;
  bool ours(uint16_t port) const;

 private:
  struct Impl;
  Impl* impl_ = nullptr;
};

}  // namespace tandem
