// The Internet checksum, RFC 1071, and its incremental update, RFC 1624.
//
// One's complement sums do not care about byte order (RFC 1071 section 2 (B)), so everything here adds
// words as they lie in memory and swaps nothing. They do not care about the width of a word either, as
// long as it is a multiple of 16 bits, so addresses are added 32 bits at a time and folded at the end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "big_endian.h"

namespace tandem::wire {

// Folds a one's complement sum to 16 bits. A word and itself with its halves exchanged add up, in the upper half, to
// the sum of both halves and the carry of that sum: the end-around carry at once.
constexpr uint16_t fold(uint64_t sum) {
  const auto half = static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<uint16_t>((half + std::rotl(half, 16)) >> 16);
}

// Whether a sum that is not 0 folds to all ones, as one over data with a right checksum among them does (RFC 1071
// section 1). Less work than to fold it.
constexpr bool folds_to_ones(uint64_t sum) { return sum % 0xffff == 0; }

inline uint32_t load32(const void* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Sum over `bytes` octets as they lie in memory; an odd last octet is padded with zero (RFC 1071 section 1).
inline uint64_t sum_octets(const uint8_t* data, size_t bytes) {
  uint64_t sum = 0;
  if (bytes == 20) {  // an IPv4 header without options
    for (size_t at = 0; at < 20; at += 4) sum += load32(data + at);
    return sum;
  }
  for (; bytes >= 4; bytes -= 4, data += 4) sum += load32(data);
  if (bytes == 0) return sum;
  uint8_t rest[4] = {};
  std::memcpy(rest, data, bytes);
  return sum + load32(rest);
}

// What stands in a checksum field for a sum of everything under it, the field itself counted as zero.
inline be16 checksum_of(uint64_t sum) { return std::bit_cast<be16>(static_cast<uint16_t>(~fold(sum))); }

// RFC 9293 section 3.1 and RFC 8200 section 8.1: addresses, length and protocol. `addresses` points at the
// source address in the header; the destination follows it, in IPv4 and in IPv6.
inline uint64_t sum_pseudo_header(uint8_t family, const uint8_t* addresses, uint32_t length, uint8_t protocol) {
  return sum_octets(addresses, family == 4 ? 8 : 32) + std::bit_cast<uint32_t>(be32(length)) +
         std::bit_cast<uint32_t>(be32(protocol));
}

// What changes under a checksum: HC' = ~(~HC + ~m + m')   -- RFC 1624 section 3 [Eqn. 3]
// Eqn. 3 and not RFC 1141's shortcut, which can turn a correct 0x0000 into 0xffff. The changes are gathered
// first, for one change of addresses goes into the IPv4 header's checksum and into the transport's.
class ChecksumChange {
 public:
  // Both as they lie in memory.
  constexpr void replace(uint32_t from, uint32_t to) { sum_ += uint64_t{0xffffffff} - from + to; }
  // An octet that lies first in its 16 bits is one less: ~m + m' is -1, whatever m was.
  static_assert(std::endian::native == std::endian::little);
  constexpr void count_down() { sum_ += 0xfffe; }

  // Of a checksum field that holds the complement, as every finished one does.
  void apply(be16& checksum) const {
    const uint16_t before = std::bit_cast<uint16_t>(checksum);
    checksum = std::bit_cast<be16>(static_cast<uint16_t>(~fold(sum_ + 0xffff - before)));
  }

  // Of a field that holds the plain sum of the pseudo-header (see Frame::checksum_partial).
  void apply_partial(be16& sum) const { sum = std::bit_cast<be16>(fold(sum_ + std::bit_cast<uint16_t>(sum))); }

 private:
  uint64_t sum_ = 0;
};

}  // namespace tandem::wire
