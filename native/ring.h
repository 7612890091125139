// A bounded ring with one producer and one consumer: a worker on one side, the JavaScript thread on the
// other. The numbers of changed connections' slots go through one for each worker.
//
// The verbs are those of AF_XDP's own rings (xdp/xsk.h), so every ring in this program reads alike:
// the producer reserves a slot and submits it, the consumer peeks at slots and releases them. A full
// ring refuses and never waits: forwarding must not stop because the peer is slow. Nothing is lost by
// a refusal, because a changed connection keeps its pending mark and is queued by the sweep later.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstdint>

namespace tandem {

template <typename Record, uint32_t kSlots>
class Ring {
  static_assert((kSlots & (kSlots - 1)) == 0, "slot numbers are masked, so the size is a power of two");

 public:
  // Producer. Returns nullptr when the ring is full.
  Record* reserve() {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == kSlots) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == kSlots) return nullptr;
    }
    return &slots_[tail & (kSlots - 1)];
  }

  // Producer. Publishes the slot last reserved. A producer that then looks whether the consumer sleeps, and a
  // consumer that looks at the ring before it sleeps, both say seq_cst: one of them sees the other.
  void submit(std::memory_order order = std::memory_order_release) {
    tail_.store(tail_.load(std::memory_order_relaxed) + 1, order);
  }

  // Consumer. Number of records that may be read, at most `limit`.
  uint32_t peek(uint32_t limit, std::memory_order order = std::memory_order_acquire) const {
    const uint32_t count = tail_.load(order) - head_.load(std::memory_order_relaxed);
    assert(count <= kSlots);
    return count < limit ? count : limit;
  }

  // Consumer. The index-th readable record; index < peek().
  const Record& operator[](uint32_t index) const {
    return slots_[(head_.load(std::memory_order_relaxed) + index) & (kSlots - 1)];
  }

  // Consumer. Gives `count` slots back to the producer.
  void release(uint32_t count) {
    head_.store(head_.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }

 private:
  // Producer and consumer write different cache lines, so neither slows the other down.
  alignas(64) std::atomic<uint32_t> tail_{0};
  uint32_t head_seen_ = 0;  // producer's last look at head_
  alignas(64) std::atomic<uint32_t> head_{0};
  alignas(64) std::array<Record, kSlots> slots_;
};

}  // namespace tandem
