// How packets open connections, and what later ones change of them.
#include "../../native/forward.h"
#include "rows.h"

namespace tandem::test {
namespace {

TEST(nothing_is_opened_where_there_is_no_member_no_neighbour_or_no_room) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.runtime->endpoints[0].next_hop = 0;
  CHECK_DROPPED(unit.forward(client_tcp(kSyn), kClientDevice), Drop::kNoNeighbour);

  auto down = two_sided_policy();
  for (Member& member : down->pools[0]->members) member.up = false;
  Unit without(std::move(down));
  REQUIRE(without.ready);
  CHECK_DROPPED(without.forward(client_tcp(kSyn), kClientDevice), Drop::kNoMember);

  Unit small(two_sided_policy(), 64);
  REQUIRE(small.ready);
  Drop last = Drop::kTruncated;
  for (uint16_t port = 1000; port < 1100; ++port) {
    const Sent sent = small.forward(
        tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kSyn}), kClientDevice);
    if (sent.verdict.kind == kDrop) last = sent.verdict.drop;
  }
  CHECK_EQ(last, Drop::kTableFull);
  CHECK_EQ(small.table.used(), small.count(Count::kOpened));
  CHECK(small.is_balanced());
  // What could not be opened has given its port back.
  CHECK_EQ(small.ports.free(0, 0) + small.ports.free(0, 1) + small.table.used(), 2 * Unit().ports.free(0, 0));
}

TEST(a_port_that_the_peer_uses_is_passed_over_and_the_next_snat_address_taken_when_none_is_left) {
  auto policy = two_sided_policy();
  add_address(*policy, "10.2.0.2", 1 << kServerDevice);
  policy->virtual_servers[0].snat_addresses.push_back({policy_address("10.2.0.2"), 0});
  policy->pools[0]->members.resize(1);
  Unit unit(std::move(policy), 1 << 16);
  REQUIRE(unit.ready);
  const int second = unit.ports.find_address(4, address("10.2.0.2").data());
  // Every port of the first address is taken: allocated by connections of before.
  while (unit.ports.allocate(0, 0, unit.now).port != 0) {
  }
  for (uint16_t port = 1; port <= 10; ++port) {
    const Sent sent = unit.forward(
        tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kSyn}), kClientDevice);
    REQUIRE(sent.verdict.kind == kForward);
    CHECK_EQ(sent.frame[29], 2);  // from 10.2.0.2
  }
  while (unit.ports.allocate(static_cast<uint16_t>(second), 0, unit.now).port != 0) {
  }
  // Half-open ones would make way.
  for (size_t slot = 0; slot < unit.table.slots(); ++slot) {
    if (Connection* connection = unit.table.at(slot))
      connection->control |= static_cast<uint32_t>(TcpState::kEstablished);
  }
  CHECK_DROPPED(unit.forward(client_tcp(kSyn), kClientDevice), Drop::kNoSnatPort);
}

TEST(several_snat_addresses_take_turns) {
  auto policy = two_sided_policy();
  add_address(*policy, "10.2.0.2", 1 << kServerDevice);
  policy->virtual_servers[0].snat_addresses.push_back({policy_address("10.2.0.2"), 0});
  Unit unit(std::move(policy));
  REQUIRE(unit.ready);
  int of_second = 0;
  for (uint16_t port = 1; port <= 10; ++port) {
    const Sent sent = unit.forward(
        tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kSyn}), kClientDevice);
    of_second += sent.frame[29] == 2 ? 1 : 0;
  }
  CHECK_EQ(of_second, 5);
}

TEST(unknown_adopt_opens_on_data) {
  auto policy = two_sided_policy();
  policy->virtual_servers[0].unknown = Unknown::kAdopt;
  Unit unit(std::move(policy));
  REQUIRE(unit.ready);
  REQUIRE(unit.runtime->half_open.reserve(3, 1));
  const Sent adopted = unit.forward(client_tcp(kAck, "amid"), kClientDevice);
  CHECK_EQ(adopted.verdict.kind, kForward);
  CHECK_EQ(unit.count(Count::kAdopted), 1u);
  // Half-open until the member says that it has it.
  unit.forward(client_tcp(kAck, "more"), kClientDevice);
  const auto answers = [&](uint8_t flags) {
    const Tcp tcp = {.source_port = 8080, .destination_port = word_at(adopted.frame, 34), .flags = flags};
    const std::string member = "10.2.0." + std::to_string(adopted.frame[33]);
    unit.forward(tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = member, .destination = "10.2.0.1"}, tcp),
                 kServerDevice);
  };
  answers(kRst);
  CHECK_EQ(unit.only()->state(), TcpState::kAdopted);
  answers(kAck);
  CHECK_EQ(unit.only()->state(), TcpState::kEstablished);
  for (uint16_t port = 2; port < 50; ++port) {
    unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kAck}),
                 kClientDevice);
  }
  CHECK_EQ(unit.table.used(), 1u + 3u);
  CHECK_DROPPED(
      unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kRst}),
                   kClientDevice),
      Drop::kUnknown);
}

TEST(a_syn_on_a_closing_connection_opens_it_anew) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  std::atomic<uint32_t>& control = unit.only()->control;
  control = (control & ~Control::kStateMask) | static_cast<uint32_t>(TcpState::kClosing);
  const uint16_t incarnation = unit.only()->incarnation;
  CHECK_EQ(unit.forward(client_tcp(kSyn), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.count(Count::kReopened), 1u);
  CHECK_EQ(unit.count(Count::kClosed), 1u);
  CHECK_EQ(unit.table.used(), 1u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load() + unit.runtime->endpoints[1].connections.load(), 1u);
  bool raised = false;
  for (size_t slot = 0; slot < unit.table.slots(); ++slot) {
    const Connection* connection = unit.table.at(slot);
    if (connection == nullptr || (connection->control & Control::kDead) != 0) continue;
    raised =
        connection->incarnation == static_cast<uint16_t>(incarnation + 1) && connection->state() == TcpState::kSynSent;
  }
  CHECK(raised);
}

TEST(the_clients_way_back_is_learnt_anew_when_it_moves) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  const Link moved = {kVirtualMac4, "02:00:00:00:00:77", {9}};
  unit.forward(tcp_frame(moved, kToServer, {.source_port = 40000, .destination_port = 80, .flags = kAck}),
               kClientDevice);
  CHECK_EQ(unit.only()->last_hop.load(), hop("02:00:00:00:00:77", kClientDevice, 9));
}

TEST(a_mirrored_connection_is_marked_when_its_handshake_is_complete) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
  unit.runtime->mirror_wanted = true;
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  unit.forward(tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                         {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck}),
               kServerDevice);
  CHECK_EQ(unit.count(Count::kMirrorQueued), 0u);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(unit.count(Count::kMirrorQueued), 1u);
  unit.forward(client_tcp(kAck, "more"), kClientDevice);
  CHECK_EQ(unit.count(Count::kMirrorQueued), 1u);
  unit.forward(client_tcp(kFin | kAck), kClientDevice);
  CHECK_EQ(unit.count(Count::kMirrorCoalesced), 1u);
}

TEST(a_connection_of_the_peers_is_ours_once_it_is_touched_here) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.only()->control |= Control::kFromPeer;
  unit.become(Role::kHandingOver);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK((unit.only()->control & Control::kFromPeer) != 0);
  unit.become(Role::kActive);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK((unit.only()->control & Control::kFromPeer) == 0);
}

}  // namespace
}  // namespace tandem::test
