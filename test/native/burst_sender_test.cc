// A burst of every kind of frame over a veth, in a network namespace of its own: what the far end's packet socket sees.
#include "../../native/device/burst_sender.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

const Link kLink = {"00:00:5e:00:01:33", "02:00:00:00:00:01"};

struct Setting {
  BurstSender sender;
  int far = -1;

  ~Setting() {
    if (far >= 0) close(far);
  }
  void send(const std::vector<Bytes>& burst) {
    for (const Bytes& frame : burst) sender.add(frame.data(), frame.size());
  }
  // What has arrived: sending is over when flush() returns, but for what the kernel put off.
  std::vector<std::string> arrived(size_t wanted) {
    std::vector<std::string> frames;
    uint8_t octets[BurstSender::kFrameBytesMax + 1];
    while (frames.size() < wanted) {
      const ssize_t bytes = recv(far, octets, sizeof octets, 0);
      if (bytes < 0) break;  // after SO_RCVTIMEO
      frames.push_back(hex(Bytes(octets, octets + bytes)));
    }
    return frames;
  }
};

std::optional<std::string> with_sender(const std::function<void(Setting&)>& body) {
  std::optional<std::string> why;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why = "it needs root, for a network namespace";
      return;
    }
    if (system("ip link add v0 type veth peer name v1 && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && "
               "ip link set v0 mtu 2000 up && ip link set v1 mtu 2000 up") != 0) {
      why = "veth pairs are not to be had here";
      return;
    }
    Setting setting;
    setting.far = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_ALL);
    to.sll_ifindex = static_cast<int>(if_nametoindex("v1"));
    REQUIRE(bind(setting.far, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    const timeval second = {1, 0};
    setsockopt(setting.far, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    const SystemError error = setting.sender.open(static_cast<int>(if_nametoindex("v0")));
    CHECK_EQ(error.message, std::string());
    if (!error.failed()) body(setting);
  });
  thread.join();
  return why;
}

#define WITH_SENDER(...)                       \
  do {                                         \
    static std::string why_not;                \
    const auto why = with_sender(__VA_ARGS__); \
    if (!why) break;                           \
    why_not = *why;                            \
    SKIP(why_not.c_str());                     \
  } while (0)

Bytes v4(size_t bytes, char fill) {
  return udp_frame(kLink, {"10.1.0.50", "10.1.0.100"}, {1000, 2000, std::string(bytes, fill)});
}
Bytes v6(size_t bytes, char fill) {
  return udp_frame(kLink, {"fd01::50", "fd01::100"}, {1000, 2000, std::string(bytes, fill)});
}

std::vector<std::string> texts(const std::vector<Bytes>& frames) {
  std::vector<std::string> all;
  for (const Bytes& frame : frames) all.push_back(hex(frame));
  return all;
}

TEST(a_burst_of_one_ethertype_keeps_its_order_while_frames_grow_and_shrink) {
  WITH_SENDER([](Setting& setting) {
    std::vector<Bytes> burst;
    const size_t lengths[] = {10, 1400, 0, 1958, 1, 700};
    for (size_t i = 0; i < kBurst; i++)
      burst.push_back(v4(lengths[i % std::size(lengths)], static_cast<char>('!' + i)));
    setting.send(burst);
    CHECK(setting.sender.full());
    CHECK_EQ(setting.sender.flush(), 0u);
    CHECK(!setting.sender.full());
    CHECK(setting.arrived(burst.size()) == texts(burst));
    // And nothing of it is sent again.
    CHECK_EQ(setting.sender.flush(), 0u);
    setting.send({v4(5, 'x')});
    CHECK_EQ(setting.sender.flush(), 0u);
    CHECK(setting.arrived(1) == texts({v4(5, 'x')}));
  });
}

TEST(a_mixed_burst_is_sent_one_ethertype_after_the_other) {
  WITH_SENDER([](Setting& setting) {
    Bytes arp = mac("ff:ff:ff:ff:ff:ff");
    put(arp, mac("02:00:00:00:00:01"));
    put16(arp, 0x0806);
    put(arp, Bytes(28, 7));
    setting.send({v6(20, 'a'), v4(30, 'b'), v6(40, 'c'), arp, v4(50, 'd'), v6(60, 'e')});
    CHECK_EQ(setting.sender.flush(), 0u);
    const std::vector<Bytes> expected = {v6(20, 'a'), v6(40, 'c'), v6(60, 'e'), v4(30, 'b'), v4(50, 'd'), arp};
    CHECK(setting.arrived(expected.size()) == texts(expected));
  });
}

TEST(what_the_kernel_refuses_of_a_burst_is_counted) {
  WITH_SENDER([](Setting& setting) {
    CHECK_EQ(system("ip link set v0 down"), 0);
    setting.send({v4(20, 'a'), v6(20, 'b'), v4(20, 'c')});
    CHECK_EQ(setting.sender.flush(), 3u);
    CHECK_EQ(system("ip link set v0 up"), 0);
    setting.send({v4(20, 'd')});
    CHECK_EQ(setting.sender.flush(), 0u);
    CHECK_EQ(setting.arrived(1).size(), 1u);
    CHECK_EQ(system("ip link delete v0"), 0);
    setting.send({v4(20, 'e'), v4(20, 'f')});
    CHECK_EQ(setting.sender.flush(), 2u);
  });
}

}  // namespace
}  // namespace tandem::test
