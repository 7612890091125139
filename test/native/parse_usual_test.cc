// The short way through a frame against the long one: whatever the short one knows, both know alike.
#include "../../native/wire/parse_usual.h"

#include <random>

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

using wire::Packet;

Packet parse(const Bytes& frame) {
  Packet packet;
  if (wire::parse_link(frame.data(), frame.size(), &packet)) wire::parse_network(frame.data(), frame.size(), &packet);
  return packet;
}

bool same(const Packet& one, const Packet& other) {
  return one.kind == other.kind && one.family == other.family && one.protocol == other.protocol &&
         one.tags == other.tags && one.tcp_flags == other.tcp_flags && one.ttl == other.ttl &&
         one.icmp_type == other.icmp_type && one.ethertype == other.ethertype && one.vlan == other.vlan &&
         one.network == other.network && one.transport == other.transport && one.end == other.end;
}

const Link kLink = {"02:00:00:00:00:01", "02:00:00:00:00:02"};
const Ip kIp = {.source = "10.1.0.9", .destination = "10.1.0.100"};

Bytes padded(Bytes frame) {
  frame.resize(std::max<size_t>(frame.size(), 60));
  return frame;
}

TEST(usual_frames_are_known) {
  for (const Bytes& frame :
       {padded(tcp_frame(kLink, kIp, {1000, 80, 0x10})), tcp_frame(kLink, kIp, {1000, 80, 0x18, 1, 2, "some payload"}),
        padded(udp_frame(kLink, kIp, {1000, 53}))}) {
    Packet packet;
    REQUIRE(wire::parse_usual(frame.data(), frame.size(), &packet));
    CHECK(same(packet, parse(frame)));
  }
}

TEST(changed_frames_are_known_alike_or_not_at_all) {
  std::mt19937_64 random(1);
  size_t known = 0;
  for (size_t round = 0; round < 200'000; ++round) {
    Bytes frame = round % 2 == 0 ? tcp_frame(kLink, kIp, {1000, 80, 0x18, 1, 2, "some payload"})
                                 : padded(udp_frame(kLink, kIp, {1000, 53, "some payload"}));
    for (size_t changes = random() % 4; changes > 0; --changes)
      frame[12 + random() % 42] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) frame.resize(random() % (frame.size() + 1));
    if (frame.size() >= 34) {  // or the header's checksum is all that is ever wrong
      Bytes header(frame.begin() + 14, frame.begin() + 34);
      set16(header, 10, 0);
      if (random() % 8 != 0) set16(frame, 24, static_cast<uint16_t>(~reference_sum(header)));
    }
    Packet packet;
    if (!wire::parse_usual(frame.data(), frame.size(), &packet)) continue;
    ++known;
    CHECK(same(packet, parse(frame)));
  }
  CHECK(known > 20'000);
}

}  // namespace
}  // namespace tandem::test
