// What the XDP program takes and what it leaves to the kernel: each row a frame and a verdict, asked of the kernel
// itself (BPF_PROG_TEST_RUN) with an AF_XDP socket on the loopback interface of a network namespace of its own.
#include "../../native/device/xdp_program.h"

#include <linux/bpf.h>
#include <linux/if_xdp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <optional>
#include <thread>

#include "../../native/device/bpf_assembler.h"
#include "../../native/device/xdp_socket.h"
#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

constexpr int kLoopback = 1;  // its index in every namespace
constexpr const char* kHost = "02:00:00:00:00:01";
constexpr const char* kVirtual4 = "00:00:5e:00:01:33";
constexpr const char* kVirtual6 = "00:00:5e:00:02:33";
constexpr const char* kBroadcast = "ff:ff:ff:ff:ff:ff";
constexpr const char* kSolicitedNode = "33:33:ff:00:01:00";
constexpr const char* kAllNodes = "33:33:00:00:00:01";

XdpProgram::AddressKey key_of(const std::string& text) {
  XdpProgram::AddressKey key{};
  const Bytes octets = address(text);
  if (octets.size() == 4) key[10] = key[11] = 0xff;
  std::copy(octets.begin(), octets.end(), key.end() - static_cast<ptrdiff_t>(octets.size()));
  return key;
}

// The verdict of the kernel's own interpreter or compiler; -1: not to be had.
int verdict_on(const XdpProgram& program, Bytes frame) {
  Bytes out(frame.size() + 256);
  bpf_attr attributes{};
  attributes.test.prog_fd = static_cast<uint32_t>(program.descriptor());
  attributes.test.data_in = reinterpret_cast<uintptr_t>(frame.data());
  attributes.test.data_size_in = static_cast<uint32_t>(frame.size());
  attributes.test.data_out = reinterpret_cast<uintptr_t>(out.data());
  attributes.test.data_size_out = static_cast<uint32_t>(out.size());
  attributes.test.repeat = 1;
  if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes) != 0) return -1;
  return static_cast<int>(attributes.test.retval);
}

// A program as for VRID 51 and two addresses, and a socket for it to give frames to.
struct Setting {
  XdpProgram program;
  XdpMemory memory;
  XdpSocket socket;

  SystemError open() {
    if (SystemError error = program.open(); error.failed()) return error;
    SystemError error = program.set_virtual_macs({{4, 51}, {6, 51}});
    if (!error.failed()) error = program.set_addresses({key_of("10.1.0.100"), key_of("fd01::100")});
    if (!error.failed()) error = memory.reserve(256, 2048);
    if (!error.failed()) error = socket.open(kLoopback, 0, XdpSocket::Copy::kAlways, {64, 64}, &memory, nullptr);
    return error;
  }
};

// Runs it in a thread, for a namespace is a thread's. What kept it from running, or nothing.
std::optional<std::string> in_own_namespace(const std::function<void(Setting&)>& body) {
  std::optional<std::string> why;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why = "it needs root, for a network namespace";
      return;
    }
    Setting setting;
    if (const SystemError error = setting.open(); error.failed()) {
      why = error.message;
      return;
    }
    body(setting);
  });
  thread.join();
  return why;
}

// For every test here: leaves it if the kernel or the user is not up to it.
#define IN_OWN_NAMESPACE(...)                             \
  do {                                                    \
    static std::string why_not;                           \
    const auto why = in_own_namespace(__VA_ARGS__);       \
    if (!why) break;                                      \
    why_not = *why;                                       \
    if (geteuid() == 0) CHECK_EQ(why_not, std::string()); \
    SKIP(why_not.c_str());                                \
  } while (0)

Bytes arp(const Link& link, uint16_t operation, const std::string& target) {
  return arp_frame(link, {operation, kHost, "10.1.0.50", "00:00:00:00:00:00", target});
}

Bytes solicitation(const Link& link, const std::string& target) {
  Bytes body(4);
  put(body, address(target));
  return icmp_frame(link, {"fd01::50", "ff02::1:ff00:100", 255}, 135, 0, body);
}

Bytes mld_query(const Link& link, uint8_t hop_limit, bool router_alert) {
  Bytes body(4);
  put(body, Bytes(16));
  Ip ip = {"fe80::1", "ff02::1", hop_limit};
  if (router_alert) {
    ip.extensions = {58, 0, 5, 2, 0, 0, 1, 0};
    ip.first_extension = 0;
  }
  return icmp_frame(link, ip, 130, 0, body);
}

