// What Tandem answers itself: rows of a sentence, the question and the whole answer.
#include "../../native/answer.h"

#include <algorithm>

#include "rows.h"

namespace tandem::test {
namespace {

const Link kToClient = {kClientMac, kVirtualMac4};
const Link kToClient6 = {kClientMac, kVirtualMac6};

struct Row {
  const char* sentence;
  Bytes question;
  uint8_t device;
  Count count;
  Bytes answer;
};

void check_rows(const std::vector<Row>& rows, Unit& unit) {
  REQUIRE(unit.ready);
  for (const Row& row : rows) {
    const uint64_t before = unit.count(row.count);
    const Sent sent = unit.forward(row.question, row.device);
    CHECK_EQ(sent.verdict.kind, Verdict::Kind::kForward);
    CHECK_EQ(sent.verdict.device, row.device);
    CHECK_EQ(unit.count(row.count), before + 1);
    if (sent.frame != row.answer) CHECK_EQ(row.sentence + (": " + hex(sent.frame)), hex(row.answer));
    CHECK(unit.is_balanced());
  }
}

TEST(arp_is_answered_from_the_virtual_mac) {
  Unit unit;
  const Arp request = {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"};
  const Arp reply = {2, kVirtualMac4, "10.1.0.100", kClientMac, "10.1.0.9"};
  check_rows(
      {
          {"by broadcast", arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac}, request), 0, Count::kArpReplies,
           arp_frame(kToClient, reply)},
          {"by unicast, to see whether we are still there", arp_frame(kFromClient, request), 0, Count::kArpReplies,
           arp_frame(kToClient, reply)},
          {"in a VLAN", arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac, {12}}, request), 0, Count::kArpReplies,
           arp_frame({kClientMac, kVirtualMac4, {12}}, reply)},
          {"a probe for duplicates (RFC 5227)",
           arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac}, {1, kClientMac, "0.0.0.0", "00:00:00:00:00:00", "10.1.0.100"}),
           0, Count::kArpReplies, arp_frame(kToClient, {2, kVirtualMac4, "10.1.0.100", kClientMac, "0.0.0.0"})},
          {"for a floating address on the members' side",
           arp_frame({"ff:ff:ff:ff:ff:ff", kMemberMac[0]},
                     {1, kMemberMac[0], "10.2.0.11", "00:00:00:00:00:00", "10.2.0.1"}),
           1, Count::kArpReplies,
           arp_frame({kMemberMac[0], kVirtualMac4}, {2, kVirtualMac4, "10.2.0.1", kMemberMac[0], "10.2.0.11"})},
      },
      unit);
}

TEST(an_address_is_not_answered_on_a_device_where_it_is_not_announced) {
  Unit unit;
  REQUIRE(unit.ready);
  const Sent sent = unit.forward(arp_frame({"ff:ff:ff:ff:ff:ff", kMemberMac[0]},
                                           {1, kMemberMac[0], "10.2.0.11", "00:00:00:00:00:00", "10.1.0.100"}),
                                 kServerDevice);
  CHECK_EQ(sent.verdict.kind, Verdict::Kind::kDrop);
  CHECK_EQ(sent.verdict.drop, Drop::kNotAsked);
}

Bytes solicitation(const Link& link, const Ip& ip, const char* target, const Bytes& options = {}) {
  Bytes body = {0, 0, 0, 0};
  put(body, address(target));
  put(body, options);
  return icmp_frame(link, ip, 135, 0, body);
}

Bytes advertisement(const Link& link, const Ip& ip, uint32_t flags, const char* target) {
  Bytes body;
  put32(body, flags);
  put(body, address(target));
  put(body, {2, 1});
  put(body, mac(kVirtualMac6));
  return icmp_frame(link, ip, 136, 0, body);
}

const Link kSolicitedNode = {"33:33:ff:00:01:00", kClientMac};
Bytes source_mac_option() {
  Bytes option = {1, 1};
  put(option, mac(kClientMac));
  return option;
}

