// Persistence entries on their way to the peer, and their time there and after a takeover.
#include <vector>

#include "../../native/persistence.h"
#include "mirror_unit.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr Deciseconds kTimeout = 3000;
constexpr Nanos kTimeoutNs = 300 * kSecond;
constexpr size_t kState4 = sizeof(wire::MirrorState<4>), kEntry4 = sizeof(wire::MirrorPersistence<4>);
constexpr uint16_t kEndpoint = 43;  // of numbered()'s IPv4 member

struct Unit : MirrorUnit {
  explicit Unit(Role role, SourcePersistence rule = {kTimeout, 32, 128, true})
      : MirrorUnit(1024, role == Role::kActive ? 0 : 1, role) {
    ready = ready && entries.reserve(1024);
    VirtualServer server{};
    server.persistence = rule;
    policy.virtual_servers.push_back(server);
    runtime->commit_wanted = true;
    source.set_persistence(&entries, &policy);
    sink.set_persistence(&entries);
  }
  // As a packet of a client that has a connection number `number`.
  void settle(uint32_t number, uint16_t endpoint = kEndpoint) {
    const uint16_t was = entries.find(client(number), boottime_now());
    entries.settle(client(number), was, endpoint, kTimeout, boottime_now());
  }
  static Persistence::Client client(uint32_t number, uint8_t family = 4) {
    return Persistence::client_of(0, family, family == 4 ? 32 : 128, numbered(number, family).client);
  }
  uint16_t find(uint32_t number) const { return entries.find(client(number), boottime_now()); }
  Persistence entries;
};

}  // namespace

TEST(persistence_entry_is_told_with_its_first_established_connection) {
  Unit active(Role::kActive), standby(Role::kStandby);
  REQUIRE(active.ready && standby.ready);
  active.settle(1);
  NewConnection half_open = numbered(1);
  half_open.state = TcpState::kSynReceived;
  Connection* connection = active.open(half_open);
  active.mark(*connection);
  CHECK(active.take().empty());  // a flood tells nothing
  active.set_state(*connection, TcpState::kEstablished);
  const std::vector<uint8_t> batch = active.take();
  CHECK_EQ(batch.size(), kState4 + kEntry4);
  const Applied applied = standby.sink.apply(batch.data(), batch.size(), 1, boottime_now());
  CHECK_EQ(applied.applied, 2u);
  CHECK_EQ(standby.find(1), kEndpoint);
  // Once is enough, whatever becomes of the connection.
  active.set_state(*connection, TcpState::kFinClient);
  CHECK_EQ(active.take().size(), kState4);
}

TEST(persistence_entry_that_goes_to_another_member_is_told_again) {
  Unit active(Role::kActive), standby(Role::kStandby);
  NewConnection fresh = numbered(1);
  active.settle(1);
  active.mark(*active.open(fresh));
  std::vector<uint8_t> batch = active.take();
  standby.sink.apply(batch.data(), batch.size(), 1, boottime_now());
  active.settle(1, kEndpoint + 1);
  fresh.client_port = 7;
  fresh.snat_port = 7;
  active.mark(*active.open(fresh));
  batch = active.take();
  CHECK_EQ(batch.size(), kState4 + kEntry4);
  standby.sink.apply(batch.data(), batch.size(), 1, boottime_now());
  CHECK_EQ(standby.find(1), kEndpoint + 1);
}

TEST(persistence_is_not_mirrored_where_it_is_off_nor_to_a_peer_that_does_not_know_it) {
  Unit off(Role::kActive, {kTimeout, 32, 128, false}), old(Role::kActive);
  old.runtime->commit_wanted = false;
  for (Unit* unit : {&off, &old}) {
    unit->settle(1);
    unit->mark(*unit->open(numbered(1)));
    CHECK_EQ(unit->take().size(), kState4);
    unit->source.start_bulk();
    CHECK_EQ(unit->take().size(), kState4);
    CHECK(!unit->source.has_pending());
  }
}

TEST(persistence_entries_are_part_of_a_bulk) {
  Unit active(Role::kActive), standby(Role::kStandby);
  for (uint32_t number = 0; number < 50; ++number) active.settle(number);
  CHECK(active.take().empty());
  active.source.start_bulk();
  for (int turns = 0; active.source.has_pending() && turns < 100; ++turns) {
    const std::vector<uint8_t> batch = active.take(300);
    CHECK(!standby.sink.apply(batch.data(), batch.size(), 1, boottime_now()).malformed);
  }
  CHECK(!active.source.has_pending());
  for (uint32_t number = 0; number < 50; ++number) CHECK_EQ(standby.find(number), kEndpoint);
}

