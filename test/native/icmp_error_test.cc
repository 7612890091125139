// Errors about a connection: rows of a sentence, the error as it comes and the whole error that leaves.
#include "../../native/icmp_error.h"

#include "rows.h"

namespace tandem::test {
namespace {

const Link kToClient = {kClientMac, kVirtualMac4}, kToClient6 = {kClientMac, kVirtualMac6};
const Link kToMember = {kMemberMac[0], kVirtualMac4}, kToMember6 = {kMemberMac[0], kVirtualMac6};
constexpr const char* kRouterMac = "02:00:00:00:0f:01";
const Link kFromServerSide = {kVirtualMac4, kRouterMac}, kFromServerSide6 = {kVirtualMac6, kRouterMac};

constexpr size_t kWhole = 10000;

// The first `bytes` octets of a frame's packet.
Bytes quote_of(const Bytes& frame, size_t bytes) {
  Bytes packet(frame.begin() + 14, frame.end());
  if (packet.size() > bytes) packet.resize(bytes);
  return packet;
}

Bytes error(const Link& link, const Ip& ip, uint8_t type, uint8_t code, uint32_t rest, const Bytes& quote) {
  Bytes body;
  put32(body, rest);
  put(body, quote);
  return icmp_frame(link, ip, type, code, body);
}

const Tcp kSegment = {.source_port = 40000, .destination_port = 80, .flags = kAck, .payload = "GET / HTTP/1.0"};

Tcp between(uint16_t from, uint16_t to) {
  Tcp tcp = kSegment;
  tcp.source_port = from;
  tcp.destination_port = to;
  return tcp;
}

// A unit with one connection of each kind; the SNAT ports that it got.
struct Connected {
  Connected() {
    const Tcp syn = {.source_port = 40000, .destination_port = 80, .flags = kSyn};
    tcp = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
    tcp6 = word_at(unit.forward(tcp_frame(kFromClient6, kToServer6, syn), kClientDevice).frame, 54);
    udp = word_at(
        unit.forward(udp_frame(kFromClient, kToServer, {.source_port = 5353, .destination_port = 53}), kClientDevice)
            .frame,
        34);
    // The first member took the connection above, the second takes this one, and the first the third.
    const Ip plain = {.source = "10.1.0.9", .destination = "10.1.0.101"};
    unit.forward(tcp_frame(kFromClient, plain, {.source_port = 40001, .destination_port = 80, .flags = kSyn}),
                 kClientDevice);
    unit.forward(tcp_frame(kFromClient, plain, syn), kClientDevice);
  }
  Unit unit;
  uint16_t tcp = 0, tcp6 = 0, udp = 0;
};

struct Row {
  const char* sentence;
  Bytes arriving;
  uint8_t device;
  Bytes leaving;
  uint8_t to;
};

void check_rows(const std::vector<Row>& rows, Unit& unit) {
  REQUIRE(unit.ready);
  for (const Row& row : rows) {
    const uint64_t before = unit.count(Count::kIcmpErrors);
    const Sent sent = unit.forward(row.arriving, row.device);
    if (sent.verdict.kind != kForward) CHECK_EQ(row.sentence, "forwarded");
    CHECK_EQ(sent.verdict.kind, kForward);
    CHECK_EQ(sent.verdict.device, row.to);
    if (sent.frame != row.leaving) CHECK_EQ(row.sentence + (": " + hex(sent.frame)), hex(row.leaving));
    CHECK_EQ(unit.count(Count::kIcmpErrors), before + 1);
    CHECK(unit.is_balanced());
  }
}

TEST(an_error_about_what_went_to_a_member_reaches_the_client_as_about_what_it_sent) {
  Connected c;
  const Ip to_member = {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63};
  const Ip sent = {.source = "10.1.0.9", .destination = "10.1.0.100", .ttl = 63};
  const Ip to_member6 = {.source = "fd02::1", .destination = "fd02::11", .ttl = 63};
  const Ip sent6 = {.source = "fd01::9", .destination = "fd01::100", .ttl = 63};
  const Ip router = {.source = "10.2.0.254", .destination = "10.2.0.1", .ttl = 255};
  const Ip from_member = {.source = "10.2.0.11", .destination = "10.2.0.1"};
  const Ip router6 = {.source = "fd02::fe", .destination = "fd02::1"};
  const Ip told = {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 254};
  const Ip told_by_member = {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63};
  const Ip told6 = {.source = "fd01::100", .destination = "fd01::9", .ttl = 63};
  const Bytes left = tcp_frame(kToMember, to_member, between(c.tcp, 8080));
  const Bytes asked = tcp_frame(kFromClient, sent, kSegment);
  const Bytes left6 = tcp_frame(kToMember6, to_member6, between(c.tcp6, 8080));
  const Bytes asked6 = tcp_frame(kFromClient6, sent6, kSegment);
  Ip options = to_member, options_sent = sent;
  options.options = options_sent.options = {7, 4, 4, 0};
  Ip first = to_member6, first_sent = sent6;
  first.first_extension = first_sent.first_extension = 44;
  first.extensions = first_sent.extensions = {6, 0, 0, 1, 0, 0, 0, 9};
  const auto udp = [](const Link& link, const Ip& ip, uint16_t from, bool checksum) {
    return quote_of(
        udp_frame(link, ip,
                  {.source_port = from, .destination_port = 53, .payload = "who is it?", .checksum = checksum}),
        kWhole);
  };
  check_rows(
      {
          {"fragmentation needed, from a router, 8 octets of the segment quoted",
           error(kFromServerSide, router, 3, 4, 1400, quote_of(left, 28)), kServerDevice,
           error(kToClient, told, 3, 4, 1400, quote_of(asked, 28)), kClientDevice},
          {"the same, the whole segment quoted: its checksum is right for what the client sent",
           error(kFromServerSide, router, 3, 4, 1400, quote_of(left, kWhole)), kServerDevice,
           error(kToClient, told, 3, 4, 1400, quote_of(asked, kWhole)), kClientDevice},
          {"the same, cut right before the checksum", error(kFromServerSide, router, 3, 4, 1400, quote_of(left, 36)),
           kServerDevice, error(kToClient, told, 3, 4, 1400, quote_of(asked, 36)), kClientDevice},
          {"an odd number of octets", error(kFromServerSide, router, 3, 4, 1400, quote_of(left, 45)), kServerDevice,
           error(kToClient, told, 3, 4, 1400, quote_of(asked, 45)), kClientDevice},
          {"IPv4 options in the quote",
           error(kFromServerSide, router, 12, 0, 0x14000000,
                 quote_of(tcp_frame(kToMember, options, between(c.tcp, 8080)), 32)),
           kServerDevice,
           error(kToClient, told, 12, 0, 0x14000000, quote_of(tcp_frame(kFromClient, options_sent, kSegment), 32)),
           kClientDevice},
          {"time exceeded", error(kFromServerSide, router, 11, 0, 0, quote_of(left, 28)), kServerDevice,
           error(kToClient, told, 11, 0, 0, quote_of(asked, 28)), kClientDevice},
          {"port unreachable, from the member itself, in a VLAN of the member's",
           error({kVirtualMac4, kMemberMac[0], {12}}, from_member, 3, 3, 0, udp(kToMember, to_member, c.udp, true)),
           kServerDevice, error(kToClient, told_by_member, 3, 3, 0, udp(kFromClient, sent, 5353, true)), kClientDevice},
          {"a quoted datagram without a checksum gets none",
           error(kFromServerSide, router, 3, 3, 0, udp(kToMember, to_member, c.udp, false)), kServerDevice,
           error(kToClient, told, 3, 3, 0, udp(kFromClient, sent, 5353, false)), kClientDevice},
          {"IPv6: packet too big", error(kFromServerSide6, router6, 2, 0, 1400, quote_of(left6, kWhole)), kServerDevice,
           error(kToClient6, told6, 2, 0, 1400, quote_of(asked6, kWhole)), kClientDevice},
          {"IPv6, 8 octets of the segment", error(kFromServerSide6, router6, 1, 0, 0, quote_of(left6, 48)),
           kServerDevice, error(kToClient6, told6, 1, 0, 0, quote_of(asked6, 48)), kClientDevice},
          {"IPv6: the first fragment of a packet",
           error(kFromServerSide6, router6, 3, 0, 0, quote_of(tcp_frame(kToMember6, first, between(c.tcp6, 8080)), 70)),
           kServerDevice,
           error(kToClient6, told6, 3, 0, 0, quote_of(tcp_frame(kFromClient6, first_sent, kSegment), 70)),
           kClientDevice},
      },
      c.unit);
}

TEST(an_error_about_what_went_to_a_client_reaches_the_member_as_about_what_it_sent) {
  Connected c;
  const Ip to_client = {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63};
  const Ip to_client6 = {.source = "fd01::100", .destination = "fd01::9", .ttl = 63};
  const Ip sent = {.source = "10.2.0.11", .destination = "10.2.0.1", .ttl = 63};
  const Ip sent6 = {.source = "fd02::11", .destination = "fd02::1", .ttl = 63};
  check_rows(
      {
          {"fragmentation needed, from a router that the member has no route to",
           error(kFromClient, {.source = "192.0.2.7", .destination = "10.1.0.100", .ttl = 60}, 3, 4, 1400,
                 quote_of(tcp_frame(kToClient, to_client, between(80, 40000)), kWhole)),
           kClientDevice,
           error(kToMember, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 59}, 3, 4, 1400,
                 quote_of(tcp_frame(kFromServerSide, sent, between(8080, c.tcp)), kWhole)),
           kServerDevice},
          {"IPv6: packet too big",
           error(kFromClient6, {.source = "2001:db8::7", .destination = "fd01::100", .ttl = 60}, 2, 0, 1280,
                 quote_of(tcp_frame(kToClient6, to_client6, between(80, 40000)), kWhole)),
           kClientDevice,
           error(kToMember6, {.source = "fd02::1", .destination = "fd02::11", .ttl = 59}, 2, 0, 1280,
                 quote_of(tcp_frame(kFromServerSide6, sent6, between(8080, c.tcp6)), kWhole)),
           kServerDevice},
      },
      c.unit);
}

TEST(without_snat_the_member_sees_who_noticed_and_the_client_does_not) {
  Connected c;
  const Ip to_client = {.source = "10.1.0.101", .destination = "10.1.0.9", .ttl = 63};
  const Ip from_member = {.source = "10.2.0.11", .destination = "10.1.0.9", .ttl = 63};
  const Ip to_member = {.source = "10.1.0.9", .destination = "10.2.0.11", .ttl = 63};
  const Ip from_client = {.source = "10.1.0.9", .destination = "10.1.0.101", .ttl = 63};
  check_rows(
      {
          {"about what the member sent",
           error(kFromClient, {.source = "192.0.2.7", .destination = "10.1.0.101", .ttl = 60}, 3, 4, 1400,
                 quote_of(tcp_frame(kToClient, to_client, between(80, 40000)), 28)),
           kClientDevice,
           error(kToMember, {.source = "192.0.2.7", .destination = "10.2.0.11", .ttl = 59}, 3, 4, 1400,
                 quote_of(tcp_frame(kFromServerSide, from_member, between(8080, 40000)), 28)),
           kServerDevice},
          {"about what the client sent: to an address that is not ours, and yet our connection",
           error(kFromServerSide, {.source = "10.2.0.254", .destination = "10.1.0.9", .ttl = 60}, 3, 1, 0,
                 quote_of(tcp_frame(kToMember, to_member, between(40000, 8080)), 28)),
           kServerDevice,
           error(kToClient, {.source = "10.1.0.101", .destination = "10.1.0.9", .ttl = 59}, 3, 1, 0,
                 quote_of(tcp_frame(kFromClient, from_client, between(40000, 80)), 28)),
           kClientDevice},
      },
      c.unit);
}

TEST(an_error_changes_nothing_of_its_connection) {
  Unit unit;
  REQUIRE(unit.ready);
  unit.forward(client_tcp(kSyn), kClientDevice);
  Connection* const connection = unit.only();
  REQUIRE(connection != nullptr);
  const uint32_t seen = connection->last_seen;
  const uint64_t hop = connection->last_hop;
  const TcpState state = connection->state();
  unit.now += 10 * kSecond;
  const Bytes quote =
      quote_of(tcp_frame(kToClient, {.source = "10.1.0.100", .destination = "10.1.0.9"}, between(80, 40000)), 28);
  const Sent sent = unit.forward(
      error({kVirtualMac4, kRouterMac}, {.source = "192.0.2.7", .destination = "10.1.0.100"}, 3, 1, 0, quote),
      kClientDevice);
  CHECK_EQ(sent.verdict.kind, kForward);
  CHECK_EQ(connection->last_seen.load(), seen);
  CHECK_EQ(connection->last_hop.load(), hop);
  CHECK_EQ(connection->state(), state);
}

TEST(a_unit_forwards_errors_when_it_forwards_the_connection) {
  Connected c;
  const Bytes quote = quote_of(
      tcp_frame(kToMember, {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63}, between(c.tcp, 8080)), 28);
  const Bytes arriving = error(kFromServerSide, {.source = "10.2.0.254", .destination = "10.2.0.1"}, 11, 0, 0, quote);
  c.unit.become(Role::kHandingOver);
  const Sent sent = c.unit.forward(arriving, kServerDevice);
  CHECK_EQ(sent.verdict.kind, kForward);
  CHECK(std::equal(sent.frame.begin() + 6, sent.frame.begin() + 12, mac(kOwnMac[0]).begin()));
  c.unit.become(Role::kStandby);
  CHECK_DROPPED(c.unit.forward(arriving, kServerDevice), Drop::kStandby);
}

TEST(errors_that_are_not_forwarded) {
  Connected c;
  const Ip to_member = {.source = "10.2.0.1", .destination = "10.2.0.11", .ttl = 63};
  const Ip router = {.source = "10.2.0.254", .destination = "10.2.0.1"};
  const Bytes quote = quote_of(tcp_frame(kToMember, to_member, between(c.tcp, 8080)), 28);
  const Bytes stranger = quote_of(tcp_frame(kToMember, to_member, between(9, 8080)), 28);
  Ip later = to_member, expired = router, abroad = router;
  later.flags_fragment = 0x2010;
  expired.ttl = 1;
  abroad.destination = "192.0.2.1";
  Bytes wrong_sum = error(kFromServerSide, router, 3, 4, 1400, quote);
  wrong_sum[36] ^= 1;
  const Ip router6 = {.source = "fd02::fe", .destination = "fd02::1"};
  Ip later6 = {.source = "fd02::1", .destination = "fd02::11", .ttl = 63};
  later6.first_extension = 44;
  later6.extensions = {6, 0, 0, 0x11, 0, 0, 0, 9};
  const Bytes quote6 = quote_of(tcp_frame(kToMember6, later6, between(c.tcp6, 8080)), 70);
  Bytes version5 = quote;
  version5[0] = 0x55;
  const auto of = [&](uint8_t type, const Bytes& what) { return error(kFromServerSide, router, type, 0, 0, what); };
  struct {
    const char* sentence;
    Bytes frame;
    Drop why;
  } const rows[] = {
      {"about no connection", of(3, stranger), Drop::kIcmpUnknown},
      {"about no connection, to nobody of ours", error(kFromServerSide, abroad, 3, 0, 0, stranger), Drop::kTransit},
      {"about an echo reply of ours", of(3, quote_of(icmp_frame(kToMember, to_member, 0, 0, {0, 1, 0, 1, 5}), 28)),
       Drop::kIcmpUnknown},
      {"about a later fragment, which has no ports",
       of(3, quote_of(tcp_frame(kToMember, later, between(c.tcp, 8080)), 28)), Drop::kIcmpUnknown},
      {"about a later fragment of IPv6", error(kFromServerSide6, router6, 1, 0, 0, quote6), Drop::kIcmpUnknown},
      {"no inner header", of(3, Bytes(19, 0x45)), Drop::kTruncated},
      {"7 octets of the segment", of(3, quote_of(tcp_frame(kToMember, to_member, between(c.tcp, 8080)), 27)),
       Drop::kTruncated},
      {"an inner header of no version", of(3, version5), Drop::kBadHeader},
      {"a wrong checksum of its own", wrong_sum, Drop::kBadHeader},
      {"its own TTL used up", error(kFromServerSide, expired, 3, 0, 0, quote), Drop::kTtlExpired},
      {"a source quench (RFC 6633)", of(4, quote), Drop::kIcmp},
      {"a redirect", of(5, quote), Drop::kIcmp},
      {"two tags", error({kVirtualMac4, kRouterMac, {7, 8}}, router, 3, 0, 0, quote), Drop::kVlanTags},
  };
  for (const auto& row : rows) {
    const Sent sent = c.unit.forward(row.frame, kServerDevice);
    if (sent.verdict.kind != kDrop || sent.verdict.drop != row.why)
      CHECK_EQ(std::string("dropped"), std::string(row.sentence));
    CHECK_EQ(sent.verdict.drop, row.why);
    CHECK(c.unit.is_balanced());
  }
  c.unit.runtime->endpoints[0].next_hop = 0;
  const Bytes to_client =
      quote_of(tcp_frame(kToClient, {.source = "10.1.0.100", .destination = "10.1.0.9"}, between(80, 40000)), 28);
  CHECK_DROPPED(c.unit.forward(error(kFromClient, kToServer, 3, 1, 0, to_client), kClientDevice), Drop::kNoNeighbour);
}

}  // namespace
}  // namespace tandem::test
