// One AF_XDP socket: one queue of one interface, received from and sent to by one worker. Counts which chunks of the
// worker's memory the kernel has; knows no frames.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../system_error.h"
#include "xdp_memory.h"
#include "xdp_rings.h"

namespace tandem {

class XdpSocket {
 public:
  // Chunks that the kernel has at most, for reception and in transmission. Powers of two.
  struct Depth {
    uint32_t receive;
    uint32_t transmit;
  };
  enum class Copy : uint8_t { kNever, kAlways };

  XdpSocket() = default;
  XdpSocket(const XdpSocket&) = delete;
  XdpSocket& operator=(const XdpSocket&) = delete;
  ~XdpSocket();

  // `first`: the worker's socket that has registered the memory; nullptr: this one does. Its `copy` holds for all.
  SystemError open(int interface_index, uint32_t queue, Copy copy, Depth depth, XdpMemory* memory,
                   const XdpSocket* first);
  int descriptor() const { return fd_; }
  // Lets the kernel's driver run inside our system calls. False: the kernel is too old.
  bool prefer_busy_poll();

  XdpConsumer<xdp_desc>& received() { return received_; }
  // To be called for every entry of received() that was read.
  void note_received() { lent_--; }

  // Takes back the chunks that the kernel has sent.
  void reap();
  // Lends free chunks for reception, as many as there are and as are missing.
  void refill();
  // False: the kernel has as many as it may have.
  bool may_transmit() const { return in_transmission_ < depth_.transmit; }
  void transmit(uint64_t address, uint32_t bytes);
  bool transmission_waits() { return to_send_.queued() > 0 || to_send_.waiting() > 0; }
  // Hands over what was queued. False: the interface is gone.
  bool flush();
  void busy_poll();
  // The interface was deleted.
  bool is_gone() const;

  // Received and lost before they were read, since the last call.
  uint64_t take_dropped();

 private:
  SystemError make_rings();
  SystemError bind_to(int interface_index, uint32_t queue, Copy copy, const XdpSocket* first);

  int fd_ = -1;
  Depth depth_{};
  XdpMemory* memory_ = nullptr;
  bool copies_ = true;
  uint32_t lent_ = 0;
  uint32_t in_transmission_ = 0;
  uint64_t dropped_ = 0;
  XdpProducer<uint64_t> to_fill_;
  XdpConsumer<xdp_desc> received_;
  XdpProducer<xdp_desc> to_send_;
  XdpConsumer<uint64_t> sent_;
};

}  // namespace tandem
