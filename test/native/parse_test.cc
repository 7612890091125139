// Rows of packets that parse() must take apart, or refuse for a named reason.
#include "../../native/wire/parse.h"

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

using wire::Fault;
using wire::Packet;
using wire::PacketKind;

constexpr Link kLink = {"00:00:5e:00:01:33", "02:00:00:00:00:09"};

Packet parse(const Bytes& frame) {
  // A buffer of the exact size, so that the address sanitizer sees every byte read too many.
  const Bytes exact(frame);
  Packet packet;
  if (wire::parse_link(exact.data(), exact.size(), &packet)) wire::parse_network(exact.data(), exact.size(), &packet);
  return packet;
}

void check_fault(const Bytes& frame, Fault fault) {
  const Packet packet = parse(frame);
  CHECK_EQ(packet.kind, PacketKind::kFault);
  CHECK_EQ(packet.fault, fault);
}

const Ip kIpv4 = {.source = "10.1.0.9", .destination = "10.1.0.100"};
const Ip kIpv6 = {.source = "fd01::9", .destination = "fd01::100"};
const Tcp kSyn = {.source_port = 40000, .destination_port = 80, .flags = 0x02};

TEST(parse_ipv4_tcp) {
  const Packet packet = parse(tcp_frame(kLink, kIpv4, kSyn));
  CHECK_EQ(packet.kind, PacketKind::kTcp);
  CHECK_EQ(packet.family, 4);
  CHECK_EQ(packet.ttl, 64);
  CHECK_EQ(packet.network, 14);
  CHECK_EQ(packet.transport, 34);
  CHECK_EQ(packet.end, 54u);
  CHECK_EQ(packet.tcp_flags, 0x02);
  CHECK_EQ(packet.tags, 0);
}

TEST(parse_one_and_two_vlan_tags) {
  Packet packet = parse(tcp_frame({kLink.destination, kLink.source, {0x6064}}, kIpv4, kSyn));
  CHECK_EQ(packet.kind, PacketKind::kTcp);
  CHECK_EQ(packet.tags, 1);
  CHECK_EQ(packet.vlan, 0x064);
  CHECK_EQ(packet.transport, 38);
  packet = parse(tcp_frame({kLink.destination, kLink.source, {7, 8}, 0x88a8}, kIpv4, kSyn));
  CHECK_EQ(packet.kind, PacketKind::kTcp);
  CHECK_EQ(packet.tags, 2);
  CHECK_EQ(packet.vlan, 7);
}

TEST(a_third_vlan_tag_is_no_ip) {
  CHECK_EQ(parse(tcp_frame({kLink.destination, kLink.source, {1, 2, 3}}, kIpv4, kSyn)).kind, PacketKind::kNotIp);
}

TEST(parse_ipv4_options) {
  Ip ip = kIpv4;
  ip.options = {1, 1, 1, 0};
  const Packet packet = parse(tcp_frame(kLink, ip, kSyn));
  CHECK_EQ(packet.kind, PacketKind::kTcp);
  CHECK_EQ(packet.transport, 38);
}

TEST(padding_behind_the_ip_packet_is_not_part_of_it) {
  Bytes frame = tcp_frame(kLink, kIpv4, kSyn);
  frame.resize(60);
  CHECK_EQ(parse(frame).end, 54u);
}

TEST(parse_udp_and_icmp_and_others) {
  CHECK_EQ(parse(udp_frame(kLink, kIpv4, {.source_port = 1, .destination_port = 2})).kind, PacketKind::kUdp);
  CHECK_EQ(parse(udp_frame(kLink, kIpv6, {.source_port = 1, .destination_port = 2})).kind, PacketKind::kUdp);
  CHECK_EQ(parse(icmp_frame(kLink, kIpv4, 8, 0, {0, 1, 0, 1})).kind, PacketKind::kIcmp);
  CHECK_EQ(parse(icmp_frame(kLink, kIpv6, 128, 0, {0, 1, 0, 1})).icmp_type, 128);
  CHECK_EQ(parse(ethernet(kLink, 0x0800, ip_packet(kIpv4, 112, {0, 0}))).kind, PacketKind::kOther);
  CHECK_EQ(parse(ethernet(kLink, 0x88cc, {1, 2, 3})).kind, PacketKind::kNotIp);
}

