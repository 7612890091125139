// Handshakes that wait until the peer has their connections (mirror: commit), and connections told late (after:). The
// peer is played by hand: what is taken was told, confirm() and refuse() are what it says.
#include "../../native/commit.h"

#include "rows.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr auto kHold = Verdict::Kind::kHold;
constexpr MirrorRule kAvailable = {MirrorMode::kCommit, false, 100};
constexpr MirrorRule kStrict = {MirrorMode::kCommit, true, 100};

// Virtual server 3 is DSR, 4 (10.1.0.102) sends into tunnels.
std::unique_ptr<Policy> every_mode() {
  std::unique_ptr<Policy> policy = two_sided_policy();
  policy->virtual_servers[3].forwarding = Forwarding::kDsr;
  policy->pools.push_back(pool(Scheduler::kRoundRobin, {member("10.2.0.11", 80, 4)}));
  policy->virtual_servers[3].pool = 3;
  add_address(*policy, "10.1.0.102", 1 << kClientDevice);
  add_server(*policy, "10.1.0.102", 80, IPPROTO_TCP, 3, {});
  policy->virtual_servers[4].forwarding = Forwarding::kIpip;
  return policy;
}

// A unit with a peer, and every virtual server with this rule.
struct Committing : Unit {
  explicit Committing(MirrorRule rule, size_t connections = 1024) : Unit(every_mode(), connections) {
    table.online(1);
    ready = ready && held.reserve();
    for (size_t server = 0; server < 5; ++server) runtime->virtual_servers[server].mirror = rule;
    runtime->mirror_wanted = runtime->commit_wanted = true;
    mirror.forget_confirmed();
  }

  Bytes take() {
    Bytes batch(1 << 16);
    size_t records = 0;
    batch.resize(mirror.take(1, batch.data(), batch.size(), &records));
    return batch;
  }
  void confirm() {
    take();
    mirror.confirm(mirror.last_sequence());
  }
  void refuse() {
    take();
    const uint32_t last = mirror.last_sequence();
    mirror.refuse(&last, 1);
    mirror.confirm(last);
  }
  const CommitCounts& counts(size_t server = 0) const { return runtime->virtual_servers[server].commit; }
  CommitCounts& counts(size_t server = 0) { return runtime->virtual_servers[server].commit; }
};

// The member's answer to a SYN as it got it.
Bytes answer_to(const Bytes& sent, uint8_t flags, const std::string& payload = {}) {
  if (sent[12] == 0x86) {
    return tcp_frame({kVirtualMac6, kMemberMac[0]}, {.source = "fd02::11", .destination = "fd02::1"},
                     {.source_port = 8080, .destination_port = word_at(sent, 54), .flags = flags, .payload = payload});
  }
  const std::string member = "10.2.0." + std::to_string(sent[33]);
  return tcp_frame({kVirtualMac4, kMemberMac[sent[33] == 11 ? 0 : 1]}, {.source = member, .destination = "10.2.0.1"},
                   {.source_port = 8080, .destination_port = word_at(sent, 34), .flags = flags, .payload = payload});
}

Bytes client_syn(const std::string& server, const std::string& payload = {}) {
  const bool v6 = is_v6(server);
  return tcp_frame(v6 ? kFromClient6 : kFromClient, {.source = v6 ? "fd01::9" : "10.1.0.9", .destination = server},
                   {.source_port = 40000, .destination_port = 80, .flags = kSyn, .payload = payload});
}

TcpState told_state(const Bytes& record) { return static_cast<TcpState>(record[2] & 0x1f); }

}  // namespace

