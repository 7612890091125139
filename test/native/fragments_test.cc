// Packets in fragments: what follows what, in and out of order, and every bound.
#include "../../native/fragments.h"

#include <algorithm>
#include <array>
#include <thread>

#include "rows.h"

namespace tandem::test {
namespace {

const Link kToClient = {kClientMac, kVirtualMac4}, kToClient6 = {kClientMac, kVirtualMac6};
const Link kToMember = {kMemberMac[0], kVirtualMac4}, kToMember6 = {kMemberMac[0], kVirtualMac6};
const Link kFromMember = {kVirtualMac4, kMemberMac[0]}, kFromMember6 = {kVirtualMac6, kMemberMac[0]};

// A packet's IP payload: what udp_frame() or tcp_frame() puts behind the IP header.
Bytes payload_of(const Bytes& frame, bool v6) { return Bytes(frame.begin() + 14 + (v6 ? 40 : 20), frame.end()); }

// Octets [begin, end) of the payload as a fragment.
Bytes fragment(const Link& link, Ip ip, uint8_t protocol, const Bytes& payload, size_t begin, size_t end,
               uint32_t identification = 7) {
  const bool more = end < payload.size();
  const Bytes part(payload.begin() + static_cast<ptrdiff_t>(begin), payload.begin() + static_cast<ptrdiff_t>(end));
  if (!is_v6(ip.source)) {
    ip.identification = static_cast<uint16_t>(identification);
    ip.flags_fragment = static_cast<uint16_t>((more ? 0x2000 : 0) | begin / 8);
    return ethernet(link, 0x0800, ip_packet(ip, protocol, part));
  }
  ip.first_extension = 44;
  ip.extensions = {protocol, 0};
  put16(ip.extensions, static_cast<uint32_t>(begin | (more ? 1 : 0)));
  put32(ip.extensions, identification);
  return ethernet(link, 0x86dd, ip_packet(ip, protocol, part));
}

// A request in three fragments and the same as it leaves.
struct Request {
  explicit Request(bool v6 = false, uint8_t protocol = 17, uint32_t identification = 7, size_t bytes = 40)
      : v6(v6), protocol(protocol), identification(identification), text(bytes, 'x') {}

  Bytes whole(const Link& link, const Ip& ip, uint16_t from, uint16_t to) const {
    if (protocol == 17) return udp_frame(link, ip, {.source_port = from, .destination_port = to, .payload = text});
    return tcp_frame(link, ip, {.source_port = from, .destination_port = to, .flags = kSyn, .payload = text});
  }
  Bytes part(const Link& link, const Ip& ip, uint16_t from, uint16_t to, int number) const {
    const Bytes payload = payload_of(whole(link, ip, from, to), v6);
    const size_t cuts[] = {0, 24, 40, payload.size()};
    return fragment(link, ip, protocol, payload, cuts[number], cuts[number + 1], identification);
  }
  Bytes arriving(int number) const {
    return part(v6 ? kFromClient6 : kFromClient, v6 ? kToServer6 : kToServer, 40000, protocol == 17 ? 53 : 80, number);
  }
  Bytes leaving(uint16_t snat_port, int number) const {
    Ip ip = {.source = v6 ? "fd02::1" : "10.2.0.1", .destination = v6 ? "fd02::11" : "10.2.0.11", .ttl = 63};
    return part(v6 ? kToMember6 : kToMember, ip, snat_port, protocol == 17 ? 53 : 8080, number);
  }

