// One-packet UDP where golden cases cannot look: what stays behind a datagram, and what bounds it.
#include "rows.h"

namespace tandem::test {
namespace {

// Virtual server 2 (10.1.0.100 port 53) schedules datagram by datagram to two members.
std::unique_ptr<Policy> by_datagram(Forwarding how = Forwarding::kNat, bool snat = true) {
  auto policy = two_sided_policy();
  VirtualServer& server = policy->virtual_servers[2];
  server.one_packet = true;
  server.forwarding = how;
  server.gue_port = kGuePort;
  if (!snat) server.snat_addresses.clear();
  server.snat = snat;
  policy->pools[2]->members = {member("10.2.0.11", 53, 3), member("10.2.0.12", 53, 4)};
  return policy;
}

Bytes asks(uint16_t port = 40000, const std::string& payload = "who is it?") {
  return udp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 53, .payload = payload});
}

// Of the member that `sent`, a frame towards it, was for.
Bytes answers(const Bytes& sent, const std::string& payload = "it is me") {
  const std::string source = "10.2.0." + std::to_string(sent[33]);
  const std::string to = std::to_string(sent[26]) + "." + std::to_string(sent[27]) + "." + std::to_string(sent[28]) +
                         "." + std::to_string(sent[29]);
  return udp_frame({kVirtualMac4, kMemberMac[sent[33] - 11]}, {.source = source, .destination = to},
                   {.source_port = 53, .destination_port = word_at(sent, 34), .payload = payload});
}

// The first fragment of two, or the second, of a datagram that is longer than 16 octets.
Bytes part(Bytes whole, bool first, uint16_t identification = 7) {
  constexpr size_t kHeaders = 34, kCut = 16;
  const Bytes payload(whole.begin() + kHeaders, whole.end());
  whole.resize(kHeaders);
  put(whole, first ? Bytes(payload.begin(), payload.begin() + kCut) : Bytes(payload.begin() + kCut, payload.end()));
  set16(whole, 16, static_cast<uint32_t>(whole.size() - 14));
  set16(whole, 18, identification);
  set16(whole, 20, first ? 0x2000 : kCut / 8);
  set16(whole, 24, 0);
  set16(whole, 24, static_cast<uint16_t>(~reference_sum(Bytes(whole.begin() + 14, whole.begin() + kHeaders))));
  return whole;
}

TEST(one_packet_each_datagram_goes_to_the_next_member_and_its_answer_closes_it) {
  Unit unit(by_datagram());
  REQUIRE(unit.ready);
  const size_t ports = unit.ports.free(0, 3) + unit.ports.free(0, 4);
  std::vector<Bytes> sent;
  for (int i = 0; i < 4; ++i) sent.push_back(unit.forward(asks(), kClientDevice).frame);
  CHECK_EQ(unit.table.used(), 4u);
  CHECK_EQ(unit.runtime->endpoints[3].connections.load(), 2u);
  CHECK_EQ(unit.runtime->endpoints[4].connections.load(), 2u);
  CHECK(word_at(sent[0], 34) != word_at(sent[2], 34));
  // In another order than they were asked in.
  for (const size_t i : {2u, 0u, 3u, 1u}) {
    const Sent answer = unit.forward(answers(sent[i]), kServerDevice);
    CHECK_EQ(answer.verdict.kind, kForward);
    CHECK_EQ(answer.verdict.device, kClientDevice);
    CHECK_FRAME(answer.frame,
                udp_frame({kClientMac, kVirtualMac4}, {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63},
                          {.source_port = 53, .destination_port = 40000, .payload = "it is me"}));
    CHECK_DROPPED(unit.forward(answers(sent[i]), kServerDevice), Drop::kUnknownReturn);  // a second one
  }
  CHECK_EQ(unit.table.used(), 0u);
  CHECK_EQ(unit.runtime->endpoints[3].connections.load() + unit.runtime->endpoints[4].connections.load(), 0u);
  CHECK_EQ(unit.ports.free(0, 3) + unit.ports.free(0, 4), ports);
  CHECK_EQ(unit.count(Count::kOnePackets), 4u);
  CHECK(unit.is_balanced());
}

TEST(one_packet_entries_wait_no_longer_than_a_half_open_connection) {
  Unit unit(by_datagram());
  REQUIRE(unit.ready);
  unit.forward(asks(), kClientDevice);
  unit.now += 4 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 1u);
  unit.now += 2 * kSecond;  // 5 s half-open, 30 s UDP
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
}

