// Unfinished checksums: which frames have one, and what finishing makes of them.
#include "../../native/device/finish_checksum.h"

#include <random>

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

const Link kLink = {"00:00:5e:00:01:33", "02:00:00:00:00:01"};
const Ip kIpv4 = {"10.1.0.50", "10.1.0.100"};
const Ip kIpv6 = {"fd01::50", "fd01::100"};

Frame frame_of(Bytes& bytes) { return {bytes.data(), static_cast<uint32_t>(bytes.size()), 0, false, 0}; }

bool looks_partial(Bytes bytes) { return has_partial_checksum(frame_of(bytes)); }

// A whole frame, and the same as a sender leaves it to its NIC.
struct Pair {
  Bytes whole, partial;
};

// `at`: the checksum's place; `transport`: where what is under it begins.
Pair pair_of(const Bytes& whole, const Ip& ip, uint8_t protocol, size_t transport, size_t at, size_t padding) {
  Bytes pseudo;
  put(pseudo, address(ip.source));
  put(pseudo, address(ip.destination));
  put32(pseudo, static_cast<uint32_t>(whole.size() - transport));
  put32(pseudo, protocol);
  Pair pair = {whole, whole};
  set16(pair.partial, transport + at, reference_sum(pseudo));
  // What stands behind the packet on the wire is under no checksum.
  for (size_t i = 0; i < padding; i++) {
    pair.whole.push_back(0x5a);
    pair.partial.push_back(0x5a);
  }
  return pair;
}

TEST(an_unfinished_checksum_is_seen_and_finished) {
  std::mt19937_64 random = random_engine();
  for (int i = 0; i < 2'000; i++) {
    const Ip& ip = random() % 2 == 0 ? kIpv4 : kIpv6;
    const size_t tags = random() % 3;
    Link link = kLink;
    for (size_t tag = 0; tag < tags; tag++) link.vlans.push_back(static_cast<uint16_t>(random() % 4095));
    const size_t transport = 14 + 4 * tags + (is_v6(ip.source) ? 40 : 20);
    std::string payload(random() % 1400, '\0');
    for (char& octet : payload) octet = static_cast<char>(random());
    const auto port = [&] { return static_cast<uint16_t>(random()); };
    const Pair pair =
        random() % 2 == 0
            ? pair_of(tcp_frame(link, ip, {port(), port(), 0x10, 1, 1, payload}), ip, 6, transport, 16, i % 8)
            : pair_of(udp_frame(link, ip, {port(), port(), payload}), ip, 17, transport, 6, i % 8);
    CHECK(looks_partial(pair.partial));
    Bytes finished = pair.partial;
    CHECK(finish_checksum(frame_of(finished)));
    CHECK_EQ(hex(finished), hex(pair.whole));
    // A finished one stays what it is: taking it for unfinished by chance does no harm.
    CHECK(finish_checksum(frame_of(finished)));
    CHECK_EQ(hex(finished), hex(pair.whole));
  }
}

TEST(a_finished_checksum_is_seldom_taken_for_an_unfinished_one) {
  int taken = 0;
  for (uint16_t port = 0; port < 2'000; port++) {
    taken += looks_partial(tcp_frame(kLink, kIpv4, {port, 80, 0x10, 1, 1, "hello"})) ? 1 : 0;
  }
  CHECK(taken < 3);
}

TEST(a_udp_sum_of_zero_is_sent_as_all_ones) {
  // The payload makes up for everything else under the checksum.
  Bytes summed = address("10.1.0.50");
  put(summed, address("10.1.0.100"));
  put32(summed, 10 + 17);
  put16(summed, 7);
  put16(summed, 9);
  put16(summed, 10);
  const uint16_t rest = static_cast<uint16_t>(~reference_sum(summed));
  Bytes frame = udp_frame(kLink, kIpv4, {7, 9, {static_cast<char>(rest >> 8), static_cast<char>(rest)}});
  set16(frame, 14 + 20 + 6, 0x1234);
  CHECK(finish_checksum(frame_of(frame)));
  CHECK_EQ(frame[14 + 20 + 6] << 8 | frame[14 + 20 + 7], 0xffff);
}

TEST(what_is_neither_tcp_nor_udp_is_not_finished) {
  Bytes icmp = icmp_frame(kLink, kIpv4, 8, 0, Bytes(20));
  const Bytes before = icmp;
  CHECK(!looks_partial(icmp));
  CHECK(!finish_checksum(frame_of(icmp)));
  CHECK(icmp == before);
  Bytes fragment = udp_frame(kLink, {"10.0.0.1", "10.0.0.2", 64, 1, 0x2000}, {1, 2, "part"});
  CHECK(!finish_checksum(frame_of(fragment)));
}

TEST(random_octets_are_finished_without_touching_what_is_past_them) {
  std::mt19937_64 random = random_engine();
  for (int i = 0; i < 20'000; i++) {
    Bytes bytes = tcp_frame(kLink, kIpv6, {1, 2, 0x10, 1, 1, "hello"});
    for (int change = 0; change < 4; change++)
      bytes[12 + random() % (bytes.size() - 12)] = static_cast<uint8_t>(random());
    bytes.resize(random() % (bytes.size() + 1));
    bytes.shrink_to_fit();
    has_partial_checksum(frame_of(bytes));
    finish_checksum(frame_of(bytes));
  }
}

}  // namespace
}  // namespace tandem::test
