// Frames of handshakes that wait until the peer has their connections; commit.h says which and for how long. Each
// worker has a queue of its own, which no other thread touches, but for waits() and `latency`, which the JavaScript
// thread reads.
//
//   hold() -> waiting -> take() -> taken, lent to the caller -> free_taken()
//                 └──── drop(): free at once
//
// Bounds: kFrames frames of kFrameBytes at most; beyond, hold() refuses. Address space for them is reserved at start
// and touched as it is used, last freed first.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "frame.h"
#include "half_open.h"
#include "limits.h"
#include "reserved_memory.h"

namespace tandem {

// Handshakes by how long their client was kept waiting: [0] not at all; [n] less than 2^n microseconds, the last more.
inline constexpr size_t kLatencyBuckets = 24;
size_t latency_bucket(Nanos waited);

class HoldQueue {
 public:
  static constexpr uint16_t kFrames = 4096;
  static constexpr uint32_t kFrameBytes = 1920;  // an Ethernet frame of 1500 octets with room; longer ones are refused

  struct Held {
    HalfOpen::Place connection;  // whose handshake it is
    Frame frame;
    Nanos since;     // of the first frame that stands here; one sent again changes neither
    Nanos deadline;  // when waiting ends
    uint16_t next;   // of its chain in the index
    alignas(8) uint8_t memory[kFrameHeadroom + kFrameBytes + kFrameTailroom];
  };

  // Once, before any thread. False: no memory (errno).
  bool reserve();

  enum class Status : uint8_t { kHeld, kReplaced, kRefused };
  // Copies the frame. One of the same connection and from the same side is replaced by it: it was sent again.
  Status hold(const HalfOpen::Place& connection, const Frame& frame, Nanos now, Nanos deadline);

  // Whether somebody should look through what waits: the peer has said something (`news` differs from last time), or
  // the first deadline has come.
  bool is_due(uint32_t news, Nanos now) const { return count_ != 0 && (news != news_ || now >= next_deadline_); }
  // Looks at each frame, oldest first, until `limit` are taken. Of `judge(const Held&)`: kGo takes it, kDrop frees it,
  // kWait leaves it. When all have been seen, is_due() waits for other news than these.
  enum class Judgement : uint8_t { kWait, kGo, kDrop };
  template <typename Judge>
  size_t look_through(uint32_t news, Frame* taken, size_t limit, Judge judge);
  // Gives the memory of what look_through() took back.
  void free_taken();

  size_t held() const { return count_; }
  // Milliseconds until the first deadline, rounded up, for poll(2); `otherwise` when nothing waits.
  int poll_ms(Nanos now, int otherwise) const;
  // Any thread. A worker that says so has yet to look at the news: one that stores news and then asks this, and one
  // that holds and then looks at the news, both in sequentially consistent order, cannot miss each other.
  bool waits() const { return waits_.load(std::memory_order_seq_cst); }

  std::array<std::atomic<uint64_t>, kLatencyBuckets> latency{};  // this worker writes
  void note_latency(size_t bucket);

 private:
  static constexpr uint16_t kNone = 0xffff;
  static constexpr size_t kChains = 4096;

  Held& at(uint16_t index) const { return memory_.as<Held>()[index]; }
  uint16_t& chain_of(const HalfOpen::Place& connection) { return chains_[connection.slot % kChains]; }
  void unlink(uint16_t index);
  void finish_look(size_t kept, uint32_t news, bool complete);

  ReservedMemory memory_;
  std::array<uint16_t, kChains> chains_;
  std::array<uint16_t, kFrames> order_;  // [0, count_) wait, oldest first
  std::array<uint16_t, kFrames> free_;   // [0, free_count_), the last is used next
  std::array<uint16_t, kBurst> taken_;
  size_t count_ = 0, free_count_ = 0, taken_count_ = 0;
  uint32_t news_ = 0;
  Nanos next_deadline_ = ~Nanos{0};
  std::atomic<bool> waits_{false};
};

template <typename Judge>
size_t HoldQueue::look_through(uint32_t news, Frame* taken, size_t limit, Judge judge) {
  size_t kept = 0, look = 0;
  next_deadline_ = ~Nanos{0};
  for (; look < count_ && taken_count_ < limit; ++look) {
    const uint16_t index = order_[look];
    Held& held = at(index);
    switch (judge(static_cast<const Held&>(held))) {
      case Judgement::kWait:
        order_[kept++] = index;
        if (held.deadline < next_deadline_) next_deadline_ = held.deadline;
        break;
      case Judgement::kGo:
        unlink(index);
        taken[taken_count_] = held.frame;
        taken_[taken_count_++] = index;
        break;
      case Judgement::kDrop:
        unlink(index);
        free_[free_count_++] = index;
        break;
    }
  }
  const bool complete = look == count_;
  for (; look < count_; ++look) order_[kept++] = order_[look];
  finish_look(kept, news, complete);
  return taken_count_;
}

}  // namespace tandem