TEST(the_xdp_program_takes_what_is_for_tandem_and_leaves_the_rest) {
  struct Row {
    const char* sentence;
    Bytes frame;
    int verdict;
  };
  const Tcp ssh = {1000, 22, 0x10};
  const Ip ip4 = {"10.1.0.50", "10.1.0.100"}, ip6 = {"fd01::50", "fd01::100"};
  const std::vector<Row> rows = {
      {"IPv4 to our virtual MAC", tcp_frame({kVirtual4, kHost}, ip4, ssh), XDP_REDIRECT},
      {"IPv6 to our virtual MAC", tcp_frame({kVirtual6, kHost}, ip6, ssh), XDP_REDIRECT},
      {"tagged, to our virtual MAC", tcp_frame({kVirtual4, kHost, {7}}, ip4, ssh), XDP_REDIRECT},
      {"tagged twice, to our virtual MAC", tcp_frame({kVirtual4, kHost, {7, 8}, 0x88a8}, ip4, ssh), XDP_REDIRECT},
      {"another router's virtual MAC", tcp_frame({"00:00:5e:00:01:34", kHost}, ip4, ssh), XDP_PASS},
      {"no family's virtual MAC", tcp_frame({"00:00:5e:00:03:33", kHost}, ip4, ssh), XDP_PASS},
      {"a family below the first", tcp_frame({"00:00:5e:00:00:33", kHost}, ip4, ssh), XDP_PASS},
      {"almost a virtual MAC", tcp_frame({"00:00:5e:01:01:33", kHost}, ip4, ssh), XDP_PASS},
      {"the host's own SSH", tcp_frame({"02:00:00:00:00:02", kHost}, {"10.1.0.50", "10.1.0.2"}, ssh), XDP_PASS},
      {"the host's MAC with our address", tcp_frame({"02:00:00:00:00:02", kHost}, ip4, ssh), XDP_PASS},
      {"from our virtual MAC", tcp_frame({kVirtual4, kVirtual4}, ip4, ssh), XDP_PASS},
      {"ARP request for ours", arp({kBroadcast, kHost}, 1, "10.1.0.100"), XDP_REDIRECT},
      {"the same, tagged", arp({kBroadcast, kHost, {7}}, 1, "10.1.0.100"), XDP_REDIRECT},
      {"the same, tagged twice", arp({kBroadcast, kHost, {7, 8}}, 1, "10.1.0.100"), XDP_REDIRECT},
      {"the same, 802.1ad", arp({kBroadcast, kHost, {7, 8}, 0x88a8}, 1, "10.1.0.100"), XDP_REDIRECT},
      {"the same, three tags", arp({kBroadcast, kHost, {7, 8, 9}}, 1, "10.1.0.100"), XDP_PASS},
      {"ARP request for the host", arp({kBroadcast, kHost}, 1, "10.1.0.2"), XDP_PASS},
      {"ARP reply about ours", arp({kBroadcast, kHost}, 2, "10.1.0.100"), XDP_PASS},
      {"the peer's announcement", arp({kBroadcast, kVirtual4}, 1, "10.1.0.100"), XDP_PASS},
      {"another router's announcement", arp({kBroadcast, "00:00:5e:00:01:34"}, 1, "10.1.0.100"), XDP_REDIRECT},
      {"solicitation of ours", solicitation({kSolicitedNode, kHost}, "fd01::100"), XDP_REDIRECT},
      {"the same, tagged", solicitation({kSolicitedNode, kHost, {7}}, "fd01::100"), XDP_REDIRECT},
      {"solicitation of another", solicitation({kSolicitedNode, kHost}, "fd01::200"), XDP_PASS},
      {"an IPv6 address that ends in our IPv4 one", solicitation({kSolicitedNode, kHost}, "::10.1.0.100"), XDP_PASS},
      {"a neighbour advertisement", icmp_frame({kAllNodes, kHost}, {"fd01::50", "ff02::1", 255}, 136, 0, Bytes(20)),
       XDP_PASS},
      {"broadcast of another protocol", ethernet({kBroadcast, kHost}, 0x88cc, Bytes(46)), XDP_PASS},
      {"multicast UDP", udp_frame({"01:00:5e:00:00:12", kHost}, {"10.1.0.3", "224.0.0.18"}, {1, 2, "x"}), XDP_PASS},
  };
  IN_OWN_NAMESPACE([&](Setting& setting) {
    for (const Row& row : rows)
      CHECK_EQ(row.sentence + std::to_string(verdict_on(setting.program, row.frame)),
               std::string(row.sentence) + "2");  // no socket yet: all the kernel's
    CHECK(!setting.program.set_socket(0, setting.socket.descriptor()).failed());
    for (const Row& row : rows) {
      CHECK_EQ(row.sentence + (": " + std::to_string(verdict_on(setting.program, row.frame))),
               row.sentence + (": " + std::to_string(row.verdict)));
    }
  });
}

