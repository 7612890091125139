// A worker: one native thread that moves frames between its devices. Start reading at Worker::pass().
//
// It never waits for the JavaScript thread and takes no lock. When nothing arrives it sleeps in poll(2) on
// its devices, at most kHeartbeatMs, so that its heartbeat moves and expiry goes on; or it waits as Wait says.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "capture.h"
#include "device/device.h"
#include "forward.h"
#include "policy_slot.h"
#include "system_error.h"

namespace tandem {

// A lap of the whole connection table by all workers together, at least this often when they keep up.
inline constexpr Nanos kSweepLap = 10 * kSecond;
// Slots that one pass sweeps: few behind a burst, many when nothing else is to be done. A table too large
// for that has longer laps.
inline constexpr size_t kSweepBusyMax = 64;
inline constexpr size_t kSweepIdleMax = 32768;
// How often a device is maintained and asked for what the kernel dropped.
inline constexpr Nanos kMaintainInterval = kSecond;

// What a worker does when nothing arrives.
enum class Wait : uint8_t {
  kPoll,      // sleeps at once: an idle worker costs nothing
  kBusyPoll,  // lets the drivers look for frames while there was one lately, then sleeps
  kSpin,      // looks again at once, always: a whole core, and the least delay
};
// Busy polling goes on this long after the last frame.
inline constexpr Nanos kBusyPollFor = 2 * kMillisecond;

// Expiry spread over time.
class SweepPace {
 public:
  SweepPace(size_t worker, size_t workers) : cursor_{0, worker, workers} {}
  // How many are due at `now`, of the `slots` that all workers sweep together; at most `limit`.
  size_t due(Nanos now, size_t slots, size_t limit);
  SweepCursor* cursor() { return &cursor_; }

 private:
  SweepCursor cursor_;
  Nanos last_ = 0;
};

// Calls back when changes were queued for the mirror while the JavaScript thread waits for them.
struct Wakeup {
  void (*call)(void* argument) = nullptr;
  void* argument = nullptr;
};

class Worker {
 public:
  // `context` with everything but policy and time; what it points to, `policy` and `capture` outlive the worker.
  Worker(const ForwardContext& context, PolicySlot* policy, CaptureSlot* capture, const Wakeup* wakeup, size_t workers);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  // Index in the vector is the device's index.
  SystemError start(std::vector<std::unique_ptr<Device>> devices, Wait wait = Wait::kPoll);
  void stop();
  // Any thread: it looks soon at what it holds, if it holds anything.
  void look_at_held();

 private:
  void run();
  bool pass(Nanos now);
  void send(size_t count);
  void send_released();
  void send_held();
  void maintain(Nanos now);
  void wait(Nanos now);
  void sleep();
  void wake();

  ForwardContext context_;
  PolicySlot* policy_;
  const Wakeup* wakeup_;
  CaptureTap tap_;
  bool capturing_ = false;  // in this pass
  SweepPace pace_;
  Nanos maintained_ = 0;
  Wait wait_ = Wait::kPoll;
  Nanos busy_since_ = 0;  // a frame was seen
  std::vector<std::unique_ptr<Device>> devices_;
  std::array<Frame, kBurst> frames_;
  std::array<Verdict, kBurst> verdicts_;
  std::array<Fragments::Released, kBurst> released_;
  std::atomic<bool> stopping_{false};
  int wake_ = -1;  // eventfd: written by stop() and look_at_held()
  std::thread thread_;
};

}  // namespace tandem
