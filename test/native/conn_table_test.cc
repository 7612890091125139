// The connection table, one thread: what is found, what is refused, when a slot is used again.
#include "../../native/conn_table.h"

#include <unordered_map>
#include <vector>

#include "connections.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

Connection* open(ConnTable& table, const NewConnection& fresh, Participant who = 0) {
  Connection* opened = nullptr;
  const OpenStatus status = table.open(who, fresh, 7 * kSecond, &opened);
  CHECK_EQ(status, OpenStatus::kOpened);
  return status == OpenStatus::kOpened ? opened : nullptr;
}

OpenStatus try_open(ConnTable& table, const NewConnection& fresh, Participant who = 0) {
  Connection* opened = nullptr;
  return table.open(who, fresh, 7 * kSecond, &opened);
}

}  // namespace

TEST(table_finds_a_connection_from_either_direction) {
  const auto table = make_table(1000);
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    const NewConnection fresh = numbered(5, family);
    Connection* opened = open(*table, fresh);
    REQUIRE(opened != nullptr);
    const Found client = find(*table, from_client(fresh)), server = find(*table, from_server(fresh));
    CHECK_EQ(client.connection, opened);
    CHECK_EQ(client.direction, Direction::kFromClient);
    CHECK_EQ(server.connection, opened);
    CHECK_EQ(server.direction, Direction::kFromServer);
    CHECK(table->flow(*opened, Direction::kFromClient) == from_client(fresh));
    CHECK(table->flow(*opened, Direction::kFromServer) == from_server(fresh));
    CHECK_EQ(opened->last_seen.load(), 70u);
    CHECK_EQ(opened->state(), TcpState::kEstablished);
    CHECK(find(*table, from_client(numbered(6, family))).connection == nullptr);
  }
  CHECK_EQ(table->used(), 2u);
}

TEST(table_tells_apart_flows_that_differ_in_one_part) {
  const auto table = make_table(1000);
  const NewConnection fresh = numbered(5);
  open(*table, fresh);
  const auto unknown = [&](auto change) {
    NewConnection other = fresh;
    change(other);
    CHECK(find(*table, from_client(other)).connection == nullptr);
  };
  unknown([](NewConnection& other) { other.client[3] ^= 1; });
  unknown([](NewConnection& other) { other.virtual_address[0] ^= 1; });
  unknown([](NewConnection& other) { other.client_port = 1; });
  unknown([](NewConnection& other) { other.virtual_port = 81; });
  unknown([](NewConnection& other) { other.protocol = kUdp; });
}

TEST(table_without_snat_the_member_sees_the_client) {
  const auto table = make_table(1000);
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    NewConnection fresh = numbered(5, family);
    fresh.no_snat = true;
    fresh.snat_port = 4242;  // whatever stands there
    Connection* opened = open(*table, fresh);
    REQUIRE(opened != nullptr);
    CHECK_EQ(find(*table, from_server(fresh)).connection, opened);
    CHECK_EQ(opened->snat_port.host(), fresh.client_port.host());
    CHECK(opened->control.load() & Control::kNoSnat);
  }
}

TEST(table_refuses_a_flow_that_is_taken) {
  const auto table = make_table(1000);
  const NewConnection first = numbered(1);
  Connection* opened = open(*table, first);
  REQUIRE(opened != nullptr);
  NewConnection same_client = numbered(2);
  std::memcpy(same_client.client, first.client, 4);
  same_client.client_port = first.client_port;
  CHECK_EQ(try_open(*table, same_client), OpenStatus::kClientFlowTaken);
  NewConnection same_server = numbered(2);
  same_server.snat_port = first.snat_port;
  CHECK_EQ(try_open(*table, same_server), OpenStatus::kServerFlowTaken);
  CHECK(find(*table, from_client(same_server)).connection == nullptr);

  CHECK(table->close(0, *opened));
  CHECK_EQ(try_open(*table, same_server), OpenStatus::kOpened);
  CHECK_EQ(try_open(*table, numbered(1)), OpenStatus::kServerFlowTaken);
}

