// The table of persistence entries: exact keys, its bound, its time, several workers; and what connections make of it.
#include "../../native/persistence.h"

#include <map>
#include <thread>

#include "rows.h"

namespace tandem::test {
namespace {

constexpr Deciseconds kTimeout = 3000;
constexpr Nanos kNow = 1000 * kSecond;

Persistence::Client client(uint32_t number, uint16_t server = 1, uint8_t prefix = 32) {
  const uint8_t octets[4] = {static_cast<uint8_t>(number >> 24), static_cast<uint8_t>(number >> 16),
                             static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number)};
  return Persistence::client_of(server, 4, prefix, octets);
}

TEST(a_client_is_its_address_up_to_the_prefix) {
  const Bytes v6 = address("2001:db8:1234:5678:9abc:def0:1:2");
  for (uint8_t prefix = 1; prefix <= 128; ++prefix) {
    const Persistence::Client made = Persistence::client_of(1, 6, prefix, v6.data());
    for (size_t bit = 0; bit < 128; ++bit) {
      const int wanted = bit < prefix ? v6[bit / 8] >> (7 - bit % 8) & 1 : 0;
      CHECK_EQ(made.network[bit / 8] >> (7 - bit % 8) & 1, wanted);
    }
  }
  CHECK(client(0x0a010203, 1, 24) == client(0x0a0102ff, 1, 24));
  CHECK(!(client(0x0a010203) == client(0x0a010204)));
  CHECK(!(client(0x0a010203, 1) == client(0x0a010203, 2)));
  CHECK(!(client(0x0a010200, 1, 24) == client(0x0a010200, 1, 32)));
}

TEST(an_entry_is_found_moved_and_forgotten_in_time) {
  Persistence table;
  REQUIRE(table.reserve(64));
  CHECK_EQ(table.find(client(7), kNow), Persistence::kNone);
  table.settle(client(7), Persistence::kNone, 0, kTimeout, kNow);
  CHECK_EQ(table.find(client(7), kNow + 299 * kSecond), 0u);
  CHECK_EQ(table.find(client(7), kNow + 300 * kSecond), Persistence::kNone);
  CHECK_EQ(table.find(client(7, 2), kNow), Persistence::kNone);
  // Used again, it lives on.
  table.settle(client(7), 0, 0, kTimeout, kNow + 200 * kSecond);
  CHECK_EQ(table.find(client(7), kNow + 400 * kSecond), 0u);
  table.settle(client(7), 0, 5, kTimeout, kNow + 400 * kSecond);
  CHECK_EQ(table.find(client(7), kNow + 400 * kSecond), 5u);
  CHECK_EQ(table.count(kNow + 400 * kSecond), 1u);
  // Who is late takes what stands.
  const Persistence::Settled late = table.settle(client(7), 0, 9, kTimeout, kNow + 400 * kSecond);
  CHECK_EQ(late.endpoint, 5u);
  CHECK_EQ(table.find(client(7), kNow + 400 * kSecond), 5u);
}

TEST(a_full_set_gives_up_the_entry_used_longest_ago) {
  Persistence table;
  REQUIRE(table.reserve(8));  // one set
  for (uint32_t i = 0; i < 8; ++i) {
    CHECK(
        !table.settle(client(i), Persistence::kNone, static_cast<uint16_t>(i), kTimeout, kNow + i * kSecond).replaced);
  }
  table.settle(client(0), 0, 0, kTimeout, kNow + 20 * kSecond);
  CHECK(table.settle(client(100), Persistence::kNone, 50, kTimeout, kNow + 21 * kSecond).replaced);
  CHECK_EQ(table.find(client(0), kNow + 21 * kSecond), 0u);
  CHECK_EQ(table.find(client(1), kNow + 21 * kSecond), Persistence::kNone);
  CHECK_EQ(table.find(client(100), kNow + 21 * kSecond), 50u);
  CHECK_EQ(table.count(kNow + 21 * kSecond), 8u);
  // Those that have ended are no loss.
  CHECK(!table.settle(client(101), Persistence::kNone, 51, kTimeout, kNow + 10'000 * kSecond).replaced);
}

TEST(what_a_peer_tells_stands_unless_ours_is_later) {
  Persistence table;
  REQUIRE(table.reserve(64));
  table.apply(client(1), 3, kTimeout, to_deciseconds(kNow));
  CHECK_EQ(table.find(client(1), kNow), 3u);
  table.settle(client(1), 3, 4, kTimeout, kNow + 10 * kSecond);
  table.apply(client(1), 3, kTimeout, to_deciseconds(kNow + 5 * kSecond));
  CHECK_EQ(table.find(client(1), kNow + 10 * kSecond), 4u);
  table.apply(client(1), 6, kTimeout, to_deciseconds(kNow + 10 * kSecond));
  CHECK_EQ(table.find(client(1), kNow + 10 * kSecond), 6u);
}

TEST(random_use_is_what_a_map_says_as_long_as_nothing_is_replaced) {
  auto random = random_engine();
  Persistence table;
  REQUIRE(table.reserve(1 << 14));
  std::map<uint32_t, std::pair<uint16_t, Nanos>> model;
  Nanos now = kNow;
  for (int step = 0; step < 30'000; ++step) {
    now += random() % (kSecond / 4);
    const auto number = static_cast<uint32_t>(random() % 1500);
    const auto known = model.find(number);
    const bool alive = known != model.end() && to_deciseconds(known->second.second) + kTimeout > to_deciseconds(now);
    const uint16_t was = table.find(client(number), now);
    CHECK_EQ(was, alive ? known->second.first : Persistence::kNone);
    if (random() % 2 == 0) continue;
    const auto endpoint = static_cast<uint16_t>(random() % 100);
    const Persistence::Settled settled = table.settle(client(number), was, endpoint, kTimeout, now);
    CHECK_EQ(settled.endpoint, endpoint);
    REQUIRE(!settled.replaced);
    model[number] = {endpoint, now};
  }
}

TEST(threads_that_meet_at_one_client_agree_on_its_member) {
  Persistence table;
  REQUIRE(table.reserve(1 << 12));
  constexpr uint32_t kClients = 400;
  std::atomic<uint16_t> agreed[kClients];
  for (auto& one : agreed) one = Persistence::kNone;
  std::atomic<int> disagreed{0};
  std::vector<std::thread> threads;
  for (uint16_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t i = 0; i < 20 * kClients; ++i) {
        const uint32_t number = (i * 7 + thread) % kClients;
        const uint16_t was = table.find(client(number), kNow);
        const uint16_t wish = was == Persistence::kNone ? thread : was;
        const uint16_t got = table.settle(client(number), was, wish, kTimeout, kNow).endpoint;
        uint16_t before = Persistence::kNone;
        if (!agreed[number].compare_exchange_strong(before, got) && before != got) ++disagreed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(disagreed.load(), 0);
}

// ---- with connections

std::unique_ptr<Policy> persistent_policy(size_t members) {
  auto policy = two_sided_policy();
  policy->pools[0]->members.clear();
  for (size_t i = 0; i < members; ++i)
    policy->pools[0]->members.push_back(
        member("10.2.0." + std::to_string(11 + i), 8080, static_cast<uint16_t>(i == 0 ? 0 : i + 10)));
  policy->virtual_servers[0].persistence = {3000, 32, 128};
  return policy;
}

TEST(a_persistent_client_stays_with_its_member_and_is_counted) {
  Unit unit(persistent_policy(4));
  REQUIRE(unit.ready);
  for (uint16_t port = 1; port <= 20; ++port)
    CHECK_EQ(unit.forward(client_tcp(kSyn, {}, port), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 20u);
  CHECK_EQ(unit.runtime->endpoints[0].persisted.load(), 19u);
  CHECK_EQ(unit.count(Count::kPersisted), 19u);
}

TEST(what_is_not_opened_is_not_counted_at_the_member) {
  auto policy = persistent_policy(1);
  policy->pools[0]->members[0].connections_max = 3;
  Unit unit(std::move(policy));
  REQUIRE(unit.ready);
  unit.runtime->endpoints[0].next_hop = 0;
  CHECK_DROPPED(unit.forward(client_tcp(kSyn), kClientDevice), Drop::kNoNeighbour);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 0u);
  unit.runtime->endpoints[0].next_hop = hop(kMemberMac[0], kServerDevice);
  while (unit.ports.allocate(0, 0, unit.now).port != 0) {
  }
  CHECK_DROPPED(unit.forward(client_tcp(kSyn), kClientDevice), Drop::kNoSnatPort);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 0u);
  for (uint16_t port = 1024; port < 1034; port += 2) unit.ports.release(0, 0, port, unit.now);
  for (uint16_t port = 1; port <= 3; ++port)
    CHECK_EQ(unit.forward(client_tcp(kSyn, {}, port), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(unit.forward(client_tcp(kSyn, {}, 4), kClientDevice), Drop::kMembersFull);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 3u);
  CHECK(unit.runtime->endpoints[0].limited.load() > 0);
  CHECK(unit.is_balanced());
}

}  // namespace
}  // namespace tandem::test
