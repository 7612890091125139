#include "hold_queue.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tandem {

size_t latency_bucket(Nanos waited) {
  return std::clamp<size_t>(static_cast<size_t>(std::bit_width(waited / 1000)), 1, kLatencyBuckets - 1);
}

bool HoldQueue::reserve() {
  if (!memory_.reserve(sizeof(Held) * kFrames, ReservedMemory::Touch::kOnUse)) return false;
  chains_.fill(kNone);
  for (uint16_t i = 0; i < kFrames; ++i) free_[i] = static_cast<uint16_t>(kFrames - 1 - i);
  free_count_ = kFrames;
  return true;
}

HoldQueue::Status HoldQueue::hold(const HalfOpen::Place& connection, const Frame& frame, Nanos now, Nanos deadline) {
  if (frame.bytes > kFrameBytes || memory_.bytes() == 0) return Status::kRefused;
  uint16_t& chain = chain_of(connection);
  uint16_t index = chain;
  while (index != kNone && !(at(index).connection == connection && at(index).frame.device == frame.device))
    index = at(index).next;
  const bool again = index != kNone;
  if (!again) {
    if (free_count_ == 0) return Status::kRefused;
    index = free_[--free_count_];
    Held& held = at(index);
    held.connection = connection;
    held.since = now;
    held.deadline = deadline;
    held.next = chain;
    chain = index;
    order_[count_++] = index;
    next_deadline_ = std::min(next_deadline_, deadline);
    // What the peer has said so far was not looked at for this one.
    waits_.store(true, std::memory_order_seq_cst);
  }
  Held& held = at(index);
  held.frame = frame;
  held.frame.data = held.memory + kFrameHeadroom;
  std::memcpy(held.frame.data, frame.data, frame.bytes);
  return again ? Status::kReplaced : Status::kHeld;
}

void HoldQueue::unlink(uint16_t index) {
  uint16_t* link = &chain_of(at(index).connection);
  while (*link != index) link = &at(*link).next;
  *link = at(index).next;
}

void HoldQueue::finish_look(size_t kept, uint32_t news, bool complete) {
  count_ = kept;
  if (complete) {
    news_ = news;
  } else {
    next_deadline_ = 0;  // the next look is due at once
  }
  if (count_ == 0) {
    next_deadline_ = ~Nanos{0};
    waits_.store(false, std::memory_order_relaxed);
  }
}

void HoldQueue::free_taken() {
  while (taken_count_ > 0) free_[free_count_++] = taken_[--taken_count_];
}

int HoldQueue::poll_ms(Nanos now, int otherwise) const {
  if (count_ == 0) return otherwise;
  if (next_deadline_ <= now) return 0;
  return static_cast<int>(
      std::min<Nanos>((next_deadline_ - now + kMillisecond - 1) / kMillisecond, static_cast<Nanos>(otherwise)));
}

void HoldQueue::note_latency(size_t bucket) {
  latency[bucket].store(latency[bucket].load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace tandem
