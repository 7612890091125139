// How often one worker tells senders about packets that went no further: RFC 1812 section 4.3.2.8 and RFC 4443 section
// 2.4 (f) want a token bucket.
#pragma once

#include "pace.h"

namespace tandem {

inline constexpr Nanos kIcmpInterval = kMillisecond;  // 1,000 each second ...
inline constexpr Nanos kIcmpBurst = 100;              // ... and so many at once after a silence

using IcmpPace = Pace<kIcmpInterval, kIcmpBurst>;

}  // namespace tandem
