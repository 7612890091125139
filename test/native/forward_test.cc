// What a frame becomes: rows of a sentence, the frame, the verdict and the whole frame that leaves.
#include "../../native/forward.h"

#include "test.h"
#include "unit.h"

namespace tandem::test {
namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
constexpr auto kForward = Verdict::Kind::kForward;
constexpr auto kPunt = Verdict::Kind::kPunt;
constexpr auto kDrop = Verdict::Kind::kDrop;

const Link kFromClient = {kVirtualMac4, kClientMac};
const Link kFromClient6 = {kVirtualMac6, kClientMac};
const Ip kToServer = {.source = "10.1.0.9", .destination = "10.1.0.100"};
const Ip kToServer6 = {.source = "fd01::9", .destination = "fd01::100"};
const Ip kToPlain = {.source = "10.1.0.9", .destination = "10.1.0.101"};

Bytes client_tcp(uint8_t flags, std::string payload = {}) {
  return tcp_frame(kFromClient, kToServer,
                   {.source_port = 40000, .destination_port = 80, .flags = flags, .payload = std::move(payload)});
}

uint16_t word_at(const Bytes& frame, size_t at) { return static_cast<uint16_t>(frame[at] << 8 | frame[at + 1]); }

#define CHECK_FRAME(got, expected)                                               \
  do {                                                                           \
    if ((got) != (expected)) CHECK_EQ(hex(got), hex(expected));                  \
  } while (0)

#define CHECK_DROPPED(sent, why)                     \
  do {                                               \
    CHECK_EQ((sent).verdict.kind, kDrop);            \
    CHECK_EQ((sent).verdict.drop, why);              \
  } while (0)

TEST(a_syn_is_scheduled_and_translated_to_the_member) {
  Unit unit;
  REQUIRE(unit.ready);
  const Sent sent = unit.forward(client_tcp(kSyn), kClientDevice);
  REQUIRE(sent.verdict.kind == kForward);
  CHECK_EQ(sent.verdict.device, kServerDevice);
  const uint16_t snat_port = word_at(sent.frame, 34);
  CHECK(unit.ports.ours(snat_port));
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kVirtualMac4}, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63},
                        {.source_port = snat_port, .destination_port = 8080, .flags = kSyn}));
  CHECK_EQ(unit.count(Count::kOpened), 1u);
  CHECK_EQ(unit.runtime->endpoints[0].connections.load(), 1u);
  CHECK_EQ(unit.runtime->virtual_servers[0].connections.load(), 1u);
  CHECK(unit.is_balanced());
}

TEST(the_members_reply_goes_back_the_way_the_request_came) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  const Sent sent = unit.forward(
      tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck, .payload = "odd"}),
      kServerDevice);
  REQUIRE(sent.verdict.kind == kForward);
  CHECK_EQ(sent.verdict.device, kClientDevice);
  CHECK_FRAME(sent.frame,
              tcp_frame({kClientMac, kVirtualMac4}, {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63},
                        {.source_port = 80, .destination_port = 40000, .flags = kSyn | kAck, .payload = "odd"}));
  const auto& traffic = (*unit.runtime->traffic[0])[0];
  CHECK_EQ(traffic.packets_in.load(), 1u);
  CHECK_EQ(traffic.bytes_in.load(), 54u);
  CHECK_EQ(traffic.packets_out.load(), 1u);
  CHECK_EQ(traffic.bytes_out.load(), 57u);
  CHECK_EQ(unit.only()->packets.load(), 2u);
}

TEST(ipv6_both_ways) {
  Unit unit;
  REQUIRE(unit.ready);
  Sent sent = unit.forward(tcp_frame(kFromClient6, kToServer6, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
                           kClientDevice);
  REQUIRE(sent.verdict.kind == kForward);
  const uint16_t snat_port = word_at(sent.frame, 54);
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kVirtualMac6}, {.source = "fd02::1", .destination = "fd02::11", .ttl = 63},
                        {.source_port = snat_port, .destination_port = 8080, .flags = kSyn}));
  sent = unit.forward(tcp_frame({kVirtualMac6, kMemberMac[0]}, {.source = "fd02::11", .destination = "fd02::1"},
                                {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck}),
                      kServerDevice);
  CHECK_FRAME(sent.frame,
              tcp_frame({kClientMac, kVirtualMac6}, {.source = "fd01::100", .destination = "fd01::9", .ttl = 63},
                        {.source_port = 80, .destination_port = 40000, .flags = kSyn | kAck}));
}

