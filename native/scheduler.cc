#include "scheduler.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace tandem {
namespace {

// splitmix64's finisher: every bit of the input reaches every bit of the output.
constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t load64(const uint8_t* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

uint64_t hash_address(uint64_t seed, const uint8_t octets[16], uint16_t port) {
  return mix(mix(mix(seed ^ load64(octets)) ^ load64(octets + 8)) ^ port);
}

// A number below `bound` from a hash, without a division.
size_t below(size_t bound, uint64_t hash) { return static_cast<size_t>((hash >> 32) * bound >> 32); }

// Interleaved: the k-th of a member's w turns stands at (2k + 1) / 2w of the round, so the turns of every
// member are spread evenly over it whatever the others' weights are.
std::vector<uint16_t> weighted_wheel(const Pool& pool) {
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
  std::vector<uint16_t> wheel;
  wheel.reserve(turns.size());
  for (const Turn& turn : turns) wheel.push_back(turn.member);
  return wheel;
}

// Eisenbud et al., Maglev (NSDI 2016), section 3.4: every member has a permutation of the table's entries of
// its own; in turn each takes the first entry of its permutation that is still free. Weights: a member takes
// part in a round when its credit, which grows by its share of the largest weight, has reached one.
std::vector<uint16_t> maglev_table(const Pool& pool) {
  if (pool.available.empty()) return {};
  const size_t entries = pool.members.size() * 100 <= kMaglevSmall ? kMaglevSmall : kMaglevLarge;

  struct Filler {
    uint64_t next, skip, credit;
    uint16_t member;
  };
  std::vector<uint16_t> order = pool.available;
  std::sort(order.begin(), order.end(), [&pool](uint16_t a, uint16_t b) {
    const Member &x = pool.members[a], &y = pool.members[b];
    const int addresses = std::memcmp(x.address.octets, y.address.octets, sizeof x.address.octets);
    return addresses != 0 ? addresses < 0 : x.port < y.port;
  });
  std::vector<Filler> fillers;
  uint64_t heaviest = 0;
  for (const uint16_t i : order) {
    const Member& member = pool.members[i];
    const uint64_t offset = hash_address(0x6f66667365740001, member.address.octets, member.port) % entries;
    const uint64_t skip = hash_address(0x736b697000000001, member.address.octets, member.port) % (entries - 1) + 1;
    fillers.push_back({offset, skip, 0, i});
    heaviest = std::max<uint64_t>(heaviest, member.weight);
  }

  constexpr uint16_t kFree = 0xffff;
  std::vector<uint16_t> table(entries, kFree);
  for (size_t filled = 0; filled < entries;) {
    for (Filler& filler : fillers) {
      filler.credit += pool.members[filler.member].weight;
      if (filler.credit < heaviest) continue;
      filler.credit -= heaviest;
      while (table[filler.next] != kFree) filler.next = (filler.next + filler.skip) % entries;
      table[filler.next] = filler.member;
      if (++filled == entries) break;
    }
  }
  return table;
}

int least_connections(const Pool& pool, const Runtime& runtime) {
  const size_t members = pool.available.size();
  const size_t looks = std::min(members, kLeastConnectionsScanMax);
  // One step per connection, so that members with equal load take turns.
  const uint32_t start = pool.turn.fetch_add(1, std::memory_order_relaxed);
  int best = -1;
  uint64_t best_load = 0, best_weight = 1;
  for (size_t look = 0; look < looks; ++look) {
    const uint16_t i = pool.available[(start + look) % members];
    const Member& member = pool.members[i];
    const uint64_t load = uint64_t{runtime.endpoints[member.endpoint].connections.load(std::memory_order_relaxed)} + 1;
    // load / weight < best_load / best_weight
    if (best >= 0 && load * best_weight >= best_load * member.weight) continue;
    best = i;
    best_load = load;
    best_weight = member.weight;
  }
  return best;
}

int next_of(const std::vector<uint16_t>& round, const Pool& pool) {
  return round[pool.turn.fetch_add(1, std::memory_order_relaxed) % round.size()];
}

}  // namespace

void prepare_schedule(Pool& pool) {
  pool.available.clear();
  for (size_t i = 0; i < pool.members.size(); ++i) {
    if (pool.members[i].up && pool.members[i].weight > 0) pool.available.push_back(static_cast<uint16_t>(i));
  }
  pool.wheel.clear();
  if (pool.scheduler == Scheduler::kWeightedRoundRobin) pool.wheel = weighted_wheel(pool);
  if (pool.scheduler == Scheduler::kMaglev || pool.scheduler == Scheduler::kSourceHash) pool.wheel = maglev_table(pool);
}

int schedule(const Pool& pool, const Runtime& runtime, uint64_t client_hash) {
  if (pool.available.empty()) return -1;
  switch (pool.scheduler) {
    case Scheduler::kRoundRobin:
      return next_of(pool.available, pool);
    case Scheduler::kWeightedRoundRobin:
      return next_of(pool.wheel, pool);
    case Scheduler::kLeastConnections:
      return least_connections(pool, runtime);
    case Scheduler::kMaglev:
    case Scheduler::kSourceHash:
      return pool.wheel[below(pool.wheel.size(), client_hash)];
  }
  return -1;
}

uint64_t hash_of_client(const Pool& pool, uint8_t family, const uint8_t* address, const uint8_t* port) {
  uint8_t octets[16] = {};
  std::memcpy(octets, address, family == 4 ? 4 : 16);
  const bool all_ports = pool.scheduler == Scheduler::kSourceHash;
  return hash_address(0x636c69656e740001, octets, all_ports ? 0 : static_cast<uint16_t>(port[0] << 8 | port[1]));
}

}  // namespace tandem