TEST(persistence_records_name_clients_of_ipv6_and_are_refused_when_they_are_none) {
  Unit active(Role::kActive), standby(Role::kStandby);
  active.entries.settle(Unit::client(1, 6), Persistence::kNone, 63, kTimeout, boottime_now());
  active.mark(*active.open(numbered(1, 6)));
  const std::vector<uint8_t> batch = active.take();
  CHECK_EQ(batch.size(), sizeof(wire::MirrorState<16>) + sizeof(wire::MirrorPersistence<16>));
  standby.sink.apply(batch.data(), batch.size(), 1, boottime_now());
  CHECK_EQ(standby.entries.find(Unit::client(1, 6), boottime_now()), 63u);

  const std::vector<uint8_t> entry(batch.end() - sizeof(wire::MirrorPersistence<16>), batch.end());
  const auto refused = [&](size_t offset, uint8_t value) {
    std::vector<uint8_t> bad = entry;
    bad[offset] = value;
    return standby.sink.apply(bad.data(), bad.size(), 1, boottime_now()).malformed;
  };
  CHECK(!refused(0, entry[0]));
  CHECK(refused(1, 0));  // prefix
  CHECK(refused(1, 129));
  CHECK(refused(2, 5));     // family of the member
  CHECK(refused(3, 16));    // traffic group
  CHECK(refused(8, 0xff));  // timeout
  CHECK(standby.sink.apply(entry.data(), entry.size() - 1, 1, boottime_now()).malformed);

  standby.become(Role::kActive, 2);
  CHECK_EQ(standby.sink.apply(entry.data(), entry.size(), 1, boottime_now()).stale, 1u);
}

TEST(persistence_entry_is_told_again_when_a_quarter_of_its_time_is_over) {
  Persistence entries;
  REQUIRE(entries.reserve(64));
  const Persistence::Client client = Unit::client(1);
  const Nanos start = 1'000'000 * kSecond;
  const auto tell = [&](Nanos now) {
    const uint16_t was = entries.find(client, now);
    entries.settle(client, was, kEndpoint, kTimeout, now);
    Persistence::Entry entry;
    return entries.take_untold(client, now, 0, &entry);
  };
  CHECK(tell(start));
  CHECK(!tell(start + kTimeoutNs / 5));
  CHECK(tell(start + kTimeoutNs / 4));
  CHECK(!tell(start + kTimeoutNs / 4 + kSecond));
}

TEST(persistence_of_the_peer_outlives_a_takeover_and_begins_its_time_anew) {
  Persistence entries;
  REQUIRE(entries.reserve(64));
  const Persistence::Client client = Unit::client(1), gone = Unit::client(2);
  const Nanos told = 1'000'000 * kSecond;
  entries.apply(client, kEndpoint, kTimeout, to_deciseconds(told));
  entries.apply(gone, kEndpoint, kTimeout, to_deciseconds(told - 2 * kTimeoutNs));
  // Standing by: the peer would tell it again before a quarter more is over.
  CHECK_EQ(entries.find(client, told + kTimeoutNs + kSecond), kEndpoint);
  CHECK_EQ(entries.find(client, told + 2 * kTimeoutNs), Persistence::kNone);
  const Nanos takeover = told + kTimeoutNs - kSecond;
  CHECK_EQ(entries.find(client, takeover + kTimeoutNs - kSecond, takeover), kEndpoint);
  CHECK_EQ(entries.find(client, takeover + kTimeoutNs + kSecond, takeover), Persistence::kNone);
  CHECK_EQ(entries.find(gone, takeover + kSecond, takeover), Persistence::kNone);
  // Used here, it is ours, and ends as any other.
  const Nanos used = takeover + kTimeoutNs / 2;
  entries.settle(client, kEndpoint, kEndpoint, kTimeout, used, takeover);
  CHECK_EQ(entries.find(client, used + kTimeoutNs - kSecond, takeover), kEndpoint);
  CHECK_EQ(entries.find(client, used + kTimeoutNs + kSecond, takeover), Persistence::kNone);
}