TEST(ipv4_options_and_ipv6_extension_headers_stay_in_the_packet) {
  Unit unit;
  REQUIRE(unit.ready);
  const Tcp syn = {.source_port = 40000, .destination_port = 80, .flags = kSyn};
  Ip ip = kToServer;
  ip.options = {1, 1, 1, 0};
  Sent sent = unit.forward(tcp_frame(kFromClient, ip, syn), kClientDevice);
  REQUIRE(sent.verdict.kind == kForward);
  Ip to_member = {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63, .options = {1, 1, 1, 0}};
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kVirtualMac4}, to_member,
                        {.source_port = word_at(sent.frame, 38), .destination_port = 8080, .flags = kSyn}));

  Ip ip6 = kToServer6;
  ip6.first_extension = 60;
  ip6.extensions = {6, 0, 1, 4, 0, 0, 0, 0};
  sent = unit.forward(tcp_frame(kFromClient6, ip6, syn), kClientDevice);
  REQUIRE(sent.verdict.kind == kForward);
  Ip to_member6 = {.source = "fd02::1", .destination = "fd02::11", .ttl = 63};
  to_member6.first_extension = 60;
  to_member6.extensions = ip6.extensions;
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kVirtualMac6}, to_member6,
                        {.source_port = word_at(sent.frame, 62), .destination_port = 8080, .flags = kSyn}));
}

TEST(udp_is_scheduled_and_its_checksum_kept_right_or_absent) {
  for (const bool checksum : {true, false}) {
    Unit unit;
    REQUIRE(unit.ready);
    Sent sent = unit.forward(
        udp_frame(kFromClient, kToServer, {.source_port = 5353, .destination_port = 53, .payload = "who?", .checksum = checksum}),
        kClientDevice);
    REQUIRE(sent.verdict.kind == kForward);
    const uint16_t snat_port = word_at(sent.frame, 34);
    CHECK_FRAME(sent.frame,
                udp_frame({kMemberMac[0], kVirtualMac4}, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63},
                          {.source_port = snat_port, .destination_port = 53, .payload = "who?", .checksum = checksum}));
    CHECK_EQ(unit.only()->state(), TcpState::kSynSent);
    sent = unit.forward(
        udp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                  {.source_port = 53, .destination_port = snat_port, .payload = "me", .checksum = checksum}),
        kServerDevice);
    CHECK_FRAME(sent.frame,
                udp_frame({kClientMac, kVirtualMac4}, {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63},
                          {.source_port = 53, .destination_port = 5353, .payload = "me", .checksum = checksum}));
    CHECK_EQ(unit.only()->state(), TcpState::kEstablished);
  }
}

// RFC 768: a sum that comes out as zero is sent as all ones, for zero says that there is none.
TEST(a_udp_checksum_that_becomes_zero_is_sent_as_all_ones) {
  auto random = random_engine();
  Unit unit;
  REQUIRE(unit.ready);
  const auto send = [&](uint16_t word) {
    const char text[2] = {static_cast<char>(word >> 8), static_cast<char>(word)};
    return unit.forward(udp_frame(kFromClient, kToServer,
                                  {.source_port = 5353, .destination_port = 53, .payload = std::string(text, 2)}),
                        kClientDevice);
  };
  const Sent first = send(0);
  // Adding the checksum of the datagram with payload 0 as its payload makes the sum all ones.
  const uint16_t word = word_at(first.frame, 40);
  const Sent sent = send(word);
  CHECK_EQ(word_at(sent.frame, 40), 0xffff);
  (void)random;
}

TEST(a_partial_checksum_stays_the_sum_of_the_pseudo_header) {
  Unit unit;
  REQUIRE(unit.ready);
  const auto pseudo_sum = [](const Ip& ip, uint32_t bytes) {
    Bytes summed = address(ip.source);
    put(summed, address(ip.destination));
    put32(summed, bytes);
    put32(summed, 6);
    return reference_sum(summed);
  };
  Bytes frame = client_tcp(kSyn);
  set16(frame, 50, pseudo_sum(kToServer, 20));
  const Sent sent = unit.burst({{frame, kClientDevice}}, true)[0];
  REQUIRE(sent.verdict.kind == kForward);
  CHECK(sent.checksum_partial);
  CHECK_EQ(word_at(sent.frame, 50), pseudo_sum({.source = "10.2.0.1", .destination = "10.2.0.11"}, 20));
}

