// What the kernel is told about unfinished frames: offsets, kinds, the longest frame on the wire.
#include "../../native/device/vnet_header.h"

#include <random>

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

const Link kLink = {"02:00:00:00:00:02", "02:00:00:00:00:01"};

struct Described {
  size_t longest;
  VnetHeader header;
};

Described describe(Bytes bytes, bool partial, uint16_t segment_bytes) {
  const Frame frame = {bytes.data(), static_cast<uint32_t>(bytes.size()), 0, partial, segment_bytes};
  Described described = {};
  described.longest = describe_offloads(frame, &described.header);
  return described;
}

Bytes tcp4(const std::string& payload, uint8_t flags = 0x10) {
  return tcp_frame(kLink, {"10.0.0.1", "10.0.0.2"}, {1, 2, flags, 1, 1, payload});
}

TEST(a_finished_frame_needs_nothing) {
  const Described got = describe(tcp4("hello"), false, 0);
  CHECK_EQ(got.longest, 59u);
  CHECK_EQ(got.header.flags, 0);
  CHECK_EQ(got.header.segment_kind, VnetHeader::kSegmentNone);
}

TEST(a_frame_of_any_protocol_that_is_finished_passes) {
  CHECK_EQ(describe(arp_frame(kLink, {1, "02:00:00:00:00:01", "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2"}), false, 0)
               .longest,
           42u);
  CHECK_EQ(describe(Bytes(3), false, 0).longest, 3u);
}

TEST(a_partial_checksum_is_found_behind_tags_options_and_extension_headers) {
  struct Row {
    const char* name;
    Bytes frame;
    size_t start, offset;
  };
  const Ip v4 = {"10.0.0.1", "10.0.0.2"}, v6 = {"fd00::1", "fd00::2"};
  Ip options = v4;
  options.options = Bytes(8, 1);
  Ip extended = v6;
  extended.first_extension = 0;
  extended.extensions = {6, 1, 5, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  Link tagged = kLink;
  tagged.vlans = {5};
  const Row rows[] = {
      {"TCP over IPv4", tcp_frame(kLink, v4, {1, 2, 0x10}), 34, 16},
      {"UDP over IPv4", udp_frame(kLink, v4, {1, 2}), 34, 6},
      {"TCP, tagged", tcp_frame(tagged, v4, {1, 2, 0x10}), 38, 16},
      {"TCP, options", tcp_frame(kLink, options, {1, 2, 0x10}), 42, 16},
      {"TCP over IPv6", tcp_frame(kLink, v6, {1, 2, 0x10}), 54, 16},
      {"TCP behind hop-by-hop options", tcp_frame(kLink, extended, {1, 2, 0x10}), 70, 16},
  };
  for (const Row& row : rows) {
    const Described got = describe(row.frame, true, 0);
    CHECK_EQ(got.longest, row.frame.size());
    CHECK_EQ(got.header.flags, VnetHeader::kNeedsChecksum);
    CHECK_EQ(got.header.checksum_start, row.start);
    CHECK_EQ(got.header.checksum_offset, row.offset);
    CHECK_EQ(got.header.segment_kind, VnetHeader::kSegmentNone);
  }
}

TEST(a_joined_frame_is_as_long_as_one_segment_with_its_headers) {
  const Described got = describe(tcp4(std::string(5000, 'x')), true, 1448);
  CHECK_EQ(got.longest, 54u + 1448u);
  CHECK_EQ(got.header.segment_kind, VnetHeader::kSegmentTcp4);
  CHECK_EQ(got.header.segment_bytes, 1448);
  CHECK_EQ(got.header.header_bytes, 54);
  const Described udp = describe(udp_frame(kLink, {"fd00::1", "fd00::2"}, {1, 2, std::string(3000, 'x')}), true, 1000);
  CHECK_EQ(udp.longest, 62u + 1000u);
  CHECK_EQ(udp.header.segment_kind, VnetHeader::kSegmentUdp);
}

TEST(only_a_joined_frame_with_cwr_says_that_cwr_is_for_the_first_segment) {
  constexpr uint8_t kAckCwr = 0x90;
  CHECK_EQ(describe(tcp4(std::string(3000, 'x'), kAckCwr), true, 1448).header.segment_kind,
           VnetHeader::kSegmentTcp4 | VnetHeader::kSegmentEcn);
  CHECK_EQ(describe(tcp4("x", kAckCwr), true, 0).header.segment_kind, VnetHeader::kSegmentNone);
}

TEST(an_offload_without_a_transport_that_has_it_is_refused) {
  CHECK_EQ(describe(icmp_frame(kLink, {"10.0.0.1", "10.0.0.2"}, 8, 0, Bytes(20)), true, 0).longest, 0u);
  CHECK_EQ(describe(arp_frame(kLink, {1, "02:00:00:00:00:01", "10.0.0.1", "00:00:00:00:00:00", "10.0.0.2"}), true, 0)
               .longest,
           0u);
  const Bytes whole = tcp4("hello");
  for (size_t bytes = 0; bytes < 54; bytes++) {
    CHECK_EQ(describe(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes)), true, 1448).longest, 0u);
  }
}

TEST(random_octets_are_described_without_reading_past_them) {
  std::mt19937_64 random = random_engine();
  for (int i = 0; i < 20'000; i++) {
    Bytes bytes = tcp_frame(kLink, {"fd00::1", "fd00::2"}, {1, 2, 0x10, 1, 1, "hello"});
    for (int change = 0; change < 4; change++)
      bytes[12 + random() % (bytes.size() - 12)] = static_cast<uint8_t>(random());
    bytes.resize(random() % (bytes.size() + 1));
    bytes.shrink_to_fit();
    describe(bytes, true, static_cast<uint16_t>(random()));
  }
}

}  // namespace
}  // namespace tandem::test
