// What is told to the peer and when, and what the peer makes of it.
#include "../../native/mirror.h"

#include "mirror_unit.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;
using Marked = MirrorSource::Marked;

namespace {

constexpr size_t kStateBytes4 = sizeof(wire::MirrorState<4>), kCloseBytes4 = sizeof(wire::MirrorClose<4>);

NewConnection half_open(uint32_t number) {
  NewConnection fresh = numbered(number);
  fresh.state = TcpState::kSynReceived;
  return fresh;
}

// A connection that the peer has been told of.
Connection* announced(MirrorUnit& active, uint32_t number) {
  Connection* connection = active.open(numbered(number));
  if (connection == nullptr) return nullptr;
  active.mark(*connection);
  active.take();
  return connection;
}

struct Pair {
  explicit Pair(size_t connections = 1024) : active(connections, 0), standby(connections, 1, Role::kStandby) {}
  Applied sync() { return standby.apply(active.take()); }
  MirrorUnit active, standby;
};

}  // namespace

TEST(mirror_tells_a_connection_when_its_handshake_is_complete) {
  MirrorUnit unit(64);
  Connection* connection = unit.open(half_open(1));
  REQUIRE(connection != nullptr);
  CHECK_EQ(unit.mark(*connection), Marked::kNo);
  unit.set_state(*connection, TcpState::kEstablished);
  CHECK(unit.source.has_pending());
  CHECK_EQ(unit.take().size(), kStateBytes4);
  CHECK(!unit.source.has_pending());
  CHECK(unit.take().empty());
}

TEST(mirror_changes_of_a_pending_connection_coalesce) {
  Pair pair;
  Connection* connection = pair.active.open(numbered(1));
  REQUIRE(connection != nullptr);
  CHECK_EQ(pair.active.mark(*connection), Marked::kQueued);
  CHECK_EQ(pair.active.mark(*connection), Marked::kCoalesced);
  pair.active.set_state(*connection, TcpState::kFinClient);
  const std::vector<uint8_t> batch = pair.active.take();
  CHECK_EQ(batch.size(), kStateBytes4);
  pair.standby.apply(batch);
  const Connection* mirrored = pair.standby.find(numbered(1));
  REQUIRE(mirrored != nullptr);
  CHECK_EQ(mirrored->state(), TcpState::kFinClient);
}

TEST(mirror_a_half_open_connection_that_dies_is_never_told) {
  MirrorUnit unit(64);
  for (const TcpState last : {TcpState::kSynReceived, TcpState::kReset}) {
    Connection* connection = unit.open(half_open(1));
    REQUIRE(connection != nullptr);
    unit.set_state(*connection, last);
    const MirrorSource::Closing closing = unit.close(*connection);
    CHECK(closing.closed);
    CHECK_EQ(closing.marked, Marked::kNo);
  }
  CHECK(unit.take().empty());
}

TEST(mirror_a_connection_that_closes_before_it_was_told_needs_no_record) {
  MirrorUnit unit(64);
  Connection* connection = unit.open(numbered(1));
  REQUIRE(connection != nullptr);
  CHECK_EQ(unit.mark(*connection), Marked::kQueued);
  CHECK_EQ(unit.close(*connection).marked, Marked::kNo);
  CHECK(unit.take().empty());
  CHECK_EQ(unit.table.waiting(), 0u);
}

TEST(mirror_a_close_waits_in_its_slot_until_it_is_taken) {
  Pair pair;
  Connection* connection = announced(pair.active, 1);
  REQUIRE(connection != nullptr);
  CHECK_EQ(pair.active.close(*connection).marked, Marked::kQueued);
  CHECK(!pair.active.close(*connection).closed);
  CHECK_EQ(pair.active.table.waiting(), 1u);
  CHECK_EQ(pair.active.mark(*connection), Marked::kNo);
  CHECK_EQ(pair.active.take().size(), kCloseBytes4);
  CHECK_EQ(pair.active.table.waiting(), 0u);
}