TEST(commit_a_syn_ack_waits_until_the_peer_has_the_connection) {
  for (const char* server : {"10.1.0.100", "fd01::100"}) {
    const size_t id = is_v6(server) ? 1 : 0;
    Committing unit(kStrict);
    REQUIRE(unit.ready);
    const Bytes syn = unit.forward(client_syn(server), kClientDevice).frame;
    CHECK_EQ(unit.forward(answer_to(syn, kSyn | kAck), kServerDevice).verdict.kind, kHold);
    CHECK(unit.sent_late().empty());
    CHECK(unit.is_balanced());
    const Bytes record = unit.take();
    // As if its member had answered, whether it had or not.
    CHECK_EQ(told_state(record), TcpState::kSynReceived);
    CHECK(unit.sent_late().empty());

    unit.now += 300'000;
    unit.mirror.confirm(unit.mirror.last_sequence());
    const std::vector<Sent> sent = unit.sent_late();
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].verdict.kind, kForward);
    CHECK_EQ(sent[0].verdict.device, kClientDevice);
    // Exactly what it would have been without waiting.
    Committing plain(MirrorRule{});
    const Bytes plain_syn = plain.forward(client_syn(server), kClientDevice).frame;
    CHECK_FRAME(sent[0].frame, plain.forward(answer_to(plain_syn, kSyn | kAck), kServerDevice).frame);
    CHECK_EQ(unit.only()->state(), TcpState::kSynReceived);
    CHECK_EQ(unit.counts(id).held, 1u);
    CHECK_EQ(unit.counts(id).released, 1u);
    CHECK_EQ(unit.counts(id).unprotected, 0u);
    CHECK_EQ(unit.held.latency[latency_bucket(300'000)], 1u);
    CHECK(unit.is_balanced());
    // Its member's answer is nothing new to the peer.
    CHECK(unit.take().empty());
  }
}

TEST(commit_an_answer_that_the_peer_is_faster_than_waits_for_nothing) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.confirm();
  CHECK_EQ(unit.forward(answer_to(syn, kSyn | kAck), kServerDevice).verdict.kind, kForward);
  CHECK_EQ(unit.held.latency[0], 1u);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(told_state(unit.take()), TcpState::kEstablished);
  CHECK_EQ(unit.only()->control & Control::kMirrorMask, 0u);
}

TEST(commit_holds_the_syn_where_the_member_answers_past_us_and_where_it_has_data) {
  struct Row {
    const char* server;
    const char* payload;
  };
  for (const Row& row :
       {Row{"10.1.0.101", ""}, Row{"10.1.0.102", ""}, Row{"10.1.0.100", "GET /"}, Row{"fd01::100", "x"}}) {
    Committing unit(kStrict);
    REQUIRE(unit.ready);
    CHECK_EQ(unit.forward(client_syn(row.server, row.payload), kClientDevice).verdict.kind, kHold);
    CHECK_EQ(unit.only()->state(), TcpState::kSynSent);
    unit.confirm();
    const std::vector<Sent> sent = unit.sent_late();
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].verdict.kind, kForward);
    CHECK_EQ(sent[0].verdict.device, kServerDevice);
    // The answer to one that was translated need not wait again.
    if (std::string(row.payload).empty()) continue;
    CHECK_EQ(unit.forward(answer_to(sent[0].frame, kSyn | kAck), kServerDevice).verdict.kind, kForward);
  }
}

TEST(commit_what_is_sent_again_replaces_what_is_held) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.now += kMillisecond;
  Bytes again = answer_to(syn, kSyn | kAck);
  again[15] = 8;  // another type of service: which of the two is sent?
  again[24] = 0;
  again[25] = 0;
  Bytes header(again.begin() + 14, again.begin() + 34);
  set16(again, 24, static_cast<uint16_t>(~reference_sum(header)));
  CHECK_DROPPED(unit.forward(again, kServerDevice), Drop::kHoldReplaced);
  CHECK_EQ(unit.held.held(), 1u);
  unit.confirm();
  const std::vector<Sent> sent = unit.sent_late();
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].frame[15], 8u);
  CHECK(unit.is_balanced());
}

TEST(commit_nothing_passes_a_held_answer_but_a_rst) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  CHECK_DROPPED(unit.forward(answer_to(syn, kAck, "hello"), kServerDevice), Drop::kBehindHeld);
  CHECK_EQ(unit.forward(client_tcp(kSyn), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.forward(answer_to(syn, kRst | kAck), kServerDevice).verdict.kind, kForward);
}