TEST(mld_queries_are_counted_and_passed) {
  IN_OWN_NAMESPACE([](Setting& setting) {
    CHECK(!setting.program.set_socket(0, setting.socket.descriptor()).failed());
    const auto counted = [&](const Bytes& frame) {
      const uint64_t before = setting.program.mld_queries();
      CHECK_EQ(verdict_on(setting.program, frame), XDP_PASS);
      return setting.program.mld_queries() - before;
    };
    CHECK_EQ(counted(mld_query({kAllNodes, kHost}, 1, true)), 1u);
    CHECK_EQ(counted(mld_query({kAllNodes, kHost}, 1, false)), 1u);
    CHECK_EQ(counted(mld_query({kAllNodes, kHost, {7}}, 1, true)), 1u);
    CHECK_EQ(counted(mld_query({kAllNodes, kHost}, 2, true)), 0u);
    CHECK_EQ(counted(mld_query({kAllNodes, kVirtual6}, 1, true)), 0u);
    CHECK_EQ(counted(solicitation({kSolicitedNode, kHost}, "fd01::200")), 0u);
  });
}

TEST(a_frame_that_ends_anywhere_is_passed_and_not_read_past) {
  IN_OWN_NAMESPACE([](Setting& setting) {
    CHECK(!setting.program.set_socket(0, setting.socket.descriptor()).failed());
    for (const Bytes& whole :
         {arp({kBroadcast, kHost, {7}}, 1, "10.1.0.100"), solicitation({kSolicitedNode, kHost}, "fd01::100")}) {
      for (size_t bytes = 14; bytes < whole.size(); bytes++) {
        CHECK_EQ(verdict_on(setting.program, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes))),
                 XDP_PASS);
      }
      CHECK_EQ(verdict_on(setting.program, whole), XDP_REDIRECT);
    }
  });
}

TEST(a_new_set_of_addresses_and_virtual_macs_replaces_the_old_one) {
  IN_OWN_NAMESPACE([](Setting& setting) {
    CHECK(!setting.program.set_socket(0, setting.socket.descriptor()).failed());
    CHECK(!setting.program.set_addresses({key_of("10.1.0.101")}).failed());
    CHECK(!setting.program.set_virtual_macs({{4, 52}}).failed());
    const auto asked = [&](const char* target) {
      return verdict_on(setting.program, arp({kBroadcast, kHost}, 1, target));
    };
    const auto sent = [&](const char* mac) {
      return verdict_on(setting.program, udp_frame({mac, kHost}, {"10.1.0.50", "10.1.0.101"}, {1, 2, "x"}));
    };
    CHECK_EQ(asked("10.1.0.100"), XDP_PASS);
    CHECK_EQ(asked("10.1.0.101"), XDP_REDIRECT);
    CHECK_EQ(sent("00:00:5e:00:01:33"), XDP_PASS);
    CHECK_EQ(sent("00:00:5e:00:01:34"), XDP_REDIRECT);
  });
}

TEST(as_many_addresses_as_the_program_holds_and_no_more) {
  IN_OWN_NAMESPACE([](Setting& setting) {
    const auto set_of = [](size_t count, uint8_t first) {
      std::set<XdpProgram::AddressKey> addresses;
      for (size_t i = 0; i < count; i++) {
        XdpProgram::AddressKey key{};
        key[0] = first;
        key[1] = static_cast<uint8_t>(i);
        key[2] = static_cast<uint8_t>(i >> 8);
        addresses.insert(key);
      }
      return addresses;
    };
    CHECK_EQ(setting.program.set_addresses(set_of(XdpProgram::kAddressesMax, 1)).message, std::string());
    CHECK_EQ(setting.program.set_addresses(set_of(XdpProgram::kAddressesMax, 2)).message, std::string());
    CHECK(setting.program.set_addresses(set_of(XdpProgram::kAddressesMax + 1, 2)).failed());
  });
}

// ---- what stands alone

TEST(a_label_that_was_never_placed_makes_no_program) {
  BpfAssembler a;
  a.jump(a.label());
  a.exit();
  CHECK(a.finish().empty());
}

TEST(jumps_count_instructions_from_behind_themselves) {
  BpfAssembler a;
  const BpfAssembler::Label back = a.label(), ahead = a.label();
  a.place(back);
  a.jump(ahead);
  a.jump(back);
  a.place(ahead);
  a.exit();
  const std::vector<bpf_insn> program = a.finish();
  REQUIRE(program.size() == 3);
  CHECK_EQ(program[0].off, 1);
  CHECK_EQ(program[1].off, -2);
}

TEST(a_chunk_is_as_small_as_its_frames_allow) {
  CHECK_EQ(XdpMemory::chunk_for(1500 + 22), 2048u);
  CHECK_EQ(XdpMemory::chunk_for(2048 - 256 - 64), 2048u);
  CHECK_EQ(XdpMemory::chunk_for(2048 - 256 - 64 + 1), 4096u);
  CHECK_EQ(XdpMemory::chunk_for(9000 + 22), 0u);
}

}  // namespace
}  // namespace tandem::test
