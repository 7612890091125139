#include "client_limits.h"

#include <cmath>

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

constexpr unsigned kTickBits = 10;  // a tick is 2^10 ns
constexpr unsigned kTimeBits = 40;  // 13 days of ticks, then round again
constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;

// How far `time` is ahead of `now`. What is further ahead than any allowance was left behind long ago.
uint64_t ahead_of(uint64_t time, uint64_t now, uint64_t most) {
  const uint64_t ahead = (time - now) & kTimeMask;
  return ahead > most ? 0 : ahead;
}

// The longest that an allowance can be overdrawn by any virtual server, so that all agree on what is past.
constexpr uint64_t kAheadMax = (uint64_t{2 * ClientRate::kBurstSMax} * kSecond) >> kTickBits;
static_assert(kAheadMax < kTimeMask / 64);

}  // namespace

ClientRate ClientRate::of(uint32_t per_s, uint32_t burst) {
  if (per_s == 0) return {0, 0};
  const double ticks = static_cast<double>(kSecond) / (1 << kTickBits) / per_s;
  const auto interval = static_cast<uint32_t>(std::lround(ticks));
  return {interval, uint64_t{burst - 1} * interval};
}

bool ClientLimits::reserve() {
  if (!memory_.reserve(kBuckets * sizeof(Bucket), ReservedMemory::Touch::kOnUse)) return false;
  buckets_ = memory_.as<Bucket>();
  return true;
}

bool ClientLimits::take(uint64_t hash, const ClientRate& rate, Nanos time) {
  if (buckets_ == nullptr) return true;
  const uint64_t now = (time >> kTickBits) & kTimeMask;
  const uint64_t tag = (hash >> kTimeBits) == 0 ? 1 : hash >> kTimeBits;
  Bucket& bucket = buckets_[hash % kBuckets];
  for (;;) {
    // Its own place; else the one that is least ahead, which it takes over.
    std::atomic<uint64_t>* place = nullptr;
    uint64_t seen = 0, least = ~uint64_t{0};
    bool known = false;
    for (std::atomic<uint64_t>& client : bucket.clients) {
      const uint64_t word = client.load(relaxed);
      const uint64_t ahead = ahead_of(word & kTimeMask, now, kAheadMax);
      known = word >> kTimeBits == tag;
      if (!known && ahead >= least) continue;
      place = &client;
      seen = word;
      least = ahead;
      if (known) break;
    }
    const uint64_t ahead = known ? least : 0;
    if (ahead > rate.ahead) return false;
    const uint64_t whole_at = (now + ahead + rate.interval) & kTimeMask;
    if (place->compare_exchange_weak(seen, tag << kTimeBits | whole_at, relaxed)) return true;
  }
}

}  // namespace tandem