TEST(neighbour_solicitations_are_answered_from_the_virtual_mac) {
  Unit unit;
  const Ip asked = {.source = "fd01::9", .destination = "ff02::1:ff00:100", .ttl = 255};
  const Ip probe = {.source = "::", .destination = "ff02::1:ff00:100", .ttl = 255};
  const Ip direct = {.source = "fd01::9", .destination = "fd01::100", .ttl = 255};
  const Ip answer = {.source = "fd01::100", .destination = "fd01::9", .ttl = 255};
  constexpr uint32_t kSolicited = 0xe0000000;  // router, solicited, override
  check_rows(
      {
          {"to the solicited-node group", solicitation(kSolicitedNode, asked, "fd01::100", source_mac_option()), 0,
           Count::kNeighbourAdvertisements, advertisement(kToClient6, answer, kSolicited, "fd01::100")},
          {"by unicast and without an option: the answer is longer than the question",
           solicitation(kFromClient6, direct, "fd01::100"), 0, Count::kNeighbourAdvertisements,
           advertisement(kToClient6, answer, kSolicited, "fd01::100")},
          {"a probe for duplicates is answered to all nodes (RFC 4861 section 7.2.4)",
           solicitation(kSolicitedNode, probe, "fd01::100"), 0, Count::kNeighbourAdvertisements,
           advertisement({"33:33:00:00:00:01", kVirtualMac6},
                         {.source = "fd01::100", .destination = "ff02::1", .ttl = 255}, 0xa0000000, "fd01::100")},
          {"in a VLAN",
           solicitation({kSolicitedNode.destination, kClientMac, {5}}, asked, "fd01::100", source_mac_option()), 0,
           Count::kNeighbourAdvertisements,
           advertisement({kClientMac, kVirtualMac6, {5}}, answer, kSolicited, "fd01::100")},
      },
      unit);
}

// RFC 4861 section 7.1.1.
TEST(invalid_solicitations_are_not_answered) {
  const Ip good = {.source = "fd01::9", .destination = "ff02::1:ff00:100", .ttl = 255};
  Ip routed = good;
  routed.ttl = 254;
  const Ip probe = {.source = "::", .destination = "ff02::1:ff00:100", .ttl = 255};
  const Ip misdirected = {.source = "::", .destination = "ff02::1", .ttl = 255};
  Bytes wrong_sum = solicitation(kSolicitedNode, good, "fd01::100");
  wrong_sum[56] ^= 1;
  const Bytes rows[] = {
      solicitation(kSolicitedNode, routed, "fd01::100"),
      wrong_sum,
      solicitation(kSolicitedNode, good, "ff02::100"),
      solicitation(kSolicitedNode, good, "fd01::100", {1, 0, 0, 0, 0, 0, 0, 0}),
      solicitation(kSolicitedNode, good, "fd01::100", {1, 1, 0, 0}),
      solicitation(kSolicitedNode, probe, "fd01::100", source_mac_option()),
      solicitation(kSolicitedNode, misdirected, "fd01::100"),
      icmp_frame(kSolicitedNode, good, 135, 0, {0, 0, 0, 0, 0xfd}),
  };
  for (const Bytes& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    CHECK_EQ(unit.forward(row, kClientDevice).verdict.kind, Verdict::Kind::kPunt);
    Bytes unicast = row;
    const Bytes to = mac(kVirtualMac6);
    std::copy(to.begin(), to.end(), unicast.begin());
    CHECK_EQ(unit.forward(unicast, kClientDevice).verdict.drop, Drop::kBadHeader);
  }
}

TEST(echo_requests_are_answered) {
  Unit unit;
  const Bytes body = {0, 7, 0, 1, 'a', 'b', 'c'};
  Ip with_options = {.source = "10.1.0.9", .destination = "10.1.0.100", .ttl = 3};
  with_options.options = {1, 1, 1, 0};
  Ip options_back = {.source = "10.1.0.100", .destination = "10.1.0.9"};
  options_back.options = {1, 1, 1, 0};
  check_rows(
      {
          {"IPv4", icmp_frame(kFromClient, {.source = "10.1.0.9", .destination = "10.1.0.100", .ttl = 3}, 8, 0, body),
           0, Count::kEchoReplies,
           icmp_frame(kToClient, {.source = "10.1.0.100", .destination = "10.1.0.9"}, 0, 0, body)},
          {"IPv4 with options", icmp_frame(kFromClient, with_options, 8, 0, body), 0, Count::kEchoReplies,
           icmp_frame(kToClient, options_back, 0, 0, body)},
          {"IPv6", icmp_frame(kFromClient6, {.source = "fd01::9", .destination = "fd01::1", .ttl = 3}, 128, 0, body), 0,
           Count::kEchoReplies, icmp_frame(kToClient6, {.source = "fd01::1", .destination = "fd01::9"}, 129, 0, body)},
      },
      unit);
}

