// Records of any length on their way from one worker to the JavaScript thread: a bounded ring of octets with one
// producer and one consumer. A full ring refuses and never waits; who claims counts what was missed.
//
// A record is one piece of memory: where the end of the ring has no room for the next one, a length of 0 says that it
// stands at the beginning. Records are published together, a burst at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "reserved_memory.h"

namespace tandem {

class CaptureRing {
 public:
  // Some 40,000 short frames, or 60 of the longest.
  static constexpr size_t kBytes = size_t{4} << 20;
  // What every record begins with: its length, which is a multiple of kUnit.
  using Length = uint32_t;
  static constexpr size_t kUnit = 8;

  // Once, before any thread. False: the memory is not to be had; errno says why.
  bool reserve() { return memory_.reserve(kBytes, ReservedMemory::Touch::kNow); }

  // Producer. `bytes` is a multiple of kUnit, far below kBytes; the length is filled in. nullptr: the ring is full.
  uint8_t* claim(size_t bytes) {
    const size_t at = claimed_ & (kBytes - 1);
    const size_t skipped = bytes <= kBytes - at ? 0 : kBytes - at;
    if (claimed_ + skipped + bytes - head_seen_ > kBytes) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (claimed_ + skipped + bytes - head_seen_ > kBytes) return nullptr;
    }
    if (skipped != 0) write_length(at, 0);
    claimed_ += skipped;
    const size_t start = claimed_ & (kBytes - 1);
    write_length(start, static_cast<Length>(bytes));
    claimed_ += bytes;
    return memory_.as<uint8_t>() + start;
  }
  // Producer. Publishes every record claimed so far.
  void submit() { tail_.store(claimed_, std::memory_order_release); }

  // Consumer. The next record; nullptr: there is none.
  const uint8_t* peek() {
    const uint64_t tail = tail_.load(std::memory_order_acquire);
    uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail) return nullptr;
    if (length_at(head & (kBytes - 1)) == 0) {
      head += kBytes - (head & (kBytes - 1));
      head_.store(head, std::memory_order_release);
    }
    return memory_.as<uint8_t>() + (head & (kBytes - 1));
  }
  // Consumer. Gives the memory of the record that peek() gave back to the producer.
  void release() {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    head_.store(head + length_at(head & (kBytes - 1)), std::memory_order_release);
  }

 private:
  Length length_at(size_t at) const {
    Length length;
    std::memcpy(&length, memory_.as<uint8_t>() + at, sizeof length);
    return length;
  }
  void write_length(size_t at, Length length) { std::memcpy(memory_.as<uint8_t>() + at, &length, sizeof length); }

  ReservedMemory memory_;
  // Octets since the beginning; they do not wrap within the life of a capture.
  alignas(64) std::atomic<uint64_t> tail_{0};
  uint64_t claimed_ = 0;    // producer's, ahead of tail_
  uint64_t head_seen_ = 0;  // producer's last look at head_
  alignas(64) std::atomic<uint64_t> head_{0};
};

}  // namespace tandem
