// Something that the JavaScript thread replaces while workers use it. A worker takes it once per burst or pass without
// a lock; it is replaced in one store, and the old one is freed when no worker uses it any more.
//
// Each worker says which one it uses in a word of its own (a hazard pointer), so a worker that sleeps delays no swap,
// and a swap waits for one burst at most.
#pragma once

#include <time.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

#include "limits.h"

namespace tandem {

template <typename T>
class HazardSlot {
 public:
  HazardSlot() = default;
  HazardSlot(const HazardSlot&) = delete;
  HazardSlot& operator=(const HazardSlot&) = delete;
  ~HazardSlot() { delete current_.load(); }

  // A worker: what is in force, valid until leave(); nullptr: nothing is, and leave() need not be called.
  T* enter(size_t worker) {
    T* current = current_.load(std::memory_order_acquire);
    if (current == nullptr) return nullptr;
    do {
      // Sequentially consistent: either swap() sees this word, or this load sees swap()'s store.
      users_[worker].uses.store(current, std::memory_order_seq_cst);
      T* again = current_.load(std::memory_order_seq_cst);
      if (again == current) return current;
      current = again;
    } while (current != nullptr);
    leave(worker);
    return nullptr;
  }
  void leave(size_t worker) { users_[worker].uses.store(nullptr, std::memory_order_release); }

  // The JavaScript thread.
  T* current() const { return current_.load(std::memory_order_relaxed); }
  // Returns when the old one is used by nobody and freed.
  void swap(std::unique_ptr<T> next) {
    T* old = current_.exchange(next.release(), std::memory_order_seq_cst);
    for (User& user : users_) {
      while (old != nullptr && user.uses.load(std::memory_order_seq_cst) == old) {
        const timespec pause{0, 20'000};  // a burst takes tens of microseconds
        nanosleep(&pause, nullptr);
      }
    }
    delete old;
  }

 private:
  struct alignas(64) User {
    std::atomic<T*> uses{nullptr};
  };

  std::atomic<T*> current_{nullptr};
  std::array<User, kWorkersMax> users_;
};

}  // namespace tandem
