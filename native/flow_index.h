// Where flows stand: buckets of eight places, each a 16-bit tag and an entry. Knows hashes and entries; what
// an entry means, and whether it is the one looked for, is the connection table's.
//
// A hash has two buckets, a primary and a secondary, and a tag. Entries never move. A place is filled entry
// first and tag second, and emptied by its tag, so a tag that is seen belongs to an entry that was published.
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
  static constexpr size_t kPlaces = 8;

  struct alignas(64) Bucket {
    std::atomic<uint64_t> tags[2];           // 8 x 16 bits; 0: the place is empty
    std::atomic<uint32_t> entries[kPlaces];  // slot << 1 | direction
    SpinLock lock;                           // of writers
    uint32_t unused[3];
  };
  static_assert(sizeof(Bucket) == 64);

  // Where a flow may stand.
  struct Places {
    Bucket* primary;
    Bucket* secondary;
    uint16_t tag;
  };
  // One empty place.
  struct Place {
    Bucket* bucket;  // nullptr: both buckets are full
    uint32_t number;
  };

  // Up to four buckets at once, in the order of their addresses so that two writers never wait for each other.
  class Lock {
   public:
    Lock(const Places& one, const Places& other);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    Bucket* buckets_[4];
  };

  // Once. False: no memory (errno).
  bool reserve(size_t buckets);
  size_t bytes() const { return memory_.bytes(); }

  Places places(uint64_t hash) const {
    const auto tag = static_cast<uint16_t>((hash * 0x9e3779b97f4a7c15) >> 48);
    return {primary(hash), bucket(static_cast<uint32_t>(hash)), tag == 0 ? uint16_t{1} : tag};
  }
  Bucket* primary(uint64_t hash) const { return bucket(static_cast<uint32_t>(hash >> 32)); }

  // Bit n: place n has this tag.
  static uint32_t places_with(const Bucket& bucket, uint16_t tag);

  // The first entry with the hash's tag for which is_it(entry) holds; kNone if there is none.
  static constexpr uint32_t kNone = 0xffffffff;
  template <typename IsIt>
  static uint32_t find(const Places& at, IsIt&& is_it) {
    for (const Bucket* bucket : {at.primary, at.secondary}) {
      for (uint32_t matches = places_with(*bucket, at.tag); matches != 0; matches &= matches - 1) {
        const uint32_t entry = bucket->entries[std::countr_zero(matches)].load(std::memory_order_acquire);
        if (is_it(entry)) return entry;
      }
    }
    return kNone;
  }

  // Both under Lock. `taken` is spoken for but not filled yet.
  static Place empty_place(const Places& at, const Place& taken);
  static void fill(const Place& place, uint16_t tag, uint32_t entry);
  // Takes the bucket's lock itself. False: it stands in neither bucket.
  static bool remove(const Places& at, uint32_t entry);

 private:
  // From 32 random bits without a division, so the number of buckets need not be a power of two.
  Bucket* bucket(uint32_t random) const { return &buckets_[static_cast<size_t>(uint64_t{random} * count_ >> 32)]; }

  ReservedMemory memory_;
  Bucket* buckets_ = nullptr;
  size_t count_ = 0;
};

#if defined(__SSE2__)
inline uint32_t FlowIndex::places_with(const Bucket& bucket, uint16_t tag) {
  const __m128i tags = _mm_set_epi64x(static_cast<int64_t>(bucket.tags[1].load(std::memory_order_acquire)),
                                      static_cast<int64_t>(bucket.tags[0].load(std::memory_order_acquire)));
  const __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16(static_cast<int16_t>(tag)));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
}
#else
inline uint32_t FlowIndex::places_with(const Bucket& bucket, uint16_t tag) {
  uint32_t places = 0;
  for (size_t i = 0; i < kPlaces; ++i) {
    const auto here = static_cast<uint16_t>(bucket.tags[i / 4].load(std::memory_order_acquire) >> (i % 4 * 16));
    places |= static_cast<uint32_t>(here == tag) << i;
  }
  return places;
}
#endif

}  // namespace tandem
