// How clients and members are hashed for schedulers: the same on both units, in every version.
#pragma once

#include <cstdint>
#include <cstring>

namespace tandem {

// splitmix64's finisher: every bit of the input reaches every bit of the output.
constexpr uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

inline uint64_t hash_address(uint64_t seed, const uint8_t octets[16], uint16_t port) {
  uint64_t words[2];
  std::memcpy(words, octets, sizeof words);
  return mix_bits(mix_bits(mix_bits(seed ^ words[0]) ^ words[1]) ^ port);
}

}  // namespace tandem
