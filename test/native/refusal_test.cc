// What the sender of a packet that goes no further is told: rows of a sentence, the packet and the whole answer.
#include "../../native/answer.h"
#include "../../native/icmp_pace.h"
#include "rows.h"

namespace tandem::test {
namespace {

const Link kToClient = {kClientMac, kVirtualMac4}, kToClient6 = {kClientMac, kVirtualMac6};
const Link kToMember = {kMemberMac[0], kVirtualMac4}, kToMember6 = {kMemberMac[0], kVirtualMac6};
const Link kFromMember = {kVirtualMac4, kMemberMac[0]}, kFromMember6 = {kVirtualMac6, kMemberMac[0]};
constexpr uint16_t kMtu = 1400;

// As a router sends errors: precedence 6, and a packet of its own that may be fragmented.
Ip told(const char* source, const char* destination) {
  return {.source = source, .destination = destination, .identification = 0, .flags_fragment = 0, .tos = 0xc0};
}

Bytes refusal(const Link& link, const Ip& ip, uint8_t type, uint8_t code, uint32_t rest, const Bytes& about) {
  const size_t link_bytes = 14 + 4 * link.vlans.size();
  const size_t longest = is_v6(ip.source) ? 1280 - 48 : 576 - 28;
  Bytes body;
  put32(body, rest);
  put(body, Bytes(about.begin() + static_cast<ptrdiff_t>(link_bytes),
                  about.begin() + static_cast<ptrdiff_t>(std::min(about.size(), link_bytes + longest))));
  return icmp_frame(link, ip, type, code, body);
}

struct Row {
  const char* sentence;
  Bytes arriving;
  uint8_t device;
  Count count;
  Bytes answer;
};

void check_rows(const std::vector<Row>& rows, Unit& unit) {
  for (const Row& row : rows) {
    const uint64_t before = unit.count(row.count);
    const Sent sent = unit.forward(row.arriving, row.device);
    CHECK_EQ(sent.verdict.kind, kForward);
    CHECK_EQ(sent.verdict.device, row.device);
    if (sent.frame != row.answer) CHECK_EQ(row.sentence + (": " + hex(sent.frame)), hex(row.answer));
    CHECK_EQ(unit.count(row.count), before + 1);
    CHECK(unit.is_balanced());
  }
}

Ip with_ttl(Ip ip, uint8_t ttl) {
  ip.ttl = ttl;
  return ip;
}

TEST(the_sender_of_a_packet_whose_time_has_run_out_is_told_from_the_floating_address_it_can_see) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  const Tcp known = {.source_port = 40000, .destination_port = 80, .flags = kAck, .payload = "hello"};
  const Tcp syn = {.source_port = 9, .destination_port = 80, .flags = kSyn};
  const Ip one = with_ttl(kToServer, 1), one6 = with_ttl(kToServer6, 1);
  const Ip back = {.source = "10.2.0.11", .destination = "10.2.0.1", .ttl = 1};
  const Tcp reply = {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck};
  const Ip to_client = told("10.1.0.1", "10.1.0.9"), to_client6 = told("fd01::1", "fd01::9");
  const auto row = [](const char* sentence, const Bytes& arriving, uint8_t device, const Link& link, const Ip& ip) {
    const uint8_t type = is_v6(ip.source) ? 3 : 11;
    return Row{sentence, arriving, device, Count::kTimeExceededSent, refusal(link, ip, type, 0, 0, arriving)};
  };
  const Link tagged = {kVirtualMac4, kClientMac, {12}};
  check_rows(
      {
          row("of a known connection", tcp_frame(kFromClient, one, known), kClientDevice, kToClient, to_client),
          row("a TTL of 0, which nobody should have sent", tcp_frame(kFromClient, with_ttl(one, 0), known),
              kClientDevice, kToClient, to_client),
          row("a SYN: traceroute -T", tcp_frame(kFromClient, one, syn), kClientDevice, kToClient, to_client),
          row("a datagram: traceroute -U",
              udp_frame(kFromClient, one, {.source_port = 9, .destination_port = 53, .payload = "odd"}), kClientDevice,
              kToClient, to_client),
          row("from a member", tcp_frame(kFromMember, back, reply), kServerDevice, kToMember,
              told("10.2.0.1", "10.2.0.11")),
          row("IPv6", tcp_frame(kFromClient6, one6, syn), kClientDevice, kToClient6, to_client6),
          row("in a VLAN", tcp_frame(tagged, one, known), kClientDevice, {kClientMac, kVirtualMac4, {12}}, to_client),
      },
      unit);
  CHECK_EQ(unit.table.used(), 1u);
}

TEST(a_long_packet_is_quoted_in_part) {
  Unit unit;
  REQUIRE(unit.ready);
  const Tcp tcp = {.source_port = 9, .destination_port = 80, .flags = kSyn, .payload = std::string(1400, 'x')};
  const Bytes v4 = tcp_frame(kFromClient, with_ttl(kToServer, 1), tcp);
  const Bytes v6 = tcp_frame(kFromClient6, with_ttl(kToServer6, 1), tcp);
  check_rows(
      {
          {"IPv4: 576 octets in all", v4, kClientDevice, Count::kTimeExceededSent,
           refusal(kToClient, told("10.1.0.1", "10.1.0.9"), 11, 0, 0, v4)},
          {"IPv6: 1280 octets in all", v6, kClientDevice, Count::kTimeExceededSent,
           refusal(kToClient6, told("fd01::1", "fd01::9"), 3, 0, 0, v6)},
      },
      unit);
  CHECK_EQ(unit.forward(v4, kClientDevice).frame.size(), 14u + 576);
  CHECK_EQ(unit.forward(v6, kClientDevice).frame.size(), 14u + 1280);
}

TEST(the_sender_of_a_packet_that_does_not_fit_the_next_device_is_told_what_would) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  unit.forward(tcp_frame(kFromClient6, kToServer6, {.source_port = 40000, .destination_port = 80, .flags = kSyn}),
               kClientDevice);
  const auto segment = [](uint16_t from, uint16_t to, size_t bytes) {
    return Tcp{.source_port = from, .destination_port = to, .flags = kAck, .payload = std::string(bytes, 'x')};
  };
  const Ip back = {.source = "10.2.0.11", .destination = "10.2.0.1"};
  Ip may_fragment = kToServer;
  may_fragment.flags_fragment = 0;
  const Bytes over = tcp_frame(kFromClient, kToServer, segment(40000, 80, kMtu - 40 + 1));
  const Bytes over_may = tcp_frame(kFromClient, may_fragment, segment(40000, 80, kMtu - 40 + 1));
  const Bytes over6 = tcp_frame(kFromClient6, kToServer6, segment(40000, 80, kMtu - 60 + 1));
  const Bytes over_back = tcp_frame(kFromMember, back, segment(8080, snat_port, kMtu - 40 + 1));
  const Ip to_client = told("10.1.0.1", "10.1.0.9");