TEST(one_packet_entries_make_way_and_nothing_else_does_for_them) {
  Unit unit(by_datagram());
  REQUIRE(unit.ready && unit.runtime->half_open.reserve(10, 1));
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.only()->control = (unit.only()->control & ~Control::kStateMask) | static_cast<uint32_t>(TcpState::kEstablished);
  for (int i = 0; i < 1000; ++i) CHECK_EQ(unit.forward(asks(), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.table.used(), 11u);
  CHECK_EQ(unit.forward(client_tcp(kAck), kClientDevice).verdict.kind, kForward);
}

TEST(one_packet_members_at_their_limit_are_those_with_as_many_answers_to_give) {
  auto policy = by_datagram();
  for (Member& each : policy->pools[2]->members) each.connections_max = 1;
  Unit unit(std::move(policy));
  REQUIRE(unit.ready);
  const Bytes first = unit.forward(asks(), kClientDevice).frame;
  unit.forward(asks(), kClientDevice);
  CHECK_DROPPED(unit.forward(asks(), kClientDevice), Drop::kMembersFull);
  unit.forward(answers(first), kServerDevice);
  CHECK_EQ(unit.forward(asks(), kClientDevice).frame[33], first[33]);
}

TEST(one_packet_without_snat_datagrams_that_look_alike_share_an_entry) {
  Unit unit(by_datagram(Forwarding::kNat, false));
  REQUIRE(unit.ready);
  std::vector<Bytes> sent;
  for (int i = 0; i < 4; ++i) {
    const Sent datagram = unit.forward(asks(), kClientDevice);
    CHECK_EQ(datagram.verdict.kind, kForward);
    sent.push_back(datagram.frame);
  }
  CHECK_EQ(unit.table.used(), 2u);
  for (const Bytes& each : sent) CHECK_EQ(unit.forward(answers(each), kServerDevice).verdict.kind, kForward);
  CHECK_EQ(unit.runtime->endpoints[3].connections.load() + unit.runtime->endpoints[4].connections.load(), 2u);
  CHECK(unit.is_balanced());
}

TEST(one_packet_without_translation_leaves_nothing_behind) {
  for (const Forwarding how : {Forwarding::kDsr, Forwarding::kIpip, Forwarding::kGue}) {
    Unit unit(by_datagram(how, false));
    REQUIRE(unit.ready);
    Bytes to;
    for (int i = 0; i < 4; ++i) {
      const Sent sent = unit.forward(asks(), kClientDevice);
      CHECK_EQ(sent.verdict.kind, kForward);
      CHECK(to != Bytes(sent.frame.begin(), sent.frame.begin() + 6));  // the other member
      to.assign(sent.frame.begin(), sent.frame.begin() + 6);
    }
    CHECK_EQ(unit.table.used(), 0u);
    CHECK_EQ(unit.runtime->endpoints[3].opened.load(), 2u);
    CHECK_EQ(unit.runtime->endpoints[3].connections.load() + unit.runtime->endpoints[4].connections.load(), 0u);
    CHECK_EQ(unit.count(Count::kOnePackets), 4u);
    CHECK(unit.is_balanced());
  }
}

// Two datagrams at a time, of one flow, whose second fragments come in between and before their first ones.
TEST(one_packet_fragments_follow_their_own_first) {
  for (const Forwarding how : {Forwarding::kNat, Forwarding::kDsr, Forwarding::kIpip, Forwarding::kGue}) {
    Unit unit(by_datagram(how, how == Forwarding::kNat));
    REQUIRE(unit.ready);
    const Bytes whole = asks(40000, "a question of more than a few octets");
    const auto member_of = [](const Bytes& frame) { return Bytes(frame.begin(), frame.begin() + 6); };
    const Sent one = unit.forward(part(whole, true, 1), kClientDevice);
    CHECK_EQ(unit.forward(part(whole, false, 2), kClientDevice).verdict.kind, Verdict::Kind::kHold);
    const Sent two = unit.forward(part(whole, true, 2), kClientDevice);
    const std::vector<Sent> early = unit.released();
    const Sent late = unit.forward(part(whole, false, 1), kClientDevice);
    REQUIRE(early.size() == 1);
    for (const Sent& each : {one, two, late, early[0]}) CHECK_EQ(each.verdict.kind, kForward);
    CHECK(member_of(one.frame) != member_of(two.frame));
    CHECK(member_of(one.frame) == member_of(late.frame));
    CHECK(member_of(two.frame) == member_of(early[0].frame));
    if (how == Forwarding::kNat) {
      CHECK(Bytes(late.frame.begin() + 26, late.frame.begin() + 34) ==
            Bytes(one.frame.begin() + 26, one.frame.begin() + 34));
    }
    CHECK_EQ(unit.count(Count::kFragmentsForwarded), 2u);
    CHECK(unit.is_balanced());
  }
}

TEST(one_packet_fragments_of_a_datagram_that_is_over_are_dropped) {
  Unit unit(by_datagram());
  REQUIRE(unit.ready);
  const Bytes whole = asks(40000, "a question of more than a few octets");
  const Sent first = unit.forward(part(whole, true), kClientDevice);
  unit.forward(answers(first.frame), kServerDevice);
  unit.forward(asks(), kClientDevice);  // has its slot now, perhaps
  CHECK_DROPPED(unit.forward(part(whole, false), kClientDevice), Drop::kFragment);
}

TEST(one_packet_an_answer_in_fragments_arrives_whole) {
  Unit unit(by_datagram());
  REQUIRE(unit.ready);
  const Bytes sent = unit.forward(asks(), kClientDevice).frame;
  const Bytes whole = answers(sent, "an answer of more than a few octets");
  CHECK_EQ(unit.forward(part(whole, true), kServerDevice).verdict.kind, kForward);
  CHECK_EQ(unit.forward(part(whole, false), kServerDevice).verdict.kind, kForward);
  CHECK_EQ(unit.table.used(), 1u);
  unit.now += 6 * kSecond;
  unit.sweep_all();
  CHECK_EQ(unit.table.used(), 0u);
}

}  // namespace
}  // namespace tandem::test
