// A flood of half-open connections: what it may hold, who makes way for whom, what the peer hears of it. And packets
// that somebody sends blindly into a connection that is open.
#include "../../native/forward.h"
#include "rows.h"

namespace tandem::test {
namespace {

const Ip kToPlain = {.source = "10.1.0.9", .destination = "10.1.0.101"};

// A spoofed client, another for each number.
Bytes syn_of(uint32_t number, uint8_t flags = kSyn) {
  const std::string source = "10." + std::to_string(64 + number / 65536) + "." + std::to_string(number / 256 % 256) +
                             "." + std::to_string(number % 256);
  return tcp_frame(kFromClient, {.source = source, .destination = "10.1.0.100"},
                   {.source_port = 5000, .destination_port = 80, .flags = flags});
}

void flood(Unit& unit, uint32_t first, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) unit.forward(syn_of(first + i), kClientDevice);
}

// From the member that `sent`, a frame towards it, was for.
Bytes answer_to(const Bytes& sent, uint8_t flags, const std::string& payload = {}) {
  const std::string member = "10.2.0." + std::to_string(sent[33]);
  const char* mac = kMemberMac[sent[33] == 11 ? 0 : 1];
  return tcp_frame({kVirtualMac4, mac}, {.source = member, .destination = "10.2.0.1"},
                   {.source_port = 8080, .destination_port = word_at(sent, 34), .flags = flags, .payload = payload});
}

// client_tcp()'s connection, established. Returns its SYN as the member got it.
Bytes establish(Unit& unit) {
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.forward(client_tcp(kAck), kClientDevice);
  return syn;
}

Connection* of_client(Unit& unit, const Bytes& frame) {
  FlowKey flow{};
  std::memcpy(&flow.words[0], frame.data() + 26, 8);
  uint32_t ports;
  std::memcpy(&ports, frame.data() + 34, 4);
  flow.words[4] = ports | uint64_t{6} << 32 | uint64_t{4} << 40;
  return unit.table.find(flow, unit.table.hash(flow)).connection;
}

size_t half_open(Unit& unit) {
  size_t count = 0;
  for (size_t slot = 0; slot < unit.table.slots(); ++slot) {
    const Connection* connection = unit.table.at(slot);
    if (connection != nullptr && (connection->control & Control::kDead) == 0)
      count += is_half_open(connection->state());
  }
  return count;
}

// ---- the bound

TEST(half_open_each_worker_has_a_ring_of_its_own_that_gives_the_oldest) {
  HalfOpen ring;
  const auto place = [](uint32_t slot) { return HalfOpen::Place{slot, 1, wire::be16(80)}; };
  CHECK_EQ(ring.replace_oldest(0, place(1)).slot, HalfOpen::kNone);  // no bound yet
  REQUIRE(ring.reserve(7, 2));
  CHECK_EQ(ring.places(0), 3u);
  for (uint32_t slot = 0; slot < 3; ++slot) CHECK_EQ(ring.replace_oldest(0, place(slot)).slot, HalfOpen::kNone);
  CHECK_EQ(ring.replace_oldest(1, place(9)).slot, HalfOpen::kNone);
  CHECK_EQ(ring.oldest_slot(0), 0u);
  for (uint32_t slot = 3; slot < 9; ++slot) CHECK(ring.replace_oldest(0, place(slot)) == place(slot - 3));
  HalfOpen least;
  REQUIRE(least.reserve(1, 4));
  CHECK_EQ(least.places(3), 1u);
}

TEST(half_open_connections_of_a_flood_never_exceed_their_bound) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(100, 1));
  establish(unit);
  flood(unit, 0, 5000);
  CHECK_EQ(half_open(unit), 100u);
  CHECK_EQ(unit.table.used(), 101u);
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 4900u);
  CHECK_EQ(unit.count(Count::kOpened) - unit.count(Count::kClosed), unit.table.used());
  CHECK_EQ(unit.dropped(Drop::kTableFull), 0u);
  CHECK(unit.is_balanced());
  // The one that is established goes on, both ways.
  CHECK_EQ(unit.forward(client_tcp(kAck, "still here"), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.runtime->virtual_servers[0].connections.load(), 101u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load() + unit.runtime->endpoints[1].connections.load(), 101u);
}

