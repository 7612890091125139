// When connections expire.
#include "../../native/forward.h"
#include "rows.h"

namespace tandem::test {
namespace {

// So many half-open connections that are past their idle timeout.
void open_expired(Unit* unit, uint16_t count) {
  for (uint16_t port = 1; port <= count; ++port) {
    unit->forward(tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kSyn}),
                  kClientDevice);
  }
  unit->now += 6 * kSecond;
}

TEST(idle_connections_expire_by_their_state_and_give_their_port_back) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  const size_t free_ports = unit.ports.free(0, 0);
  unit.now += 4900 * kMillisecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 1u);
  unit.now += 200 * kMillisecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
  CHECK_EQ(unit.count(Count::kExpired), 1u);
  CHECK_EQ(unit.count(Count::kClosed), 1u);
  CHECK_EQ(unit.ports.free(0, 0), free_ports + 1);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 0u);
  CHECK_EQ(unit.runtime->virtual_servers[0].connections.load(), 0u);
}

TEST(a_standby_unit_does_not_age_what_the_peer_owns_and_starts_anew_when_it_takes_over) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.only()->control |= Control::kFromPeer;
  unit.become(Role::kStandby);
  unit.now += 3600 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 1u);
  unit.become(Role::kActive);
  unit.shared->groups[0].activated = unit.now;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 1u);
  unit.now += 6 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
}

TEST(a_standby_unit_ages_what_nobody_mirrors) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.become(Role::kStandby);
  unit.now += 6 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
}

TEST(the_sweep_is_bounded_and_wraps) {
  Unit unit(two_sided_policy(), 256);
  REQUIRE(unit.ready);
  open_expired(&unit, 100);
  SweepCursor cursor{unit.table.slots() - 3};
  const ForwardContext with = unit.context();
  for (size_t budget = 0; budget < unit.table.slots(); budget += 8) {
    const uint64_t before = unit.count(Count::kExpired);
    sweep(with, &cursor, 8);
    CHECK(unit.count(Count::kExpired) - before <= 8);
  }
  CHECK_EQ(unit.count(Count::kExpired), 100u);
}

TEST(the_parts_of_all_workers_are_every_slot_that_was_used_and_no_other) {
  constexpr size_t kParts = 3;
  Unit unit(two_sided_policy(), 256);
  REQUIRE(unit.ready);
  open_expired(&unit, 100);
  const ForwardContext with = unit.context();
  for (size_t part = 0; part < kParts; ++part) {
    const uint64_t before = unit.count(Count::kExpired);
    SweepCursor cursor{0, part, kParts};
    sweep(with, &cursor, unit.table.slots());
    CHECK(unit.count(Count::kExpired) > before);
    CHECK(cursor.slot <= unit.table.slots_touched());
  }
  CHECK_EQ(unit.count(Count::kExpired), 100u);
}

}  // namespace
}  // namespace tandem::test
