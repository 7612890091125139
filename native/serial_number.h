// Numbers that wrap: one is later if it is ahead by less than half of its range (RFC 1982).
#pragma once

#include <cstdint>

namespace tandem {

inline bool later(uint16_t a, uint16_t b) { return static_cast<int16_t>(a - b) > 0; }
inline bool later(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

}  // namespace tandem
