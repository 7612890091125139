// Which member a new connection goes to. What it goes by (who serves, wheels, Maglev's tables) is made once per policy
// in schedule_tables.h; here is what happens for each connection.
//
// Three things are asked of a member besides the scheduler's own order, and of all schedulers alike:
//   * its limit: at connections_max it is passed over, and the next in the order is asked;
//   * slow start: of a member that came up a moment ago only a share of the connections that fall to it are given to
//   it,
//     growing from 1/256 to all of them over Pool::slow_start; which ones is decided by the client's hash, so a hash
//     scheduler that has given a client to it once goes on to;
//   * its priority: those in Pool::spare are asked when every member that serves is at its limit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "policy.h"
#include "runtime.h"

namespace tandem {

// Members that least connections compares for one connection, starting where the last look ended.
inline constexpr size_t kLeastConnectionsScanMax = 64;
// Places of a wheel that are tried for one connection; behind them each member once.
inline constexpr size_t kWheelLooksMax = 64;

struct Choice {
  int member;  // index in Pool::members; -1: none
  bool full;   // none, although some are available: all of those have as many connections as they may have
};

// The connection is counted at the member that was chosen (Endpoint::reserve()); the caller releases it if nothing is
// opened. Nobody is chosen beyond its limit, however many workers ask at once. `client_hash` as below.
Choice schedule(const Pool& pool, Runtime& runtime, uint64_t client_hash, Nanos now);

// What slow start gives a member of its share of new connections, in 256ths.
inline constexpr uint32_t kWholeShare = 256;
uint32_t share_of(const Pool& pool, const Member& member, Nanos now);

// The same on both units and after a restart: of a client's address and port (network byte order), or, with source
// hash, of its address alone, so that all of a client's connections go to one member.
uint64_t hash_of_client(const Pool& pool, uint8_t family, const uint8_t* address, const uint8_t* port);

}  // namespace tandem
