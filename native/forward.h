// The data path for one packet, in the order it happens. Start reading here.
//
//   parse -> find -> (classify -> schedule -> open) -> advance -> rewrite -> (mark for the mirror) -> verdict
//
// forward_burst() is a function of the frames, the policy, the table and the time. It does no input or
// output, takes no lock, allocates nothing and reads no clock, so the same call runs under AF_XDP,
// under AF_PACKET, over a pcap file and under the fuzzer.
//
// One frame in, at most one frame out: an answer (ARP, ND, echo, RST) is written over the question.
#pragma once

#include <array>
#include <cstddef>

#include "conn_table.h"
#include "counters.h"
#include "fragments.h"
#include "frame.h"
#include "hold_queue.h"
#include "mirror.h"
#include "persistence.h"
#include "policy.h"
#include "runtime.h"
#include "shared_state.h"
#include "snat_ports.h"

namespace tandem {

// What a burst works with. Everything outlives the burst; `worker` names this thread's own parts.
struct ForwardContext {
  const Policy* policy;
  ConnTable* table;
  Runtime* runtime;
  SnatPorts* snat_ports;
  MirrorSource* mirror;
  SharedState* shared;
  Counters* counters;                                // this worker's
  std::array<Traffic, kVirtualServersMax>* traffic;  // this worker's
  const MacAddress* device_macs;                     // own MAC of each device
  size_t worker;                                     // also its Participant
  Nanos now;
  Fragments* fragments;
  Persistence* persistence;
  HoldQueue* held = nullptr;  // this worker's; without one nothing is held, as if it were always full
};

// Rewrites frames in place and fills one verdict each. At most kBurst frames. Every frame is counted once as
// received and once as forwarded, answered (ARP, ND, echo, reset, refusal), punted, dropped or held. What the caller's
// device refuses afterwards (kDeviceFull, kOversized) is the caller's to count, on top.
void forward_burst(const ForwardContext& context, Frame* frames, size_t count, Verdict* verdicts);

// The same for fragments that were held (Fragments::take_released()); each is counted as forwarded or dropped.
// `frames` receives them as they are to be sent.
void forward_released(const ForwardContext& context, const Fragments::Released* released, size_t count, Frame* frames,
                      Verdict* verdicts);

// Frames that were held and may go now (take_held() of commit.h gives them), forwarded as if they had just come.
void forward_held(const ForwardContext& context, Frame* frames, size_t count, Verdict* verdicts);

// Where a worker sweeps. Slots that were ever used are swept in as many parts as there are workers; a part moves as
// more come to be used, so for a connection a lap may take twice as long then.
struct SweepCursor {
  size_t slot = 0;
  size_t part = 0, parts = 1;
};

// A few slots of expiry: closes connections past their idle timeout, queues deferred changes, recycles
// dead slots, drops fragments that were held for too long. Covers the next `budget` slots of the cursor's part and
// wraps; a connection whose group is not active here is not aged when it is mirrored, for the active unit decides.
void sweep(const ForwardContext& context, SweepCursor* cursor, size_t budget);

}  // namespace tandem