TEST(mirror_off_tells_nothing_but_the_end_of_what_was_told) {
  MirrorUnit unit(64);
  Connection* told = announced(unit, 1);
  Connection* untold = unit.open(numbered(2));
  REQUIRE(told != nullptr && untold != nullptr);
  unit.runtime->virtual_servers[0].mirror = MirrorRule{};
  CHECK_EQ(unit.mark(*told), Marked::kNo);
  CHECK_EQ(unit.mark(*untold), Marked::kNo);
  unit.close(*untold);
  unit.close(*told);
  CHECK_EQ(unit.take().size(), kCloseBytes4);
}

TEST(mirror_tells_nobody_when_there_is_no_peer) {
  MirrorUnit unit(64);
  Connection* connection = announced(unit, 1);
  REQUIRE(connection != nullptr);
  unit.runtime->mirror_wanted = false;
  CHECK_EQ(unit.mark(*connection), Marked::kNo);
  CHECK_EQ(unit.close(*connection).marked, Marked::kNo);
  CHECK_EQ(unit.table.waiting(), 0u);
}

TEST(mirror_does_not_tell_udp) {
  MirrorUnit unit(64);
  NewConnection fresh = numbered(1);
  fresh.protocol = kUdp;
  Connection* connection = unit.open(fresh);
  REQUIRE(connection != nullptr);
  CHECK_EQ(unit.mark(*connection), Marked::kNo);
}

TEST(mirror_forgets_changes_of_a_group_that_is_no_longer_active_here) {
  MirrorUnit unit(64);
  Connection* connection = announced(unit, 1);
  Connection* closed = announced(unit, 2);
  REQUIRE(connection != nullptr && closed != nullptr);
  unit.set_state(*connection, TcpState::kFinClient);
  unit.close(*closed);
  unit.become(Role::kStandby, 2);
  CHECK(unit.take().empty());
  CHECK_EQ(unit.table.waiting(), 0u);
}

TEST(mirror_a_full_ring_defers_to_the_sweep) {
  MirrorUnit unit(MirrorSource::kPendingSlots + 64);
  REQUIRE(unit.ready);
  for (uint32_t n = 0; n < MirrorSource::kPendingSlots; ++n)
    CHECK_EQ(unit.mark(*unit.open(numbered(n))), Marked::kQueued);
  Connection* late = unit.open(numbered(MirrorSource::kPendingSlots));
  REQUIRE(late != nullptr);
  CHECK_EQ(unit.mark(*late), Marked::kDeferred);
  CHECK(late->control & Control::kPendingDeferred);
  while (!unit.take().empty()) {
  }
  CHECK_EQ(unit.taken, MirrorSource::kPendingSlots);
  CHECK_EQ(unit.mark(*late), Marked::kQueued);
  CHECK_EQ(unit.take().size(), kStateBytes4);
}

TEST(mirror_wakes_the_javascript_thread_once_when_it_waits) {
  MirrorUnit unit(64);
  Connection* connection = unit.open(numbered(1));
  REQUIRE(connection != nullptr);
  CHECK(!unit.source.take_wakeup());
  CHECK(unit.source.arm());
  CHECK(!unit.source.take_wakeup());
  unit.mark(*connection);
  CHECK(unit.source.take_wakeup());
  CHECK(!unit.source.take_wakeup());
  CHECK(!unit.source.arm());  // something is pending already
  unit.take();
  CHECK(unit.source.arm());
}

