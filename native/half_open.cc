#include "half_open.h"

#include <algorithm>

namespace tandem {

bool HalfOpen::reserve(size_t bound, size_t workers) {
  const size_t each = std::max<size_t>(bound / workers, 1);
  if (!memory_.reserve(each * workers * sizeof(Place), ReservedMemory::Touch::kNow)) return false;
  std::fill_n(memory_.as<Place>(), each * workers, Place{kNone, 0, wire::be16(0)});
  for (size_t worker = 0; worker < workers; ++worker) {
    rings_[worker].first = memory_.as<Place>() + worker * each;
    rings_[worker].places = static_cast<uint32_t>(each);
  }
  return true;
}

HalfOpen::Place HalfOpen::replace_oldest(size_t worker, const Place& newest) {
  OfWorker& ring = rings_[worker];
  if (ring.places == 0) return {kNone, 0, wire::be16(0)};
  Place& place = ring.first[ring.next];
  ring.next = ring.next + 1 == ring.places ? 0 : ring.next + 1;
  const Place oldest = place;
  place = newest;
  return oldest;
}

uint32_t HalfOpen::oldest_slot(size_t worker) const {
  const OfWorker& ring = rings_[worker];
  return ring.places == 0 ? kNone : ring.first[ring.next].slot;
}

}  // namespace tandem
