#include "slot_pool.h"

#include <algorithm>
#include <cassert>

#include "conn_table.h"

namespace tandem {
namespace {

constexpr size_t kChunkMax = 64;
// Chunks queued early (see quiesce) are small; if the queue is full of them the next ones grow instead.
constexpr size_t kSlotsPerQueued = 16;
constexpr size_t kQueuedMin = 256;

}  // namespace

bool SlotPool::reserve(Connection* slots, size_t count, size_t participants) {
  assert(participants >= 1 && participants <= kWorkersMax + 1);
  slots_ = slots;
  count_ = static_cast<uint32_t>(count);
  participants_ = static_cast<uint32_t>(participants);
  // What lies in caches is no loss to a large table and must be none to a small one.
  chunk_ = static_cast<uint32_t>(std::clamp<size_t>(count / (16 * participants), 1, kChunkMax));
  queue_size_ = static_cast<uint32_t>(count / kSlotsPerQueued + kQueuedMin);
  if (!queue_memory_.reserve(queue_size_ * sizeof(Chunk), ReservedMemory::Touch::kNow)) return false;
  queue_ = queue_memory_.as<Chunk>();
  return true;
}

uint32_t SlotPool::take(Participant who) {
  Own& own = own_[who];
  if (own.free_head == kNone && own.unused_next == own.unused_end && !refill(own)) return kNone;
  if (own.free_head == kNone) return own.unused_next++;
  const uint32_t slot = own.free_head;
  own.free_head = slots_[slot].link;
  if (own.free_head != kNone) __builtin_prefetch(&slots_[own.free_head], 1);
  return slot;
}

bool SlotPool::refill(Own& own) {
  SpinGuard guard(lock_);
  if (queue_count_ > 0) {
    const Chunk& oldest = queue_[queue_first_];
    if (oldest.epoch > passed_) passed_ = oldest_epoch();
    if (oldest.epoch <= passed_) {
      own.free_head = oldest.head;
      queue_first_ = queue_first_ + 1 == queue_size_ ? 0 : queue_first_ + 1;
      --queue_count_;
      return true;
    }
  }
  const uint32_t next = touched_.load(std::memory_order_relaxed);
  if (next == count_) return false;
  own.unused_next = next;
  own.unused_end = std::min(count_, next + chunk_);
  touched_.store(own.unused_end, std::memory_order_release);
  return true;
}

void SlotPool::put_back(Participant who, uint32_t slot) {
  Own& own = own_[who];
  slots_[slot].link = own.free_head;
  own.free_head = slot;
}

void SlotPool::retire(Participant who, uint32_t slot) {
  Own& own = own_[who];
  slots_[slot].link = kNone;
  if (own.retired_count == 0) {
    own.retired_head = slot;
  } else {
    slots_[own.retired_tail].link = slot;
  }
  own.retired_tail = slot;
  if (++own.retired_count >= chunk_) queue_retired(own);
}

void SlotPool::queue_retired(Own& own) {
  SpinGuard guard(lock_);
  if (queue_count_ == queue_size_) return;  // stays here and grows
  const uint32_t last = queue_first_ + queue_count_;
  Chunk& chunk = queue_[last < queue_size_ ? last : last - queue_size_];
  // A participant that reads this epoch or a later one sees the slots gone from the index.
  chunk = {own.retired_head, own.retired_count, epoch_.fetch_add(1) + 1};
  ++queue_count_;
  own.retired_count = 0;
}

uint64_t SlotPool::oldest_epoch() const {
  // Who comes online later starts at this epoch or a later one.
  uint64_t oldest = epoch_.load();
  for (size_t i = 0; i < participants_; ++i) oldest = std::min(oldest, own_[i].epoch.load());
  return oldest;
}

void SlotPool::quiesce(Participant who) {
  Own& own = own_[who];
  // Once every slot has been used, what is retired is worth having before its chunk is full.
  if (own.retired_count > 0 && touched_.load(std::memory_order_relaxed) == count_) queue_retired(own);
  const uint64_t epoch = epoch_.load(std::memory_order_acquire);
  if (own.epoch.load(std::memory_order_relaxed) != epoch) own.epoch.store(epoch, std::memory_order_release);
}

void SlotPool::offline(Participant who) {
  Own& own = own_[who];
  if (own.retired_count > 0) queue_retired(own);
  own.epoch.store(kOffline, std::memory_order_release);
}

void SlotPool::online(Participant who) {
  Own& own = own_[who];
  // Either the thread that frees a slot sees us online, or we see its epoch and so the slot gone: both
  // sides store and then load, sequentially consistent.
  for (uint64_t epoch = epoch_.load();;) {
    own.epoch.store(epoch);
    const uint64_t now = epoch_.load();
    if (now == epoch) return;
    epoch = now;
  }
}

bool SlotPool::is_online(Participant who) const { return own_[who].epoch.load(std::memory_order_relaxed) != kOffline; }

}  // namespace tandem
