// The policy in force and who is reading it. Workers take it once per burst without a lock; the JavaScript
// thread replaces it in one store and frees the old one when no worker reads it any more.
//
// Each worker says which policy it reads in a word of its own (a hazard pointer), so a worker that sleeps
// delays no swap, and a swap waits for one burst at most.
#pragma once

#include <time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

#include "limits.h"
#include "policy.h"

namespace tandem {

class PolicySlot {
 public:
  PolicySlot() = default;
  PolicySlot(const PolicySlot&) = delete;
  PolicySlot& operator=(const PolicySlot&) = delete;
  ~PolicySlot() { delete current_.load(); }

  // A worker: the policy for the coming burst, valid until leave(). Never nullptr once swap() was called.
  const Policy* enter(size_t worker) {
    const Policy* policy = current_.load(std::memory_order_acquire);
    for (;;) {
      // Sequentially consistent: either swap() sees this word, or this load sees swap()'s store.
      readers_[worker].policy.store(policy, std::memory_order_seq_cst);
      const Policy* again = current_.load(std::memory_order_seq_cst);
      if (again == policy) return policy;
      policy = again;
    }
  }
  void leave(size_t worker) { readers_[worker].policy.store(nullptr, std::memory_order_release); }

  // The JavaScript thread.
  const Policy* current() const { return current_.load(std::memory_order_relaxed); }
  // Returns when the old policy is read by nobody and freed.
  void swap(std::unique_ptr<const Policy> next) {
    const Policy* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    for (Reader& reader : readers_) {
      while (old != nullptr && reader.policy.load(std::memory_order_seq_cst) == old) {
        const timespec pause{0, 20'000};  // a burst takes tens of microseconds
        nanosleep(&pause, nullptr);
      }
    }
    delete old;
  }

 private:
  struct alignas(64) Reader {
    std::atomic<const Policy*> policy{nullptr};
  };

  std::atomic<const Policy*> current_{nullptr};
  std::array<Reader, kWorkersMax> readers_;
};

}  // namespace tandem
