// Sends a burst of frames out of an interface in one system call, and lets the far end of a veth take them as a burst.
//
// AF_XDP (copying) and AF_PACKET enter and leave the kernel's softirq once per frame: on a veth the far end's whole
// receive path runs for each frame alone. Here a tc program, run by BPF_PROG_TEST_RUN, writes one frame after the other
// into the one packet it is given and sends a clone of it (bpf_clone_redirect()); softirqs wait until all are sent.
// Frames pass the queueing discipline of the interface, and what listens on it sees them.
//
//   frames_ is memory shared with the program:  | Head | length and Ethertype of each frame | frames, 2 KiB each |
//
// The packet's protocol is the Ethertype of the first frame, and the program cannot change it: a run takes the frames
// of one Ethertype, so frames of a flow keep their order. Bound: kBurst frames of at most kFrameBytesMax octets.
//
// Opened on the JavaScript thread, used by one worker. CAP_BPF and CAP_NET_ADMIN, Linux 5.11. Read bpf-helpers(7)
// first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../limits.h"
#include "../system_error.h"

namespace tandem {

class BurstSender {
 public:
  static constexpr size_t kFrameBytesMax = 2048;
  // A run costs some microseconds of its own: fewer frames than this leave sooner by a socket.
  static constexpr size_t kWorthwhile = 8;

  BurstSender() = default;
  BurstSender(const BurstSender&) = delete;
  BurstSender& operator=(const BurstSender&) = delete;
  ~BurstSender() { close(); }

  SystemError open(int interface_index);
  void close();
  bool is_open() const { return program_ >= 0; }

  // Whether frames of that length can be sent. Nothing finishes a checksum or segments.
  static bool takes(size_t bytes) { return bytes >= kEthernetBytes && bytes <= kFrameBytesMax; }
  bool full() const { return count_ == kBurst; }
  // Copies the frame; not when full().
  void add(const void* frame, size_t bytes);
  // Sends what was added. Returns how many frames the kernel refused.
  size_t flush();

 private:
  static constexpr size_t kEthernetBytes = 14;
  struct Shared;

  size_t run_from(size_t first);

  Shared* shared_ = nullptr;
  int map_ = -1;
  int program_ = -1;
  size_t count_ = 0;
  bool mixed_ = false;  // several Ethertypes
};

}  // namespace tandem
