// Time in the datapath: nanoseconds on CLOCK_BOOTTIME, which keeps counting while the host is
// suspended, so that a lease runs out however the unit was stopped. Always an argument; only the
// worker's loop and the boundary to JavaScript read the clock.
#pragma once

#include <cstdint>
#include <ctime>

namespace tandem {

using Nanos = uint64_t;

inline constexpr Nanos kMillisecond = 1'000'000;
inline constexpr Nanos kSecond = 1'000'000'000;

inline Nanos boottime_now() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<Nanos>(now.tv_sec) * kSecond + static_cast<Nanos>(now.tv_nsec);
}

// Idle times are kept in tenths of a second: 32 bits last 13 years of uptime.
using Deciseconds = uint32_t;
inline constexpr Nanos kDecisecond = 100 * kMillisecond;
constexpr Deciseconds to_deciseconds(Nanos time) { return static_cast<Deciseconds>(time / kDecisecond); }

}  // namespace tandem
