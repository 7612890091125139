// What a packet meets whose member is down, beyond what the golden cases show: counts, roles, other pools, other
// threads.
#include "../../native/member_down.h"

#include "rows.h"

namespace tandem::test {
namespace {

std::unique_ptr<Policy> policy_with(OnMemberDown on_member_down) {
  auto policy = two_sided_policy();
  policy->pools[0]->on_member_down = on_member_down;
  return policy;
}

// Down from now on, as a new policy would have it.
void take_down(Unit& unit, size_t index) {
  auto next = policy_with(unit.policy->pools[0]->on_member_down);
  for (VirtualServer& server : next->virtual_servers) {
    for (SnatAddress& snat : server.snat_addresses)
      snat.index = static_cast<uint16_t>(unit.ports.find_address(snat.address.family, snat.address.octets));
  }
  Member& member = next->pools[0]->members[index];
  member.up = false;
  member.down = true;
  CHECK(next->seal(unit.policy.get(), unit.now).empty());
  next->mark_down_members(unit.runtime.get());
  unit.policy = std::move(next);
}

TEST(reset_closes_and_keeps_the_books) {
  Unit unit(policy_with(OnMemberDown::kReset));
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  const size_t ports = unit.ports.free(0, 0);
  take_down(unit, 0);
  CHECK(unit.runtime->endpoints[0].down.load());
  const Sent sent = unit.forward(client_tcp(kAck, "data"), kClientDevice);
  CHECK_EQ(sent.verdict.kind, kForward);
  CHECK_EQ(sent.verdict.device, kClientDevice);
  CHECK_EQ(unit.count(Count::kResetsSent), 1u);
  CHECK_EQ(unit.count(Count::kMemberDownClosed), 1u);
  CHECK_EQ(unit.count(Count::kClosed), 1u);
  CHECK_EQ(unit.table.used(), 0u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 0u);
  CHECK_EQ(unit.ports.free(0, 0), ports + 1);
  CHECK(unit.is_balanced());
}

TEST(reselect_moves_the_count_with_the_connection) {
  Unit unit(policy_with(OnMemberDown::kReselect));
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  const uint16_t incarnation = unit.only()->incarnation;
  take_down(unit, 0);
  CHECK_EQ(unit.forward(client_tcp(kAck, "data"), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.count(Count::kReselected), 1u);
  CHECK_EQ(unit.count(Count::kAdopted), 1u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 0u);
  CHECK_EQ(unit.runtime->endpoints[1].connections.load(), 1u);
  CHECK_EQ(unit.table.used(), 1u);
  for (size_t slot = 0; slot < unit.table.slots(); ++slot) {
    const Connection* connection = unit.table.at(slot);
    if (connection == nullptr || (connection->control & Control::kDead) != 0) continue;
    CHECK_EQ(connection->incarnation.load(), static_cast<uint16_t>(incarnation + 1));
    CHECK_EQ(connection->state(), TcpState::kEstablished);
  }
  CHECK(unit.is_balanced());
}

TEST(the_peer_is_told_that_a_mirrored_connection_was_reset) {
  Unit unit(policy_with(OnMemberDown::kReset));
  REQUIRE(unit.ready);
  unit.runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
  unit.runtime->mirror_wanted = true;
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.only()->control |= Control::kAnnounced;
  take_down(unit, 0);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(unit.table.waiting(), 1u);
  CHECK_EQ(unit.count(Count::kMirrorQueued), 1u);
}

TEST(a_unit_that_hands_over_leaves_it_to_its_peer) {
  for (const OnMemberDown on : {OnMemberDown::kReset, OnMemberDown::kReselect}) {
    Unit unit(policy_with(on));
    REQUIRE(unit.ready);
    unit.forward(client_tcp(kSyn), kClientDevice);
    take_down(unit, 0);
    unit.become(Role::kHandingOver);
    const Sent sent = unit.forward(client_tcp(kAck), kClientDevice);
    CHECK_EQ(sent.verdict.kind, kForward);
    CHECK_EQ(sent.verdict.device, kServerDevice);
    CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 1u);
  }
}

TEST(reselect_with_every_other_member_at_its_limit_waits) {
  Unit unit(policy_with(OnMemberDown::kReselect));
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  take_down(unit, 0);
  unit.policy->pools[0]->members[1].connections_max = 1;
  unit.runtime->endpoints[1].connections = 1;
  CHECK_EQ(unit.forward(client_tcp(kAck), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.count(Count::kReselected), 0u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 1u);
}

TEST(a_connection_of_a_virtual_server_that_is_gone_goes_on) {
  Unit unit(policy_with(OnMemberDown::kReset));
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  take_down(unit, 0);
  unit.only()->virtual_server = 77;
  const Sent sent = unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(sent.verdict.kind, kForward);
  CHECK_EQ(sent.verdict.device, kServerDevice);
}

}  // namespace
}  // namespace tandem::test
