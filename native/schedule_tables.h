// What schedulers go by, made on the JavaScript thread before a policy is published: who serves, in which turns, and
// Maglev's tables. Both units must come to the same Maglev table from the same config, so it is made from members'
// addresses and ports, never from ids or the order of the file.
#pragma once

#include <cstddef>

#include "policy.h"

namespace tandem {

// Entries of a weighted wheel; the weights of a pool whose sum is larger are scaled down to fit.
inline constexpr size_t kWheelEntriesMax = 16384;
// Maglev's table sizes (primes): the paper asks for at least a hundred entries per member, for shares even
// to a percent; the last is for all larger pools. By the pool's configured size, so that a member going down does not
// change it. No larger than needed: all tables of a policy together then take about 0.1 s to make, however it is cut.
inline constexpr size_t kMaglevSizes[] = {2039, 4093, 8191, 16381, 32749, 65537};
size_t maglev_size(size_t members);

// Fills everything of the pool that is derived. `before` is the same pool in the policy before, or nullptr: its wheel
// is shared if it would come out the same, slow starts go on, and members that were not available in it begin theirs.
void prepare_schedule(Pool& pool, const Pool* before = nullptr, Nanos now = 0);

}  // namespace tandem