TEST(table_closes_once_and_then_finds_nothing) {
  const auto table = make_table(1000);
  const NewConnection fresh = numbered(1);
  Connection* opened = open(*table, fresh);
  REQUIRE(opened != nullptr);
  CHECK(table->close(0, *opened));
  CHECK(!table->close(0, *opened));
  CHECK(find(*table, from_client(fresh)).connection == nullptr);
  CHECK(find(*table, from_server(fresh)).connection == nullptr);
  CHECK_EQ(table->used(), 0u);
  CHECK(table->at(table->slot_of(*opened)) == nullptr);
}

TEST(table_keeps_a_closed_slot_while_somebody_may_read_it) {
  const auto table = make_table(64, 2);
  Connection* opened = open(*table, numbered(1));
  REQUIRE(opened != nullptr);
  for (uint32_t n = 2; try_open(*table, numbered(n)) == OpenStatus::kOpened; ++n) {
  }
  CHECK(table->close(0, *opened));
  table->quiesce(0);
  CHECK_EQ(try_open(*table, numbered(1000)), OpenStatus::kFull);  // participant 1 may hold a pointer
  CHECK(table->flow(*opened, Direction::kFromClient) == from_client(numbered(1)));
  table->quiesce(1);
  table->quiesce(0);
  CHECK_EQ(try_open(*table, numbered(1000)), OpenStatus::kOpened);
}

TEST(table_waits_for_no_participant_that_is_offline) {
  const auto table = make_table(64, 2);
  Connection* opened = open(*table, numbered(1));
  REQUIRE(opened != nullptr);
  for (uint32_t n = 2; try_open(*table, numbered(n)) == OpenStatus::kOpened; ++n) {
  }
  table->offline(1);
  CHECK(table->close(0, *opened));
  table->quiesce(0);
  CHECK_EQ(try_open(*table, numbered(1000)), OpenStatus::kOpened);
}

TEST(table_holds_as_many_connections_as_it_was_made_for) {
  constexpr uint32_t kConnections = 200'000;
  const auto table = make_table(kConnections);
  REQUIRE(table != nullptr);
  for (uint32_t n = 0; n < kConnections; ++n) {
    if (try_open(*table, numbered(n)) != OpenStatus::kOpened) return CHECK_EQ(n, kConnections);
  }
  CHECK_EQ(try_open(*table, numbered(kConnections)), OpenStatus::kFull);
  CHECK_EQ(table->used(), kConnections);
  for (uint32_t n = 0; n < kConnections; ++n) {
    if (find(*table, from_server(numbered(n))).connection == nullptr) return CHECK_EQ(n, kConnections);
  }
  // Some of these share a bucket and a tag with another: only the one that is meant goes.
  for (uint32_t n = 0; n < kConnections; n += 2) {
    Connection* connection = find(*table, from_client(numbered(n))).connection;
    if (connection == nullptr || !table->close(0, *connection)) return CHECK_EQ(n, kConnections);
  }
  for (uint32_t n = 0; n < kConnections; ++n) {
    const bool open = n % 2 == 1;
    if ((find(*table, from_client(numbered(n))).connection != nullptr) != open) return CHECK_EQ(n, kConnections);
    if ((find(*table, from_server(numbered(n))).connection != nullptr) != open) return CHECK_EQ(n, kConnections);
  }
}

TEST(table_needs_at_most_100_bytes_for_a_connection) {
  constexpr size_t kConnections = size_t{1} << 20;
  ConnTable table;
  REQUIRE(table.reserve({kConnections, 3}));
  CHECK(table.bytes() <= 100 * kConnections);
}

TEST(table_says_when_memory_is_not_to_be_had) {
  ConnTable table;
  CHECK(!table.reserve({size_t{1} << 40, 1}));
}