  unit.runtime->set_mtu(kServerDevice, kMtu);
  check_rows(
      {
          {"one octet too long", over, kClientDevice, Count::kTooBigSent,
           refusal(kToClient, to_client, 3, 4, kMtu, over)},
          {"one that may be fragmented", over_may, kClientDevice, Count::kTooBigSent,
           refusal(kToClient, to_client, 3, 4, kMtu, over_may)},
          {"IPv6", over6, kClientDevice, Count::kTooBigSent,
           refusal(kToClient6, told("fd01::1", "fd01::9"), 2, 0, kMtu, over6)},
      },
      unit);
  const Sent fits = unit.forward(tcp_frame(kFromClient, kToServer, segment(40000, 80, kMtu - 40)), kClientDevice);
  CHECK_EQ(fits.verdict.device, kServerDevice);
  CHECK_EQ(unit.forward(over_back, kServerDevice).verdict.device, kClientDevice);

  unit.runtime->set_mtu(kServerDevice, kMtuNone);
  unit.runtime->set_mtu(kClientDevice, kMtu);
  check_rows({{"towards the client", over_back, kServerDevice, Count::kTooBigSent,
               refusal(kToMember, told("10.2.0.1", "10.2.0.11"), 3, 4, kMtu, over_back)}},
             unit);
}