// RFC 9293 section 3.10.7.1.
TEST(resets_take_their_numbers_from_the_segment) {
  auto policy = two_sided_policy();
  policy->virtual_servers[0].unknown = Unknown::kReset;
  policy->addresses[0].closed = Closed::kReset;
  policy->addresses[2].closed = Closed::kReset;  // fd01::100
  Unit unit(std::move(policy));
  const Ip from = {.source = "10.1.0.9", .destination = "10.1.0.100", .ttl = 9, .identification = 77};
  const Ip back = {.source = "10.1.0.100", .destination = "10.1.0.9", .identification = 0};
  Ip from_with_options = from;
  from_with_options.options = {1, 1, 1, 0};
  check_rows(
      {
          {"with an ACK: its number is the sequence number",
           tcp_frame(
               kFromClient, from,
               {.source_port = 9, .destination_port = 80, .flags = kAck, .acknowledgment = 5555, .payload = "xyz"}),
           0, Count::kResetsSent,
           tcp_frame(kToClient, back,
                     {.source_port = 80,
                      .destination_port = 9,
                      .flags = kRst,
                      .sequence = 5555,
                      .acknowledgment = 0,
                      .window = 0})},
          {"without an ACK: everything received is acknowledged, the SYN counted",
           tcp_frame(kFromClient, from,
                     {.source_port = 9, .destination_port = 81, .flags = kSyn, .sequence = 0xffffffff}),
           0, Count::kResetsSent,
           tcp_frame(kToClient, back,
                     {.source_port = 81,
                      .destination_port = 9,
                      .flags = kRst | kAck,
                      .sequence = 0,
                      .acknowledgment = 0,
                      .window = 0})},
          {"and the FIN, and the data",
           tcp_frame(kFromClient, from,
                     {.source_port = 9, .destination_port = 81, .flags = kFin, .sequence = 100, .payload = "12345"}),
           0, Count::kResetsSent,
           tcp_frame(kToClient, back,
                     {.source_port = 81,
                      .destination_port = 9,
                      .flags = kRst | kAck,
                      .sequence = 0,
                      .acknowledgment = 106,
                      .window = 0})},
          {"IPv4 options are not repeated",
           tcp_frame(kFromClient, from_with_options,
                     {.source_port = 9, .destination_port = 80, .flags = kAck, .acknowledgment = 1}),
           0, Count::kResetsSent,
           tcp_frame(kToClient, back,
                     {.source_port = 80,
                      .destination_port = 9,
                      .flags = kRst,
                      .sequence = 1,
                      .acknowledgment = 0,
                      .window = 0})},
          {"IPv6",
           tcp_frame(kFromClient6, {.source = "fd01::9", .destination = "fd01::100"},
                     {.source_port = 9, .destination_port = 81, .flags = kAck, .acknowledgment = 7}),
           0, Count::kResetsSent,
           tcp_frame(kToClient6, {.source = "fd01::100", .destination = "fd01::9"},
                     {.source_port = 81,
                      .destination_port = 9,
                      .flags = kRst,
                      .sequence = 7,
                      .acknowledgment = 0,
                      .window = 0})},
      },
      unit);
  const Sent sent =
      unit.forward(tcp_frame(kFromClient, from, {.source_port = 9, .destination_port = 80, .flags = kRst}), 0);
  CHECK_EQ(sent.verdict.drop, Drop::kUnknown);
}

TEST(mld_queries_are_counted_for_the_failover_process_and_left_to_the_kernel) {
  Unit unit;
  REQUIRE(unit.ready);
  Ip ip = {.source = "fe80::1", .destination = "ff02::1", .ttl = 1};
  ip.first_extension = 0;
  ip.extensions = {58, 0, 5, 2, 0, 0, 1, 0};
  Bytes body(20, 0);
  const Bytes query = icmp_frame({"33:33:00:00:00:01", kClientMac}, ip, 130, 0, body);
  CHECK_EQ(unit.forward(query, kServerDevice).verdict.kind, Verdict::Kind::kPunt);
  CHECK_EQ(unit.shared->devices[kServerDevice].mld_queries.load(), 1u);
  CHECK_EQ(unit.shared->devices[kClientDevice].mld_queries.load(), 0u);
}

}  // namespace
}  // namespace tandem::test