TEST(half_open_the_oldest_makes_way_and_its_late_ack_is_unknown) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(10, 1));
  const Bytes first = unit.forward(syn_of(0), kClientDevice).frame;
  unit.forward(answer_to(first, kSyn | kAck), kServerDevice);
  flood(unit, 1, 9);
  CHECK(of_client(unit, syn_of(0)) != nullptr);
  flood(unit, 10, 1);
  CHECK(of_client(unit, syn_of(0)) == nullptr);
  CHECK(of_client(unit, syn_of(1)) != nullptr);
  CHECK_DROPPED(unit.forward(syn_of(0, kAck), kClientDevice), Drop::kUnknown);
  CHECK_DROPPED(unit.forward(answer_to(first, kSyn | kAck), kServerDevice), Drop::kUnknownReturn);
}

TEST(half_open_a_client_that_completes_its_handshake_in_time_gets_through_a_flood) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(100, 1));
  uint32_t spoofed = 10'000;
  for (uint32_t client = 0; client < 50; ++client) {
    const Bytes syn = unit.forward(syn_of(client), kClientDevice).frame;
    flood(unit, spoofed, 49);
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
    flood(unit, spoofed + 49, 49);
    CHECK_EQ(unit.forward(syn_of(client, kAck), kClientDevice).verdict.kind, kForward);
    spoofed += 98;
  }
  flood(unit, spoofed, 1000);
  for (uint32_t client = 0; client < 50; ++client) {
    const Connection* connection = of_client(unit, syn_of(client));
    REQUIRE(connection != nullptr);
    CHECK_EQ(connection->state(), TcpState::kEstablished);
  }
}

TEST(half_open_whose_slot_was_reused_is_not_taken_for_its_predecessor) {
  Unit unit(two_sided_policy(), 64);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(60, 1));
  // They expire; others come to stand in their slots, while the ring still names them.
  flood(unit, 0, 30);
  unit.now += 60 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
  for (int i = 0; i < 4; ++i) unit.table.quiesce(0);
  flood(unit, 100, 60);
  CHECK_EQ(unit.table.used(), 60u);
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 0u);
}

TEST(half_open_is_udp_without_a_reply_and_one_that_was_answered_stays) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(5, 1));
  const auto query = [](uint16_t port) {
    return udp_frame(kFromClient, {.source = "10.1.0.9", .destination = "10.1.0.100"},
                     {.source_port = port, .destination_port = 53, .payload = "who is it?"});
  };
  const Bytes sent = unit.forward(query(1), kClientDevice).frame;
  unit.forward(udp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                         {.source_port = 53, .destination_port = word_at(sent, 34), .payload = "it is me"}),
               kServerDevice);
  for (uint16_t port = 2; port < 52; ++port) unit.forward(query(port), kClientDevice);
  CHECK_EQ(unit.table.used(), 6u);
  CHECK_EQ(half_open(unit), 5u);
}

TEST(half_open_ipv6_connections_make_way_too) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(8, 1));
  for (uint16_t port = 1; port <= 100; ++port) {
    unit.forward(tcp_frame(kFromClient6, kToServer6, {.source_port = port, .destination_port = 80, .flags = kSyn}),
                 kClientDevice);
  }
  CHECK_EQ(unit.table.used(), 8u);
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 92u);
}

// ---- SNAT ports