TEST(without_snat_the_member_sees_the_client) {
  Unit unit;
  REQUIRE(unit.ready);
  Sent sent = unit.forward(tcp_frame(kFromClient, kToPlain, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
                           kClientDevice);
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kVirtualMac4}, {.source = "10.1.0.9", .destination = "10.2.0.11", .ttl = 63},
                        {.source_port = 40000, .destination_port = 8080, .flags = kSyn}));
  sent = unit.forward(tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.1.0.9"},
                                {.source_port = 8080, .destination_port = 40000, .flags = kSyn | kAck}),
                      kServerDevice);
  CHECK_EQ(sent.verdict.device, kClientDevice);
  CHECK_FRAME(sent.frame,
              tcp_frame({kClientMac, kVirtualMac4}, {.source = "10.1.0.101", .destination = "10.1.0.9", .ttl = 63},
                        {.source_port = 80, .destination_port = 40000, .flags = kSyn | kAck}));
}

TEST(packets_of_one_burst_build_on_one_another) {
  Unit unit;
  REQUIRE(unit.ready);
  const auto sent = unit.burst({{client_tcp(kSyn), kClientDevice}, {client_tcp(kAck, "data"), kClientDevice}});
  CHECK_EQ(sent[0].verdict.kind, kForward);
  CHECK_EQ(sent[1].verdict.kind, kForward);
  CHECK_EQ(word_at(sent[0].frame, 34), word_at(sent[1].frame, 34));
  CHECK_EQ(unit.count(Count::kOpened), 1u);
}

// ---- VLAN tags

TEST(tags_are_kept_replaced_put_in_and_taken_out) {
  struct Row {
    const char* sentence;
    std::vector<uint16_t> arriving;
    uint16_t towards_member;
    std::vector<uint16_t> leaving;
  };
  const Row rows[] = {
      {"no tag, none wanted", {}, 0, {}},
      {"put in", {}, 200, {200}},
      {"replaced, priority kept", {0x6064}, 200, {0x60c8}},
      {"kept", {100}, 100, {100}},
      {"taken out", {100}, 0, {}},
      {"a priority tag is no VLAN", {0x6000}, 0, {}},
  };
  for (const Row& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    unit.runtime->endpoints[0].next_hop = hop(kMemberMac[0], kServerDevice, row.towards_member);
    const Link from = {kVirtualMac4, kClientMac, row.arriving};
    const Link towards_member = {kMemberMac[0], kVirtualMac4, row.leaving};
    Sent sent = unit.forward(tcp_frame(from, kToServer, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
                             kClientDevice);
    REQUIRE(sent.verdict.kind == kForward);
    const uint16_t snat_port = word_at(sent.frame, 34 + 4 * row.leaving.size());
    CHECK_FRAME(sent.frame,
                tcp_frame(towards_member, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63},
                          {.source_port = snat_port, .destination_port = 8080, .flags = kSyn}));
    // And the reply carries the client's VLAN id again.
    const Link from_member = {kVirtualMac4, kMemberMac[0], row.leaving};
    sent = unit.forward(tcp_frame(from_member, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                                  {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck}),
                        kServerDevice);
    const bool tagged = !row.arriving.empty() && (row.arriving[0] & 0xfff) != 0;
    REQUIRE(sent.frame.size() == (tagged ? 58u : 54u));
    if (tagged) CHECK_EQ(word_at(sent.frame, 14) & 0xfff, row.arriving[0] & 0xfff);
  }
}

TEST(tags_that_a_reply_cannot_repeat_are_refused) {
  Unit unit;
  REQUIRE(unit.ready);
  const Tcp syn = {.source_port = 40000, .destination_port = 80, .flags = kSyn};
  CHECK_DROPPED(unit.forward(tcp_frame({kVirtualMac4, kClientMac, {7, 8}}, kToServer, syn), kClientDevice), Drop::kVlanTags);
  CHECK_DROPPED(unit.forward(tcp_frame({kVirtualMac4, kClientMac, {7}, 0x88a8}, kToServer, syn), kClientDevice),
                Drop::kVlanTags);
  CHECK_EQ(unit.table.used(), 0u);
}

// ---- what is dropped, and by which name