// GRO and TSO: the kernel cuts the frame again, so it is each segment that must fit.
TEST(of_a_joined_frame_each_segment_must_fit) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.runtime->set_mtu(kServerDevice, kMtu);
  const Bytes joined = client_tcp(kAck, std::string(4000, 'x'));
  const auto verdict = [&](uint16_t segment_bytes) {
    Bytes memory(kFrameHeadroom + joined.size() + kFrameTailroom);
    std::copy(joined.begin(), joined.end(), memory.begin() + kFrameHeadroom);
    Frame frame = {memory.data() + kFrameHeadroom, static_cast<uint32_t>(joined.size()), kClientDevice, false,
                   segment_bytes};
    Verdict got;
    forward_burst(unit.context(), &frame, 1, &got);
    CHECK_EQ(frame.segment_bytes, got.device == kServerDevice ? segment_bytes : 0);
    return got;
  };
  CHECK_EQ(verdict(kMtu - 40).device, kServerDevice);
  CHECK_EQ(verdict(kMtu - 40 + 1).device, kClientDevice);
  CHECK_EQ(unit.count(Count::kTooBigSent), 1u);
}

TEST(who_is_not_told) {
  const Tcp tcp = {.source_port = 40000, .destination_port = 80, .flags = kSyn};
  for (const char* source : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.1.0.100", "::", "::1",
                             "::ffff:198.51.100.7", "ff02::1", "fd01::100"}) {
    for (const uint8_t ttl : {1, 64}) {
      Unit unit;
      REQUIRE(unit.ready);
      Ip ip = with_ttl(is_v6(source) ? kToServer6 : kToServer, ttl);
      ip.source = source;
      CHECK_DROPPED(unit.forward(tcp_frame(is_v6(source) ? kFromClient6 : kFromClient, ip, tcp), kClientDevice),
                    Drop::kMartian);
    }
  }
  const Bytes expired = tcp_frame(kFromClient, with_ttl(kToServer, 1), tcp);
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  unit.become(Role::kHandingOver);
  CHECK_DROPPED(unit.forward(expired, kClientDevice), Drop::kTtlExpired);
  unit.become(Role::kActive);
  unit.policy->groups[0].floating[kClientDevice][0] = {};
  CHECK_DROPPED(unit.forward(expired, kClientDevice), Drop::kTtlExpired);
  unit.runtime->set_mtu(kServerDevice, 100);
  CHECK_DROPPED(unit.forward(client_tcp(kAck, std::string(100, 'x')), kClientDevice), Drop::kOversized);
  CHECK(unit.is_balanced());
}

TEST(a_flood_is_told_a_hundred_times_and_then_a_thousand_times_a_second) {
  IcmpPace pace;
  const auto taken = [&pace](Nanos now, int tries) {
    int count = 0;
    while (tries-- > 0) count += pace.take(now) ? 1 : 0;
    return count;
  };
  const Nanos start = 1000 * kSecond;
  CHECK_EQ(taken(start, 1000), 100);
  CHECK_EQ(taken(start + kMillisecond - 1, 10), 0);
  CHECK_EQ(taken(start + kMillisecond, 10), 1);
  CHECK_EQ(taken(start + 11 * kMillisecond, 100), 10);
  CHECK_EQ(taken(start + 100 * kSecond, 1000), 100);
  IcmpPace early;
  CHECK(early.take(0));

  Unit unit;
  REQUIRE(unit.ready);
  const Bytes expired =
      tcp_frame(kFromClient, with_ttl(kToServer, 1), {.source_port = 1, .destination_port = 80, .flags = kSyn});
  for (int i = 0; i < 150; ++i) unit.forward(expired, kClientDevice);
  CHECK_EQ(unit.count(Count::kTimeExceededSent), 100u);
  CHECK_EQ(unit.dropped(Drop::kTtlExpired), 50u);
}

}  // namespace
}  // namespace tandem::test