TEST(mirror_a_record_becomes_a_connection_found_from_both_sides) {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const bool no_snat : {false, true}) {
      Pair pair;
      NewConnection fresh = numbered(7, family);
      fresh.no_snat = no_snat;
      fresh.last_hop = 0x1230'0605'0403'0201;  // device 0, 802.1Q id 0x123
      Connection* connection = pair.active.open(fresh);
      REQUIRE(connection != nullptr);
      pair.active.mark(*connection);
      CHECK_EQ(pair.sync().applied, 1u);
      Connection* mirrored = pair.standby.find(fresh);
      REQUIRE(mirrored != nullptr);
      CHECK_EQ(find(pair.standby.table, from_server(fresh)).connection, mirrored);
      CHECK_EQ(mirrored->last_hop.load(), fresh.last_hop);
      CHECK_EQ(mirrored->state(), TcpState::kEstablished);
      CHECK_EQ(mirrored->endpoint, connection->endpoint);
      CHECK_EQ(mirrored->incarnation.load(), connection->incarnation.load());
      CHECK_EQ(mirrored->term.load(), 1u);
      CHECK_EQ((mirrored->control & Control::kNoSnat) != 0, no_snat);
      CHECK(mirrored->control & Control::kFromPeer);
      CHECK_EQ(pair.standby.runtime->endpoints[mirrored->endpoint].connections.load(), 1u);
      CHECK_EQ(pair.standby.runtime->endpoints[mirrored->endpoint].opened.load(), 0u);
      CHECK_EQ(pair.standby.runtime->virtual_servers[0].connections.load(), 1u);

      pair.active.close(*connection);
      CHECK_EQ(pair.sync().applied, 1u);
      CHECK(pair.standby.find(fresh) == nullptr);
      CHECK_EQ(pair.standby.runtime->endpoints[mirrored->endpoint].connections.load(), 0u);
    }
  }
}

TEST(mirror_a_record_names_members_virtual_servers_and_devices_by_what_they_are_here) {
  Pair pair;
  pair.standby.dictionary.virtual_servers[0] = 5;
  pair.standby.dictionary.devices[0] = 3;
  pair.standby.sink.set_dictionary(pair.standby.dictionary);
  announced(pair.active, 1);
  pair.active.source.start_bulk();
  const std::vector<uint8_t> batch = pair.active.take();
  CHECK_EQ(pair.standby.apply(batch).applied, 1u);
  const Connection* mirrored = pair.standby.find(numbered(1));
  REQUIRE(mirrored != nullptr);
  CHECK_EQ(mirrored->virtual_server, 5u);
  CHECK_EQ(mirrored->last_hop.load() >> 48 & 0xf, 3u);

  MirrorUnit stranger(64, 1, Role::kStandby);
  stranger.dictionary.virtual_servers[0] = MirrorDictionary::kNone;
  stranger.sink.set_dictionary(stranger.dictionary);
  CHECK_EQ(stranger.apply(batch).unknown, 1u);

  MirrorUnit other_pool(64, 1, Role::kStandby);
  Policy empty;
  other_pool.sink.set_members(&empty);
  CHECK_EQ(other_pool.apply(batch).unknown, 1u);

  MirrorUnit other_device(64, 1, Role::kStandby);
  other_device.dictionary.devices[0] = 0xff;
  other_device.sink.set_dictionary(other_device.dictionary);
  CHECK_EQ(other_device.apply(batch).applied, 1u);
  CHECK_EQ(other_device.find(numbered(1))->last_hop.load(), 0u);
}

TEST(mirror_a_full_table_refuses_and_says_so) {
  MirrorUnit active(1024), standby(64, 1, Role::kStandby);
  for (uint32_t n = 0; n < 100; ++n) active.mark(*active.open(numbered(n)));
  const Applied applied = standby.apply(active.take());
  CHECK_EQ(applied.applied + applied.refused_full, 100u);
  CHECK(applied.applied > 50);
}

TEST(mirror_an_older_record_changes_nothing) {
  Pair pair;
  Connection* connection = pair.active.open(numbered(1));
  REQUIRE(connection != nullptr);
  pair.active.mark(*connection);
  const std::vector<uint8_t> first = pair.active.take();
  pair.active.set_state(*connection, TcpState::kFinServer);
  const std::vector<uint8_t> second = pair.active.take();
  CHECK_EQ(pair.standby.apply(second).applied, 1u);
  CHECK_EQ(pair.standby.apply(first).stale, 1u);
  CHECK_EQ(pair.standby.apply(second).stale, 1u);
  CHECK_EQ(pair.standby.find(numbered(1))->state(), TcpState::kFinServer);
}

TEST(mirror_a_connection_announced_by_an_older_record_is_not_taken_for_gone) {
  Pair pair;
  Connection* connection = pair.active.open(numbered(1));
  REQUIRE(connection != nullptr);
  pair.active.mark(*connection);
  const std::vector<uint8_t> first = pair.active.take();
  pair.active.set_state(*connection, TcpState::kFinServer);
  CHECK_EQ(pair.standby.apply(pair.active.take(), 1).applied, 1u);
  CHECK_EQ(pair.standby.apply(first, 2).stale, 1u);
  CHECK_EQ(pair.standby.drop_unannounced(2), 0u);
  CHECK_EQ(pair.standby.drop_unannounced(3), 1u);
}