TEST(commit_strict_sends_nothing_that_the_peer_did_not_confirm_in_time) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.take();
  unit.now += 99 * kMillisecond;
  CHECK(unit.sent_late().empty());
  CHECK_EQ(unit.held.held(), 1u);
  unit.now += kMillisecond;
  CHECK(unit.sent_late().empty());
  CHECK_EQ(unit.held.held(), 0u);
  CHECK_EQ(unit.dropped(Drop::kHoldTimeout), 1u);
  CHECK_EQ(unit.counts().timed_out, 1u);
  CHECK(unit.is_balanced());
  // The member answers once more, and now the peer has it.
  CHECK_EQ(unit.forward(answer_to(syn, kSyn | kAck), kServerDevice).verdict.kind, kHold);
  unit.mirror.confirm(unit.mirror.last_sequence());
  CHECK_EQ(unit.sent_late().size(), 1u);
}

TEST(commit_available_sends_it_unprotected_until_the_peer_has_it) {
  Committing unit(kAvailable);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.now += 100 * kMillisecond;
  CHECK_EQ(unit.sent_late().size(), 1u);
  CHECK_EQ(unit.counts().timed_out, 1u);
  CHECK_EQ(unit.counts().unprotected, 1u);
  CHECK((unit.only()->control & Control::kUnprotected) != 0);
  unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_EQ(unit.counts().unprotected, 1u);
  unit.confirm();
  unit.forward(client_tcp(kAck, "more"), kClientDevice);
  CHECK_EQ(unit.counts().unprotected, 0u);
  CHECK_EQ(unit.only()->control & Control::kMirrorMask, 0u);
}

TEST(commit_the_sweep_finds_protected_what_sends_nothing_and_a_close_ends_the_count) {
  for (const bool closes : {false, true}) {
    Committing unit(kAvailable);
    REQUIRE(unit.ready);
    const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
    unit.now += 100 * kMillisecond;
    unit.sent_late();
    unit.forward(client_tcp(kAck), kClientDevice);
    if (closes) {
      CHECK(disconnect(unit.context(), *unit.only()));
    } else {
      unit.confirm();
      unit.sweep_all();
    }
    CHECK_EQ(unit.counts().unprotected, 0u);
  }
}

TEST(commit_what_the_peer_refuses_is_the_policys_to_decide) {
  for (const bool early : {false, true}) {
    Committing strict(kStrict), available(kAvailable);
    REQUIRE(strict.ready && available.ready);
    for (Committing* unit : {&strict, &available}) {
      const Bytes syn = unit->forward(client_tcp(kSyn), kClientDevice).frame;
      if (early) unit->refuse();
      const Sent sent = unit->forward(answer_to(syn, kSyn | kAck), kServerDevice);
      CHECK_EQ(sent.verdict.kind, !early ? kHold : unit == &strict ? kDrop : kForward);
      if (!early) unit->refuse();
      CHECK_EQ(unit->sent_late().size(), !early && unit == &available ? 1u : 0u);
      CHECK_EQ(unit->counts().refused, 1u);
      CHECK(unit->is_balanced());
      // It is told again, and so may yet be had.
      CHECK(!unit->take().empty());
    }
    CHECK_EQ(strict.dropped(Drop::kHoldRefused), 1u);
    CHECK_EQ(available.counts().unprotected, 1u);
    strict.mirror.confirm(strict.mirror.last_sequence());
    available.mirror.confirm(available.mirror.last_sequence());
    available.sweep_all();
    CHECK_EQ(available.counts().unprotected, 0u);
    CHECK_EQ(strict.mirror.told(*strict.only()), MirrorSource::Told::kConfirmed);
  }
}

TEST(commit_with_nobody_to_tell_strict_opens_nothing_and_available_opens_unprotected) {
  Committing strict(kStrict), available(kAvailable);
  REQUIRE(strict.ready && available.ready);
  strict.runtime->commit_wanted = available.runtime->commit_wanted = false;
  CHECK_DROPPED(strict.forward(client_tcp(kSyn), kClientDevice), Drop::kCommitNoPeer);
  CHECK_EQ(strict.table.used(), 0u);
  CHECK_EQ(strict.counts().no_peer, 1u);
  const Bytes syn = available.forward(client_tcp(kSyn), kClientDevice).frame;
  CHECK_EQ(available.forward(answer_to(syn, kSyn | kAck), kServerDevice).verdict.kind, kForward);
  CHECK_EQ(available.counts().no_peer, 1u);
  CHECK_EQ(available.counts().unprotected, 1u);
}

