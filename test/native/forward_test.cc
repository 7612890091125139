// What a forwarded packet becomes: a sentence, the frame, the verdict and the whole frame that leaves.
#include "../../native/forward.h"

#include "rows.h"

namespace tandem::test {
namespace {

const Ip kToPlain = {.source = "10.1.0.9", .destination = "10.1.0.101"};

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
  CHECK_EQ(traffic.ways[0].packets.load(), 1u);
  CHECK_EQ(traffic.ways[0].bytes.load(), 54u);
  CHECK_EQ(traffic.ways[1].packets.load(), 1u);
  CHECK_EQ(traffic.ways[1].bytes.load(), 57u);
}

TEST(ipv6_both_ways) {
  Unit unit;
  REQUIRE(unit.ready);
  Sent sent =
      unit.forward(tcp_frame(kFromClient6, kToServer6, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
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
  CHECK_FRAME(sent.frame, tcp_frame({kMemberMac[0], kVirtualMac4}, to_member,
                                    {.source_port = word_at(sent.frame, 38), .destination_port = 8080, .flags = kSyn}));

  Ip ip6 = kToServer6;
  ip6.first_extension = 60;
  ip6.extensions = {6, 0, 1, 4, 0, 0, 0, 0};
  sent = unit.forward(tcp_frame(kFromClient6, ip6, syn), kClientDevice);
  REQUIRE(sent.verdict.kind == kForward);
  Ip to_member6 = {.source = "fd02::1", .destination = "fd02::11", .ttl = 63};
  to_member6.first_extension = 60;
  to_member6.extensions = ip6.extensions;
  CHECK_FRAME(sent.frame, tcp_frame({kMemberMac[0], kVirtualMac6}, to_member6,
                                    {.source_port = word_at(sent.frame, 62), .destination_port = 8080, .flags = kSyn}));
}

TEST(udp_is_scheduled_and_its_checksum_kept_right_or_absent) {
  for (const bool checksum : {true, false}) {
    Unit unit;
    REQUIRE(unit.ready);
    Sent sent =
        unit.forward(udp_frame(kFromClient, kToServer,
                               {.source_port = 5353, .destination_port = 53, .payload = "who?", .checksum = checksum}),
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
  Sent sent = unit.forward(
      tcp_frame(kFromClient, kToPlain, {.source_port = 40000, .destination_port = 80, .flags = kSyn}), kClientDevice);
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
    CHECK_FRAME(sent.frame, tcp_frame(towards_member, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63},
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
  CHECK_DROPPED(unit.forward(tcp_frame({kVirtualMac4, kClientMac, {7, 8}}, kToServer, syn), kClientDevice),
                Drop::kVlanTags);
  CHECK_DROPPED(unit.forward(tcp_frame({kVirtualMac4, kClientMac, {7}, 0x88a8}, kToServer, syn), kClientDevice),
                Drop::kVlanTags);
  CHECK_EQ(unit.table.used(), 0u);
}

}  // namespace
}  // namespace tandem::test