TEST(table_lets_an_eighth_of_its_slots_wait_for_their_close_to_be_told) {
  const auto table = make_table(640);
  std::vector<Connection*> connections;
  for (uint32_t n = 0; n < 100; ++n) {
    connections.push_back(open(*table, numbered(n)));
    connections.back()->control.fetch_or(Control::kAnnounced);
  }
  for (uint32_t n = 0; n < 80; ++n) {
    CHECK_EQ(table->close_untold(0, *connections[n]), ConnTable::CloseStatus::kWaitsNew);
  }
  CHECK_EQ(table->waiting(), 80u);
  CHECK_EQ(table->lost_closes(), 0u);
  CHECK_EQ(table->close_untold(0, *connections[80]), ConnTable::CloseStatus::kLost);
  CHECK_EQ(table->lost_closes(), 1u);
  CHECK_EQ(table->waiting(), 80u);
  CHECK_EQ(table->used(), 19u);

  Connection& waiting = *connections[0];
  CHECK_EQ(table->at(table->slot_of(waiting)), &waiting);
  table->recycle(0, waiting);  // still pending: nothing happens
  CHECK_EQ(table->waiting(), 80u);
  waiting.control.fetch_and(~Control::kPendingMask);
  table->recycle(0, waiting);
  table->recycle(0, waiting);
  CHECK_EQ(table->waiting(), 79u);
  CHECK(table->at(table->slot_of(waiting)) == nullptr);
}

TEST(table_forgets_the_close_of_what_the_peer_never_knew) {
  const auto table = make_table(640);
  Connection* opened = open(*table, numbered(1));
  REQUIRE(opened != nullptr);
  opened->control.fetch_or(Control::kPendingQueued);
  CHECK_EQ(table->close_untold(0, *opened), ConnTable::CloseStatus::kClosed);
  CHECK_EQ(table->waiting(), 0u);
  CHECK_EQ(table->lost_closes(), 0u);
}

TEST(table_gives_successors_on_a_tuple_different_incarnations) {
  const auto table = make_table(640);
  Connection* first = open(*table, numbered(1));
  REQUIRE(first != nullptr);
  const uint16_t incarnation = first->incarnation.load();
  CHECK(incarnation != 0);
  CHECK(table->close(0, *first));
  Connection* second = open(*table, numbered(1));
  REQUIRE(second != nullptr);
  CHECK(second->incarnation.load() != incarnation);
  CHECK(table->close(0, *second));
  NewConnection told = numbered(1);
  told.incarnation = 7;
  Connection* third = open(*table, told);
  REQUIRE(third != nullptr);
  CHECK_EQ(third->incarnation.load(), 7u);
}

// Random opens, closes and lookups of few connections in a small table, so that everything collides.
TEST(table_agrees_with_a_map) {
  auto random = random_engine();
  constexpr uint32_t kNumbers = 600, kSlots = 256;
  const auto table = make_table(kSlots, 2);
  std::unordered_map<uint32_t, Connection*> model;
  const auto fresh_of = [](uint32_t number) { return numbered(number, number % 3 == 0 ? 6 : 4); };
  for (int step = 0; step < 60'000; ++step) {
    const uint32_t number = static_cast<uint32_t>(random() % kNumbers);
    const NewConnection fresh = fresh_of(number);
    const auto known = model.find(number);
    const Participant who = random() % 2;
    switch (random() % 4) {
      case 0:
      case 1: {
        Connection* opened = nullptr;
        const OpenStatus status = table->open(who, fresh, kSecond, &opened);
        if (known != model.end()) {
          // The slots may be used up before the flow is looked at.
          CHECK(status == OpenStatus::kClientFlowTaken || status == OpenStatus::kFull);
        } else if (status == OpenStatus::kOpened) {
          model[number] = opened;
        } else {
          CHECK_EQ(status, OpenStatus::kFull);
          CHECK(model.size() > kSlots * 3 / 4);  // the rest lies in caches
        }
        break;
      }
      case 2:
        if (known != model.end()) {
          CHECK(table->close(who, *known->second));
          model.erase(known);
        }
        break;
      default: {
        Connection* expected = known == model.end() ? nullptr : known->second;
        CHECK_EQ(find(*table, from_client(fresh)).connection, expected);
        CHECK_EQ(find(*table, from_server(fresh)).connection, expected);
      }
    }
    table->quiesce(0);
    table->quiesce(1);
    CHECK_EQ(table->used(), model.size());
  }
  for (uint32_t number = 0; number < kNumbers; ++number) {
    const auto known = model.find(number);
    CHECK_EQ(find(*table, from_client(fresh_of(number))).connection, known == model.end() ? nullptr : known->second);
  }
  size_t occupied = 0;
  for (size_t slot = 0; slot < table->slots(); ++slot) occupied += table->at(slot) != nullptr;
  CHECK_EQ(occupied, model.size());
}