TEST(commit_a_full_queue_is_the_policys_to_decide) {
  constexpr size_t kMore = HoldQueue::kFrames + 3;
  for (const MirrorRule rule : {kStrict, kAvailable}) {
    Committing unit(rule, 3 * HoldQueue::kFrames);
    REQUIRE(unit.ready);
    size_t held = 0, forwarded = 0, dropped = 0;
    for (size_t i = 0; i < kMore; ++i) {
      const Bytes syn = unit.forward(client_tcp(kSyn, {}, static_cast<uint16_t>(1024 + i)), kClientDevice).frame;
      const Sent sent = unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
      held += sent.verdict.kind == kHold;
      forwarded += sent.verdict.kind == kForward;
      dropped += sent.verdict.kind == kDrop;
    }
    CHECK_EQ(held, size_t{HoldQueue::kFrames});
    CHECK_EQ(rule.strict ? dropped : forwarded, 3u);
    CHECK_EQ(unit.counts().beyond, 3u);
    CHECK_EQ(unit.counts().unprotected, rule.strict ? 0u : 3u);
    if (rule.strict) CHECK_EQ(unit.dropped(Drop::kHoldFull), 3u);
    while (!unit.take().empty()) {
    }
    unit.confirm();
    CHECK_EQ(unit.sent_late().size(), size_t{HoldQueue::kFrames});
    CHECK_EQ(unit.held.held(), 0u);
    CHECK(unit.is_balanced());
  }
}

