// How connections of one virtual server are mirrored, in one word, so that it changes whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "clock.h"

namespace tandem {

enum class MirrorMode : uint8_t {
  kOff,
  kAsync,   // told when the handshake is complete, or later (after_...)
  kCommit,  // told half-open, and its client hears of it when the peer has it: commit.h
};

struct alignas(8) MirrorRule {
  // Octets are counted in steps of so many, each frame to the nearest, and up to 16 bits of steps.
  static constexpr uint32_t kStepBytes = 64;

  MirrorMode mode = MirrorMode::kOff;
  // kCommit, when the peer does not answer in time: nothing is sent, and the client asks again. Else it is sent, and
  // the connection is not protected until the peer has it.
  bool strict = false;
  uint16_t timeout_ms = 0;  // kCommit
  // kAsync: told once it is as old as this (deciseconds, 0: whatever its age), or as many octets have passed (steps, 0:
  // however few). Both 0: with its handshake.
  uint16_t after_age = 0;
  uint16_t after_steps = 0;

  bool waits() const { return (after_age | after_steps) != 0; }
};
static_assert(sizeof(MirrorRule) == 8 && std::is_trivially_copyable_v<MirrorRule>);

// What a connection that is told later has lived, in Connection::early.
struct Youth {
  uint16_t opened;  // deciseconds, its low 16 bits: an hour and three quarters go by before they come again
  uint16_t steps;

  static Youth of(uint32_t word) { return {static_cast<uint16_t>(word), static_cast<uint16_t>(word >> 16)}; }
  uint32_t word() const { return uint32_t{steps} << 16 | opened; }
  Youth with(uint32_t bytes) const {
    const uint32_t more = steps + (bytes + MirrorRule::kStepBytes / 2) / MirrorRule::kStepBytes;
    return {opened, static_cast<uint16_t>(more > UINT16_MAX ? UINT16_MAX : more)};
  }
  // Whether it has lived long enough to be told.
  bool is_over(const MirrorRule& rule, Deciseconds now) const {
    if (!rule.waits()) return true;
    if (rule.after_steps != 0 && steps >= rule.after_steps) return true;
    return rule.after_age != 0 && static_cast<uint16_t>(now - opened) >= rule.after_age;
  }
};

}  // namespace tandem
