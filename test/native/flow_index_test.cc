// The index alone: flows whose buckets are full, what a removal leaves behind, and how full it gets.
#include "../../native/flow_index.h"

#include <vector>

#include "test.h"

using namespace tandem;

namespace {

// xorshift64*, Vigna 2016.
struct Hashes {
  uint64_t state = 0x9e3779b97f4a7c15;
  uint64_t next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
  }
};

bool insert(FlowIndex* index, uint64_t hash, uint32_t entry) {
  const FlowIndex::Place place = index->claim(hash);
  if (place.bucket == nullptr) return false;
  index->publish(place, hash, entry);
  return true;
}

uint32_t find(const FlowIndex& index, uint64_t hash, uint32_t entry) {
  return index.find(hash, [entry](uint32_t candidate) { return candidate == entry; });
}

}  // namespace

TEST(index_flows_that_share_a_hash_stand_in_one_bucket_after_another) {
  FlowIndex index;
  CHECK(index.reserve(1000));
  const uint64_t hash = 0x123456789abcdef0;
  const uint32_t fits = FlowIndex::kPlaces * FlowIndex::kWay;
  for (uint32_t i = 0; i < fits; ++i) CHECK(insert(&index, hash, 2 + i));
  for (uint32_t i = 0; i < fits; ++i) CHECK_EQ(find(index, hash, 2 + i), 2 + i);
  CHECK(FlowIndex::is_passed(*index.primary(hash)));
  CHECK(index.claim(hash).bucket == nullptr);

  // What stood in the first buckets is gone, and the rest is found all the same.
  const uint32_t first = FlowIndex::kPlaces * (FlowIndex::kWay - 1);
  for (uint32_t i = 0; i < first; ++i) CHECK(index.remove(hash, 2 + i));
  for (uint32_t i = 0; i < first; ++i) CHECK_EQ(find(index, hash, 2 + i), FlowIndex::kNone);
  for (uint32_t i = first; i < fits; ++i) CHECK_EQ(find(index, hash, 2 + i), 2 + i);
  for (uint32_t i = first; i < fits; ++i) CHECK(index.remove(hash, 2 + i));
  CHECK(!index.remove(hash, 2));
  // A refused flow and one that is gone leave nothing: who looks for it reads one bucket.
  CHECK(!FlowIndex::is_passed(*index.primary(hash)));
  CHECK(!FlowIndex::is_passed(*index.second(hash)));
}

TEST(index_a_claim_is_found_by_nobody_and_can_be_given_up) {
  FlowIndex index;
  CHECK(index.reserve(10));
  const uint64_t hash = 77;
  for (uint32_t i = 0; i < FlowIndex::kPlaces; ++i) CHECK(insert(&index, hash, 2 + i));
  const FlowIndex::Place place = index.claim(hash);
  CHECK_EQ(place.passed, 1u);
  CHECK_EQ(index.find(hash, [](uint32_t entry) { return entry == FlowIndex::kClaimed; }), FlowIndex::kNone);
  index.give_up(place, hash);
  CHECK(!FlowIndex::is_passed(*index.primary(hash)));
  CHECK(insert(&index, hash, 100));
  CHECK_EQ(find(index, hash, 100), 100u);
}

// Half of all places taken, as in a table without a free slot, and flows coming and going for long.
TEST(index_half_full_refuses_no_flow_and_keeps_nearly_all_in_their_primary_bucket) {
  constexpr size_t kBuckets = 2000, kFlows = kBuckets * FlowIndex::kPlaces / 2;
  FlowIndex index;
  CHECK(index.reserve(kBuckets));
  Hashes hashes;
  std::vector<uint64_t> flows(kFlows);
  for (uint32_t i = 0; i < kFlows; ++i) CHECK(insert(&index, flows[i] = hashes.next(), 2 + i));
  for (int turn = 0; turn < 300'000; ++turn) {
    const auto at = static_cast<uint32_t>(hashes.next() % kFlows);
    CHECK(index.remove(flows[at], 2 + at));
    CHECK(insert(&index, flows[at] = hashes.next(), 2 + at));
  }
  size_t further = 0;
  for (uint32_t i = 0; i < kFlows; ++i) {
    CHECK_EQ(find(index, flows[i], 2 + i), 2 + i);
    uint32_t places = FlowIndex::places_with(*index.primary(flows[i]), FlowIndex::tag_of(flows[i]));
    bool here = false;
    for (; places != 0; places &= places - 1) {
      here |= index.primary(flows[i])->entries[std::countr_zero(places)].load() == 2 + i;
    }
    further += here ? 0 : 1;
  }
  CHECK(further < kFlows * 3 / 100);
}