TEST(commit_half_open_connections_are_announced_at_a_bounded_rate) {
  Committing unit(kStrict, 65536);
  REQUIRE(unit.ready);
  size_t dropped = 0;
  for (size_t i = 0; i < 20'100; ++i)
    dropped += unit.forward(client_tcp(kSyn, {}, static_cast<uint16_t>(1024 + i)), kClientDevice).verdict.kind == kDrop;
  CHECK_EQ(dropped, 100u);
  CHECK_EQ(unit.dropped(Drop::kCommitPace), 100u);
  unit.now += kMillisecond;
  dropped = 0;
  for (size_t i = 0; i < 300; ++i)
    dropped +=
        unit.forward(client_tcp(kSyn, {}, static_cast<uint16_t>(30'000 + i)), kClientDevice).verdict.kind == kDrop;
  CHECK_EQ(dropped, 100u);
}

TEST(commit_a_held_answer_goes_with_its_connection_and_the_peer_hears_of_the_close) {
  Committing unit(kStrict);
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(4, 1));
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.take();
  for (uint16_t other = 0; other < 4; ++other) unit.forward(client_tcp(kSyn, {}, 50'000 + other), kClientDevice);
  CHECK_EQ(unit.count(Count::kHalfOpenEvicted), 1u);
  const Bytes records = unit.take();
  CHECK_EQ(records.size(), 4 * sizeof(wire::MirrorState<4>) + sizeof(wire::MirrorClose<4>));
  unit.mirror.confirm(unit.mirror.last_sequence());
  CHECK(unit.sent_late().empty());
  CHECK_EQ(unit.dropped(Drop::kHoldClosed), 1u);
  CHECK(unit.is_balanced());
}

TEST(commit_switched_off_lets_go_what_is_held) {
  for (const MirrorMode mode : {MirrorMode::kOff, MirrorMode::kAsync}) {
    Committing unit(kStrict);
    REQUIRE(unit.ready);
    const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
    const Bytes other = unit.forward(client_tcp(kSyn, {}, 40001), kClientDevice).frame;
    unit.runtime->virtual_servers[0].mirror = MirrorRule{mode};
    unit.mirror.tell_news();
    CHECK_EQ(unit.sent_late().size(), 1u);
    CHECK_EQ(unit.forward(answer_to(other, kSyn | kAck), kServerDevice).verdict.kind, kForward);
    CHECK_EQ(unit.held.held(), 0u);
    CHECK_EQ(unit.counts().unprotected, 0u);
  }
}

TEST(commit_what_another_peer_had_confirmed_says_nothing_of_this_one) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.confirm();
  unit.mirror.forget_confirmed();  // the peer is another one now
  CHECK_EQ(unit.forward(answer_to(syn, kSyn | kAck), kServerDevice).verdict.kind, kHold);
  unit.mirror.confirm(unit.mirror.last_sequence());
  CHECK(unit.sent_late().empty());
  // Its bulk announces the connection anew.
  unit.mirror.start_bulk();
  unit.confirm();
  CHECK_EQ(unit.sent_late().size(), 1u);
}

TEST(commit_a_unit_that_gave_the_group_up_sends_nothing_that_it_held) {
  Committing unit(kAvailable);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.take();
  unit.become(Role::kStandby);
  unit.mirror.confirm(unit.mirror.last_sequence());
  const std::vector<Sent> sent = unit.sent_late();
  REQUIRE(sent.size() == 1);
  CHECK_DROPPED(sent[0], Drop::kStandby);
  CHECK(unit.is_balanced());
}

TEST(commit_says_when_a_handshake_waits_and_not_for_what_can_wait) {
  Committing unit(kStrict);
  REQUIRE(unit.ready);
  CHECK(unit.mirror.arm(MirrorSource::Wanted::kUrgent));
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  CHECK(unit.mirror.take_wakeup());
  CHECK(!unit.mirror.arm(MirrorSource::Wanted::kUrgent));
  unit.confirm();
  CHECK(unit.mirror.arm(MirrorSource::Wanted::kUrgent));
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.forward(client_tcp(kAck), kClientDevice);  // established: of no hurry
  CHECK(!unit.mirror.take_wakeup());
  CHECK(!unit.mirror.has_urgent());
  CHECK(unit.mirror.has_pending());
}

// ---- told late

TEST(after_tells_a_connection_once_it_is_old_enough_or_has_carried_enough) {
  MirrorRule rule = {MirrorMode::kAsync};
  rule.after_age = 10;
  rule.after_steps = 1000 / MirrorRule::kStepBytes;
  for (const int how : {0, 1, 2}) {  // by a packet's age, by octets, by the sweep
    Committing unit(rule);
    REQUIRE(unit.ready);
    const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
    unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
    unit.forward(client_tcp(kAck), kClientDevice);
    CHECK(unit.take().empty());
    if (how != 1) unit.now += kSecond;
    if (how == 0) unit.forward(client_tcp(kAck, "x"), kClientDevice);
    if (how == 1) unit.forward(client_tcp(kAck, std::string(1000, 'x')), kClientDevice);
    if (how == 2) unit.sweep_all();
    CHECK_EQ(unit.take().size(), sizeof(wire::MirrorState<4>));
    CHECK_EQ(unit.only()->control & Control::kYoung, 0u);
  }
}

TEST(after_tells_nothing_of_what_ends_before_nor_with_a_bulk) {
  MirrorRule rule = {MirrorMode::kAsync};
  rule.after_age = 10;
  Committing unit(rule);
  REQUIRE(unit.ready);
  const Bytes syn = unit.forward(client_tcp(kSyn), kClientDevice).frame;
  unit.forward(answer_to(syn, kSyn | kAck), kServerDevice);
  unit.forward(client_tcp(kAck), kClientDevice);
  unit.mirror.start_bulk();
  CHECK(unit.take().empty());
  CHECK(disconnect(unit.context(), *unit.only()));
  CHECK(unit.take().empty());
}

TEST(after_tells_udp_too) {
  MirrorRule rule = {MirrorMode::kAsync};
  rule.after_age = 10;
  Committing unit(rule);
  REQUIRE(unit.ready);
  const Bytes datagram =
      udp_frame(kFromClient, kToServer, {.source_port = 40000, .destination_port = 53, .payload = "?"});
  unit.forward(datagram, kClientDevice);
  CHECK(unit.take().empty());
  unit.now += kSecond;
  unit.forward(datagram, kClientDevice);
  CHECK_EQ(unit.take().size(), sizeof(wire::MirrorState<4>));
}