TEST(half_open_connections_give_their_snat_ports_to_new_ones_and_established_ones_keep_theirs) {
  auto policy = two_sided_policy();
  policy->pools[0]->members.resize(1);
  Unit unit(std::move(policy), 1 << 17);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(1 << 16, 1));
  const size_t ports = unit.ports.free(0, 0);
  establish(unit);
  Connection* established = unit.only();
  flood(unit, 0, static_cast<uint32_t>(ports) + 1000);
  CHECK_EQ(unit.ports.free(0, 0), 0u);
  CHECK_EQ(unit.dropped(Drop::kNoSnatPort), 0u);
  CHECK_EQ(unit.table.used(), ports);
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 1001u);
  CHECK_EQ(unit.count(Count::kSnatPortReusedEarly), 0u);
  CHECK_EQ(established->state(), TcpState::kEstablished);
  CHECK(of_client(unit, client_tcp(kSyn)) == established);
  // The oldest ones made way, in their order.
  CHECK(of_client(unit, syn_of(1000)) == nullptr);
  CHECK(of_client(unit, syn_of(1001)) != nullptr);
}

TEST(half_open_ports_of_the_never_established_need_no_rest) {
  Unit unit;
  REQUIRE(unit.ready);
  // All ports towards one member were used: a third by connections that had been established.
  std::vector<uint16_t> given;
  for (;;) {
    const SnatPorts::Allocation found = unit.ports.allocate(0, 0, unit.now);
    if (found.port == 0) break;
    given.push_back(found.port);
  }
  for (size_t i = 0; i < given.size(); ++i) {
    unit.ports.release(0, 0, given[i], unit.now, i % 3 == 0 ? SnatPorts::Rest::kTimeWait : SnatPorts::Rest::kNone);
  }
  CHECK_EQ(unit.ports.free(0, 0), given.size());
  size_t early = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    const SnatPorts::Allocation found = unit.ports.allocate(0, 0, unit.now + kSecond);
    early += found.early;
    CHECK_EQ(found.early, i >= given.size() - (given.size() + 2) / 3);
  }
  CHECK_EQ(early, (given.size() + 2) / 3);
  // Those that have rested come before those that need not.
  unit.ports.release(0, 0, given[0], unit.now, SnatPorts::Rest::kTimeWait);
  unit.ports.release(0, 0, given[1], unit.now, SnatPorts::Rest::kNone);
  CHECK_EQ(unit.ports.allocate(0, 0, unit.now + 61 * kSecond).port, given[0]);
  CHECK_EQ(unit.ports.allocate(0, 0, unit.now + 61 * kSecond).port, given[1]);
}

// ---- the mirror

TEST(half_open_connections_are_nothing_to_the_peer) {
  Unit unit(two_sided_policy(), 1024);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(64, 1));
  unit.runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
  unit.runtime->mirror_wanted = true;
  const Link elsewhere = {kVirtualMac4, "02:00:00:00:00:77", {9}};
  const auto from = [&](uint32_t number, uint8_t flags) {
    Bytes frame = syn_of(number, flags);
    Bytes moved = ethernet(elsewhere, 0x0800, Bytes(frame.begin() + 14, frame.end()));
    return moved;
  };
  for (uint32_t client = 0; client < 500; ++client) {
    const Bytes syn = unit.forward(syn_of(client), kClientDevice).frame;
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);  // the member answers
    unit.forward(from(client, kSyn), kClientDevice);           // again, from another router
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);  // it answers again
    unit.forward(from(client, kRst), kClientDevice);           // the spoofed client's host says no
    unit.forward(answer_to(syn, kRst | kAck), kServerDevice);
  }
  unit.now += 60 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 500u - 64u);
  CHECK_EQ(unit.count(Count::kExpired), 64u);
  flood(unit, 1000, 64);
  unit.mirror.start_bulk();
  Bytes batch(1 << 16);
  size_t records = 0;
  unit.table.online(1);
  for (int i = 0; i < 8; ++i) {
    CHECK_EQ(unit.mirror.take(1, batch.data(), batch.size(), &records), 0u);
  }
  CHECK(!unit.mirror.bulk_running());
  for (const Count count : {Count::kMirrorQueued, Count::kMirrorCoalesced, Count::kMirrorDeferred})
    CHECK_EQ(unit.count(count), 0u);
  CHECK_EQ(unit.table.waiting(), 0u);
  // One that completes its handshake is one record.
  establish(unit);
  CHECK(unit.mirror.take(1, batch.data(), batch.size(), &records) > 0);
  CHECK_EQ(records, 1u);
}

