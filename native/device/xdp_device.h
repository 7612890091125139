// An interface through AF_XDP: past the kernel's network stack, for what xdp_program.h says is Tandem's.
//
// A worker has one XdpMemory and, on every interface, a socket for each of its queues (queue q is worker
// q % workers's). A frame is rewritten where it was received and sent by whatever device from there:
//
//   free -> lent (fill ring) -> received -> held by the burst -> in transmission -> sent (completion ring) -> free
//                                                └── not sent: free with release()
//
// Frames that lie elsewhere are copied when they are sent; a burst (Options::bursts) is copied whole, and its
// chunks are free with release(). What XDP took is never the kernel's, so a punt needs nothing
// here either (xdp_program.h says why). Bounds: XdpSocket::Depth per queue; beyond, reception is counted by the kernel
// (take_dropped()) and sending refused (kDeviceFull). An interface that is deleted refuses with kDeviceGone, and the
// worker goes on with the others.
//
// Owned and called by one worker. Made on the JavaScript thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../limits.h"
#include "../system_error.h"
#include "burst_sender.h"
#include "device.h"
#include "packet_interface.h"
#include "xdp_memory.h"
#include "xdp_program.h"
#include "xdp_socket.h"

namespace tandem {

class XdpDevice final : public Device {
 public:
  struct Options {
    PacketInterface* interface;  // outlives the device, as `program` does
    XdpProgram* program;
    uint8_t number;  // the device's index
    // Frames may have unfinished checksums (InterfaceSettings::receives_unfinished()).
    bool unfinished;
    // Where MLD queries that XDP passed are added up; nullptr: another worker does it.
    std::atomic<uint64_t>* mld_queries;
    bool busy_poll;
    // Frames that are many leave by a BurstSender, if the kernel lets us: for copying on a veth.
    bool bursts;
  };

  XdpDevice(const Options& options, std::shared_ptr<XdpMemory> memory)
      : options_(options), memory_(std::move(memory)) {}
  XdpDevice(const XdpDevice&) = delete;
  XdpDevice& operator=(const XdpDevice&) = delete;
  ~XdpDevice() override;

  // Adds a queue. `first`: of the worker, see XdpSocket::open().
  SystemError add_queue(uint32_t queue, XdpSocket::Copy copy, XdpSocket::Depth depth, const XdpSocket* first);
  const XdpSocket* first_socket() const { return sockets_.front().get(); }
  bool sends_bursts() const { return bursts_.is_open(); }
  // After all queues of all workers are there: frames flow from now on.
  SystemError finish();

  size_t receive(Frame* frames, size_t limit) override;
  bool transmit(const Frame& frame, Drop* why) override;
  size_t flush() override;
  void release() override;
  int descriptor() const override { return poll_ >= 0 ? poll_ : sockets_.front()->descriptor(); }
  bool busy_poll() override;
  uint32_t mtu() const override { return options_.interface->mtu(); }
  void maintain() override { options_.interface->refresh_mtu(); }
  uint64_t take_dropped() override;
  MacAddress mac() const override { return options_.interface->mac(); }

 private:
  void take_from(size_t queue, Frame* frames, size_t limit, size_t* count);
  bool send(const Frame& frame, Drop* why);
  size_t flush_queued();
  size_t flush_sockets();
  bool place(const Frame& frame, uint64_t* address, int* queue);
  void note_mld_queries();

  Options options_;
  std::shared_ptr<XdpMemory> memory_;
  std::vector<uint32_t> queues_;
  std::vector<std::unique_ptr<XdpSocket>> sockets_;  // by queues_
  int poll_ = -1;                                    // epoll over the sockets, when there are several
  size_t turn_ = 0;                                  // the queue to begin with
  std::array<uint64_t, kBurst> received_;            // chunks of the burst in progress
  size_t received_count_ = 0;
  BurstSender bursts_;
  std::array<Frame, kBurst> queued_;  // for flush(), which knows how many they are; with bursts_
  size_t queued_count_ = 0;
  size_t refused_ = 0;  // of queued_, since the last flush()
  uint64_t too_long_ = 0;
  uint64_t mld_seen_ = 0;
  bool gone_ = false;
};

}  // namespace tandem
