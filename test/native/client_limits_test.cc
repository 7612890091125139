// How many connections one client may open: the bucket of each, who shares one, and what a packet meets.
#include "../../native/client_limits.h"

#include <thread>

#include "../../native/forward.h"
#include "rows.h"

namespace tandem::test {
namespace {

// A hash that falls into this bucket with this tag.
uint64_t hash_of(uint64_t bucket, uint64_t tag) { return tag << 40 | bucket; }

size_t taken(ClientLimits& limits, uint64_t hash, const ClientRate& rate, Nanos now, size_t asked) {
  size_t count = 0;
  for (size_t i = 0; i < asked; ++i) count += limits.take(hash, rate, now);
  return count;
}

TEST(client_limit_gives_a_burst_and_then_a_rate) {
  ClientLimits limits;
  REQUIRE(limits.reserve());
  const ClientRate rate = ClientRate::of(100, 20);
  Nanos now = 1000 * kSecond;
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, now, 100), 20u);
  size_t count = 0;
  for (int i = 0; i < 1000; ++i) count += limits.take(hash_of(1, 1), rate, now += kMillisecond);
  CHECK(count >= 99 && count <= 101);
  // After a silence the burst is whole again, and no more than that.
  now += 3600 * kSecond;
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, now, 100), 20u);
}

