// Goal: what a capture holds is what the filter wants of what came, went and was dropped, octet for octet, and what it
// does not hold is counted. Method: the unit of unit.h with a tap around its bursts, as a worker has one; the ring
// alone.
#include "../../native/capture.h"

#include "../../native/address_text.h"
#include "rows.h"

namespace tandem::test {
namespace {

// ---- the ring

struct Rung {
  CaptureRing ring;
  bool ready = ring.reserve();

  bool write(size_t bytes, uint8_t value) {
    uint8_t* memory = ring.claim(bytes);
    if (memory == nullptr) return false;
    std::memset(memory + sizeof(CaptureRing::Length), value, bytes - sizeof(CaptureRing::Length));
    return true;
  }
  // Length of the next record, of which every octet must be `value`; 0: there is none, or it has other octets.
  size_t read(uint8_t value) {
    const uint8_t* memory = ring.peek();
    if (memory == nullptr) return 0;
    CaptureRing::Length length;
    std::memcpy(&length, memory, sizeof length);
    for (size_t i = sizeof length; i < length; ++i)
      if (memory[i] != value) return 0;
    ring.release();
    return length;
  }
};

TEST(a_capture_ring_gives_records_when_they_are_submitted) {
  Rung rung;
  REQUIRE(rung.ready);
  CHECK(rung.write(24, 1) && rung.write(64, 2));
  CHECK(rung.ring.peek() == nullptr);
  rung.ring.submit();
  CHECK_EQ(rung.read(1), 24u);
  CHECK_EQ(rung.read(2), 64u);
  CHECK(rung.ring.peek() == nullptr);
}

TEST(a_full_capture_ring_refuses_and_takes_again_what_was_released) {
  Rung rung;
  REQUIRE(rung.ready);
  size_t written = 0;
  while (rung.write(65'536, static_cast<uint8_t>(written))) written++;
  CHECK_EQ(written, CaptureRing::kBytes / 65'536);
  CHECK(!rung.write(16, 9));
  rung.ring.submit();
  CHECK_EQ(rung.read(0), 65'536u);
  CHECK(rung.write(16, 9));
  rung.ring.submit();
  for (size_t i = 1; i < written; ++i) CHECK_EQ(rung.read(static_cast<uint8_t>(i)), 65'536u);
  CHECK_EQ(rung.read(9), 16u);
}

TEST(records_of_a_capture_ring_are_whole_wherever_its_end_comes) {
  Rung rung;
  REQUIRE(rung.ready);
  auto random = random_engine();
  std::vector<std::pair<size_t, uint8_t>> waiting;
  size_t next = 0, total = 0;
  while (total < 5 * CaptureRing::kBytes) {
    for (size_t burst = random() % 64; burst > 0; --burst) {
      const size_t bytes = 8 * (1 + random() % 8000);
      const auto value = static_cast<uint8_t>(random());
      if (!rung.write(bytes, value)) break;
      waiting.emplace_back(bytes, value);
      total += bytes;
    }
    rung.ring.submit();
    for (size_t burst = random() % 64; burst > 0 && next < waiting.size(); --burst, ++next)
      CHECK_EQ(rung.read(waiting[next].second), waiting[next].first);
  }
  for (; next < waiting.size(); ++next) CHECK_EQ(rung.read(waiting[next].second), waiting[next].first);
  CHECK(rung.ring.peek() == nullptr);
}

// ---- the tap

struct Taken {
  CaptureRecord head;
  Bytes frame;
};

struct Tapped : Unit {
  CaptureSlot slot;
  CaptureTap tap{&slot, 0};

  bool start(const CaptureFilter& filter) {
    auto capture = std::make_unique<Capture>(filter, 1, Nanos{1'000});
    const bool had = capture->reserve();
    slot.swap(std::move(capture));
    return had;
  }

  // As Worker::pass() has it; the frame with this index is refused by its device.
  std::vector<Sent> pass(const std::vector<std::pair<Bytes, uint8_t>>& arriving, size_t refused = kBurst) {
    std::vector<Bytes> memory;
    std::vector<Frame> frames;
    for (const auto& [octets, device] : arriving) {
      memory.push_back(Bytes(kFrameHeadroom));
      memory.back().insert(memory.back().end(), octets.begin(), octets.end());
      memory.back().resize(memory.back().size() + kFrameTailroom);
      frames.push_back({memory.back().data() + kFrameHeadroom, static_cast<uint32_t>(octets.size()), device, false, 0});
    }
    std::vector<Verdict> verdicts(frames.size());
    const bool capturing = tap.enter();
    if (capturing) tap.arrived(context(), frames.data(), frames.size());
    forward_burst(context(), frames.data(), frames.size(), verdicts.data());
    if (capturing && refused < frames.size()) tap.refused(refused, Drop::kDeviceFull);
    if (capturing) tap.settle(context(), frames.data(), verdicts.data(), frames.size());
    if (capturing) tap.leave();
    table.quiesce(0);
    std::vector<Sent> sent;
    for (size_t i = 0; i < frames.size(); ++i)
      sent.push_back({verdicts[i], Bytes(frames[i].data, frames[i].data + frames[i].bytes), false});
    return sent;
  }

  std::vector<Taken> take(size_t room = size_t{1} << 20) {
    Bytes into(room);
    const size_t bytes = slot.current()->take(into.data(), room);
    std::vector<Taken> all;
    for (size_t at = 0; at < bytes;) {
      Taken taken;
      std::memcpy(&taken.head, into.data() + at, sizeof taken.head);
      const uint8_t* frame = into.data() + at + sizeof taken.head;
      taken.frame = Bytes(frame, frame + taken.head.captured);
      at += taken.head.length;
      all.push_back(taken);
    }
    return all;
  }
};

Bytes syn(uint16_t port = 40'000, const char* client = "10.1.0.9", uint16_t to = 80) {
  Ip ip = kToServer;
  ip.source = client;
  return tcp_frame(kFromClient, ip, {.source_port = port, .destination_port = to, .flags = kSyn});
}

CaptureFilter of_client(const char* address, uint8_t bits) {
  CaptureFilter filter;
  filter.client = policy_address(address);
  filter.client_bits = bits;
  return filter;
}

TEST(a_frame_is_captured_as_it_came_and_as_it_went_with_its_connection) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start({}));
  unit.now = 5'000;
  const Bytes sent = unit.pass({{syn(), kClientDevice}})[0].frame;
  const auto taken = unit.take();
  REQUIRE(taken.size() == 2u);
  CHECK(taken[0].head.what == Captured::kReceived);
  CHECK(taken[0].frame == syn());
  CHECK_EQ(taken[0].head.device, kClientDevice);
  CHECK_EQ(taken[0].head.time, 6'000u);
  CHECK(taken[1].head.what == Captured::kSent);
  CHECK(taken[1].frame == sent);
  CHECK_EQ(taken[1].head.device, kServerDevice);
  CHECK_EQ(taken[0].head.virtual_server, unit.policy->virtual_servers[0].id);
  CHECK(taken[0].head.slot != CaptureRecord::kNoConnection);
  CHECK_EQ(taken[0].head.slot, taken[1].head.slot);
  CHECK_EQ(unit.slot.current()->wanted(kClientDevice), 1u);
  CHECK_EQ(unit.slot.current()->missed(kClientDevice), 0u);
}

TEST(a_member_s_answer_belongs_to_its_client_s_connection) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start(of_client("10.1.0.8", 30)));
  Bytes to_member = unit.pass({{syn(), kClientDevice}})[0].frame;
  const auto& ports = wire::header_in<wire::TcpHeader>(to_member.data(), 34);
  const auto& ip = wire::header_in<wire::Ipv4Header>(to_member.data(), 14);
  const auto text = [](const uint8_t* octets) {
    Address address{4, {}};
    std::memcpy(address.octets, octets, 4);
    return address_text(address);
  };
  const Bytes answer =
      tcp_frame({kVirtualMac4, kMemberMac[0]}, {.source = text(ip.destination), .destination = text(ip.source)},
                {.source_port = ports.destination_port.host(),
                 .destination_port = ports.source_port.host(),
                 .flags = kSyn | kAck});
  unit.pass({{answer, kServerDevice}, {syn(40'001, "10.1.0.12"), kClientDevice}});
  const auto taken = unit.take();
  REQUIRE(taken.size() == 4u);
  CHECK(taken[2].frame == answer);
  CHECK(taken[3].head.what == Captured::kSent);
  CHECK_EQ(taken[3].head.device, kClientDevice);
  for (const Taken& each : taken) CHECK_EQ(each.head.slot, taken[0].head.slot);
}

TEST(a_dropped_frame_is_captured_once_with_its_reason) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start(of_client("10.1.0.9", 32)));
  unit.pass({{syn(40'000, "10.1.0.9", 81), kClientDevice}, {syn(40'000, "10.1.0.10", 81), kClientDevice}});
  Bytes broken = syn();
  broken[14 + 8] ^= 1;  // its TTL, and so the header's checksum
  unit.pass({{broken, kClientDevice}});
  const auto taken = unit.take();
  REQUIRE(taken.size() == 2u);
  CHECK(taken[0].head.what == Captured::kDropped);
  CHECK(taken[0].head.drop == Drop::kClosedPort);
  CHECK_EQ(taken[0].head.slot, CaptureRecord::kNoConnection);
  CHECK(taken[1].head.drop == Drop::kBadHeader);
  CHECK(taken[1].frame == broken);
}

TEST(a_frame_that_its_device_refuses_is_captured_as_such) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start({}));
  unit.pass({{syn(), kClientDevice}, {syn(40'001), kClientDevice}}, 1);
  const auto taken = unit.take();
  REQUIRE(taken.size() == 4u);
  CHECK(taken[1].head.what == Captured::kReceived);
  CHECK(taken[2].head.what == Captured::kSent);
  CHECK(taken[3].head.what == Captured::kUnsent);
  CHECK(taken[3].head.drop == Drop::kDeviceFull);
}

TEST(a_capture_of_a_virtual_server_has_its_packets_alone) {
  Tapped unit;
  CaptureFilter filter;
  filter.virtual_server = unit.policy->virtual_servers[0].id;
  REQUIRE(unit.ready && unit.start(filter));
  unit.pass(
      {{udp_frame(kFromClient, kToServer, {.source_port = 40'000, .destination_port = 53, .payload = "?"}),
        kClientDevice},
       {syn(40'000, "10.1.0.9", 81), kClientDevice},
       {tcp_frame(kFromClient, kToServer, {.source_port = 7, .destination_port = 80, .flags = kAck}), kClientDevice},
       {syn(), kClientDevice}});
  const auto taken = unit.take();
  REQUIRE(taken.size() == 3u);
  CHECK(taken[0].head.what == Captured::kDropped);  // to it, and of no connection
  CHECK(taken[0].head.drop == Drop::kUnknown);
  CHECK(taken[1].head.what == Captured::kReceived);
  CHECK(taken[2].head.what == Captured::kSent);
}

TEST(what_is_left_to_the_kernel_is_not_captured) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start({}));
  Bytes others = syn();
  others[5] ^= 0xff;
  unit.pass({{others, kClientDevice},
             {arp_frame({"ff:ff:ff:ff:ff:ff", kClientMac}, {.operation = 1,
                                                            .sender_mac = kClientMac,
                                                            .sender = "10.1.0.9",
                                                            .target_mac = "00:00:00:00:00:00",
                                                            .target = "10.1.0.77"}),
              kClientDevice}});
  CHECK_EQ(unit.take().size(), 0u);
}

TEST(a_prefix_of_either_family_ends_at_any_bit) {
  const CaptureFilter four = of_client("10.1.0.8", 30);
  CHECK(four.is_client(4, policy_address("10.1.0.11").octets));
  CHECK(!four.is_client(4, policy_address("10.1.0.12").octets));
  CHECK(!four.is_client(6, policy_address("a01:8::").octets));
  const CaptureFilter six = of_client("2001:db8::", 33);
  CHECK(six.is_client(6, policy_address("2001:db8:7fff::1").octets));
  CHECK(!six.is_client(6, policy_address("2001:db8:8000::1").octets));
  CHECK(of_client("0.0.0.0", 0).is_client(4, policy_address("203.0.113.1").octets));
}

TEST(a_frame_is_cut_at_the_snaplen_and_its_length_told) {
  Tapped unit;
  CaptureFilter filter;
  filter.snaplen = 20;
  REQUIRE(unit.ready && unit.start(filter));
  unit.pass({{syn(), kClientDevice}});
  const auto taken = unit.take();
  REQUIRE(taken.size() == 2u);
  CHECK_EQ(taken[0].head.original, syn().size());
  const Bytes whole = syn();
  CHECK(taken[0].frame == Bytes(whole.begin(), whole.begin() + 20));
}

TEST(frames_beyond_the_ring_are_missed_and_counted_and_forwarded_all_the_same) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start({}));
  const std::vector<std::pair<Bytes, uint8_t>> burst(kBurst, {syn(), kClientDevice});
  uint64_t passes = 0;
  while (unit.slot.current()->missed(kClientDevice) == 0) {
    REQUIRE(passes < 10'000u);
    unit.pass(burst);
    passes++;
  }
  const auto before = unit.slot.current()->missed(kClientDevice);
  unit.pass(burst);
  CHECK_EQ(unit.slot.current()->missed(kClientDevice), before + kBurst);
  CHECK_EQ(unit.count(Count::kForwarded), (passes + 1) * kBurst);

  uint64_t taken = 0;
  while (const size_t more = unit.take().size()) taken += more;
  const Capture& capture = *unit.slot.current();
  const uint64_t wanted = capture.wanted(kClientDevice) + capture.wanted(kServerDevice);
  CHECK_EQ(taken, wanted - capture.missed(kClientDevice) - capture.missed(kServerDevice));
  CHECK_EQ(wanted, 2 * (passes + 1) * kBurst);
  unit.pass({{syn(), kClientDevice}});
  CHECK_EQ(unit.take().size(), 2u);
}

TEST(nothing_is_captured_behind_the_end_of_a_capture) {
  Tapped unit;
  REQUIRE(unit.ready && unit.start({}));
  unit.slot.swap(nullptr);
  CHECK(!unit.tap.enter());
  CHECK(unit.pass({{syn(), kClientDevice}})[0].verdict.kind == Verdict::Kind::kForward);
  CHECK(unit.slot.current() == nullptr);
}

}  // namespace
}  // namespace tandem::test
