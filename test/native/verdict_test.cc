// What is dropped and by which name, what is the kernel's, and what a unit does that is not active.
#include "../../native/forward.h"
#include "rows.h"

namespace tandem::test {
namespace {

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
  Ip nobodys = kToServer;
  nobodys.source = "0.0.0.0";
  Ip to_itself = kToServer;
  to_itself.source = to_itself.destination;
  Ip fragment = kToServer;
  fragment.flags_fragment = 0x2000;
  const Ip to_floating = {.source = "10.2.0.11", .destination = "10.2.0.1"};
  const Ip abroad = {.source = "10.1.0.9", .destination = "192.0.2.1"};
  const Row rows[] = {
      {"data of no known connection", client_tcp(kAck, "hello"), 0, Drop::kUnknown},
      {"a SYN-ACK opens nothing", client_tcp(kSyn | kAck), 0, Drop::kUnknown},
      {"a RST of no known connection", client_tcp(kRst), 0, Drop::kUnknown},
      {"no virtual server on this port", tcp(kToServer, 40000, 81, kSyn), 0, Drop::kClosedPort},
      {"nor for UDP", udp_frame(kFromClient, kToServer, {.source_port = 9, .destination_port = 80}), 0,
       Drop::kClosedPort},
      {"a member's segment of no known connection", tcp(to_floating, 8080, 2000, kAck), 1, Drop::kUnknownReturn},
      {"somebody else's", tcp(to_floating, 8081, 2000, kAck), 1, Drop::kClosedPort},
      {"not our address", tcp(abroad, 40000, 80, kSyn), 0, Drop::kTransit},
      {"nor with ICMP", icmp_frame(kFromClient, abroad, 8, 0, {0, 1, 0, 1}), 0, Drop::kTransit},
      {"from an address that no host has", tcp(nobodys, 40000, 80, kSyn), 0, Drop::kMartian},
      {"nor with ICMP", icmp_frame(kFromClient, nobodys, 8, 0, {0, 1, 0, 1}), 0, Drop::kMartian},
      {"from the address that it is sent to", tcp(to_itself, 80, 80, kSyn), 0, Drop::kMartian},
      {"a fragment of an odd length", tcp(fragment, 40000, 80, kSyn), 0, Drop::kBadHeader},
      {"a wrong IPv4 checksum", bad_sum, 0, Drop::kBadHeader},
      {"cut short", shortened, 0, Drop::kTruncated},
      {"less than an Ethernet header", Bytes(kOwnMac[0], kOwnMac[0] + 13), 0, Drop::kTruncated},
      {"VRRP by unicast", ethernet(kFromClient, 0x0800, ip_packet(kToServer, 112, {0x31, 51, 100, 1})), 0,
       Drop::kProtocol},
      {"an ICMP error that quotes nothing", icmp_frame(kFromClient, kToServer, 3, 3, {0, 0, 0, 0}), 0,
       Drop::kTruncated},
      {"a redirect", icmp_frame(kFromClient, kToServer, 5, 1, Bytes(36)), 0, Drop::kIcmp},
      {"an echo reply", icmp_frame(kFromClient6, kToServer6, 129, 0, {0, 1, 0, 1}), 0, Drop::kIcmp},
  };
  for (const Row& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    const Sent sent = unit.forward(row.frame, row.device);
    if (sent.verdict.kind != kDrop || sent.verdict.drop != row.why)
      CHECK_EQ(std::string("dropped"), std::string(row.sentence));
    CHECK_EQ(sent.verdict.drop, row.why);
    CHECK_EQ(unit.dropped(row.why), 1u);
    CHECK(unit.is_balanced());
    CHECK_EQ(unit.table.used(), 0u);
  }
}

TEST(packets_of_a_known_connection_that_go_no_further_change_nothing_of_it) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(unit.forward(client_tcp(kSyn), kClientDevice).frame, 34);
  Ip from_client = kToServer;
  from_client.ttl = 1;
  // Each sender is told, on the device it sent on.
  const Sent to_client =
      unit.forward(tcp_frame(kFromClient, from_client, {.source_port = 40000, .destination_port = 80, .flags = kRst}),
                   kClientDevice);
  CHECK_EQ(to_client.verdict.kind, kForward);
  CHECK_EQ(to_client.verdict.device, kClientDevice);
  const Sent to_member = unit.forward(
      tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1", .ttl = 0},
                {.source_port = 8080, .destination_port = snat_port, .flags = kSyn | kAck}),
      kServerDevice);
  CHECK_EQ(to_member.verdict.kind, kForward);
  CHECK_EQ(to_member.verdict.device, kServerDevice);
  CHECK_EQ(unit.count(Count::kTimeExceededSent), 2u);
  unit.runtime->endpoints[0].next_hop = 0;
  CHECK_DROPPED(unit.forward(client_tcp(kAck), kClientDevice), Drop::kNoNeighbour);
  CHECK_EQ(unit.only()->state(), TcpState::kSynSent);
  CHECK_EQ((*unit.runtime->traffic[0])[0].ways[0].packets.load(), 1u);
  CHECK(unit.is_balanced());
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
      {"a VRRP advert",
       ethernet({"01:00:5e:00:00:12", kClientMac}, 0x0800,
                ip_packet({.source = "10.1.0.3", .destination = "224.0.0.18", .ttl = 255}, 112, {0x31}))},
      {"our own frame come back", tcp_frame({kVirtualMac4, kVirtualMac4}, kToServer, syn)},
      {"ARP for somebody else",
       arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac}, {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.77"})},
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
  CHECK_DROPPED(
      unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kSyn}),
                   kClientDevice),
      Drop::kStandby);
  CHECK_DROPPED(unit.forward(icmp_frame(kFromClient, kToServer, 8, 0, {0, 1, 0, 1}), kClientDevice), Drop::kStandby);
  CHECK_DROPPED(
      unit.forward(arp_frame(broadcast, {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"}), kClientDevice),
      Drop::kNotAsked);
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
  CHECK_DROPPED(
      unit.forward(tcp_frame(kFromClient, kToServer, {.source_port = 1, .destination_port = 80, .flags = kSyn}),
                   kClientDevice),
      Drop::kHandingOver);
  CHECK_DROPPED(unit.forward(arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac},
                                       {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"}),
                             kClientDevice),
                Drop::kNotAsked);
}

}  // namespace
}  // namespace tandem::test
