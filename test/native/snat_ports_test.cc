// SNAT ports: halves, order of reuse, and what is given back twice.
#include "../../native/snat_ports.h"

#include <set>
#include <thread>
#include <vector>

#include "test.h"

using namespace tandem;

namespace {

constexpr size_t kHalf = (65536 - 1024) / 2;

}  // namespace

TEST(snat_units_give_disjoint_halves_of_the_ports) {
  std::set<uint16_t> given;
  for (const uint8_t unit : {uint8_t{0}, uint8_t{1}}) {
    SnatPorts ports;
    ports.start(unit);
    REQUIRE(ports.prepare(0, 0));
    CHECK_EQ(ports.free(0, 0), kHalf);
    for (size_t i = 0; i < kHalf; ++i) {
      const SnatPorts::Allocation found = ports.allocate(0, 0, kSecond);
      CHECK(found.port >= 1024);
      CHECK(!found.early);
      CHECK(ports.ours(found.port));
      CHECK_EQ(found.port % 2, unit);
      CHECK(given.insert(found.port).second);
    }
    CHECK_EQ(ports.allocate(0, 0, kSecond).port, 0u);
    CHECK_EQ(ports.free(0, 0), 0u);
  }
  CHECK_EQ(given.size(), 2 * kHalf);
}

TEST(snat_the_same_port_serves_every_member_and_address) {
  SnatPorts ports;
  ports.start(0);
  REQUIRE(ports.prepare(0, 1) && ports.prepare(0, 2) && ports.prepare(3, 1));
  for (size_t i = 0; i < kHalf; ++i) ports.allocate(0, 1, 0);
  CHECK_EQ(ports.free(0, 2), kHalf);
  CHECK_EQ(ports.free(3, 1), kHalf);
}

TEST(snat_freed_ports_are_reused_oldest_first) {
  SnatPorts ports;
  ports.start(1);
  REQUIRE(ports.prepare(0, 0));
  std::vector<uint16_t> taken;
  for (size_t i = 0; i < kHalf; ++i) taken.push_back(ports.allocate(0, 0, 0).port);
  for (const size_t i : {7u, 3u, 5u}) ports.release(0, 0, taken[i], 100 * kSecond);
  CHECK_EQ(ports.allocate(0, 0, 200 * kSecond).port, taken[7]);
  CHECK_EQ(ports.allocate(0, 0, 200 * kSecond).port, taken[3]);
  CHECK_EQ(ports.allocate(0, 0, 200 * kSecond).port, taken[5]);
}

TEST(snat_reuse_within_a_minute_is_the_last_resort_and_is_said) {
  SnatPorts ports;
  ports.start(0);
  REQUIRE(ports.prepare(0, 0));
  const uint16_t first = ports.allocate(0, 0, 0).port;
  ports.release(0, 0, first, kSecond);
  // Every port that was never given comes first.
  for (size_t i = 0; i < kHalf - 1; ++i) CHECK(ports.allocate(0, 0, kSecond).port != first);
  const SnatPorts::Allocation early = ports.allocate(0, 0, 60 * kSecond);
  CHECK_EQ(early.port, first);
  CHECK(early.early);
  ports.release(0, 0, first, 61 * kSecond);
  const SnatPorts::Allocation late = ports.allocate(0, 0, 121 * kSecond);
  CHECK_EQ(late.port, first);
  CHECK(!late.early);
}

TEST(snat_a_port_given_back_twice_is_free_once) {
  SnatPorts ports;
  ports.start(0);
  REQUIRE(ports.prepare(0, 0));
  const uint16_t port = ports.allocate(0, 0, 0).port;
  ports.release(0, 0, port, 0);
  ports.release(0, 0, port, 0);
  CHECK_EQ(ports.free(0, 0), kHalf);
}