  bool v6;
  uint8_t protocol;
  uint32_t identification;
  std::string text;
};

uint16_t snat_port_of(const Sent& first, bool v6) { return word_at(first.frame, v6 ? 62 : 34); }

// Whatever the order in which they come, what leaves is the three fragments of the translated packet.
TEST(fragments_follow_their_first_in_every_order) {
  std::array<int, 3> order = {0, 1, 2};
  do {
    for (const Request& request : {Request(false, 17), Request(false, 6), Request(true, 6)}) {
      Unit unit;
      REQUIRE(unit.ready);
      uint16_t snat_port = 0;
      std::vector<Bytes> left;
      for (const int number : order) {
        const Sent sent = unit.forward(request.arriving(number), kClientDevice);
        if (number == 0) snat_port = snat_port_of(sent, request.v6);
        if (sent.verdict.kind == kForward) left.push_back(sent.frame);
        CHECK_EQ(sent.verdict.kind, snat_port == 0 ? Verdict::Kind::kHold : kForward);
        for (const Sent& late : unit.released()) {
          CHECK_EQ(late.verdict.kind, kForward);
          CHECK_EQ(late.verdict.device, kServerDevice);
          left.push_back(late.frame);
        }
        CHECK(unit.is_balanced());
      }
      std::vector<Bytes> expected;
      for (const int number : {0, 1, 2}) expected.push_back(request.leaving(snat_port, number));
      std::sort(left.begin(), left.end());
      std::sort(expected.begin(), expected.end());
      REQUIRE(left.size() == 3);
      for (size_t i = 0; i < 3; ++i) CHECK_FRAME(left[i], expected[i]);
      CHECK_EQ(unit.fragments.packets(), 0u);
      CHECK_EQ(unit.fragments.held(), 0u);
      CHECK_EQ(unit.count(Count::kFragmentsForwarded), 2u);
      CHECK_EQ(unit.count(Count::kOpened), 1u);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(a_members_reply_in_fragments_reaches_the_client) {
  Unit unit;
  REQUIRE(unit.ready);
  const uint16_t snat_port = word_at(
      unit.forward(udp_frame(kFromClient, kToServer, {.source_port = 5353, .destination_port = 53}), kClientDevice)
          .frame,
      34);
  const std::string text(40, 'y');
  const Ip from = {.source = "10.2.0.11", .destination = "10.2.0.1"};
  const Ip to = {.source = "10.1.0.100", .destination = "10.1.0.9", .ttl = 63};
  const Bytes reply = payload_of(
      udp_frame(kFromMember, from, {.source_port = 53, .destination_port = snat_port, .payload = text}), false);
  const Bytes told =
      payload_of(udp_frame(kToClient, to, {.source_port = 53, .destination_port = 5353, .payload = text}), false);
  const Sent early = unit.forward(fragment(kFromMember, from, 17, reply, 24, reply.size()), kServerDevice);
  CHECK_EQ(early.verdict.kind, Verdict::Kind::kHold);
  const Sent first = unit.forward(fragment(kFromMember, from, 17, reply, 0, 24), kServerDevice);
  CHECK_FRAME(first.frame, fragment(kToClient, to, 17, told, 0, 24));
  const std::vector<Sent> late = unit.released();
  REQUIRE(late.size() == 1);
  CHECK_EQ(late[0].verdict.device, kClientDevice);
  CHECK_FRAME(late[0].frame, fragment(kToClient, to, 17, told, 24, told.size()));
}

TEST(a_fragment_that_is_all_of_its_packet_is_a_packet) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes payload = payload_of(
      tcp_frame(kFromClient6, kToServer6, {.source_port = 40000, .destination_port = 80, .flags = kSyn}), true);
  const Sent sent = unit.forward(fragment(kFromClient6, kToServer6, 6, payload, 0, payload.size()), kClientDevice);
  CHECK_EQ(sent.verdict.kind, kForward);
  const Ip to = {.source = "fd02::1", .destination = "fd02::11", .ttl = 63};
  const Bytes translated = payload_of(
      tcp_frame(kToMember6, to, {.source_port = snat_port_of(sent, true), .destination_port = 8080, .flags = kSyn}),
      true);
  CHECK_FRAME(sent.frame, fragment(kToMember6, to, 6, translated, 0, translated.size()));
  CHECK_EQ(unit.fragments.packets(), 0u);
}

TEST(an_identification_is_used_again_as_soon_as_its_packet_has_passed) {
  Unit unit;
  REQUIRE(unit.ready);
  const Request request;
  for (int round = 0; round < 3; ++round) {
    for (const int number : {0, 1, 2})
      CHECK_EQ(unit.forward(request.arriving(number), kClientDevice).verdict.kind, kForward);
  }
  CHECK_EQ(unit.fragments.packets(), 0u);
}

TEST(fragments_that_are_dropped) {
  const Bytes datagram = payload_of(Request().whole(kFromClient, kToServer, 40000, 53), false);
  const Bytes segment = payload_of(Request(false, 6).whole(kFromClient, kToServer, 40000, 80), false);
  const Bytes segment6 = payload_of(Request(true, 6).whole(kFromClient6, kToServer6, 40000, 80), true);
  const auto of = [](uint8_t protocol, const Bytes& payload, size_t begin, size_t end) {
    return fragment(kFromClient, kToServer, protocol, payload, begin, end);
  };
  Bytes beyond = of(17, datagram, 24, datagram.size());
  set16(beyond, 20, 0x1fff);
  set16(beyond, 24, 0);
  set16(beyond, 24, static_cast<uint16_t>(~reference_sum(Bytes(beyond.begin() + 14, beyond.begin() + 34))));
  Ip expired = kToServer;
  expired.ttl = 1;
  struct {
    const char* sentence;
    std::vector<Bytes> before;
    Bytes frame;
    Drop why;
  } const rows[] = {
      {"half a TCP header", {}, of(6, segment, 0, 16), Drop::kFragmentTiny},
      {"half a TCP header of IPv6", {}, fragment(kFromClient6, kToServer6, 6, segment6, 0, 16), Drop::kFragmentTiny},
      {"the other half (RFC 1858 section 3.2)", {}, of(6, segment, 8, 32), Drop::kFragmentTiny},
      {"a length that is no multiple of 8", {}, of(17, datagram, 0, 23), Drop::kBadHeader},
      {"nothing but headers", {}, of(17, datagram, 24, 24), Drop::kBadHeader},
      {"a payload beyond 65535 octets", {}, beyond, Drop::kBadHeader},
      {"the first again", {of(17, datagram, 0, 24)}, of(17, datagram, 0, 24), Drop::kFragmentOverlap},
      {"one octet that was there", {of(17, datagram, 0, 24)}, of(17, datagram, 16, 40), Drop::kFragmentOverlap},
      {"a first over one that waits", {of(17, datagram, 16, 40)}, of(17, datagram, 0, 24), Drop::kFragmentOverlap},
      {"a last one before what was there",
       {of(17, datagram, 0, 24), of(17, datagram, 32, 40)},
       of(17, Bytes(datagram.begin(), datagram.begin() + 32), 24, 32),
       Drop::kFragmentOverlap},
      {"one behind the last",
       {of(17, datagram, 0, 24), of(17, Bytes(datagram.begin(), datagram.begin() + 40), 32, 40)},
       of(17, datagram, 40, 48),
       Drop::kFragmentOverlap},
      {"of what is neither TCP nor UDP", {}, of(1, datagram, 0, 24), Drop::kFragment},
      {"its TTL used up",
       {of(17, datagram, 0, 24)},
       fragment(kFromClient, expired, 17, datagram, 24, 48),
       Drop::kTtlExpired},
  };
  for (const auto& row : rows) {
    Unit unit;
    REQUIRE(unit.ready);
    for (const Bytes& frame : row.before) unit.forward(frame, kClientDevice);
    const Sent sent = unit.forward(row.frame, kClientDevice);
    if (sent.verdict.kind != kDrop || sent.verdict.drop != row.why)
      CHECK_EQ(std::string("dropped"), std::string(row.sentence));
    CHECK_EQ(sent.verdict.drop, row.why);
    CHECK(unit.is_balanced());
  }
}

TEST(what_waits_for_a_first_that_is_refused_goes_with_it) {
  Unit unit;
  REQUIRE(unit.ready);
  const Bytes closed = payload_of(
      udp_frame(kFromClient, kToServer, {.source_port = 9, .destination_port = 99, .payload = std::string(40, 'x')}),
      false);
  const auto part = [&closed](size_t begin, size_t end) {
    return fragment(kFromClient, kToServer, 17, closed, begin, end);
  };
  CHECK_EQ(unit.forward(part(24, 40), kClientDevice).verdict.kind, Verdict::Kind::kHold);
  CHECK_DROPPED(unit.forward(part(0, 24), kClientDevice), Drop::kClosedPort);
  CHECK_EQ(unit.dropped(Drop::kFragment), 1u);
  CHECK_EQ(unit.fragments.held(), 0u);
  CHECK_DROPPED(unit.forward(part(40, closed.size()), kClientDevice), Drop::kFragment);
  CHECK(unit.released().empty());
  CHECK(unit.is_balanced());
}

TEST(fragments_that_wait_too_long_are_dropped) {
  Unit unit;
  REQUIRE(unit.ready);
  const Request request;
  CHECK_EQ(unit.forward(request.arriving(1), kClientDevice).verdict.kind, Verdict::Kind::kHold);
  unit.now += Fragments::kTimeout - 1;
  for (size_t shard = 0; shard < Fragments::kShards; ++shard) unit.fragments.expire(unit.now, &unit.counters);
  CHECK_EQ(unit.fragments.held(), 1u);
  unit.now += 1;
  for (size_t shard = 0; shard < Fragments::kShards; ++shard) unit.fragments.expire(unit.now, &unit.counters);
  CHECK_EQ(unit.fragments.held(), 0u);
  CHECK_EQ(unit.fragments.packets(), 0u);
  CHECK_EQ(unit.dropped(Drop::kFragmentTimeout), 1u);
  // And when nothing sweeps: the next packet of that identification begins anew.
  CHECK_EQ(unit.forward(request.arriving(1), kClientDevice).verdict.kind, Verdict::Kind::kHold);
  unit.now += Fragments::kTimeout;
  CHECK_EQ(unit.forward(request.arriving(0), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(unit.dropped(Drop::kFragmentTimeout), 2u);
  CHECK(unit.released().empty());
  CHECK(unit.is_balanced());
}

TEST(each_bound_has_its_drop) {
  Unit unit;
  REQUIRE(unit.ready);
  // Early fragments without a first: each shard holds so many.
  constexpr size_t kMany = 4 * Fragments::kShards * Fragments::kPackets;
  for (uint32_t i = 0; i < kMany; ++i) unit.forward(Request(true, 17, i).arriving(1), kClientDevice);
  CHECK_EQ(unit.fragments.held(), Fragments::kShards * Fragments::kHeld);
  CHECK_EQ(unit.fragments.packets(), unit.fragments.held());
  CHECK_EQ(unit.dropped(Drop::kFragmentsHeldFull), kMany - unit.fragments.held());
  CHECK(unit.is_balanced());
  // Packets whose last fragment never comes.
  for (uint32_t i = 0; i < kMany; ++i) unit.forward(Request(true, 6, kMany + i).arriving(0), kClientDevice);
  CHECK_EQ(unit.fragments.packets(), Fragments::kShards * Fragments::kPackets);
  CHECK(unit.dropped(Drop::kFragmentsFull) > 0);
  CHECK(unit.is_balanced());
  // A packet in many pieces, every other one missing.
  Unit other;
  const Bytes payload = payload_of(Request(false, 17, 7, 400).whole(kFromClient, kToServer, 40000, 53), false);
  for (size_t piece = 0; piece < Fragments::kRangesMax; ++piece)
    other.forward(fragment(kFromClient, kToServer, 17, payload, 16 * piece, 16 * piece + 8), kClientDevice);
  CHECK_EQ(other.count(Count::kFragmentsForwarded), Fragments::kRangesMax - 1);
  CHECK_DROPPED(other.forward(fragment(kFromClient, kToServer, 17, payload, 16 * Fragments::kRangesMax,
                                       16 * Fragments::kRangesMax + 8),
                              kClientDevice),
                Drop::kFragmentDisorder);
  // And one longer than what is held.
  const Bytes giant = payload_of(Request(false, 17, 8, 20000).whole(kFromClient, kToServer, 40000, 53), false);
  CHECK_DROPPED(other.forward(fragment(kFromClient, kToServer, 17, giant, 8, 10008, 8), kClientDevice),
                Drop::kFragmentsHeldFull);
}

// Fragments of one packet may come to any worker, in any order: each passes once, whoever meets it.
TEST(two_workers_share_the_fragments_of_every_packet) {
  Fragments fragments;
  REQUIRE(fragments.reserve());
  constexpr uint32_t kPackets = 20000, kParts = 4;
  struct Work {
    Counters counters;
    uint64_t passed = 0, held = 0, dropped = 0, released = 0;
  };
  std::array<Work, 2> works;
  const auto run = [&](size_t worker) {
    Work& work = works[worker];
    std::mt19937_64 random(seed() + worker);
    // Both walk the same packets; even parts are one's, odd the other's, and which comes first is chance.
    for (uint32_t number = 0; number < kPackets; ++number) {
      for (uint32_t step = 0; step < kParts / 2; ++step) {
        const uint32_t part = 2 * step + static_cast<uint32_t>(worker);
        FlowKey packet{};
        packet.words[4] = number;
        const uint64_t hash = (number * 0x9e3779b97f4a7c15u) ^ number;
        const wire::Fragment piece = {number, 17, part != kParts - 1, 8 * part, 8 * part + 8, 34};
        uint8_t memory[64] = {};
        const Frame frame = {memory, sizeof memory, 0, false, 0};
        const auto admission = part == 0 ? fragments.admit_first(packet, hash, piece, kSecond, &work.counters)
                                         : fragments.admit_later(packet, hash, piece, frame, kSecond, &work.counters);
        switch (admission.status) {
          case Fragments::Status::kPass:
            work.passed++;
            if (part == 0) fragments.resolve(worker, packet, hash, {.ports = number + 1});
            break;
          case Fragments::Status::kHeld:
            work.held++;
            break;
          case Fragments::Status::kDrop:
            work.dropped++;
            break;
        }
        Fragments::Released released[4];
        while (const size_t count = fragments.take_released(worker, released, 4)) {
          work.released += count;
          for (size_t i = 0; i < count; ++i) CHECK(released[i].followed.ports != 0);
          fragments.free_released(worker);
        }
      }
      if (random() % 64 == 0) std::this_thread::yield();
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  const uint64_t passed = works[0].passed + works[1].passed, held = works[0].held + works[1].held;
  const uint64_t dropped = works[0].dropped + works[1].dropped, released = works[0].released + works[1].released;
  CHECK_EQ(passed + held + dropped, uint64_t{kPackets} * kParts);
  // Nothing that was held is lost or given twice; without a drop every packet is complete and forgotten.
  CHECK_EQ(released + fragments.held(), held);
  if (dropped == 0) CHECK_EQ(fragments.packets(), 0u);
  CHECK(passed > 0);
}

// The same through the datapath: the first fragment comes to one worker, the others to another.
TEST(a_fragment_follows_a_first_that_came_to_another_worker) {
  Unit unit;
  REQUIRE(unit.ready);
  Counters counters;
  const auto traffic = std::make_unique<std::array<Traffic, kVirtualServersMax>>();
  unit.table.online(1);
  const auto elsewhere = [&](const Bytes& bytes) {
    Bytes memory(kFrameHeadroom + bytes.size() + kFrameTailroom);
    std::copy(bytes.begin(), bytes.end(), memory.begin() + kFrameHeadroom);
    Frame frame = {memory.data() + kFrameHeadroom, static_cast<uint32_t>(bytes.size()), kClientDevice, false, 0};
    ForwardContext context = unit.context();
    context.worker = 1;
    context.counters = &counters;
    context.traffic = traffic.get();
    Verdict verdict;
    forward_burst(context, &frame, 1, &verdict);
    unit.table.quiesce(1);
    return verdict.kind;
  };
  const Request request;
  CHECK_EQ(elsewhere(request.arriving(2)), Verdict::Kind::kHold);
  CHECK_EQ(unit.forward(request.arriving(0), kClientDevice).verdict.kind, kForward);
  CHECK_EQ(elsewhere(request.arriving(1)), kForward);
  CHECK_EQ(unit.released().size(), 1u);
  CHECK_EQ(unit.fragments.packets(), 0u);
  CHECK_EQ(unit.fragments.held(), 0u);
}

}  // namespace
}  // namespace tandem::test
