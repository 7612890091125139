// An interface through AF_PACKET: runs on every kernel and NIC, in any namespace.
//
// Receiving: a TPACKET_V3 ring of blocks. The kernel packs frames into a block and hands the block over
// when it is full or 1 ms old. A frame is rewritten where it lies; release() gives whole blocks back.
//
//   block  | block head | frame head, headroom, vnet header, frame | frame head, ... | ... | unused |
//                                                  data ^     ^ data + bytes
//
// Frames are packed tightly, but what stands between two of them (the next frame's head and headroom,
// 156 bytes and more) is writable once that head has been read, so every head is read one frame ahead.
// It gives each frame kFrameHeadroom bytes before it and kFrameTailroom behind it. Only the last frame of a block
// may touch the block's end; then it is copied to a buffer of its own.
//
// The kernel has its own copy of every frame, so a punt needs nothing. Its filter keeps frames that are
// neither for a virtual MAC address nor multicast or broadcast away from the ring: the host's own traffic
// costs the worker nothing.
//
// Sending: two sockets. Plain frames bypass the queueing discipline, a burst per system call. Joined
// frames (GRO, TSO) may not: bypassing, the kernel drops what the NIC cannot segment. On a veth a BurstSender
// sends what needs no offload, if the kernel lets us. Frames keep their order of transmit() as far as the
// queueing discipline lets them.
//
// Owned and called by one worker. Read packet(7) and Documentation/networking/packet_mmap.rst first.
#pragma once

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "../limits.h"
#include "../system_error.h"
#include "burst_sender.h"
#include "device.h"
#include "packet_interface.h"
#include "vnet_header.h"

namespace tandem {

class PacketDevice final : public Device {
 public:
  // Several workers on one interface share its frames by flow (PACKET_FANOUT_HASH, both directions of a
  // flow alike). The first opens the group, the others join it.
  struct Fanout {
    bool wanted = false;
    int group = -1;  // -1: not made yet
  };

  PacketDevice() = default;
  PacketDevice(const PacketDevice&) = delete;
  PacketDevice& operator=(const PacketDevice&) = delete;
  ~PacketDevice() override;

  // `interface` outlives the device. `number` is the device's index.
  // `bursts`: send by a BurstSender, if the kernel lets us.
  SystemError open(PacketInterface* interface, uint8_t number, Fanout* fanout, bool bursts);
  bool sends_bursts() const { return bursts_.is_open(); }

  size_t receive(Frame* frames, size_t limit) override;
  bool transmit(const Frame& frame, Drop* why) override;
  size_t flush() override;
  void release() override;
  int descriptor() const override { return receiver_; }
  void maintain() override;
  uint64_t take_dropped() override;
  MacAddress mac() const override { return interface_->mac(); }
  uint32_t mtu() const override { return interface_->mtu(); }

 private:
  // A frame's head as the kernel wrote it, taken before the frame before it may write there.
  struct Head {
    uint8_t* data;
    uint32_t bytes;
    uint32_t next;  // from this head to the next
    uint16_t tag;   // 802.1Q tag control, when tagged
    uint16_t tag_type;
    bool tagged;
    VnetHeader vnet;
  };

  SystemError open_receiver(Fanout* fanout);
  SystemError open_senders();
  bool next_block();
  void read_head();
  void fill(Frame* frame);
  enum class Way : uint8_t { kBurst, kPlain, kJoined };
  Way way_of(size_t queued) const;
  size_t send_run(Way way, size_t begin, size_t end);
  size_t send_messages(int socket, size_t begin, size_t end);

  PacketInterface* interface_ = nullptr;
  uint8_t number_ = 0;

  int receiver_ = -1;
  uint8_t* ring_ = nullptr;
  size_t block_ = 0;             // being read, or to be read next
  size_t held_ = 0;              // blocks before block_ that are read and not given back yet
  uint32_t left_ = 0;            // frames of block_ not read yet; 0: block_ has not been begun
  uint8_t* position_ = nullptr;  // of the head in ahead_
  Head ahead_{};
  std::unique_ptr<uint8_t[]> spare_;  // for the one frame of a burst that touches its block's end

  int plain_ = -1;   // bypasses the queueing discipline
  int joined_ = -1;  // does not
  BurstSender bursts_;
  size_t queued_ = 0;
  std::array<VnetHeader, kBurst> headers_;
  std::array<std::array<iovec, 2>, kBurst> pieces_;
  std::array<mmsghdr, kBurst> messages_;
};

}  // namespace tandem