TEST(drops_by_name) {
  struct Row {
    const char* sentence;
    Bytes frame;
    uint8_t device;
    Drop why;
  };
  const auto tcp = [](const Ip& ip, uint16_t source_port, uint16_t port, uint8_t flags) {
    return tcp_frame(kFromClient, ip, {.source_port = source_port, .destination_port = port, .flags = flags});
  };
  Bytes bad_sum = client_tcp(kSyn);
  bad_sum[24] ^= 1;
  Bytes shortened = client_tcp(kSyn);
  shortened.resize(50);
  Ip expired = kToServer;
  expired.ttl = 1;
  Ip fragment = kToServer;
  fragment.flags_fragment = 0x2000;
  const Ip to_floating = {.source = "10.2.0.11", .destination = "10.2.0.1"};
  const Ip abroad = {.source = "10.1.0.9", .destination = "192.0.2.1"};
  const Row rows[] = {
      {"data of no known connection", client_tcp(kAck, "hello"), 0, Drop::kUnknown},
      {"a SYN-ACK opens nothing", client_tcp(kSyn | kAck), 0, Drop::kUnknown},
      {"a RST of no known connection", client_tcp(kRst), 0, Drop::kUnknown},
      {"no virtual server on this port", tcp(kToServer, 40000, 81, kSyn), 0, Drop::kClosedPort},
      {"nor for UDP", udp_frame(kFromClient, kToServer, {.source_port = 9, .destination_port = 80}), 0, Drop::kClosedPort},
      {"a member's segment of no known connection", tcp(to_floating, 8080, 2000, kAck), 1, Drop::kUnknownReturn},
      {"somebody else's", tcp(to_floating, 8081, 2000, kAck), 1, Drop::kClosedPort},
      {"not our address", tcp(abroad, 40000, 80, kSyn), 0, Drop::kTransit},
      {"nor with ICMP", icmp_frame(kFromClient, abroad, 8, 0, {0, 1, 0, 1}), 0, Drop::kTransit},
      {"TTL used up", tcp(expired, 40000, 80, kSyn), 0, Drop::kTtlExpired},
      {"a fragment", tcp(fragment, 40000, 80, kSyn), 0, Drop::kFragment},
      {"a wrong IPv4 checksum", bad_sum, 0, Drop::kBadHeader},
      {"cut short", shortened, 0, Drop::kTruncated},
      {"less than an Ethernet header", Bytes(kOwnMac[0], kOwnMac[0] + 13), 0, Drop::kTruncated},
      {"VRRP by unicast", ethernet(kFromClient, 0x0800, ip_packet(kToServer, 112, {0x31, 51, 100, 1})), 0, Drop::kProtocol},
      {"an ICMP error", icmp_frame(kFromClient, kToServer, 3, 3, {0, 0, 0, 0}), 0, Drop::kIcmp},
      {"an echo reply", icmp_frame(kFromClient6, kToServer6, 129, 0, {0, 1, 0, 1}), 0, Drop::kIcmp},
  };
  for (const Row& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    const Sent sent = unit.forward(row.frame, row.device);
    if (sent.verdict.kind != kDrop || sent.verdict.drop != row.why) CHECK_EQ(std::string("dropped"), std::string(row.sentence));
    CHECK_EQ(sent.verdict.drop, row.why);
    CHECK_EQ(unit.dropped(row.why), 1u);
    CHECK(unit.is_balanced());
    CHECK_EQ(unit.table.used(), 0u);
  }
}

