// The table of packets in fragments; every entry is touched under its shard's lock only.
#include "fragments.h"

#include <cstring>
#include <new>

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

}  // namespace

bool Fragments::reserve() {
  if (!memory_.reserve(sizeof(Shard) * kShards, ReservedMemory::Touch::kOnUse)) return false;
  for (size_t i = 0; i < kShards; ++i) {
    Shard& shard = memory_.as<Shard>()[i];  // zeroed: every entry is free
    for (uint8_t held = 0; held < kHeld; ++held) {
      shard.frames[held].next = held + size_t{1} < kHeld ? static_cast<uint8_t>(held + 1) : kNobody;
    }
  }
  return true;
}

// ---- fragments as they come

Fragments::Admission Fragments::admit_first(const FlowKey& packet, uint64_t hash, const wire::Fragment& fragment,
                                            Nanos now, Counters* counters) {
  Shard& shard = shard_of(hash);
  const SpinGuard guard(shard.lock);
  Entry* const entry = find_or_make(shard, packet, hash, now, counters);
  if (entry == nullptr) return {Status::kDrop, Drop::kFragmentsFull, {}};
  Drop why;
  if (!note(*entry, fragment, &why)) return {Status::kDrop, why, {}};
  return {Status::kPass, Drop::kFragment, {}};
}

void Fragments::resolve(size_t worker, const FlowKey& packet, uint64_t hash, const Followed& followed) {
  const uint8_t number = static_cast<uint8_t>(hash >> 32 & (kShards - 1));
  Shard& shard = shard_of(hash);
  const SpinGuard guard(shard.lock);
  Entry* const entry = find(shard, packet, hash);
  if (entry == nullptr) return;  // its time has come meanwhile
  entry->followed = followed;
  entry->first = First::kKnown;
  // The packet's list is newest first; turned over, they go in the order in which they came.
  Ready& ready = ready_[worker];
  for (uint8_t at = entry->held; at != kNobody;) {
    Held& held = shard.frames[at];
    const uint8_t next = held.next;
    held.followed = followed;
    held.next = ready.first;
    held.next_shard = ready.first_shard;
    ready.first = at;
    ready.first_shard = number;
    at = next;
  }
  entry->held = kNobody;
  forget_if_complete(shard, *entry);
}

void Fragments::refuse(const FlowKey& packet, uint64_t hash, Counters* counters) {
  Shard& shard = shard_of(hash);
  const SpinGuard guard(shard.lock);
  Entry* const entry = find(shard, packet, hash);
  if (entry == nullptr) return;
  const Entry before = *entry;
  forget(shard, *entry, Drop::kFragment, counters);
  if (before.ranges == 1 && before.total == before.seen[0].end && before.seen[0].begin == 0) return;
  *entry = before;  // remembered without what it held, so that the rest of the packet is not waited with
  entry->held = kNobody;
  entry->first = First::kRefused;
  shard.used.fetch_add(1, relaxed);
}

Fragments::Admission Fragments::admit_later(const FlowKey& packet, uint64_t hash, const wire::Fragment& fragment,
                                            const Frame& frame, Nanos now, Counters* counters) {
  Shard& shard = shard_of(hash);
  const SpinGuard guard(shard.lock);
  Entry* const entry = find_or_make(shard, packet, hash, now, counters);
  if (entry == nullptr) return {Status::kDrop, Drop::kFragmentsFull, {}};
  if (entry->first == First::kRefused) return {Status::kDrop, Drop::kFragment, {}};
  const bool waits = entry->first == First::kAwaited;
  if (waits && (shard.free == kNobody || frame.bytes > kHeldBytesMax)) {
    if (entry->ranges == 0) shard.used.fetch_sub(1, relaxed);  // made for nothing
    return {Status::kDrop, Drop::kFragmentsHeldFull, {}};
  }
  Drop why;
  if (!note(*entry, fragment, &why)) return {Status::kDrop, why, {}};
  if (!waits) {
    const Followed followed = entry->followed;
    forget_if_complete(shard, *entry);
    return {Status::kPass, Drop::kFragment, followed};
  }
  const uint8_t at = shard.free;
  Held& held = shard.frames[at];
  shard.free = held.next;
  held.next = entry->held;
  entry->held = at;
  held.frame = frame;
  held.frame.data = held.memory + kFrameHeadroom;
  std::memcpy(held.frame.data, frame.data, frame.bytes);
  shard.held.fetch_add(1, relaxed);
  return {Status::kHeld, Drop::kFragment, {}};
}

// ---- what was held

size_t Fragments::take_released(size_t worker, Released* released, size_t limit) {
  Ready& ready = ready_[worker];
  size_t count = 0;
  while (count < limit && ready.first_shard != kNobody) {
    const uint8_t number = ready.first_shard, at = ready.first;
    Held& held = memory_.as<Shard>()[number].frames[at];
    released[count++] = {held.frame, held.followed};
    ready.first_shard = held.next_shard;
    ready.first = held.next;
    held.next_shard = ready.taken_shard;
    held.next = ready.taken;
    ready.taken_shard = number;
    ready.taken = at;
  }
  return count;
}

