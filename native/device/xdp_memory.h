// The memory of one worker's AF_XDP frames (UMEM), shared by all its devices: chunks of equal size, each at any moment
// free, lent to the kernel for reception, held by the burst in progress, or on its way out.
//
//   chunk  | headroom of XDP, 256 octets | frame as received | at least kFrameTailroom |
//
// A frame received by one device is sent by another out of the same chunk. There are as many chunks as all sockets may
// have lent and in transmission at once, so no device starves another for longer than a burst. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../limits.h"
#include "../system_error.h"

namespace tandem {

class XdpMemory {
 public:
  // What XDP keeps free before a frame (XDP_PACKET_HEADROOM of <linux/bpf.h>); more than kFrameHeadroom.
  static constexpr size_t kHeadroom = 256;
  static_assert(kHeadroom >= kFrameHeadroom);
  static constexpr size_t kChunkBytesMin = 2048;
  static constexpr size_t kChunkBytesMax = 4096;  // the kernel's bound: a page

  // The longest frame that a chunk takes.
  static constexpr size_t frame_bytes_max(size_t chunk_bytes) { return chunk_bytes - kHeadroom - kFrameTailroom; }
  // The smallest chunk for frames of this length; 0: there is none.
  static constexpr size_t chunk_for(size_t frame_bytes) {
    for (size_t chunk = kChunkBytesMin; chunk <= kChunkBytesMax; chunk *= 2) {
      if (frame_bytes <= frame_bytes_max(chunk)) return chunk;
    }
    return 0;
  }

  XdpMemory() = default;
  XdpMemory(const XdpMemory&) = delete;
  XdpMemory& operator=(const XdpMemory&) = delete;
  ~XdpMemory();

  SystemError reserve(size_t chunks, size_t chunk_bytes);
  // Makes it the UMEM of a new socket. ENOBUFS: more than may be locked.
  SystemError register_with(int socket) const;

  uint8_t* start() const { return start_; }
  size_t bytes() const { return chunks_ * chunk_bytes_; }
  size_t chunk_bytes() const { return chunk_bytes_; }
  bool contains(const uint8_t* data) const { return data >= start_ && data < start_ + bytes(); }
  uint64_t address(const uint8_t* data) const { return static_cast<uint64_t>(data - start_); }
  uint64_t chunk_of(uint64_t address) const { return address & ~static_cast<uint64_t>(chunk_bytes_ - 1); }

  bool any_free() const { return !free_.empty(); }
  size_t free_chunks() const { return free_.size(); }
  // The chunk given back last, which is the likeliest to be in the cache.
  uint64_t take() {
    const uint64_t chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  void give(uint64_t chunk) { free_.push_back(chunk); }

  // A received frame of the burst in progress: which of its device's queues it came from. -1: not, or not any more.
  int held_from(uint64_t chunk) const { return held_[chunk / chunk_bytes_]; }
  void hold(uint64_t chunk, int queue) { held_[chunk / chunk_bytes_] = static_cast<int8_t>(queue); }
  void let_go(uint64_t chunk) { held_[chunk / chunk_bytes_] = -1; }

 private:
  uint8_t* start_ = nullptr;
  size_t chunks_ = 0;
  size_t chunk_bytes_ = 0;
  std::vector<uint64_t> free_;  // capacity for all: never allocates
  std::vector<int8_t> held_;
};

}  // namespace tandem
