// Which slots of the connection table are free, and when a freed one may be used again.
//
// Lookups take no lock, so somebody may still read a slot that was just closed. Each participant says at
// the end of its burst that it holds no pointer any more (quiesce); a retired slot is free once every
// participant that is online has said so after it was retired. This is quiescent-state-based reclamation
// (Hart et al., "Performance of memory reclamation for lockless synchronization", 2007).
//
//   take() <- own cache <- oldest chunk whose epoch has passed      retire() -> own chunk -> full: the queue,
//                       <- slots never used yet                                  stamped with a new epoch
//
// Slots move between participants in chunks, so the queue's lock is taken once per 64 opens or closes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "limits.h"
#include "reserved_memory.h"
#include "spin_lock.h"

namespace tandem {

struct Connection;
using Participant = size_t;

class SlotPool {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  // Once. `slots` is linked through Connection::link while free. False: no memory (errno).
  bool reserve(Connection* slots, size_t count, size_t participants);

  // kNone: none is free (a few may lie in other participants' caches or in their grace period).
  uint32_t take(Participant who);
  // Of a slot just taken that nobody has seen.
  void put_back(Participant who, uint32_t slot);
  // Of a slot that nobody finds any more, though some may hold a pointer still.
  void retire(Participant who, uint32_t slot);

  void quiesce(Participant who);
  void offline(Participant who);
  void online(Participant who);
  bool is_online(Participant who) const;

  size_t touched() const { return touched_.load(std::memory_order_relaxed); }
  size_t bytes() const { return queue_memory_.bytes(); }

 private:
  struct Chunk {
    uint32_t head;
    uint32_t count;
    uint64_t epoch;  // free when every online participant has quiesced at this epoch or later
  };

  struct alignas(64) Own {
    std::atomic<uint64_t> epoch{kOffline};
    // What follows belongs to the participant's thread.
    uint32_t free_head = kNone;
    uint32_t unused_next = 0, unused_end = 0;  // of slots never used yet
    uint32_t retired_head = kNone, retired_tail = kNone, retired_count = 0;
  };

  static constexpr uint64_t kOffline = ~uint64_t{0};

  bool refill(Own& own);
  void queue_retired(Own& own);
  uint64_t oldest_epoch() const;

  Connection* slots_ = nullptr;
  uint32_t count_ = 0;
  uint32_t participants_ = 0;
  uint32_t chunk_ = 0;
  std::atomic<uint64_t> epoch_{1};
  std::atomic<uint32_t> touched_{0};

  SpinLock lock_;  // of the queue below
  ReservedMemory queue_memory_;
  Chunk* queue_ = nullptr;  // oldest first
  uint32_t queue_size_ = 0;
  uint32_t queue_first_ = 0, queue_count_ = 0;
  uint64_t passed_ = 0;  // oldest_epoch() when last looked at

  Own own_[kWorkersMax + 1];
};

}  // namespace tandem