TEST(parse_ipv6_extension_headers) {
  Ip ip = kIpv6;
  ip.first_extension = 0;
  ip.extensions = {43, 0, 5, 2,  0, 0, 1, 0,                           // hop-by-hop, router alert
                   60, 0, 2, 0,  0, 0, 0, 0,                           // routing, no segments left
                   6,  1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};  // destination options, padded
  const Packet packet = parse(tcp_frame(kLink, ip, kSyn));
  CHECK_EQ(packet.kind, PacketKind::kTcp);
  CHECK_EQ(packet.transport, 14 + 40 + 32);
  CHECK_EQ(packet.tcp_flags, 0x02);
}

TEST(segments_left_hide_the_destination) {
  Ip ip = kIpv6;
  ip.first_extension = 43;
  ip.extensions = {6, 0, 0, 1, 0, 0, 0, 0};
  check_fault(tcp_frame(kLink, ip, kSyn), Fault::kExtensionHeaders);
}

TEST(extension_headers_are_bounded) {
  Ip ip = kIpv6;
  ip.first_extension = 60;
  for (size_t i = 0; i < wire::kExtensionHeadersMax; ++i) put(ip.extensions, {60, 0, 1, 4, 0, 0, 0, 0});
  ip.extensions[ip.extensions.size() - 8] = 6;
  CHECK_EQ(parse(tcp_frame(kLink, ip, kSyn)).kind, PacketKind::kTcp);
  put(ip.extensions, {6, 0, 1, 4, 0, 0, 0, 0});
  ip.extensions[ip.extensions.size() - 16] = 60;
  check_fault(tcp_frame(kLink, ip, kSyn), Fault::kExtensionHeaders);
}

TEST(authentication_header_hides_the_transport) {
  Ip ip = kIpv6;
  ip.first_extension = 51;
  ip.extensions = {6, 4, 0, 0, 0, 0, 0, 0};
  check_fault(tcp_frame(kLink, ip, kSyn), Fault::kExtensionHeaders);
}

TEST(fragments_are_named) {
  Ip ip = kIpv4;
  ip.flags_fragment = 0x2000;  // first
  check_fault(tcp_frame(kLink, ip, kSyn), Fault::kFragment);
  ip.flags_fragment = 0x0010;  // last
  check_fault(tcp_frame(kLink, ip, kSyn), Fault::kFragment);
  Ip v6 = kIpv6;
  v6.first_extension = 44;
  v6.extensions = {6, 0, 0, 1, 0, 0, 0, 1};
  check_fault(tcp_frame(kLink, v6, kSyn), Fault::kFragment);
}

TEST(wrong_headers_are_named) {
  const Bytes good = tcp_frame(kLink, kIpv4, kSyn);
  Bytes frame = good;
  frame[14] = 0x65;  // version
  check_fault(frame, Fault::kBadHeader);
  frame = good;
  frame[14] = 0x44;  // header length below 20
  check_fault(frame, Fault::kBadHeader);
  frame = good;
  frame[22]--;  // TTL, so the checksum is wrong
  check_fault(frame, Fault::kBadHeader);
  frame = good;
  frame[34 + 12] = 4 << 4;  // TCP header length below 20
  check_fault(frame, Fault::kBadHeader);
  frame = good;
  frame[34 + 12] = 6 << 4;  // TCP header beyond the packet
  check_fault(frame, Fault::kTruncated);
  frame = udp_frame(kLink, kIpv4, {.source_port = 1, .destination_port = 2});
  frame[34 + 5] = 7;  // UDP length below its header
  check_fault(frame, Fault::kBadHeader);
  frame[34 + 5] = 9;  // UDP length beyond the packet
  check_fault(frame, Fault::kTruncated);
}

TEST(every_truncation_is_named) {
  for (const Bytes& whole :
       {tcp_frame({kLink.destination, kLink.source, {5}}, kIpv4, kSyn), tcp_frame(kLink, kIpv6, kSyn),
        udp_frame(kLink, kIpv4, {.source_port = 1, .destination_port = 2}),
        arp_frame(kLink, {1, "02:00:00:00:00:09", "10.1.0.9", "00:00:00:00:00:00", "10.1.0.1"})}) {
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      check_fault(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes)), Fault::kTruncated);
    }
  }
}

}  // namespace
}  // namespace tandem::test
