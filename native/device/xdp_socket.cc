// AF_XDP by plain system calls.
#include "xdp_socket.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace tandem {
namespace {

// Newer than Debian 12's headers.
constexpr int kTransmitBudgetOption = 9;  // XDP_MAX_TX_SKB_BUDGET, Linux 6.17
constexpr int kTransmitBudget = 256;      // frames per system call; 32 without it
constexpr int kSocketBufferBytes = 16 * 1024 * 1024;
constexpr int kBusyPollUs = 20;
constexpr int kBusyPollBudget = 64;
// The kernel frees a queue some time after its last socket was closed.
constexpr int kBindTriesMax = 50;
constexpr timespec kBindPause = {0, 10'000'000};
// A system call sends a part of what waits; this many send all that a device may have queued, with room to spare.
constexpr int kCallsMax = 64;

template <typename T>
bool set_option(int fd, int level, int option, const T& value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

}  // namespace

XdpSocket::~XdpSocket() {
  if (fd_ >= 0) ::close(fd_);
}

SystemError XdpSocket::open(int interface_index, uint32_t queue, Copy copy, Depth depth, XdpMemory* memory,
                            const XdpSocket* first) {
  depth_ = depth;
  memory_ = memory;
  copies_ = copy == Copy::kAlways;
  fd_ = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    return system_error("AF_XDP socket", errno == EAFNOSUPPORT ? "the kernel is built without CONFIG_XDP_SOCKETS"
                                                               : "it needs CAP_NET_RAW");
  }
  if (first == nullptr) {
    if (SystemError error = memory->register_with(fd_); error.failed()) return error;
  }
  if (SystemError error = make_rings(); error.failed()) return error;
  if (SystemError error = bind_to(interface_index, queue, copy, first); error.failed()) return error;
  // Both make sending faster, and neither is needed.
  set_option(fd_, SOL_XDP, kTransmitBudgetOption, kTransmitBudget);
  if (!set_option(fd_, SOL_SOCKET, SO_SNDBUFFORCE, kSocketBufferBytes)) {
    set_option(fd_, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
  }
  refill();
  return {};
}

SystemError XdpSocket::make_rings() {
  const auto fail = [] { return system_error("rings of an AF_XDP socket", ""); };
  // A socket that shares the memory still has a fill and a completion ring of its own, for its own queue.
  if (!set_option(fd_, SOL_XDP, XDP_UMEM_FILL_RING, depth_.receive) ||
      !set_option(fd_, SOL_XDP, XDP_UMEM_COMPLETION_RING, depth_.transmit) ||
      !set_option(fd_, SOL_XDP, XDP_RX_RING, depth_.receive) ||
      !set_option(fd_, SOL_XDP, XDP_TX_RING, depth_.transmit)) {
    return fail();
  }
  xdp_mmap_offsets offsets{};
  socklen_t bytes = sizeof offsets;
  if (getsockopt(fd_, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &bytes) != 0) return fail();
  if (!to_fill_.map(fd_, XDP_UMEM_PGOFF_FILL_RING, offsets.fr, depth_.receive) ||
      !sent_.map(fd_, XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, depth_.transmit) ||
      !received_.map(fd_, XDP_PGOFF_RX_RING, offsets.rx, depth_.receive) ||
      !to_send_.map(fd_, XDP_PGOFF_TX_RING, offsets.tx, depth_.transmit)) {
    return fail();
  }
  return {};
}

SystemError XdpSocket::bind_to(int interface_index, uint32_t queue, Copy copy, const XdpSocket* first) {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = static_cast<uint32_t>(interface_index);
  address.sxdp_queue_id = queue;
  if (first == nullptr) {
    address.sxdp_flags = static_cast<uint16_t>(XDP_USE_NEED_WAKEUP | (copy == Copy::kAlways ? XDP_COPY : XDP_ZEROCOPY));
  } else {
    address.sxdp_flags = XDP_SHARED_UMEM;  // the first one's other flags hold for all
    address.sxdp_shared_umem_fd = static_cast<uint32_t>(first->fd_);
  }
  for (int tries = 1;; tries++) {
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return {};
    if (errno != EBUSY || tries == kBindTriesMax) break;
    nanosleep(&kBindPause, nullptr);
    errno = EBUSY;
  }
  const std::string what =
      std::string(copy == Copy::kAlways ? "AF_XDP" : "AF_XDP without copying") + " on queue " + std::to_string(queue);
  switch (errno) {
    case EBUSY:
      return system_error(what, "another program has this queue");
    case EPERM:
      return system_error(what, "it needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF");
    default:
      return system_error(what, "");
  }
}

bool XdpSocket::prefer_busy_poll() {
  // Linux 5.11; in <asm-generic/socket.h> since, in glibc's <bits/socket.h> not.
  constexpr int kPreferBusyPoll = 69, kBusyPollBudgetOption = 70;
  return set_option(fd_, SOL_SOCKET, kPreferBusyPoll, 1) && set_option(fd_, SOL_SOCKET, SO_BUSY_POLL, kBusyPollUs) &&
         set_option(fd_, SOL_SOCKET, kBusyPollBudgetOption, kBusyPollBudget);
}

void XdpSocket::reap() {
  if (in_transmission_ == 0) return;
  const uint32_t count = sent_.available();
  if (count == 0) return;
  for (uint32_t i = 0; i < count; i++) memory_->give(memory_->chunk_of(sent_.next()));
  sent_.release();
  in_transmission_ -= count;
}

void XdpSocket::refill() {
  if (lent_ == depth_.receive || !memory_->any_free()) return;
  while (lent_ < depth_.receive && memory_->any_free() && to_fill_.room() > 0) {
    to_fill_.next() = memory_->take();
    lent_++;
  }
  to_fill_.submit();
  if (!copies_ && to_fill_.needs_wakeup()) recvfrom(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

void XdpSocket::transmit(uint64_t address, uint32_t bytes) {
  // The ring is as long as may be in transmission, so there is always room.
  to_send_.next() = {address, bytes, 0};
  in_transmission_++;
}

bool XdpSocket::flush() {
  to_send_.submit();
  uint32_t waiting = to_send_.waiting();
  for (int call = 0; call < kCallsMax && waiting > 0 && to_send_.needs_wakeup(); call++) {
    const ssize_t result = sendto(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    if (result < 0 && errno == ENXIO) return false;  // unbound: the interface was deleted
    const uint32_t before = waiting;
    waiting = to_send_.waiting();
    // Nothing moved: the link is down, or the queue behind it is full. It is tried again with the next pass.
    if (waiting == before) break;
  }
  return true;
}

void XdpSocket::busy_poll() { recvfrom(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, nullptr); }

bool XdpSocket::is_gone() const { return sendto(fd_, nullptr, 0, MSG_DONTWAIT, nullptr, 0) < 0 && errno == ENXIO; }

uint64_t XdpSocket::take_dropped() {
  xdp_statistics statistics{};
  socklen_t bytes = sizeof statistics;
  if (getsockopt(fd_, SOL_XDP, XDP_STATISTICS, &statistics, &bytes) != 0) return 0;
  // Copying, a frame for which no chunk was lent is in rx_dropped as well.
  const uint64_t all =
      statistics.rx_dropped + statistics.rx_ring_full + (copies_ ? 0 : statistics.rx_fill_ring_empty_descs);
  const uint64_t since = all - dropped_;
  dropped_ = all;
  return since;
}

}  // namespace tandem
