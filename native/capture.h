// Frames for an operator who wants to see them: copied where a worker receives them, sends them, or drops them, with
// the connection that they belong to and what became of them. Start reading at CaptureTap.
//
//   CaptureSlot   which capture runs; a worker asks once per pass, and that is all that costs while none does
//   Capture       one capture, made whole on the JavaScript thread: filter, and a ring and counts for each worker
//   CaptureTap    a worker's own: before the burst arrived(), behind it settle(), which publishes the records
//
// Frames that are left to the kernel are not taken. A frame that finds no room is counted as missed, by device;
// forwarding never waits. Which connection a frame belongs to is asked of the table here, so forward.cc knows nothing
// of captures.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "capture_ring.h"
#include "conn_table.h"
#include "forward.h"
#include "frame.h"
#include "hazard_slot.h"
#include "limits.h"
#include "policy.h"
#include "wire/parse.h"

namespace tandem {

struct CaptureFilter {
  static constexpr uint16_t kAnyServer = 0xffff;

  uint16_t virtual_server = kAnyServer;  // id
  Address client{};                      // family 0: any
  uint8_t client_bits = 0;               // of its prefix
  uint32_t snaplen = kFrameBytesMax;     // octets of a frame that are copied

  bool takes_all() const { return virtual_server == kAnyServer && client.family == 0; }
  bool is_client(uint8_t family, const uint8_t* octets) const;
};

// What became of a frame.
enum class Captured : uint8_t {
  kReceived,
  kHeld,     // received, and waits
  kDropped,  // received, and went no further: `drop`
  kSent,
  kUnsent,  // received before, and did not leave: `drop`
  kVoid,    // not what the filter wants after all; the reader passes it over
};

// What stands before each captured frame, in this machine's byte order; the frame is padded to CaptureRing::kUnit.
struct CaptureRecord {
  static constexpr uint32_t kNoConnection = 0xffffffff;
  static constexpr uint16_t kNoServer = 0xffff;

  CaptureRing::Length length;  // with the frame and its padding
  uint32_t captured;           // octets of the frame that follow
  uint32_t original;           // octets that it had
  uint32_t slot;               // of its connection in the table
  uint64_t time;               // Nanos of the burst; CLOCK_REALTIME once it is read
  uint16_t incarnation;        // of its connection: with the slot its id
  uint16_t virtual_server;     // id
  uint8_t device;
  Captured what;
  Drop drop;
  uint8_t reserved;

  uint8_t* frame() { return reinterpret_cast<uint8_t*>(this) + sizeof(CaptureRecord); }
};
static_assert(sizeof(CaptureRecord) == 32);

class Capture {
 public:
  // `behind`: what CLOCK_REALTIME is ahead of the time of bursts.
  Capture(const CaptureFilter& filter, size_t workers, Nanos behind)
      : filter_(filter), workers_(workers), behind_(behind) {}

  // False: the memory is not to be had; errno says why.
  bool reserve();
  const CaptureFilter& filter() const { return filter_; }

  // The JavaScript thread: whole records in the order of their time, as many as there is room for; bytes written.
  size_t take(uint8_t* into, size_t room);
  // Of all workers: frames that the filter wanted, and of these those that found no room.
  uint64_t wanted(size_t device) const;
  uint64_t missed(size_t device) const;

 private:
  friend class CaptureTap;

  struct Lane {
    CaptureRing ring;
    std::array<std::atomic<uint64_t>, kDevicesMax> wanted{}, missed{};
  };
  CaptureRing* earliest();

  const CaptureFilter filter_;
  const size_t workers_;
  const Nanos behind_;
  std::array<std::unique_ptr<Lane>, kWorkersMax> lanes_;
};

using CaptureSlot = HazardSlot<Capture>;

// A worker's frames on their way into the ring. The order of a burst is
//   arrived() before it is forwarded -> refused() for what a device does not take -> settle() before the flush
class CaptureTap {
 public:
  CaptureTap(CaptureSlot* slot, size_t worker) : slot_(slot), worker_(worker) {}

  // Around a pass. False: nothing is captured, and the rest is not to be called.
  bool enter() { return (capture_ = slot_->enter(worker_)) != nullptr; }
  void leave() { slot_->leave(worker_); }

  // At most kBurst frames as they came. `again`: they were held, and their arrival has been taken.
  void arrived(const ForwardContext& context, const Frame* frames, size_t count, bool again = false);
  void refused(size_t index, Drop why);
  // The same frames behind forwarding, and behind Device::transmit().
  void settle(const ForwardContext& context, const Frame* frames, const Verdict* verdicts, size_t count);

 private:
  struct Pending {
    bool candidate;  // the rest holds
    bool wanted;     // what the filter says as far as is known
    bool taken;      // its arrival is to be recorded
    bool has_flow;   // `flow` is asked for again behind the burst, which may have opened its connection
    bool is_refused;
    Drop why;               // is_refused
    CaptureRecord* record;  // of its arrival; nullptr: none, or no room
    FlowKey flow;
    uint32_t slot;
    uint16_t incarnation;
    uint16_t virtual_server;
    uint8_t device;
  };

  void look(const ForwardContext& context, const Frame& frame, Pending* pending);
  bool find(const ForwardContext& context, Pending* pending);
  bool is_wanted_without(const ForwardContext& context, const Frame& frame, const wire::Packet& packet,
                         Pending* pending) const;
  CaptureRecord* copy(const ForwardContext& context, const Frame& frame, uint8_t device);
  void finish(const Pending& pending, CaptureRecord* record, uint8_t device, Captured what, Drop why);

  CaptureSlot* slot_;
  size_t worker_;
  Capture* capture_ = nullptr;
  std::array<Pending, kBurst> pending_;
};

}  // namespace tandem
