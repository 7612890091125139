// Frames that nobody would send: random ones, truncated ones, valid ones with a few octets changed. Each must
// get exactly one verdict, in time, without a read or write outside its memory (run under the sanitizers).
#include <algorithm>
#include <vector>

#include "rows.h"

namespace tandem::test {
namespace {

constexpr int kRounds = 3000;  // bursts

using Random = std::mt19937_64;

// At least one frame for every branch: what is mutated begins as something that is understood.
std::vector<Bytes> seeds() {
  const Link v4 = {kVirtualMac4, kClientMac}, v6 = {kVirtualMac6, kClientMac};
  const Link from_member = {kVirtualMac4, kMemberMac[0]};
  const Ip to4 = {.source = "10.1.0.9", .destination = "10.1.0.100"};
  const Ip to6 = {.source = "fd01::9", .destination = "fd01::100"};
  Ip options = to4;
  options.options = {7, 4, 4, 0};
  Ip extended = to6;
  extended.first_extension = 0;
  extended.extensions = {43, 0, 5, 2, 0, 0, 1, 0, 60, 0, 2, 0, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0};
  Ip query = {.source = "fe80::1", .destination = "ff02::1", .ttl = 1};
  query.first_extension = 0;
  query.extensions = {58, 0, 5, 2, 0, 0, 1, 0};
  Bytes solicitation = {0, 0, 0, 0};
  put(solicitation, address("fd01::100"));
  const Ip asked = {.source = "fd01::9", .destination = "ff02::1:ff00:100", .ttl = 255};
  const Link multicast = {"33:33:ff:00:01:00", kClientMac}, broadcast = {"ff:ff:ff:ff:ff:ff", kClientMac};
  std::vector<Bytes> frames;
  for (const uint8_t flags : {0x02, 0x10, 0x11, 0x04, 0x12}) {
    const Tcp tcp = {.source_port = 40000, .destination_port = 80, .flags = flags, .payload = "hello"};
    for (const Link& link : {v4, Link{kVirtualMac4, kClientMac, {100}}, Link{kVirtualMac4, kClientMac, {7, 8}}}) {
      frames.push_back(tcp_frame(link, to4, tcp));
      frames.push_back(tcp_frame(link, options, tcp));
    }
    frames.push_back(tcp_frame(v6, to6, tcp));
    frames.push_back(tcp_frame(v6, extended, tcp));
    frames.push_back(tcp_frame(from_member, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                               {.source_port = 8080, .destination_port = 1024, .flags = flags}));
    frames.push_back(tcp_frame(v4, {.source = "10.1.0.9", .destination = "10.1.0.101"}, tcp));
    frames.push_back(tcp_frame(v4, to4, {.source_port = 9, .destination_port = 99, .flags = flags}));
  }
  frames.push_back(udp_frame(v4, to4, {.source_port = 5353, .destination_port = 53, .payload = "who?"}));
  // Whole packets in two fragments, and the second first.
  for (const uint32_t where : {0x2000u, 0x0002u}) {
    Ip part = to4, part6 = to6;
    part.flags_fragment = static_cast<uint16_t>(where);
    part6.first_extension = 44;
    part6.extensions = {17, 0, 0, static_cast<uint8_t>(where == 0x2000 ? 1 : 16), 0, 0, 0, 7};
    const Udp datagram = {.source_port = 5355, .destination_port = 53, .payload = "01234567"};
    frames.push_back(udp_frame(v4, part, datagram));
    frames.push_back(udp_frame(v6, part6, datagram));
  }
  Ip expired = to4;
  expired.ttl = 1;
  frames.push_back(tcp_frame(v4, expired, {.source_port = 40000, .destination_port = 80, .flags = 0x02}));
  frames.push_back(udp_frame(v4, to4, {.source_port = 5353, .destination_port = 53, .payload = std::string(60, 'x')}));
  frames.push_back(udp_frame(v4, to4, {.source_port = 5354, .destination_port = 53, .checksum = false}));
  frames.push_back(icmp_frame(v4, to4, 8, 0, {0, 1, 0, 1, 'x'}));
  frames.push_back(icmp_frame(v6, to6, 128, 0, {0, 1, 0, 1, 'x'}));
  // Errors about the connections that the frames above open; the first SNAT port is a guess.
  for (const Bytes& sent :
       {udp_frame(v4, {.source = "10.1.0.100", .destination = "10.1.0.9"},
                  {.source_port = 53, .destination_port = 5353, .payload = "me"}),
        tcp_frame(v4, {.source = "10.1.0.100", .destination = "10.1.0.9"},
                  {.source_port = 80, .destination_port = 40000, .flags = 0x10, .payload = "hello"}),
        tcp_frame(v6, {.source = "fd01::100", .destination = "fd01::9"},
                  {.source_port = 80, .destination_port = 40000, .flags = 0x10, .payload = "hello"})}) {
    Bytes body = {0, 0, 5, 0x14};
    put(body, Bytes(sent.begin() + 14, sent.end()));
    const bool is_ipv6 = sent[12] == 0x86;
    frames.push_back(icmp_frame(is_ipv6 ? v6 : v4, is_ipv6 ? to6 : to4, is_ipv6 ? 2 : 3, is_ipv6 ? 0 : 4, body));
  }
  frames.push_back(icmp_frame(multicast, asked, 135, 0, solicitation));
  frames.push_back(icmp_frame(v6, {.source = "fd01::9", .destination = "fd01::100", .ttl = 255}, 135, 0, solicitation));
  frames.push_back(icmp_frame({"33:33:00:00:00:01", kClientMac}, query, 130, 0, Bytes(20)));
  frames.push_back(arp_frame(broadcast, {1, kClientMac, "10.1.0.9", "00:00:00:00:00:00", "10.1.0.100"}));
  frames.push_back(ethernet(v4, 0x0800, ip_packet(to4, 112, {0x31, 51, 100, 1})));
  return frames;
}

// Right again after a mutation, so that it is not the IPv4 checksum alone that stops every changed frame.
void mend_ipv4_checksum(Bytes& frame) {
  const size_t network = frame.size() > 18 && frame[12] == 0x81 ? 18 : 14;
  if (frame.size() < network + 20) return;
  const size_t header_bytes = size_t{4} * (frame[network] & 0x0f);
  if (frame[network] >> 4 != 4 || header_bytes < 20 || network + header_bytes > frame.size()) return;
  set16(frame, network + 10, 0);
  const Bytes header(frame.begin() + static_cast<ptrdiff_t>(network),
                     frame.begin() + static_cast<ptrdiff_t>(network + header_bytes));
  set16(frame, network + 10, static_cast<uint16_t>(~reference_sum(header)));
}

Bytes mutated(const std::vector<Bytes>& from, Random& random) {
  Bytes frame = from[random() % from.size()];
  switch (random() % 5) {
    case 0:
      break;  // as it is
    case 1:
      frame.resize(random() % (frame.size() + 1));
      break;
    case 2:
      frame.resize(frame.size() + random() % 80);
      break;
    case 3:
      // Behind the destination address, so that it still comes to us.
      for (uint64_t changes = random() % 4 + 1; changes > 0; --changes) {
        frame[6 + random() % (frame.size() - 6)] = static_cast<uint8_t>(random());
      }
      mend_ipv4_checksum(frame);
      break;
    default:
      for (size_t i = 6; i < frame.size(); ++i) {
        if (random() % 8 == 0) frame[i] ^= static_cast<uint8_t>(1u << random() % 8);
      }
      mend_ipv4_checksum(frame);
      break;
  }
  return frame;
}

Bytes noise(Random& random) {
  Bytes frame(random() % 200);
  for (uint8_t& octet : frame) octet = static_cast<uint8_t>(random());
  if (frame.size() >= 14 && random() % 2 == 0) {
    const Bytes to = mac(random() % 2 == 0 ? kVirtualMac4 : kVirtualMac6);
    std::copy(to.begin(), to.end(), frame.begin());
    set16(frame, 12, random() % 2 == 0 ? 0x0800 : 0x86dd);
    if (frame.size() > 14) frame[14] = frame[12] == 0x08 ? 0x45 : 0x60;
    mend_ipv4_checksum(frame);
  }
  return frame;
}

TEST(whatever_arrives_gets_one_verdict_and_is_counted_once) {
  Random random = random_engine();
  auto policy = two_sided_policy();
  policy->virtual_servers[0].unknown = Unknown::kReset;
  policy->virtual_servers[1].unknown = Unknown::kAdopt;
  policy->addresses[0].closed = Closed::kReset;
  Unit unit(std::move(policy), 4096);
  REQUIRE(unit.ready);
  unit.runtime->mirror_wanted = true;
  for (auto& server : unit.runtime->virtual_servers) server.mirror = MirrorRule{MirrorMode::kAsync};

  unit.runtime->set_mtu(kServerDevice, 60);
  const std::vector<Bytes> from = seeds();
  SweepCursor cursor;
  uint64_t forwarded = 0, punted = 0, dropped = 0, held = 0, received = 0;
  for (int round = 0; round < kRounds; ++round) {
    constexpr Role kRoles[] = {Role::kActive, Role::kActive, Role::kActive, Role::kStandby, Role::kHandingOver};
    unit.become(kRoles[random() % 5]);
    unit.now += random() % (2 * kSecond);
    std::vector<std::pair<Bytes, uint8_t>> arriving;
    for (uint64_t frames = random() % kBurst + 1; frames > 0; --frames) {
      arriving.emplace_back(random() % 4 == 0 ? noise(random) : mutated(from, random),
                            static_cast<uint8_t>(random() % 2));
    }
    received += arriving.size();
    const std::vector<Sent> sent = unit.burst(arriving, random() % 8 == 0);
    for (size_t i = 0; i < sent.size(); ++i) {
      switch (sent[i].verdict.kind) {
        case Verdict::Kind::kForward:
          forwarded++;
          CHECK(sent[i].verdict.device < 2);
          CHECK(sent[i].frame.size() <= arriving[i].first.size() + kFrameTailroom);
          break;
        case Verdict::Kind::kPunt:
          punted++;
          CHECK(sent[i].frame == arriving[i].first);
          break;
        case Verdict::Kind::kDrop:
          dropped++;
          break;
        case Verdict::Kind::kHold:
          held++;
          break;
      }
    }
    for (const Sent& late : unit.released()) CHECK(late.verdict.kind == kForward || late.verdict.kind == kDrop);
    const ForwardContext with = unit.context();
    sweep(with, &cursor, 64);
    unit.table.quiesce(0);
  }
  CHECK(unit.is_balanced());
  CHECK_EQ(unit.count(Count::kReceived), received);
  CHECK_EQ(forwarded + punted + dropped + held, received);
  CHECK_EQ(unit.count(Count::kFragmentsHeld), held);
  CHECK_EQ(unit.count(Count::kPunted), punted);
  // The seeds are such that every way out was taken.
  for (const Count count :
       {Count::kForwarded, Count::kPunted, Count::kArpReplies, Count::kNeighbourAdvertisements, Count::kEchoReplies,
        Count::kResetsSent, Count::kOpened, Count::kAdopted, Count::kExpired, Count::kIcmpErrors, Count::kFragmentsHeld,
        Count::kFragmentsForwarded, Count::kTimeExceededSent, Count::kTooBigSent}) {
    CHECK(unit.count(count) > 0);
  }
  // And what was opened and closed is still in step.
  CHECK_EQ(unit.count(Count::kOpened) - unit.count(Count::kClosed), unit.table.used());
}

}  // namespace
}  // namespace tandem::test
