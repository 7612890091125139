// How often one worker tells senders about packets that went no further: a token bucket in one word (the generic
// cell rate algorithm), as RFC 1812 section 4.3.2.8 and RFC 4443 section 2.4 (f) want one. Written by its worker.
#pragma once

#include "clock.h"

namespace tandem {

inline constexpr Nanos kIcmpInterval = kMillisecond;  // 1,000 each second ...
inline constexpr Nanos kIcmpBurst = 100;              // ... and so many at once after a silence

class alignas(64) IcmpPace {
 public:
  // Whether one more may be sent now.
  bool take(Nanos now) {
    constexpr Nanos kDepth = (kIcmpBurst - 1) * kIcmpInterval;
    const Nanos earliest = now > kDepth ? now - kDepth : 0;
    const Nanos due = due_ > earliest ? due_ : earliest;
    if (due > now) return false;
    due_ = due + kIcmpInterval;
    return true;
  }

 private:
  Nanos due_ = 0;
};

}  // namespace tandem
