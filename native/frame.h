// One frame on its way through a worker, and what became of it.
#pragma once

#include <cstdint>

#include "counters.h"

namespace tandem {

struct Frame {
  uint8_t* data;   // the Ethernet header; kFrameHeadroom writable bytes lie before it
  uint32_t bytes;  // from data on, and kFrameTailroom writable bytes behind; tags in place, never in metadata
  uint8_t device;  // index of the device it came from; forward() leaves it
  // The transport checksum field holds the pseudo-header's sum only, uncomplemented: the sender
  // left the rest to its NIC (checksum offload). Whoever sends the frame must finish or pass it on.
  bool checksum_partial;
  // Payload bytes of each segment when the kernel joined several (GRO, TSO); 0 for a plain frame.
  uint16_t segment_bytes;
};

// Four octets, the last of them unused, so that it is written as one word.
struct alignas(4) Verdict {
  enum class Kind : uint8_t {
    kForward,  // the frame was rewritten in place: send it on `device`
    kPunt,     // not Tandem's: the kernel has it already (or is given it, on a device that took it)
    kDrop,     // `drop` says why; already counted
    kHold,     // a fragment before its first one: it was copied, and its verdict comes later
  };
  Kind kind;
  uint8_t device;
  Drop drop;
  uint8_t unused = 0;

  static constexpr Verdict forward(uint8_t device) { return {Kind::kForward, device, Drop::kTruncated}; }
  static constexpr Verdict punt() { return {Kind::kPunt, 0, Drop::kTruncated}; }
  static constexpr Verdict held() { return {Kind::kHold, 0, Drop::kTruncated}; }
  static constexpr Verdict dropped(Drop why) { return {Kind::kDrop, 0, why}; }
};

}  // namespace tandem
