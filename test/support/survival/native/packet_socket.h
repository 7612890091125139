// Frames of one interface, to and from a program: a ring that the kernel fills (packet(7), PACKET_RX_RING), and bursts
// that go out past the queueing discipline. Frames that the kernel itself sends are not seen. One thread.
#pragma once

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

#include "test/bench/wire/options.h"

namespace survival {

using Mac = std::array<uint8_t, 6>;

// Nanoseconds.
inline int64_t read_clock(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}
inline int64_t monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }

// A far end is another machine, as it were: what else the cores do must not hold it up, nor its times.
inline void be_preferred() {
  if (setpriority(PRIO_PROCESS, 0, -15) != 0) wire::fail("priority");
}

struct Received {
  const uint8_t* frame;
  size_t bytes;
  // When the kernel put it into the ring, on CLOCK_MONOTONIC.
  int64_t at_ns;
  // The kernel that sent it left its checksum to hardware that is not there.
  bool checksum_unfinished;
};

class PacketSocket {
 public:
  static constexpr size_t kFrameBytesMax = 1024;

  explicit PacketSocket(const std::string& interface)
      : receives_(open_socket(interface, ETH_P_ALL)), sends_(open_socket(interface, 0)) {
    set(receives_, PACKET_VERSION, TPACKET_V2);
    set(receives_, PACKET_IGNORE_OUTGOING, 1);
    set(sends_, PACKET_QDISC_BYPASS, 1);
    const tpacket_req ring = {kBlockBytes, kBlocks, kSlotBytes, kSlots};
    if (setsockopt(receives_, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) != 0) wire::fail("receive ring");
    void* mapped = mmap(nullptr, size_t{kBlockBytes} * kBlocks, PROT_READ | PROT_WRITE, MAP_SHARED, receives_, 0);
    if (mapped == MAP_FAILED) wire::fail("receive ring's memory");
    ring_ = static_cast<uint8_t*>(mapped);
    for (size_t i = 0; i < kBurst; ++i) {
      parts_[i] = {frames_[i].data(), 0};
      messages_[i] = {};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  int descriptor() const { return receives_; }
  const Mac& mac() const { return mac_; }

  // Calls `each` with every frame that is there, at most a ring full of them.
  template <typename Each>
  void receive(Each&& each) {
    // The ring's times are on CLOCK_REALTIME.
    const int64_t offset_ns = monotonic_ns() - read_clock(CLOCK_REALTIME);
    for (size_t taken = 0; taken < kSlots; ++taken) {
      auto* slot = reinterpret_cast<tpacket2_hdr*>(ring_ + size_t{next_} * kSlotBytes);
      if ((__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) return;
      const int64_t at_ns = int64_t{slot->tp_sec} * 1'000'000'000 + slot->tp_nsec + offset_ns;
      const bool unfinished = (slot->tp_status & TP_STATUS_CSUMNOTREADY) != 0;
      each(Received{reinterpret_cast<const uint8_t*>(slot) + slot->tp_mac, slot->tp_snaplen, at_ns, unfinished});
      __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
      next_ = (next_ + 1) % kSlots;
    }
  }

  // Where the next frame is written; `commit` says how long it is. A burst that is full goes out.
  uint8_t* next_frame() { return frames_[waiting_].data(); }
  void commit(size_t bytes) {
    parts_[waiting_].iov_len = bytes;
    if (++waiting_ == kBurst) flush();
  }
  bool is_empty() const { return waiting_ == 0; }

  // A frame that the interface does not take is lost, as on any network, and counted.
  void flush() {
    for (size_t sent = 0; sent < waiting_;) {
      const int count = sendmmsg(sends_, &messages_[sent], static_cast<unsigned>(waiting_ - sent), 0);
      if (count > 0) {
        sent += static_cast<size_t>(count);
      } else {
        ++sent;
        ++send_losses_;
      }
    }
    waiting_ = 0;
  }

  // Frames that found the ring full, and those that could not be sent, since the start.
  uint64_t losses() {
    tpacket_stats stats = {};
    socklen_t bytes = sizeof stats;
    if (getsockopt(receives_, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0) ring_losses_ += stats.tp_drops;
    return ring_losses_ + send_losses_;
  }

 private:
  static constexpr unsigned kSlotBytes = 1024, kSlots = 1 << 15, kBlockBytes = 1 << 16;
  static constexpr unsigned kBlocks = kSlots / (kBlockBytes / kSlotBytes);
  static constexpr size_t kBurst = 64;

  static void set(int socket, int option, int value) {
    if (setsockopt(socket, SOL_PACKET, option, &value, sizeof value) != 0) wire::fail("packet socket's options");
  }

  int open_socket(const std::string& interface, uint16_t protocol) {
    const int socket = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (socket < 0) wire::fail("packet socket");
    ifreq request = {};
    std::strncpy(request.ifr_name, interface.c_str(), sizeof request.ifr_name - 1);
    if (ioctl(socket, SIOCGIFHWADDR, &request) != 0) wire::fail(interface);
    std::memcpy(mac_.data(), request.ifr_hwaddr.sa_data, mac_.size());
    sockaddr_ll address = {};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) wire::fail(interface);
    return socket;
  }

  Mac mac_ = {};
  int receives_, sends_;
  uint8_t* ring_ = nullptr;
  unsigned next_ = 0;
  size_t waiting_ = 0;
  uint64_t ring_losses_ = 0, send_losses_ = 0;
  std::array<std::array<uint8_t, kFrameBytesMax>, kBurst> frames_ = {};
  iovec parts_[kBurst];
  mmsghdr messages_[kBurst];
};

}  // namespace survival
