// Integers as they lie in a packet: network byte order, alignment 1.
//
// A header struct made of these has no padding and may be laid over any byte of a frame. Byte order
// is part of the type, so "which order is this in?" is a question for the compiler and not for a
// comment: the value is read with host(), written with operator=, and nothing converts silently.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>

namespace tandem::wire {

constexpr uint16_t byte_swap(uint16_t value) { return __builtin_bswap16(value); }
constexpr uint32_t byte_swap(uint32_t value) { return __builtin_bswap32(value); }
constexpr uint64_t byte_swap(uint64_t value) { return __builtin_bswap64(value); }

template <typename T>
class BigEndian {
 public:
  BigEndian() = default;
  explicit constexpr BigEndian(T host) { *this = host; }

  constexpr T host() const { return swapped(std::bit_cast<T>(bytes_)); }

  constexpr BigEndian& operator=(T host) {
    bytes_ = std::bit_cast<Bytes>(swapped(host));
    return *this;
  }

  // As one integer: what the compiler makes of two arrays of octets is a call of memcmp().
  friend constexpr bool operator==(const BigEndian& one, const BigEndian& other) {
    return std::bit_cast<T>(one.bytes_) == std::bit_cast<T>(other.bytes_);
  }

 private:
  using Bytes = std::array<unsigned char, sizeof(T)>;

  static constexpr T swapped(T value) { return std::endian::native == std::endian::little ? byte_swap(value) : value; }

  Bytes bytes_;
};

using be16 = BigEndian<uint16_t>;
using be32 = BigEndian<uint32_t>;
using be64 = BigEndian<uint64_t>;

static_assert(sizeof(be16) == 2 && alignof(be16) == 1);
static_assert(sizeof(be32) == 4 && alignof(be32) == 1);
static_assert(std::is_trivially_copyable_v<be32> && std::is_standard_layout_v<be32>);

}  // namespace tandem::wire