TEST(mirror_a_later_term_beats_any_sequence) {
  Pair pair;
  Connection* connection = announced(pair.active, 1);
  REQUIRE(connection != nullptr);
  for (int i = 0; i < 10; ++i) pair.active.set_state(*connection, TcpState::kEstablished), pair.sync();
  const std::vector<uint8_t> late = [&] {
    pair.active.set_state(*connection, TcpState::kFinClient);
    return pair.active.take();
  }();
  pair.standby.become(Role::kActive, 2);
  Connection* ours = pair.standby.find(numbered(1));
  REQUIRE(ours != nullptr);
  pair.standby.set_state(*ours, TcpState::kFinServer);
  CHECK(!(ours->control & Control::kFromPeer));  // changed here, in the new term
  CHECK_EQ(pair.standby.apply(late).stale, 1u);
  pair.active.become(Role::kStandby, 2);
  CHECK_EQ(pair.active.apply(pair.standby.take()).applied, 1u);
  CHECK_EQ(connection->state(), TcpState::kFinServer);
  CHECK(connection->control & Control::kFromPeer);
}

TEST(mirror_the_close_of_a_predecessor_does_not_close_its_successor) {
  Pair pair;
  Connection* first = announced(pair.active, 1);
  REQUIRE(first != nullptr);
  pair.active.source.start_bulk();
  pair.sync();
  pair.active.close(*first);
  const std::vector<uint8_t> close = pair.active.take();
  // The successor's record overtakes the close, as it can when two workers queued them.
  NewConnection again = numbered(1);
  again.snat_port = 9999;
  Connection* second = pair.active.open(again);
  REQUIRE(second != nullptr);
  pair.active.mark(*second);
  CHECK_EQ(pair.sync().applied, 1u);
  wire::MirrorClose<4> later = *reinterpret_cast<const wire::MirrorClose<4>*>(close.data());
  later.head.sequence = second->sequence.load() + 1;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&later);
  CHECK_EQ(pair.standby.apply({bytes, bytes + sizeof later}).stale, 1u);
  CHECK_EQ(pair.standby.find(again)->snat_port.host(), 9999u);
}

TEST(mirror_the_newer_of_two_connections_gets_a_server_flow) {
  Pair pair;
  NewConnection older = numbered(1), newer = numbered(2);
  newer.snat_port = older.snat_port;
  Connection* first = pair.active.open(older);
  REQUIRE(first != nullptr);
  pair.active.mark(*first);
  const std::vector<uint8_t> stale = pair.active.take();
  pair.active.close(*first);
  Connection* second = pair.active.open(newer);
  REQUIRE(second != nullptr);
  pair.active.mark(*second);
  const std::vector<uint8_t> batch = pair.active.take();
  pair.standby.apply(stale);
  CHECK_EQ(pair.standby.apply(batch).applied, 2u);  // the close of one, the other
  CHECK(pair.standby.find(older) == nullptr);
  CHECK(pair.standby.find(newer) != nullptr);
  CHECK_EQ(pair.standby.apply(stale).stale, 1u);
  CHECK(pair.standby.find(newer) != nullptr);
}

TEST(mirror_a_bulk_announces_what_is_mirrored_and_active_here) {
  MirrorUnit unit(1024);
  unit.runtime->mirror_wanted = false;
  for (uint32_t n = 0; n < 10; ++n) unit.open(numbered(n));
  for (uint32_t n = 10; n < 20; ++n) unit.open(half_open(n));
  NewConnection off = numbered(20);
  off.virtual_server = 1;
  unit.open(off);
  NewConnection elsewhere = numbered(21);
  elsewhere.group = 1;
  elsewhere.from_peer = true;
  unit.open(elsewhere);
  unit.runtime->mirror_wanted = true;
  unit.source.start_bulk();
  CHECK(unit.source.has_pending());
  while (unit.source.bulk_running()) unit.take(2 * sizeof(wire::MirrorState<16>));
  CHECK_EQ(unit.taken, 10u);
  CHECK_EQ(unit.source.bulk_announced(), 10u);
}

