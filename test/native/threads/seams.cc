// What native/seam.h calls in the thread tests: now and then another thread gets its turn, at random from the run's
// seed. Which thread runs when is the kernel's; a seed repeats what each thread does, not every order.
#ifdef TANDEM_SEAMS

#include <sched.h>
#include <time.h>

#include <atomic>

#include "../../../native/seam.h"
#include "../test.h"

namespace tandem {

void seam() {
  static std::atomic<uint64_t> threads{0};
  thread_local std::mt19937_64 random(test::seed() + threads.fetch_add(1, std::memory_order_relaxed));
  const uint64_t chance = random() % 1024;
  if (chance == 0) {
    const timespec pause{0, static_cast<long>(random() % 50'000)};
    nanosleep(&pause, nullptr);
  } else if (chance < 48) {
    sched_yield();
  }
}

}  // namespace tandem

#endif
