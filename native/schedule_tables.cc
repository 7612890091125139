#include "schedule_tables.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "schedule_hash.h"

namespace tandem {
namespace {

using Wheel = std::vector<uint16_t>;

bool has_maglev_table(const Pool& pool) {
  return pool.scheduler == Scheduler::kMaglev || pool.scheduler == Scheduler::kSourceHash;
}

// Interleaved: the k-th of a member's w turns stands at (2k + 1) / 2w of the round, so the turns of every
// member are spread evenly over it whatever the others' weights are.
Wheel weighted_wheel(const Pool& pool) {
  uint64_t divisor = 0, sum = 0;
  for (const uint16_t i : pool.available) {
    divisor = std::gcd(divisor, uint64_t{pool.members[i].weight});
    sum += pool.members[i].weight;
  }
  if (divisor == 0) return {};
  sum /= divisor;

  struct Turn {
    uint32_t position, of;  // a fraction of the round
    uint16_t member;
  };
  std::vector<Turn> turns;
  for (const uint16_t i : pool.available) {
    uint64_t weight = pool.members[i].weight / divisor;
    if (sum > kWheelEntriesMax) weight = std::max<uint64_t>(1, weight * kWheelEntriesMax / sum);
    for (uint32_t k = 0; k < weight; ++k) turns.push_back({2 * k + 1, static_cast<uint32_t>(2 * weight), i});
  }
  std::stable_sort(turns.begin(), turns.end(), [](const Turn& a, const Turn& b) {
    return uint64_t{a.position} * b.of < uint64_t{b.position} * a.of;
  });
  Wheel wheel;
  wheel.reserve(turns.size());
  for (const Turn& turn : turns) wheel.push_back(turn.member);
  return wheel;
}

// Eisenbud et al., Maglev (NSDI 2016), section 3.4: every member has a permutation of the table's entries of
// its own; in turn each takes the first entry of its permutation that is still free. Weights: a member takes
// part in a round when its credit, which grows by its share of the largest weight, has reached one.
Wheel maglev_table(const Pool& pool) {
  if (pool.available.empty()) return {};
  const size_t entries = maglev_size(pool.members.size());

  struct Filler {
    uint32_t next, skip, credit, weight;
    uint16_t member;
  };
  std::vector<uint16_t> order = pool.available;
  std::sort(order.begin(), order.end(), [&pool](uint16_t a, uint16_t b) {
    const Member &x = pool.members[a], &y = pool.members[b];
    const int addresses = std::memcmp(x.address.octets, y.address.octets, sizeof x.address.octets);
    return addresses != 0 ? addresses < 0 : x.port < y.port;
  });
  std::vector<Filler> fillers;
  uint32_t heaviest = 0;
  for (const uint16_t i : order) {
    const Member& member = pool.members[i];
    const uint64_t offset = hash_address(0x6f66667365740001, member.address.octets, member.port) % entries;
    const uint64_t skip = hash_address(0x736b697000000001, member.address.octets, member.port) % (entries - 1) + 1;
    fillers.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(skip), 0, member.weight, i});
    heaviest = std::max<uint32_t>(heaviest, member.weight);
  }

  constexpr uint16_t kFree = 0xffff;
  const auto end = static_cast<uint32_t>(entries);
  Wheel table(entries, kFree);
  for (size_t filled = 0; filled < entries;) {
    for (Filler& filler : fillers) {
      filler.credit += filler.weight;
      if (filler.credit < heaviest) continue;
      filler.credit -= heaviest;
      uint32_t next = filler.next;
      while (table[next] != kFree) {
        next += filler.skip;
        if (next >= end) next -= end;
      }
      table[next] = filler.member;
      filler.next = next;
      if (++filled == entries) break;
    }
  }
  return table;
}

// Priority by priority, until enough members serve; the rest of those that could are spare.
void choose_who_serves(Pool& pool) {
  std::vector<uint16_t> able;
  for (size_t i = 0; i < pool.members.size(); ++i) {
    if (pool.members[i].is_available()) able.push_back(static_cast<uint16_t>(i));
  }
  std::stable_sort(able.begin(), able.end(),
                   [&pool](uint16_t a, uint16_t b) { return pool.members[a].priority > pool.members[b].priority; });
  size_t serving = 0;
  while (serving < able.size() && serving < std::max<size_t>(pool.active_min, 1)) {
    const uint16_t priority = pool.members[able[serving]].priority;
    while (serving < able.size() && pool.members[able[serving]].priority == priority) ++serving;
  }
  const auto first_spare = able.begin() + static_cast<std::ptrdiff_t>(serving);
  pool.available.assign(able.begin(), first_spare);
  std::sort(pool.available.begin(), pool.available.end());
  pool.spare.assign(first_spare, able.end());
}

// A pool that has just come begins with all of its members at once: there is nobody to shield them.
void begin_slow_starts(Pool& pool, const Pool* before, Nanos now) {
  for (Member& member : pool.members) {
    member.ramp_from = 0;
    if (pool.slow_start == 0 || before == nullptr || !member.is_available()) continue;
    const int was = before->member_with(member.endpoint);
    if (was < 0 || !before->members[static_cast<size_t>(was)].is_available()) {
      member.ramp_from = std::max<Nanos>(now, 1);
    } else if (const Nanos from = before->members[static_cast<size_t>(was)].ramp_from; now < from + pool.slow_start) {
      member.ramp_from = from;
    }
  }
}

// Whether the wheel comes out as it did: the same members serve, by index, and none weighs more or less.
bool has_the_same_wheel(const Pool& pool, const Pool& before) {
  if (before.wheel == nullptr || has_maglev_table(pool) != has_maglev_table(before)) return false;
  if (pool.available != before.available || pool.members.size() != before.members.size()) return false;
  return std::all_of(pool.available.begin(), pool.available.end(), [&](uint16_t i) {
    const Member &is = pool.members[i], &was = before.members[i];
    return is.address == was.address && is.port == was.port && is.weight == was.weight;
  });
}

}  // namespace

size_t maglev_size(size_t members) {
  for (const size_t entries : kMaglevSizes) {
    if (members * 100 <= entries) return entries;
  }
  return std::end(kMaglevSizes)[-1];
}

void prepare_schedule(Pool& pool, const Pool* before, Nanos now) {
  begin_slow_starts(pool, before, now);
  choose_who_serves(pool);
  pool.by_endpoint.clear();
  for (size_t i = 0; i < pool.members.size(); ++i)
    pool.by_endpoint.emplace_back(pool.members[i].endpoint, static_cast<uint16_t>(i));
  std::sort(pool.by_endpoint.begin(), pool.by_endpoint.end());
  // Who was next is next, whatever has changed: else, with a change a second, the first members would get the most.
  if (before != nullptr) pool.turn.store(before->turn.load(std::memory_order_relaxed), std::memory_order_relaxed);

  pool.wheel = nullptr;
  const bool maglev = has_maglev_table(pool);
  if (!maglev && pool.scheduler != Scheduler::kWeightedRoundRobin) return;
  if (before != nullptr && has_the_same_wheel(pool, *before)) {
    pool.wheel = before->wheel;
  } else {
    pool.wheel = std::make_shared<const Wheel>(maglev ? maglev_table(pool) : weighted_wheel(pool));
  }
}

}  // namespace tandem