TEST(mirror_what_a_bulk_does_not_announce_is_dropped) {
  Pair pair;
  Connection* kept = announced(pair.active, 1);
  Connection* gone = announced(pair.active, 2);
  REQUIRE(kept != nullptr && gone != nullptr);
  pair.active.source.start_bulk();
  pair.sync();
  CHECK_EQ(pair.standby.table.used(), 2u);
  NewConnection own = numbered(3);  // opened by the standby when it was active, never told
  pair.standby.open(own);

  pair.active.runtime->mirror_wanted = false;  // the channel is lost, and with it a close
  pair.active.close(*gone);
  pair.active.runtime->mirror_wanted = true;
  pair.active.source.start_bulk();
  const std::vector<uint8_t> bulk = pair.active.take();
  CHECK_EQ(pair.standby.apply(bulk, 2).applied, 1u);
  CHECK_EQ(pair.standby.drop_unannounced(2), 1u);
  CHECK(pair.standby.find(numbered(1)) != nullptr);
  CHECK(pair.standby.find(numbered(2)) == nullptr);
  CHECK(pair.standby.find(own) != nullptr);

  pair.standby.become(Role::kActive, 2);
  CHECK_EQ(pair.standby.drop_unannounced(3), 0u);  // the active unit decides for itself
}

TEST(mirror_lost_closes_ask_for_another_bulk) {
  MirrorUnit unit(64);
  std::vector<Connection*> connections;
  for (uint32_t n = 0; n < 9; ++n) connections.push_back(announced(unit, n));
  for (Connection* connection : connections) unit.close(*connection);
  CHECK_EQ(unit.table.lost_closes(), 1u);  // an eighth of 64 wait
  CHECK(!unit.source.lost_servers().empty());
  unit.source.start_bulk();
  CHECK(unit.source.lost_servers().empty());
}

TEST(mirror_gives_a_snat_port_back_when_its_connection_ends) {
  MirrorUnit unit(64);
  NewConnection fresh = numbered(1);
  const int address = unit.ports.add_address(4, fresh.snat);
  constexpr uint16_t endpoint = 43;  // numbered()'s member
  REQUIRE(unit.ports.prepare(static_cast<uint16_t>(address), endpoint));
  const size_t before = unit.ports.free(static_cast<uint16_t>(address), endpoint);
  fresh.snat_port = unit.ports.allocate(static_cast<uint16_t>(address), endpoint, kSecond).port;
  Connection* connection = unit.open(fresh);
  REQUIRE(connection != nullptr);
  CHECK_EQ(unit.ports.free(static_cast<uint16_t>(address), endpoint), before - 1);
  unit.close(*connection);
  CHECK_EQ(unit.ports.free(static_cast<uint16_t>(address), endpoint), before);
}

TEST(mirror_names_the_member_of_a_connection_that_is_not_translated) {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const uint8_t member_family : {uint8_t{4}, uint8_t{6}}) {
      MirrorUnit active(64), standby(64, 1, Role::kStandby);
      NewConnection fresh = numbered(7, family);
      fresh.direct = fresh.no_snat = true;
      fresh.tunnelled = member_family != family;
      std::memcpy(fresh.member, fresh.virtual_address, sizeof fresh.member);
      fresh.member_port = fresh.virtual_port;
      fresh.endpoint = static_cast<uint16_t>(member_family * 10 + 5);
      Connection* opened = nullptr;
      CHECK(open_connection(active.books(), kWorker, fresh, kSecond, &opened) == OpenStatus::kOpened);
      active.mark(*opened);
      const std::vector<uint8_t> batch = active.take();
      CHECK_EQ(batch.size(), family == 4 ? sizeof(wire::MirrorDirect<4>) : sizeof(wire::MirrorDirect<16>));

      const Applied applied = standby.apply(batch);
      CHECK_EQ(applied.applied, 1u);
      const Found found = find(standby.table, from_client(fresh));
      CHECK(found.connection != nullptr && found.direction == Direction::kFromClient);
      CHECK_EQ(found.connection->endpoint, fresh.endpoint);
      const uint32_t control = found.connection->control;
      CHECK((control & Control::kDirect) != 0 && (control & Control::kNoSnat) != 0);
      CHECK_EQ((control & Control::kTunnelled) != 0, fresh.tunnelled);
      // The answer, should it come through here, is the virtual address's to the client.
      const FlowKey answer =
          flow_between(fresh, fresh.virtual_address, fresh.client, fresh.virtual_port, fresh.client_port);
      CHECK(find(standby.table, answer).connection == found.connection);

      active.close(*opened);
      CHECK_EQ(standby.apply(active.take()).applied, 1u);
      CHECK(find(standby.table, from_client(fresh)).connection == nullptr);
    }
  }
}

