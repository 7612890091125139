// A lock for a few instructions: bucket writers, free lists, SNAT port queues. Never held over a system
// call, a wait or another packet's work.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

#include "seam.h"

namespace tandem {

class SpinLock {
 public:
  void lock() {
    for (uint32_t tries = 0; word_.exchange(1, std::memory_order_acquire) != 0; ++tries) {
      // Its holder may have been preempted, perhaps on this very core.
      if (tries >= kTriesBeforeYield) sched_yield();
    }
    seam();
  }
  void unlock() { word_.store(0, std::memory_order_release); }

 private:
  static constexpr uint32_t kTriesBeforeYield = 64;
  std::atomic<uint16_t> word_{0};
};
static_assert(sizeof(SpinLock) == 2);

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace tandem
