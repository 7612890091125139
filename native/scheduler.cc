#include "scheduler.h"

#include <algorithm>
#include <cstring>

#include "schedule_hash.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// Where in the share this client stands: 0..255, and nothing to do with its place in a Maglev table.
uint32_t turn_of_client(uint64_t client_hash) { return mix_bits(client_hash ^ 0x736c6f7700000001) & 0xff; }

// A number below `bound` from a hash, without a division.
size_t below(size_t bound, uint64_t hash) { return static_cast<size_t>((hash >> 32) * bound >> 32); }

// A connection that asks for a member.
struct Request {
  const Pool& pool;
  Runtime& runtime;
  uint64_t client_hash;
  Nanos now;

  const Member& member(size_t index) const { return pool.members[index]; }
  Endpoint& endpoint(size_t index) const { return runtime.endpoints[pool.members[index].endpoint]; }
  bool reserve(size_t index) const { return endpoint(index).reserve(member(index).connections_max); }

  bool is_held_back(size_t index) const {
    return member(index).ramp_from != 0 && turn_of_client(client_hash) >= share_of(pool, member(index), now);
  }
};

// The first of the candidates that has room, slow start minded; if only slow start is in the way, not minded.
template <typename Candidate>
int first_with_room(const Request& request, size_t looks, Candidate candidate) {
  bool held_back = false;
  for (size_t look = 0; look < looks; ++look) {
    const uint16_t i = candidate(look);
    if (request.is_held_back(i)) {
      held_back = true;
      continue;
    }
    if (request.reserve(i)) return i;
    if (look == 0) request.endpoint(i).limited.fetch_add(1, relaxed);
  }
  for (size_t look = 0; held_back && look < looks; ++look) {
    const uint16_t i = candidate(look);
    if (request.is_held_back(i) && request.reserve(i)) return i;
  }
  return -1;
}

// Each of the members once, beginning at `start`.
int each_in_turn(const Request& request, const uint16_t* members, size_t count, uint64_t start) {
  return first_with_room(request, count, [&](size_t look) { return members[(start + look) % count]; });
}

// Along the wheel from `place`; where many are at their limit the wheel says too little, and each is asked.
int along_wheel(const Request& request, size_t place) {
  const std::vector<uint16_t>& wheel = *request.pool.wheel;
  const int chosen = first_with_room(request, std::min(wheel.size(), kWheelLooksMax), [&](size_t look) {
    const size_t at = place + look;
    return wheel[at < wheel.size() ? at : at - wheel.size()];
  });
  if (chosen >= 0) return chosen;
  return each_in_turn(request, request.pool.available.data(), request.pool.available.size(), place);
}

struct Load {
  int member = -1;
  uint64_t connections = 0, capacity = 1;

  bool is_less_than(const Load& other) const {
    return other.member < 0 || connections * other.capacity < other.connections * capacity;
  }
};

// The least loaded of `looks` members that has room.
int least_loaded(const Request& request, uint64_t start, size_t looks) {
  const Pool& pool = request.pool;
  Load best, wanted;  // with room; whether or not
  for (size_t look = 0; look < looks; ++look) {
    const uint16_t i = pool.available[(start + look) % pool.available.size()];
    const Member& member = pool.members[i];
    const uint64_t open = request.endpoint(i).connections.load(relaxed);
    const uint64_t weight = pool.scheduler == Scheduler::kWeightedLeastConnections ? member.weight : 1;
    const Load load = {i, open + 1, weight * share_of(pool, member, request.now)};
    if (load.is_less_than(wanted)) wanted = load;
    if ((member.connections_max == 0 || open < member.connections_max) && load.is_less_than(best)) best = load;
  }
  if (wanted.member >= 0 && wanted.member != best.member)
    request.endpoint(static_cast<size_t>(wanted.member)).limited.fetch_add(1, relaxed);
  return best.member;
}

int least_connections(const Request& request) {
  const size_t members = request.pool.available.size();
  // One step per connection, so that members with equal load take turns.
  const uint64_t start = request.pool.turn.fetch_add(1, relaxed);
  for (size_t from = 0; from < members; from += kLeastConnectionsScanMax) {
    const size_t looks = std::min(kLeastConnectionsScanMax, members - from);
    const int best = least_loaded(request, start + from, looks);
    if (best >= 0 && request.reserve(static_cast<size_t>(best))) return best;
  }
  // Other workers have taken the last room of those that had any, or nobody has.
  return each_in_turn(request, request.pool.available.data(), members, start);
}

int among_serving(const Request& request) {
  const Pool& pool = request.pool;
  switch (pool.scheduler) {
    case Scheduler::kRoundRobin:
      return each_in_turn(request, pool.available.data(), pool.available.size(), pool.turn.fetch_add(1, relaxed));
    case Scheduler::kWeightedRoundRobin:
      return along_wheel(request, pool.turn.fetch_add(1, relaxed) % pool.wheel->size());
    case Scheduler::kLeastConnections:
    case Scheduler::kWeightedLeastConnections:
      return least_connections(request);
    case Scheduler::kMaglev:
    case Scheduler::kSourceHash:
      return along_wheel(request, below(pool.wheel->size(), request.client_hash));
  }
  return -1;
}

// Priority by priority; clients are spread over the members of one.
int among_spare(const Request& request) {
  const std::vector<uint16_t>& spare = request.pool.spare;
  for (size_t first = 0, end; first < spare.size(); first = end) {
    end = first + 1;
    while (end < spare.size() && request.member(spare[end]).priority == request.member(spare[first]).priority) ++end;
    const int chosen = each_in_turn(request, spare.data() + first, end - first, request.client_hash >> 32);
    if (chosen >= 0) return chosen;
  }
  return -1;
}

}  // namespace

Choice schedule(const Pool& pool, Runtime& runtime, uint64_t client_hash, Nanos now) {
  if (pool.available.empty()) return {-1, false};
  const Request request = {pool, runtime, client_hash, now};
  int chosen = among_serving(request);
  if (chosen < 0) chosen = among_spare(request);
  return {chosen, chosen < 0};
}

uint32_t share_of(const Pool& pool, const Member& member, Nanos now) {
  if (member.ramp_from == 0 || now >= member.ramp_from + pool.slow_start) return kWholeShare;
  const Nanos up = now > member.ramp_from ? now - member.ramp_from : 0;
  return std::max<uint32_t>(1, static_cast<uint32_t>(up * kWholeShare / pool.slow_start));
}

uint64_t hash_of_client(const Pool& pool, uint8_t family, const uint8_t* address, const uint8_t* port) {
  uint8_t octets[16] = {};
  std::memcpy(octets, address, family == 4 ? 4 : 16);
  const bool all_ports = pool.scheduler == Scheduler::kSourceHash;
  return hash_address(0x636c69656e740001, octets, all_ports ? 0 : static_cast<uint16_t>(port[0] << 8 | port[1]));
}

}  // namespace tandem