TEST(snat_ports_of_the_peer_or_of_nobody_are_not_taken_back) {
  SnatPorts ports;
  ports.start(0);
  REQUIRE(ports.prepare(0, 0));
  for (const uint16_t port : {uint16_t{0}, uint16_t{80}, uint16_t{1023}, uint16_t{1025}, uint16_t{65535}}) {
    CHECK(!ports.ours(port));
    ports.release(0, 0, port, 0);
  }
  ports.release(0, 0, 2000, 0);  // ours, but nobody has it
  CHECK_EQ(ports.free(0, 0), kHalf);
}

TEST(snat_a_pair_that_was_not_prepared_has_no_ports) {
  SnatPorts ports;
  ports.start(0);
  CHECK_EQ(ports.allocate(0, 0, 0).port, 0u);
  CHECK_EQ(ports.allocate(65535, 65535, 0).port, 0u);
  CHECK(!ports.prepare(256, 0));
  ports.release(65535, 65535, 1024, 0);
}

TEST(snat_addresses_keep_their_index) {
  SnatPorts ports;
  ports.start(0);
  const uint8_t a[4] = {10, 0, 0, 1}, b[4] = {10, 0, 0, 2};
  const uint8_t c[16] = {10, 0, 0, 1};
  CHECK_EQ(ports.find_address(4, a), -1);
  CHECK_EQ(ports.add_address(4, a), 0);
  CHECK_EQ(ports.add_address(4, b), 1);
  CHECK_EQ(ports.add_address(6, c), 2);
  CHECK_EQ(ports.add_address(4, a), 0);
  CHECK_EQ(ports.find_address(6, c), 2);
  for (uint8_t i = 3; i != 0; ++i) {
    const uint8_t more[4] = {172, 16, 0, i};
    CHECK_EQ(ports.add_address(4, more), i);
  }
  const uint8_t last[4] = {172, 17, 0, 0};
  CHECK_EQ(ports.add_address(4, last), -1);
}

TEST(snat_threads_are_given_different_ports) {
  SnatPorts ports;
  ports.start(0);
  REQUIRE(ports.prepare(0, 0));
  std::vector<std::vector<uint16_t>> kept(3);
  std::vector<std::thread> threads;
  for (auto& mine : kept) {
    threads.emplace_back([&ports, &mine] {
      for (int i = 0; i < 3000; ++i) {
        const uint16_t port = ports.allocate(0, 0, kSecond).port;
        if (i % 3 == 0) {
          mine.push_back(port);
        } else {
          ports.release(0, 0, port, kSecond);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint16_t> all;
  for (const auto& mine : kept) all.insert(mine.begin(), mine.end());
  CHECK_EQ(all.size(), 3000u);
  CHECK_EQ(ports.free(0, 0), kHalf - 3000);
}

TEST(snat_a_port_learnt_from_the_peer_is_not_given_before_it_is_freed_and_then_rests) {
  SnatPorts ports;
  ports.start(1);
  REQUIRE(ports.prepare(0, 0));
  ports.learn(0, 0, 2001);
  ports.learn(0, 0, 2003);
  ports.learn(0, 0, 2003);
  ports.learn(0, 0, 2002);  // the other unit's
  ports.learn(0, 0, 1);
  CHECK_EQ(ports.free(0, 0), kHalf - 2);
  ports.release(0, 0, 2003, 10 * kSecond);
  CHECK_EQ(ports.free(0, 0), kHalf - 1);
  std::set<uint16_t> given;
  for (size_t i = 0; i < kHalf - 2; ++i) {
    const uint16_t port = ports.allocate(0, 0, 20 * kSecond).port;
    CHECK(port != 2001 && port != 2003);
    CHECK(given.insert(port).second);
  }
  CHECK_EQ(ports.free(0, 0), 1u);
  const SnatPorts::Allocation last = ports.allocate(0, 0, 20 * kSecond);
  CHECK_EQ(last.port, 2003u);
  CHECK(last.early);
  CHECK_EQ(ports.allocate(0, 0, 20 * kSecond).port, 0u);
  ports.learn(0, 0, 2003);  // it was given since: nothing new
  ports.release(0, 0, 2001, 30 * kSecond);
  CHECK_EQ(ports.allocate(0, 0, 91 * kSecond).port, 2001u);
  CHECK_EQ(ports.free(0, 0), 0u);
}