TEST(half_open_nothing_but_the_handshake_leads_out_of_it) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  for (const int flags : {+kRst, +kAck, kFin | kAck, +kAck, +kSyn, +kRst, +kAck}) {
    unit.forward(client_tcp(static_cast<uint8_t>(flags)), kClientDevice);
    CHECK_EQ(unit.only()->state(), TcpState::kSynSent);
  }
  unit.forward(answer_to(syn, kRst | kAck), kServerDevice);
  CHECK_EQ(unit.only()->state(), TcpState::kSynSent);
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.forward(client_tcp(kRst), kClientDevice);
  CHECK_EQ(unit.only()->state(), TcpState::kSynReceived);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(unit.only()->state(), TcpState::kEstablished);
}

TEST(half_open_a_blind_ack_completes_no_handshake) {
  Unit unit;
  REQUIRE(unit.ready);
  const auto from_client = [&](uint8_t flags, uint32_t acknowledgment) {
    unit.forward(tcp_frame(kFromClient, kToServer,
                           {.source_port = 40000,
                            .destination_port = 80,
                            .flags = flags,
                            .sequence = 1001,
                            .acknowledgment = acknowledgment}),
                 kClientDevice);
    return unit.only()->state();
  };
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);  // its sequence number is 1000
  const Nanos seen = unit.now;
  unit.now += kSecond;
  for (const uint32_t wrong : {0u, 1000u, 1002u, 0xffffffffu}) {
    CHECK_EQ(from_client(kAck, wrong), TcpState::kSynReceived);
    CHECK_EQ(from_client(kAck | 8, wrong), TcpState::kSynReceived);
    CHECK_EQ(from_client(kAck | kFin, wrong), TcpState::kSynReceived);
  }
  CHECK_EQ(from_client(kFin, 1001), TcpState::kSynReceived);  // without an ACK it acknowledges nothing
  CHECK_EQ(unit.only()->last_seen.load(), to_deciseconds(seen));
  CHECK_EQ(from_client(kAck, 1001), TcpState::kEstablished);
}

TEST(half_open_a_member_that_pushes_data_has_completed_the_handshake) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.forward(answer_to(syn, kAck), kServerDevice);
  CHECK_EQ(unit.only()->state(), TcpState::kSynReceived);
  unit.forward(answer_to(syn, kAck | 8, "welcome"), kServerDevice);
  CHECK_EQ(unit.only()->state(), TcpState::kEstablished);
}

// ---- blind packets into a connection that is established

struct Blind {
  const char* sentence;
  bool from_client;
  uint8_t flags;
  TcpState leaves;
  bool refreshes;
};

constexpr Blind kBlind[] = {
    {"a client's RST", true, kRst, TcpState::kReset, true},
    {"a member's RST", false, kRst, TcpState::kReset, true},
    {"a client's RST and ACK", true, kRst | kAck, TcpState::kReset, true},
    {"a client's SYN", true, kSyn, TcpState::kEstablished, false},
    {"a member's SYN", false, kSyn, TcpState::kEstablished, false},
    {"a client's SYN-ACK", true, kSyn | kAck, TcpState::kEstablished, false},
    {"a member's SYN-ACK", false, kSyn | kAck, TcpState::kEstablished, false},
    {"a client's SYN and FIN", true, kSyn | kFin, TcpState::kEstablished, false},
    {"a client's FIN", true, kFin | kAck, TcpState::kFinClient, true},
    {"a member's FIN", false, kFin | kAck, TcpState::kFinServer, true},
};