void Fragments::free_released(size_t worker) {
  Ready& ready = ready_[worker];
  while (ready.taken_shard != kNobody) {
    Shard& shard = memory_.as<Shard>()[ready.taken_shard];
    const uint8_t at = ready.taken;
    Held& held = shard.frames[at];
    ready.taken_shard = held.next_shard;
    ready.taken = held.next;
    const SpinGuard guard(shard.lock);
    held.next = shard.free;
    shard.free = at;
    shard.held.fetch_sub(1, relaxed);
  }
}

void Fragments::expire(Nanos now, Counters* counters) {
  Shard& shard = memory_.as<Shard>()[expiring_.fetch_add(1, relaxed) & (kShards - 1)];
  if (shard.used.load(relaxed) == 0) return;
  const SpinGuard guard(shard.lock);
  for (Entry& entry : shard.entries) {
    if (entry.ranges != 0 && entry.deadline <= now) forget(shard, entry, Drop::kFragmentTimeout, counters);
  }
}

size_t Fragments::packets() const {
  size_t sum = 0;
  for (size_t i = 0; i < kShards; ++i) sum += memory_.as<Shard>()[i].used.load(relaxed);
  return sum;
}

size_t Fragments::held() const {
  size_t sum = 0;
  for (size_t i = 0; i < kShards; ++i) sum += memory_.as<Shard>()[i].held.load(relaxed);
  return sum;
}

// ---- entries, under their shard's lock

Fragments::Entry* Fragments::find(Shard& shard, const FlowKey& packet, uint64_t hash) {
  for (Entry& entry : shard.entries) {
    if (entry.ranges != 0 && entry.hash == hash && entry.packet == packet) return &entry;
  }
  return nullptr;
}

// A new one has no ranges until note() gives it one.
Fragments::Entry* Fragments::find_or_make(Shard& shard, const FlowKey& packet, uint64_t hash, Nanos now,
                                          Counters* counters) {
  Entry* vacant = nullptr;
  for (Entry& entry : shard.entries) {
    if (entry.ranges != 0 && entry.deadline <= now) forget(shard, entry, Drop::kFragmentTimeout, counters);
    if (entry.ranges == 0) {
      if (vacant == nullptr) vacant = &entry;
    } else if (entry.hash == hash && entry.packet == packet) {
      return &entry;
    }
  }
  if (vacant == nullptr) return nullptr;
  vacant->packet = packet;
  vacant->hash = hash;
  vacant->deadline = now + kTimeout;
  vacant->total = 0;
  vacant->first = First::kAwaited;
  vacant->held = kNobody;
  shard.used.fetch_add(1, relaxed);
  return vacant;
}

// Adds the fragment's octets to those seen; `why` not.
bool Fragments::note(Entry& entry, const wire::Fragment& fragment, Drop* why) {
  *why = Drop::kFragmentOverlap;
  if (entry.total != 0 && (fragment.end > entry.total || !fragment.more)) return false;
  size_t at = 0;  // of the first range behind it
  while (at < entry.ranges && entry.seen[at].end <= fragment.begin) ++at;
  if (at < entry.ranges && entry.seen[at].begin < fragment.end) return false;
  // The last fragment ends the packet, so nothing may lie behind it.
  if (!fragment.more && at < entry.ranges) return false;

  const bool joins_left = at > 0 && entry.seen[at - 1].end == fragment.begin;
  const bool joins_right = at < entry.ranges && entry.seen[at].begin == fragment.end;
  if (joins_left && joins_right) {
    entry.seen[at - 1].end = entry.seen[at].end;
    std::memmove(&entry.seen[at], &entry.seen[at + 1], (entry.ranges - at - 1) * sizeof(Range));
    entry.ranges--;
  } else if (joins_left) {
    entry.seen[at - 1].end = fragment.end;
  } else if (joins_right) {
    entry.seen[at].begin = fragment.begin;
  } else {
    if (entry.ranges == kRangesMax) {
      *why = Drop::kFragmentDisorder;
      return false;
    }
    std::memmove(&entry.seen[at + 1], &entry.seen[at], (entry.ranges - at) * sizeof(Range));
    entry.seen[at] = {fragment.begin, fragment.end};
    entry.ranges++;
  }
  if (!fragment.more) entry.total = fragment.end;
  return true;
}

void Fragments::forget_if_complete(Shard& shard, Entry& entry) {
  if (entry.ranges != 1 || entry.seen[0].begin != 0 || entry.seen[0].end != entry.total) return;
  entry.ranges = 0;
  shard.used.fetch_sub(1, relaxed);
}

void Fragments::forget(Shard& shard, Entry& entry, Drop why, Counters* counters) {
  while (entry.held != kNobody) {
    const uint8_t at = entry.held;
    Held& held = shard.frames[at];
    entry.held = held.next;
    held.next = shard.free;
    shard.free = at;
    shard.held.fetch_sub(1, relaxed);
    counters->add(why);
  }
  entry.ranges = 0;
  shard.used.fetch_sub(1, relaxed);
}

}  // namespace tandem
