// An interface through AF_PACKET: runs on every kernel and NIC, in any namespace.
//
// Receiving: a TPACKET_V2 ring of slots, a frame each, handed over as it comes. (TPACKET_V3 packs frames into blocks
// and hands a block over when it is full or 1 ms old: a lone frame would wait for that.) A frame is rewritten where it
// lies; release() gives the slots back.
//
//   slot   | head, address | headroom | vnet header | frame | tailroom | unused |
//                                             data ^      ^ data + bytes
//
// A slot takes what the interface's MTU allowed when it was opened. Longer frames, joined ones (GRO, TSO), the kernel
// keeps in the socket's queue and marks their slots (TP_STATUS_COPY): they are read into a buffer of their own.
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
  SystemError open_receiver(Fanout* fanout);
  SystemError open_senders();
  tpacket2_hdr* slot_at(size_t slot) const { return reinterpret_cast<tpacket2_hdr*>(ring_ + slot * slot_bytes_); }
  bool read_frame(const tpacket2_hdr* head, uint32_t status, uint8_t* spare, Frame* frame);
  bool lose();
  static void put_tag(Frame* frame, uint16_t type, uint16_t tag);
  enum class Way : uint8_t { kBurst, kPlain, kJoined };
  Way way_of(size_t queued) const;
  size_t send_run(Way way, size_t begin, size_t end);
  size_t send_messages(int socket, size_t begin, size_t end);

  PacketInterface* interface_ = nullptr;
  uint8_t number_ = 0;

  int receiver_ = -1;
  uint8_t* ring_ = nullptr;
  size_t slot_bytes_ = 0;
  size_t slots_ = 0;
  size_t slot_ = 0;  // to be read next
  size_t held_ = 0;  // slots before it that are read and not given back yet
  static constexpr size_t kSpareBytes = kFrameHeadroom + kFrameBytesMax + kFrameTailroom;
  std::unique_ptr<uint8_t[]> spare_;  // kBurst of them: for frames that do not lie in a slot with room behind
  size_t spares_ = 0;                 // taken by the burst in progress
  uint64_t lost_ = 0;

  int plain_ = -1;   // bypasses the queueing discipline
  int joined_ = -1;  // does not
  BurstSender bursts_;
  size_t queued_ = 0;
  std::array<VnetHeader, kBurst> headers_;
  std::array<std::array<iovec, 2>, kBurst> pieces_;
  std::array<mmsghdr, kBurst> messages_;
};

}  // namespace tandem
