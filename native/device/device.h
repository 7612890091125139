// Where frames come from and go to: one interface as one worker uses it. Knows frames, no protocols.
//
// A worker owns its devices and calls them from its own thread only. The order of a burst is
//   receive -> (forward) -> transmit for some -> flush on every device -> release
// so a received frame may be rewritten and handed to transmit() of any device of the same worker
// without a copy of its own; its memory is good until release().
#pragma once

#include <cstddef>
#include <cstdint>

#include "../frame.h"
#include "../limits.h"
#include "../mac_address.h"

namespace tandem {

class Device {
 public:
  virtual ~Device() = default;

  // Fills at most `limit` frames (device index included); does not wait.
  virtual size_t receive(Frame* frames, size_t limit) = 0;
  // Queues a frame for flush(). False: the queue is full, or the frame too long for the device (`why`).
  virtual bool transmit(const Frame& frame, Drop* why) = 0;
  // Sends what was queued. Returns how many frames the kernel refused.
  virtual size_t flush() = 0;
  // Gives the memory of every received frame back.
  virtual void release() = 0;

  // For poll(2): readable when receive() would give something. -1: always ready.
  virtual int descriptor() const = 0;
  // Instead of poll(2): lets the driver look for frames now, on this thread. False: the device cannot.
  virtual bool busy_poll() { return false; }
  // Between bursts, about once a second and when poll(2) reports an error: reads again what may have
  // changed (the MTU) and takes a pending error off the descriptor, so that poll(2) sleeps again.
  virtual void maintain() {}
  // Frames the kernel dropped before they were read, since the last call.
  virtual uint64_t take_dropped() = 0;
  virtual MacAddress mac() const = 0;
  // Octets behind the Ethernet header that it sends; kMtuNone: no bound. As of the last maintain().
  virtual uint32_t mtu() const { return kMtuNone; }
};

}  // namespace tandem