TEST(client_limit_keeps_to_every_rate_within_a_twentieth) {
  for (const uint32_t per_s : {1u, 7u, 100u, 3'000u, 50'000u, 100'000u}) {
    ClientLimits limits;
    REQUIRE(limits.reserve());
    const ClientRate rate = ClientRate::of(per_s, per_s + 1);
    Nanos now = 77 * kSecond;
    taken(limits, hash_of(1, 1), rate, now, per_s + 1);
    // As much time as 1,000 openings should take, asked ten times as often.
    size_t count = 0;
    const Nanos step = kSecond / (10 * per_s);
    for (int i = 0; i < 10'000; ++i) count += limits.take(hash_of(1, 1), rate, now += step);
    CHECK(count >= 950 && count <= 1050);
  }
}

TEST(client_limit_is_each_clients_own) {
  ClientLimits limits;
  REQUIRE(limits.reserve());
  const ClientRate rate = ClientRate::of(1, 3);
  for (uint64_t tag = 1; tag <= 8; ++tag) CHECK_EQ(taken(limits, hash_of(5, tag), rate, kSecond, 10), 3u);
  for (uint64_t tag = 1; tag <= 8; ++tag) CHECK(!limits.take(hash_of(5, tag), rate, kSecond));
  for (uint64_t bucket = 6; bucket < 1000; ++bucket) CHECK_EQ(taken(limits, hash_of(bucket, 1), rate, kSecond, 4), 3u);
}

TEST(client_limit_of_a_full_bucket_forgets_the_client_nearest_to_its_whole_allowance) {
  ClientLimits limits;
  REQUIRE(limits.reserve());
  const ClientRate rate = ClientRate::of(1, 10);
  for (uint64_t tag = 1; tag <= 8; ++tag) CHECK_EQ(taken(limits, hash_of(5, tag), rate, kSecond, tag + 1), tag + 1);
  // Never stricter: the ninth gets all of its own. The first one had used the least.
  CHECK_EQ(taken(limits, hash_of(5, 9), rate, kSecond, 20), 10u);
  CHECK_EQ(taken(limits, hash_of(5, 8), rate, kSecond, 20), 1u);
  CHECK_EQ(taken(limits, hash_of(5, 2), rate, kSecond, 20), 7u);
}

TEST(client_limit_survives_the_wrap_of_its_clock) {
  const ClientRate rate = ClientRate::of(10, 5);
  const Nanos wrap = Nanos{1} << 50;  // of 40 bits of 1,024 ns
  ClientLimits limits;
  REQUIRE(limits.reserve());
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, wrap - kMillisecond, 20), 5u);
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, wrap + kMillisecond, 20), 0u);
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, wrap + 120 * kMillisecond, 20), 1u);
  // Who was last seen days ago is as new.
  CHECK_EQ(taken(limits, hash_of(1, 1), rate, wrap + 9 * 86'400 * kSecond, 20), 5u);
}

TEST(client_limit_holds_for_all_threads_together) {
  ClientLimits limits;
  REQUIRE(limits.reserve());
  const ClientRate rate = ClientRate::of(1, 1000);
  std::atomic<size_t> count{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { count += taken(limits, hash_of(3, 3), rate, kSecond, 2000); });
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(count.load(), 1000u);
}

TEST(client_limit_drops_what_would_open_one_connection_more) {
  auto policy = two_sided_policy();
  policy->virtual_servers[0].new_per_client = ClientRate::of(1, 3);
  Unit unit(std::move(policy));
  REQUIRE(unit.ready && unit.runtime->client_limits.reserve());
  const auto syn = [](const char* source, uint16_t port, const char* to = "10.1.0.100") {
    return tcp_frame(kFromClient, {.source = source, .destination = to},
                     {.source_port = port, .destination_port = 80, .flags = kSyn});
  };
  for (uint16_t port = 1; port <= 3; ++port)
    CHECK_EQ(unit.forward(syn("192.0.2.1", port), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(unit.forward(syn("192.0.2.1", 4), kClientDevice), Drop::kClientLimit);
  // What it has goes on, its SYN that is sent again among it.
  CHECK_EQ(unit.forward(syn("192.0.2.1", 3), kClientDevice).verdict.kind, kForward);
  // Another client, and another virtual server without a limit.
  CHECK_EQ(unit.forward(syn("192.0.2.2", 4), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.forward(syn("192.0.2.1", 4, "10.1.0.101"), kClientDevice).verdict.kind, kForward);
  unit.now += kSecond + kMillisecond;
  CHECK_EQ(unit.forward(syn("192.0.2.1", 4), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(unit.forward(syn("192.0.2.1", 5), kClientDevice), Drop::kClientLimit);
  CHECK(unit.is_balanced());
}

TEST(client_limit_counts_an_ipv6_network_of_64_bits_as_one_client) {
  auto policy = two_sided_policy();
  policy->virtual_servers[1].new_per_client = ClientRate::of(1, 2);
  Unit unit(std::move(policy));
  REQUIRE(unit.ready && unit.runtime->client_limits.reserve());
  const auto syn = [](const char* source) {
    return tcp_frame(kFromClient6, {.source = source, .destination = "fd01::100"},
                     {.source_port = 1, .destination_port = 80, .flags = kSyn});
  };
  CHECK_EQ(unit.forward(syn("2001:db8:0:1::1"), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.forward(syn("2001:db8:0:1::2"), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(unit.forward(syn("2001:db8:0:1:ffff::3"), kClientDevice), Drop::kClientLimit);
  CHECK_EQ(unit.forward(syn("2001:db8:0:2::1"), kClientDevice).verdict.kind, kForward);
}

TEST(client_limit_holds_for_udp_and_for_what_is_adopted) {
  auto policy = two_sided_policy();
  policy->virtual_servers[0].unknown = Unknown::kAdopt;
  policy->virtual_servers[0].new_per_client = policy->virtual_servers[2].new_per_client = ClientRate::of(1, 1);
  Unit unit(std::move(policy));
  REQUIRE(unit.ready && unit.runtime->client_limits.reserve());
  const auto query = [](uint16_t port) {
    return udp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 53});
  };
  CHECK_EQ(unit.forward(query(1), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(unit.forward(query(2), kClientDevice), Drop::kClientLimit);
  CHECK_EQ(unit.forward(client_tcp(kAck, "amid"), kClientDevice).verdict.kind, kForward);
  CHECK_DROPPED(
      unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kAck}),
                   kClientDevice),
      Drop::kClientLimit);
}

}  // namespace
}  // namespace tandem::test
