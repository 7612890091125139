// The incremental update against recomputation, on random and on awkward words.
#include "../../native/wire/checksum.h"

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

using wire::be16;

uint16_t recomputed(const Bytes& words) { return static_cast<uint16_t>(~reference_sum(words)); }

TEST(checksum_of_equals_the_reference_for_every_length) {
  auto random = random_engine();
  for (size_t bytes = 0; bytes < 200; ++bytes) {
    Bytes octets(bytes);
    for (uint8_t& octet : octets) octet = static_cast<uint8_t>(random());
    CHECK_EQ(wire::checksum_of(wire::sum_octets(octets.data(), octets.size())).host(), recomputed(octets));
  }
}

TEST(a_sum_of_all_ones_is_known_without_folding_it) {
  auto random = random_engine();
  for (int round = 0; round < 200'000; ++round) {
    uint64_t sum = random() >> random() % 64;
    if (random() % 2 == 0) sum -= sum % 0xffff;
    if (sum != 0) CHECK_EQ(wire::folds_to_ones(sum), wire::fold(sum) == 0xffff);
  }
}

// RFC 1624 section 4: the example where RFC 1141's shortcut gives 0xffff.
TEST(rfc_1624_example) {
  be16 checksum(0xdd2f);
  wire::ChecksumChange change;
  change.replace(std::bit_cast<uint16_t>(be16(0x5555)), std::bit_cast<uint16_t>(be16(0x3285)));
  change.apply(checksum);
  CHECK_EQ(checksum.host(), 0x0000);
}

TEST(an_update_equals_recomputation) {
  auto random = random_engine();
  constexpr uint32_t kAwkward[] = {0, 0xffffffff, 0xffff0000, 0x0000ffff, 1, 0x80000000};
  const auto word = [&]() -> uint32_t {
    return random() % 3 == 0 ? kAwkward[random() % 6] : static_cast<uint32_t>(random());
  };
  for (int round = 0; round < 200'000; ++round) {
    // Ten words, the first never zero: a real header has a version, and a pseudo-header a protocol.
    Bytes words = {0x45, 0x00};
    put16(words, static_cast<uint16_t>(random()));
    for (int i = 0; i < 4; ++i) put32(words, word());
    be16 checksum(recomputed(words));
    be16 partial(reference_sum(words));

    wire::ChecksumChange change;
    for (const size_t at : {4u, 8u, 16u}) {
      const uint32_t before = wire::load32(&words[at]);
      const uint32_t after = word();
      std::memcpy(&words[at], &after, sizeof after);
      change.replace(before, after);
    }
    change.apply(checksum);
    change.apply_partial(partial);
    CHECK_EQ(checksum.host(), recomputed(words));
    CHECK_EQ(partial.host(), reference_sum(words));
  }
}

TEST(pseudo_header_of_both_families) {
  const Bytes v4 = {10, 1, 0, 9, 10, 1, 0, 100};
  Bytes summed = v4;
  put32(summed, 20);
  put32(summed, 6);
  CHECK_EQ(wire::checksum_of(wire::sum_pseudo_header(4, v4.data(), 20, 6)).host(), recomputed(summed));
  Bytes v6 = address("fd01::9");
  put(v6, address("fd01::100"));
  summed = v6;
  put32(summed, 70000);
  put32(summed, 58);
  CHECK_EQ(wire::checksum_of(wire::sum_pseudo_header(6, v6.data(), 70000, 58)).host(), recomputed(summed));
}

}  // namespace
}  // namespace tandem::test