TEST(blind_packets_cut_no_connection_and_only_shorten_its_timeout) {
  for (const Blind& row : kBlind) {
    Unit unit;
    REQUIRE(unit.ready);
    unit.runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
    unit.runtime->mirror_wanted = true;
    unit.table.online(1);
    const Bytes syn = establish(unit);
    Bytes batch(1 << 12);
    size_t records = 0;
    unit.mirror.take(1, batch.data(), batch.size(), &records);
    Connection* connection = unit.only();
    const uint32_t seen = connection->last_seen, sequence = connection->sequence;
    const size_t ports = unit.ports.free(0, 0) + unit.ports.free(0, 1);

    unit.now += 2 * kSecond;
    const Bytes blind = row.from_client ? client_tcp(row.flags) : answer_to(syn, row.flags);
    CHECK_EQ(unit.forward(blind, row.from_client ? kClientDevice : kServerDevice).verdict.kind, kForward);
    if (connection->state() != row.leaves) CHECK_EQ(std::string("state"), std::string(row.sentence));
    CHECK_EQ(connection->state(), row.leaves);
    CHECK_EQ(connection->last_seen == seen, !row.refreshes);
    CHECK((connection->control & Control::kDead) == 0);
    CHECK_EQ(unit.ports.free(0, 0) + unit.ports.free(0, 1), ports);
    // The peer is told of the state at most, and never that the connection is closed.
    const size_t bytes = unit.mirror.take(1, batch.data(), batch.size(), &records);
    CHECK_EQ(records, row.leaves == TcpState::kEstablished ? 0u : 1u);
    if (bytes > 0) CHECK_EQ(batch[0] >> 4, static_cast<uint8_t>(wire::MirrorKind::kState));
    CHECK_EQ(connection->sequence == sequence, bytes == 0);

    // What the ends go on with restores it within the short timeout, and it lives as long as before.
    unit.now += 8 * kSecond;
    unit.sweep_all();
    CHECK_EQ(unit.forward(client_tcp(kAck | 8, "more"), kClientDevice).verdict.kind, kForward);
    CHECK_EQ(unit.forward(answer_to(syn, kAck | 8, "and more"), kServerDevice).verdict.kind, kForward);
    CHECK_EQ(connection->state(), TcpState::kEstablished);
    unit.now += 299 * kSecond;
    unit.sweep_all();
    CHECK_EQ(unit.table.used(), 1u);
  }
}

TEST(blind_rst_and_syn_together_cut_no_connection) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes syn = establish(unit);
  Connection* connection = unit.only();
  for (int i = 0; i < 3; ++i) {
    unit.forward(client_tcp(kRst), kClientDevice);
    unit.forward(client_tcp(kSyn), kClientDevice);
    unit.forward(answer_to(syn, kAck), kServerDevice);  // the challenge ACK of RFC 5961
    CHECK_EQ(connection->state(), TcpState::kEstablished);
  }
  CHECK_EQ(unit.count(Count::kOpened), 1u);
  CHECK_EQ(unit.count(Count::kClosed), 0u);
}

TEST(blind_rst_and_syn_from_elsewhere_do_not_turn_the_replies_away) {
  const Link elsewhere = {kVirtualMac4, "02:00:00:00:00:77", {9}};
  for (const int flags : {+kRst, +kSyn, kSyn | kAck, kRst | kAck}) {
    Unit unit;
    REQUIRE(unit.ready);
    const Bytes syn = establish(unit);
    const uint64_t before = unit.only()->last_hop;
    unit.forward(tcp_frame(elsewhere, kToServer,
                           {.source_port = 40000, .destination_port = 80, .flags = static_cast<uint8_t>(flags)}),
                 kClientDevice);
    CHECK_EQ(unit.only()->last_hop.load(), before);
    const Sent reply = unit.forward(answer_to(syn, kAck | 8, "reply"), kServerDevice);
    CHECK(Bytes(reply.frame.begin(), reply.frame.begin() + 6) == mac(kClientMac));
  }
}

TEST(a_retransmitted_syn_from_another_router_is_answered_there) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  const Link elsewhere = {kVirtualMac4, "02:00:00:00:00:77"};
  unit.forward(tcp_frame(elsewhere, kToServer, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
               kClientDevice);
  const Sent reply = unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  CHECK(Bytes(reply.frame.begin(), reply.frame.begin() + 6) == mac("02:00:00:00:00:77"));
}

}  // namespace
}  // namespace tandem::test
