// Where flows stand: buckets of twelve places, each an 8-bit tag and an entry. Knows hashes and entries; what an
// entry means, and whether it is the one looked for, is the connection table's.
//
//   0        8      12       14    16                                               64
//   | 12 tags       | passed | lock | 12 entries of 32 bits                          |
//
// A hash has a way: a primary bucket and, where that is full, up to kWay - 1 further ones, each as if drawn anew. A
// flow stands in the first bucket of its way that had room. Buckets count the flows that passed them, so a lookup
// goes on to the next bucket only where some flow did: nearly always one cache line tells all.
//
// Entries never move. A place is claimed by its entry, published by its tag, emptied by its tag and then by its entry,
// so a tag that is seen belongs to an entry that was published. Places are claimed without a lock. The lock of a flow's
// primary bucket is for whoever must know that nobody else opens that flow meanwhile, or that its opener is done.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "reserved_memory.h"
#include "spin_lock.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tandem {

class FlowIndex {
 public:
  static constexpr size_t kPlaces = 12;
  // Buckets that a flow may stand in. With six flows to a bucket, in simulation one in 81 is full in the long run, so
  // that six of them are is one chance in 81^6: 2.8 * 10^11.
  static constexpr uint32_t kWay = 6;

  struct alignas(64) Bucket {
    std::atomic<uint64_t> tags;              // of places 0..7, 8 bits each; 0: the place is empty, or being filled
    std::atomic<uint32_t> more_tags;         // of places 8..11
    std::atomic<uint16_t> passed;            // flows that stand further on their way; kPassedMax: that many or more
    SpinLock lock;                           // of who opens or removes a flow whose primary bucket this is
    std::atomic<uint32_t> entries[kPlaces];  // kNone: the place is free
  };
  static_assert(sizeof(Bucket) == 64);

  // What an entry may not be: no entry, and the entry of a place that is being filled.
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kClaimed = 1;

  // One place, spoken for and not published yet.
  struct Place {
    Bucket* bucket;  // nullptr: every bucket on the way is full
    uint32_t number;
    uint32_t passed;  // buckets before it
  };

  // The primary buckets of two flows, in the order of their addresses so that two writers never wait for each other.
  class Lock {
   public:
    Lock(const FlowIndex& index, uint64_t one, uint64_t other);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Bucket* first_;
    Bucket* second_;  // nullptr: the same
  };

  // Once. False: no memory (errno).
  bool reserve(size_t buckets);
  size_t bytes() const { return memory_.bytes(); }

  Bucket* primary(uint64_t hash) const { return bucket(hash); }
  Bucket* second(uint64_t hash) const { return bucket(onward(hash)); }
  // 8 bits that the choice of a bucket hardly depends on.
  static uint32_t tag_of(uint64_t hash) {
    const uint32_t low = hash & 0xff;
    return low == 0 ? 1 : low;
  }
  // Bit n: place n has this tag.
  static uint32_t places_with(const Bucket& bucket, uint32_t tag);
  static bool is_passed(const Bucket& bucket) { return bucket.passed.load(std::memory_order_acquire) != 0; }

  // The first entry with the hash's tag for which is_it(entry) holds; kNone if there is none.
  template <typename IsIt>
  uint32_t find(uint64_t hash, IsIt&& is_it) const {
    const uint32_t tag = tag_of(hash);
    for (uint32_t step = 0; step < kWay; ++step, hash = onward(hash)) {
      const Bucket& here = *bucket(hash);
      for (uint32_t matches = places_with(here, tag); matches != 0; matches &= matches - 1) {
        const uint32_t entry = here.entries[std::countr_zero(matches)].load(std::memory_order_acquire);
        if (is_it(entry)) return entry;
      }
      if (!is_passed(here)) return kNone;
    }
    return kNone;
  }

  Place claim(uint64_t hash);
  void publish(const Place& place, uint64_t hash, uint32_t entry);
  // Of a place that is not published after all.
  void give_up(const Place& place, uint64_t hash);
  // False: the entry does not stand there. Once per entry published. Takes the primary bucket's lock itself.
  bool remove(uint64_t hash, uint32_t entry);

 private:
  static constexpr uint16_t kPassedMax = 0xffff;

  // From the upper 32 bits without a division, so the number of buckets need not be a power of two.
  Bucket* bucket(uint64_t hash) const { return &buckets_[static_cast<size_t>((hash >> 32) * count_ >> 32)]; }
  // What the next bucket on the way is chosen by.
  static uint64_t onward(uint64_t hash) { return hash * 0x9e3779b97f4a7c15; }
  void unpass(uint64_t hash, uint32_t buckets);

  ReservedMemory memory_;
  Bucket* buckets_ = nullptr;
  size_t count_ = 0;
};

#if defined(__SSE2__)
inline uint32_t FlowIndex::places_with(const Bucket& bucket, uint32_t tag) {
  const __m128i tags = _mm_set_epi64x(static_cast<int64_t>(bucket.more_tags.load(std::memory_order_acquire)),
                                      static_cast<int64_t>(bucket.tags.load(std::memory_order_acquire)));
  const __m128i same = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
  return static_cast<uint32_t>(_mm_movemask_epi8(same)) & ((1u << kPlaces) - 1);
}
#else
inline uint32_t FlowIndex::places_with(const Bucket& bucket, uint32_t tag) {
  const uint64_t tags = bucket.tags.load(std::memory_order_acquire);
  const uint32_t more = bucket.more_tags.load(std::memory_order_acquire);
  uint32_t places = 0;
  for (uint32_t i = 0; i < 8; ++i) places |= static_cast<uint32_t>((tags >> 8 * i & 0xff) == tag) << i;
  for (uint32_t i = 8; i < kPlaces; ++i) places |= static_cast<uint32_t>((more >> 8 * (i - 8) & 0xff) == tag) << i;
  return places;
}
#endif

}  // namespace tandem
