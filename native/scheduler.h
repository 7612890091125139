// Which member a new connection goes to. Both units must come to the same Maglev table from the same
// config, so it is made from members' addresses and ports, never from ids or the order of the file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "policy.h"
#include "runtime.h"

namespace tandem {

// Entries of a weighted wheel; the weights of a pool whose sum is larger are scaled down to fit.
inline constexpr size_t kWheelEntriesMax = 16384;
// Members that least connections looks at for one connection, starting where the last look ended.
inline constexpr size_t kLeastConnectionsScanMax = 64;
// Maglev's table sizes (primes): the paper asks for at least a hundred entries per member, for shares even
// to a percent. By the pool's configured size, so that a member going down does not change it.
inline constexpr size_t kMaglevSmall = 2039;
inline constexpr size_t kMaglevLarge = 65537;

// Fills available and wheel from the members. JavaScript thread, before the policy is published.
void prepare_schedule(Pool& pool);

// Index in pool.members, or -1 if no member is available. `client_hash` counts for Maglev and source hash.
int schedule(const Pool& pool, const Runtime& runtime, uint64_t client_hash);

// The same on both units and after a restart: of a client's address and port (network byte order), or, with source
// hash, of its address alone, so that all of a client's connections go to one member.
uint64_t hash_of_client(const Pool& pool, uint8_t family, const uint8_t* address, const uint8_t* port);

}  // namespace tandem
