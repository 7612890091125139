#include "flow_index.h"

#include <utility>

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acq_rel = std::memory_order_acq_rel;

// The place is the caller's alone and its tag is 0, as long as nobody sees one there.
void set_tag(FlowIndex::Bucket& bucket, uint32_t place, uint32_t tag) {
  if (place < 8) {
    bucket.tags.fetch_or(uint64_t{tag} << 8 * place, std::memory_order_release);
  } else {
    bucket.more_tags.fetch_or(tag << 8 * (place - 8), std::memory_order_release);
  }
}

void clear_tag(FlowIndex::Bucket& bucket, uint32_t place) {
  if (place < 8) {
    bucket.tags.fetch_and(~(uint64_t{0xff} << 8 * place), std::memory_order_release);
  } else {
    bucket.more_tags.fetch_and(~(0xffu << 8 * (place - 8)), std::memory_order_release);
  }
}

}  // namespace

bool FlowIndex::reserve(size_t buckets) {
  if (!memory_.reserve(buckets * sizeof(Bucket), ReservedMemory::Touch::kNow)) return false;
  buckets_ = memory_.as<Bucket>();
  count_ = buckets;
  return true;
}

FlowIndex::Lock::Lock(const FlowIndex& index, uint64_t one, uint64_t other)
    : first_(index.primary(one)), second_(index.primary(other)) {
  if (second_ < first_) std::swap(first_, second_);
  if (second_ == first_) second_ = nullptr;
  first_->lock.lock();
  if (second_ != nullptr) second_->lock.lock();
}

FlowIndex::Lock::~Lock() {
  if (second_ != nullptr) second_->lock.unlock();
  first_->lock.unlock();
}

FlowIndex::Place FlowIndex::claim(uint64_t hash) {
  uint64_t at = hash;
  for (uint32_t step = 0; step < kWay; ++step, at = onward(at)) {
    Bucket& here = *bucket(at);
    for (uint32_t empty = places_with(here, 0); empty != 0; empty &= empty - 1) {
      const auto number = static_cast<uint32_t>(std::countr_zero(empty));
      uint32_t free = kNone;
      if (here.entries[number].compare_exchange_strong(free, kClaimed, acq_rel, relaxed)) return {&here, number, step};
    }
    // Before the flow is published further on, so that who looks for it then goes there.
    uint16_t passed = here.passed.load(relaxed);
    while (passed != kPassedMax) {
      if (here.passed.compare_exchange_weak(passed, static_cast<uint16_t>(passed + 1), acq_rel, relaxed)) break;
    }
  }
  unpass(hash, kWay);
  return {nullptr, 0, 0};
}

void FlowIndex::publish(const Place& place, uint64_t hash, uint32_t entry) {
  place.bucket->entries[place.number].store(entry, std::memory_order_release);
  set_tag(*place.bucket, place.number, tag_of(hash));
}

void FlowIndex::give_up(const Place& place, uint64_t hash) {
  place.bucket->entries[place.number].store(kNone, std::memory_order_release);
  unpass(hash, place.passed);
}

bool FlowIndex::remove(uint64_t hash, uint32_t entry) {
  const uint32_t tag = tag_of(hash);
  uint64_t at = hash;
  // Whoever opens a connection holds this lock until both its flows are published: who found it by the first of them
  // and closes it at once waits for the second.
  SpinGuard guard(primary(hash)->lock);
  for (uint32_t step = 0; step < kWay; ++step, at = onward(at)) {
    Bucket& here = *bucket(at);
    for (uint32_t matches = places_with(here, tag); matches != 0; matches &= matches - 1) {
      const auto place = static_cast<uint32_t>(std::countr_zero(matches));
      if (here.entries[place].load(relaxed) != entry) continue;
      clear_tag(here, place);
      here.entries[place].store(kNone, std::memory_order_release);
      unpass(hash, step);
      return true;
    }
  }
  return false;
}

// One flow less stands behind the first so many buckets of this way.
void FlowIndex::unpass(uint64_t hash, uint32_t buckets) {
  for (uint32_t step = 0; step < buckets; ++step, hash = onward(hash)) {
    std::atomic<uint16_t>& counter = bucket(hash)->passed;
    uint16_t passed = counter.load(relaxed);
    // What was not counted any more cannot be counted down: such a bucket stays passed.
    while (passed != kPassedMax) {
      if (counter.compare_exchange_weak(passed, static_cast<uint16_t>(passed - 1), acq_rel, relaxed)) break;
    }
  }
}

}  // namespace tandem