TEST(what_is_not_ours_is_the_kernels) {
  struct Row {
    const char* sentence;
    Bytes frame;
  };
  const Tcp syn = {.source_port = 40000, .destination_port = 80, .flags = kSyn};
  const Row rows[] = {
      {"to the interface's own MAC", tcp_frame({kOwnMac[0], kClientMac}, kToServer, syn)},
      {"to another host's virtual MAC", tcp_frame({"00:00:5e:00:01:34", kClientMac}, kToServer, syn)},
      {"broken, but not to us", ethernet({kOwnMac[0], kClientMac}, 0x0800, {0x45})},
      {"a VRRP advert", ethernet({"01:00:5e:00:00:12", kClientMac}, 0x0800,
                                 ip_packet({.source = "10.1.0.3", .destination = "224.0.0.18", .ttl = 255}, 112, {0x31}))},
      {"our own frame come back", tcp_frame({kVirtualMac4, kVirtualMac4}, kToServer, syn)},
      {"ARP for somebody else", arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac},
                                          {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.77"})},
      {"an ARP reply", arp_frame({kVirtualMac4, kClientMac}, {2, kClientMac, "10.1.0.9", kVirtualMac4, "10.1.0.1"})},
      {"LLDP", ethernet({"01:80:c2:00:00:0e", kClientMac}, 0x88cc, {1, 2, 3, 4})},
      {"a broken multicast", ethernet({"33:33:00:00:00:01", kClientMac}, 0x86dd, {0x60, 0, 0})},
  };
  for (const Row& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    const Sent sent = unit.forward(row.frame, kClientDevice);
    if (sent.verdict.kind != kPunt) CHECK_EQ(std::string("punted"), std::string(row.sentence));
    CHECK_EQ(unit.count(Count::kPunted), 1u);
    CHECK_FRAME(sent.frame, row.frame);
  }
}

TEST(a_standby_unit_forwards_and_answers_nothing) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.become(Role::kStandby);
  const Link broadcast = {"ff:ff:ff:ff:ff:ff", kClientMac};
  CHECK_DROPPED(unit.forward(client_tcp(kAck), kClientDevice), Drop::kStandby);
  CHECK_DROPPED(unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kSyn}),
                             kClientDevice), Drop::kStandby);
  CHECK_DROPPED(unit.forward(icmp_frame(kFromClient, kToServer, 8, 0, {0, 1, 0, 1}), kClientDevice), Drop::kStandby);
  CHECK_DROPPED(unit.forward(arp_frame(broadcast, {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"}),
                             kClientDevice), Drop::kNotAsked);
  // The same when the lease has run out.
  unit.become(Role::kActive);
  unit.shared->groups[0].lease = unit.now;
  CHECK_DROPPED(unit.forward(client_tcp(kAck), kClientDevice), Drop::kStandby);
}

TEST(in_a_hand_over_known_connections_go_on_from_the_units_own_mac) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  unit.become(Role::kHandingOver);
  const Sent sent = unit.forward(client_tcp(kAck), kClientDevice);
  CHECK_FRAME(sent.frame,
              tcp_frame({kMemberMac[0], kOwnMac[1]}, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63},
                        {.source_port = snat_port, .destination_port = 8080, .flags = kAck}));
  CHECK_DROPPED(unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kSyn}),
                             kClientDevice), Drop::kHandingOver);
  CHECK_DROPPED(unit.forward(arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac},
                                       {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"}), kClientDevice),
                Drop::kNotAsked);
}

// ---- opening

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
  CHECK_EQ(unit.forward(client_tcp(kAck, "amid"), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.count(Count::kAdopted), 1u);
  CHECK_EQ(unit.only()->state(), TcpState::kEstablished);
  CHECK_DROPPED(unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kRst}),
                             kClientDevice), Drop::kUnknown);
}

TEST(a_syn_on_a_closing_connection_opens_it_anew) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.forward(client_tcp(kRst), kClientDevice);
  REQUIRE(may_reopen(unit.only()->state()));
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
    raised = connection->incarnation == static_cast<uint16_t>(incarnation + 1) && connection->state() == TcpState::kSynSent;
  }
  CHECK(raised);
}

TEST(the_clients_way_back_is_learnt_anew_when_it_moves) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  const Link moved = {kVirtualMac4, "02:00:00:00:00:77", {9}};
  unit.forward(tcp_frame(moved, kToServer, {.source_port = 40000, .destination_port = 80, .flags = kAck}), kClientDevice);
  CHECK_EQ(unit.only()->last_hop.load(), hop("02:00:00:00:00:77", kClientDevice, 9));
}

TEST(a_mirrored_connection_is_marked_when_its_handshake_is_complete) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.runtime->virtual_servers[0].mirror = true;
  unit.runtime->mirror_wanted = true;
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  unit.forward(tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                         {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck}), kServerDevice);
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

// ---- expiry

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
  for (uint16_t port = 1; port <= 100; ++port) {
    unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = port, .destination_port = 80, .flags = kSyn}), kClientDevice);
  }
  unit.now += 6 * kSecond;
  size_t cursor = unit.table.slots() - 3;
  const ForwardContext with = unit.context();
  for (size_t budget = 0; budget < unit.table.slots(); budget += 8) {
    const uint64_t before = unit.count(Count::kExpired);
    sweep(with, &cursor, 8);
    CHECK(unit.count(Count::kExpired) - before <= 8);
  }
  CHECK_EQ(unit.count(Count::kExpired), 100u);
}

}  // namespace
}  // namespace tandem::test
