// How often something may happen: a token bucket in one word (the generic cell rate algorithm). Written by one worker.
#pragma once

#include "clock.h"

namespace tandem {

// Once in kInterval in the long run, and kAtOnce times at once after a silence.
template <Nanos kInterval, Nanos kAtOnce>
class alignas(64) Pace {
 public:
  // Whether it may happen once more now.
  bool take(Nanos now) {
    constexpr Nanos kDepth = (kAtOnce - 1) * kInterval;
    const Nanos earliest = now > kDepth ? now - kDepth : 0;
    const Nanos due = due_ > earliest ? due_ : earliest;
    if (due > now) return false;
    due_ = due + kInterval;
    return true;
  }

 private:
  Nanos due_ = 0;
};

}  // namespace tandem
