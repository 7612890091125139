// Parts of the engine that stand alone: the pace of the sweep, the policy's swap, ids, replay's memory.
#include <atomic>
#include <thread>

#include "../../native/address_text.h"
#include "../../native/device/memory_device.h"
#include "../../native/id_registry.h"
#include "../../native/policy_slot.h"
#include "../../native/worker.h"
#include "policies.h"
#include "test.h"

namespace tandem::test {
namespace {

// ---- the pace of the sweep

size_t swept(size_t slots, size_t workers, Nanos step, size_t steps, size_t limit) {
  SweepPace pace(0, workers);
  size_t sum = 0;
  Nanos now = kSecond;
  for (size_t i = 0; i <= steps; i++, now += step) sum += pace.due(now, slots, limit);
  return sum;
}

TEST(a_lap_takes_ten_seconds_however_often_it_is_asked) {
  for (const Nanos step : {kMillisecond / 20, kMillisecond, 20 * kMillisecond}) {
    const size_t sum = swept(100'000, 1, step, 10 * kSecond / step, 1'000'000);
    CHECK(sum > 99'000 && sum <= 100'000);
  }
  const size_t half = swept(100'000, 2, kMillisecond, 10'000, 1'000'000);
  CHECK(half > 49'000 && half <= 50'000);
}

TEST(a_limit_is_kept_and_its_debt_is_let_go_after_a_second) {
  constexpr size_t kSlots = 1'000'000;
  SweepPace pace(0, 1);
  CHECK_EQ(pace.due(kSecond, kSlots, 64), 0u);
  CHECK_EQ(pace.due(100 * kSecond, kSlots, 64), 64u);
  const size_t owed = pace.due(100 * kSecond, kSlots, 1'000'000'000);
  CHECK(owed > 99'000 && owed <= 100'000);
}

TEST(time_that_goes_back_sweeps_nothing) {
  SweepPace pace(0, 1);
  pace.due(10 * kSecond, 1000, 64);
  CHECK_EQ(pace.due(kSecond, 1000, 64), 0u);
}

// ---- the policy's swap

TEST(a_policy_is_not_freed_under_a_reader) {
  constexpr int kSwaps = 2000;
  PolicySlot slot;
  slot.swap(std::make_unique<Policy>());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> read{0};
  std::vector<std::thread> readers;
  for (size_t worker = 0; worker < 3; worker++) {
    readers.emplace_back([&, worker] {
      while (!stop.load()) {
        const Policy* policy = slot.enter(worker);
        read += policy->groups.size() + policy->pools.size();  // a freed policy is found by the sanitizer
        slot.leave(worker);
      }
    });
  }
  for (int i = 0; i < kSwaps; i++) {
    auto next = std::make_unique<Policy>();
    next->groups.resize(1);
    slot.swap(std::move(next));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(read > 0);
}

// ---- ids

PolicyDraft draft(const std::vector<std::string>& names) {
  PolicyDraft made;
  made.policy = two_sided_policy();
  made.policy->virtual_servers.clear();
  for (size_t i = 0; i < names.size(); i++) {
    add_server(*made.policy, "10.1.0.100", static_cast<uint16_t>(80 + i), IPPROTO_TCP, 0,
               {{policy_address("10.2.0.1"), 0}});
    made.servers.push_back({names[i], {}, {}});
  }
  return made;
}

void put_in_force(IdRegistry& ids, PolicyDraft made) {
  REQUIRE(ids.assign(&made).empty());
  ids.commit(made);
}

TEST(a_name_keeps_its_id_until_no_policy_and_no_connection_names_it) {
  const auto runtime = std::make_unique<Runtime>();
  SnatPorts ports;
  ports.start(0);
  IdRegistry ids(runtime.get(), &ports);
  put_in_force(ids, draft({"www", "mail"}));
  const uint16_t www = ids.server("www");
  REQUIRE(www != IdRegistry::kNone);
  runtime->virtual_servers[www].connections = 1;
  put_in_force(ids, draft({"mail"}));
  put_in_force(ids, draft({"mail", "new"}));
  CHECK_EQ(ids.server("www"), www);
  CHECK(!ids.server_named(www));
  CHECK(ids.server("new") != www);
  runtime->virtual_servers[www].connections = 0;
  put_in_force(ids, draft({"mail"}));
  CHECK_EQ(ids.server("www"), IdRegistry::kNone);
}

TEST(an_id_that_is_given_anew_starts_with_nothing_counted) {
  const auto runtime = std::make_unique<Runtime>();
  runtime->traffic[0] = std::make_unique<std::array<Traffic, kVirtualServersMax>>();
  SnatPorts ports;
  ports.start(0);
  IdRegistry ids(runtime.get(), &ports);
  for (size_t id = 0; id < kVirtualServersMax; id++) {
    runtime->virtual_servers[id].opened = 5;
    (*runtime->traffic[0])[id].ways[0].packets = 5;
  }
  put_in_force(ids, draft({"www"}));
  const uint16_t www = ids.server("www");
  CHECK_EQ(runtime->virtual_servers[www].opened.load(), 0u);
  CHECK_EQ((*runtime->traffic[0])[www].ways[0].packets.load(), 0u);
}

TEST(a_draft_that_was_assigned_and_not_put_in_force_leaves_nothing_behind) {
  const auto runtime = std::make_unique<Runtime>();
  SnatPorts ports;
  ports.start(0);
  IdRegistry ids(runtime.get(), &ports);
  put_in_force(ids, draft({"www"}));
  PolicyDraft refused = draft({"www", "never"});
  CHECK(ids.assign(&refused).empty());
  put_in_force(ids, draft({"www"}));
  put_in_force(ids, draft({"www"}));
  CHECK_EQ(ids.server("never"), IdRegistry::kNone);
  CHECK_EQ(ids.server_ids().size(), 1u);
}

TEST(pools_that_share_a_member_share_its_id) {
  const auto runtime = std::make_unique<Runtime>();
  SnatPorts ports;
  ports.start(0);
  IdRegistry ids(runtime.get(), &ports);
  PolicyDraft made = draft({"www"});
  made.policy->pools.push_back(
      pool(Scheduler::kRoundRobin, {member("10.2.0.11", 8080, 99), member("10.2.0.11", 81, 99)}));
  CHECK(ids.assign(&made).empty());
  const auto& shared = made.policy->pools.back()->members;
  CHECK_EQ(shared[0].endpoint, made.policy->pools[0]->members[0].endpoint);
  CHECK(shared[1].endpoint != shared[0].endpoint);
}

// ---- addresses as text

TEST(addresses_read_as_they_are_written) {
  for (const char* text : {"10.1.0.100", "fd01::100", "::1"}) {
    Address address;
    CHECK(parse_address(text, &address));
    CHECK(address_text(address) == text);
  }
  Address address;
  for (const char* text : {"", "10.1.0", "10.1.0.256", "fd01::1::2", "fd01::1%eth0", "10.1.0.1/24"}) {
    CHECK(!parse_address(text, &address));
  }
  CHECK(parse_address("fd01::100", &address));
  CHECK(address_port_text(address, 80) == "[fd01::100]:80");
}

TEST(a_hop_keeps_mac_device_and_tag) {
  MacAddress mac{};
  CHECK(parse_mac("02:00:5e:0a:ff:01", &mac));
  const uint64_t hop = hop_word(mac, 15, 4094);
  CHECK(mac_text(hop_mac(hop)) == "02:00:5e:0a:ff:01");
  CHECK_EQ(hop_device(hop), 15);
  CHECK_EQ(hop_vlan(hop), 4094);
  for (const char* text : {"02:00:5e:0a:ff", "02:00:5e:0a:ff:01:02", "02-00-5e-0a-ff-01", "02:00:5e:0a:ff:0g"}) {
    CHECK(!parse_mac(text, &mac));
  }
}

}  // namespace
}  // namespace tandem::test