TEST(mirror_refuses_a_record_of_a_member_that_is_not_here_and_one_that_is_cut) {
  MirrorUnit active(64), standby(64, 1, Role::kStandby);
  NewConnection fresh = numbered(7);
  fresh.direct = fresh.no_snat = true;
  std::memcpy(fresh.member, fresh.virtual_address, sizeof fresh.member);
  fresh.member_port = fresh.virtual_port;
  fresh.endpoint = 45;
  Connection* opened = nullptr;
  open_connection(active.books(), kWorker, fresh, kSecond, &opened);
  active.mark(*opened);
  std::vector<uint8_t> batch = active.take();
  std::vector<uint8_t> cut(batch.begin(), batch.end() - 1);
  CHECK(standby.apply(cut).malformed);
  std::vector<uint8_t> odd = batch;
  odd[37] = 5;  // the member's family
  CHECK(standby.apply(odd).malformed);
  batch[41] = 99;  // the last octet of its address
  CHECK_EQ(standby.apply(batch).unknown, 1u);
}

TEST(mirror_a_unit_that_yields_offers_what_is_its_own_and_nothing_else) {
  Pair pair;
  announced(pair.active, 1);
  REQUIRE(pair.standby.apply(pair.active.take()).stale == 0);
  Connection* both = announced(pair.active, 2);
  REQUIRE(both != nullptr);
  pair.active.source.start_bulk();
  pair.sync();
  // The link is cut, and both are active.
  MirrorUnit &winner = pair.active, &loser = pair.standby;
  for (MirrorUnit* unit : {&winner, &loser}) unit->runtime->mirror_wanted = false;
  loser.become(Role::kActive, 2);
  Connection* own = loser.open(numbered(3));
  NewConnection there = numbered(4), here = numbered(4);
  there.member[3] = 5;
  Connection *kept = winner.open(here), *clashes = loser.open(there);
  REQUIRE(own != nullptr && kept != nullptr && clashes != nullptr);
  // They meet: the loser yields before the winner has heard of its term.
  for (MirrorUnit* unit : {&winner, &loser}) unit->runtime->mirror_wanted = true;
  loser.become(Role::kStandby, 2);
  loser.source.start_bulk(nullptr, true);
  const std::vector<uint8_t> offered = loser.take();
  CHECK_EQ(offered.size(), 2 * kStateBytes4);
  const Applied applied = winner.apply(offered);
  CHECK_EQ(applied.applied, 1u);
  CHECK_EQ(applied.stale, 1u);
  CHECK(winner.find(numbered(3)) != nullptr);
  CHECK(winner.find(numbered(4)) == kept);
  CHECK(!(kept->control & Control::kDead));
  // The winner's bulk: the loser takes its word for all, and drops nothing but what clashed.
  winner.become(Role::kActive, 3);
  winner.source.start_bulk();
  loser.apply(winner.take(), 7);
  CHECK_EQ(loser.drop_unannounced(7), 0u);
  Connection* told = loser.find(numbered(4));
  REQUIRE(told != nullptr);
  CHECK(told->member == kept->member);
  CHECK(loser.find(numbered(3)) != nullptr);
  // Nothing is its own any more.
  loser.source.start_bulk(nullptr, true);
  CHECK(loser.take().empty());
}
