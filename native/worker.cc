// The loop that every frame of a `packet` device passes through.
#include "worker.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdio>

#include "commit.h"

namespace tandem {

// One pass over all devices: what happens to a frame, in the order it happens.
bool Worker::pass(Nanos now) {
  context_.now = now;
  context_.policy = policy_->enter(context_.worker);
  capturing_ = tap_.enter();

  size_t seen = 0;
  for (const auto& device : devices_) {
    const size_t count = device->receive(frames_.data(), kBurst);
    if (count == 0) continue;
    if (capturing_) [[unlikely]]
      tap_.arrived(context_, frames_.data(), count);
    forward_burst(context_, frames_.data(), count, verdicts_.data());
    send(count);
    device->release();
    seen += count;
  }
  send_released();
  send_held();
  const size_t due = pace_.due(now, context_.table->slots_touched(), seen > 0 ? kSweepBusyMax : kSweepIdleMax);
  if (due > 0) sweep(context_, pace_.cursor(), due);

  if (capturing_) tap_.leave();
  policy_->leave(context_.worker);
  context_.table->quiesce(context_.worker);
  context_.shared->workers[context_.worker].heartbeat.fetch_add(1, std::memory_order_release);
  if (context_.mirror->take_wakeup() && wakeup_->call != nullptr) wakeup_->call(wakeup_->argument);
  return seen > 0;
}

// The burst that has just been forwarded.
void Worker::send(size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (verdicts_[i].kind != Verdict::Kind::kForward) continue;
    Drop why;
    if (devices_[verdicts_[i].device]->transmit(frames_[i], &why)) continue;
    context_.counters->add(why);
    if (capturing_) tap_.refused(i, why);
  }
  if (capturing_) [[unlikely]]
    tap_.settle(context_, frames_.data(), verdicts_.data(), count);
  for (const auto& out : devices_) context_.counters->add(Drop::kDeviceFull, out->flush());
}

// Fragments that were early, and whose first one has come.
void Worker::send_released() {
  while (const size_t count = context_.fragments->take_released(context_.worker, released_.data(), kBurst)) {
    if (capturing_) {
      for (size_t i = 0; i < count; i++) frames_[i] = released_[i].frame;
      tap_.arrived(context_, frames_.data(), count, true);
    }
    forward_released(context_, released_.data(), count, frames_.data(), verdicts_.data());
    send(count);
    context_.fragments->free_released(context_.worker);
  }
}

// Handshakes that waited for the peer.
void Worker::send_held() {
  while (const size_t count = take_held(context_, frames_.data())) {
    if (capturing_) tap_.arrived(context_, frames_.data(), count, true);
    forward_held(context_, frames_.data(), count, verdicts_.data());
    send(count);
    context_.held->free_taken();
  }
}

void Worker::run() {
  context_.table->online(context_.worker);
  while (!stopping_.load(std::memory_order_relaxed)) {
    const Nanos now = boottime_now();
    if (now - maintained_ >= kMaintainInterval) maintain(now);
    if (pass(now)) {
      busy_since_ = now;
    } else {
      wait(now);
    }
  }
  context_.table->offline(context_.worker);
  context_.shared->workers[context_.worker].heartbeat.store(0, std::memory_order_release);
}

// Between bursts: what costs a system call and changes seldom.
void Worker::maintain(Nanos now) {
  maintained_ = now;
  for (size_t i = 0; i < devices_.size(); i++) {
    devices_[i]->maintain();
    context_.counters->add(Count::kDeviceDropped, devices_[i]->take_dropped());
    context_.runtime->set_mtu(i, devices_[i]->mtu());
  }
}

// Nothing has arrived.
void Worker::wait(Nanos now) {
  if (wait_ == Wait::kSpin) return;
  if (wait_ == Wait::kPoll || now - busy_since_ > kBusyPollFor) return sleep();
  bool polled = false;
  for (const auto& device : devices_) polled = device->busy_poll() || polled;
  if (!polled) sleep();
}

// Until a device has frames, stop() is called, or a heartbeat is due.
void Worker::sleep() {
  context_.table->offline(context_.worker);
  std::array<pollfd, kDevicesMax + 1> polled;
  polled[0] = {wake_, POLLIN, 0};
  for (size_t i = 0; i < devices_.size(); i++) polled[i + 1] = {devices_[i]->descriptor(), POLLIN, 0};
  const int heartbeat_ms = static_cast<int>(kHeartbeatMs);
  const int wait_ms = context_.held == nullptr ? heartbeat_ms : context_.held->poll_ms(context_.now, heartbeat_ms);
  poll(polled.data(), static_cast<nfds_t>(devices_.size() + 1), wait_ms);
  if ((polled[0].revents & POLLIN) != 0) {
    uint64_t times;
    if (read(wake_, &times, sizeof times) < 0) { /* nobody wrote after all */
    }
  }

  bool faulty = false;
  for (size_t i = 0; i < devices_.size(); i++) {
    if ((polled[i + 1].revents & (POLLERR | POLLHUP | POLLNVAL)) == 0) continue;
    faulty = true;
    devices_[i]->maintain();
  }
  // An interface that keeps failing must not keep the worker spinning.
  if (faulty) poll(polled.data(), 1, static_cast<int>(kHeartbeatMs));
  context_.table->online(context_.worker);
}

size_t SweepPace::due(Nanos now, size_t slots, size_t limit) {
  const Nanos per_slot = slots == 0 ? kSweepLap : kSweepLap * cursor_.parts / slots + 1;
  if (last_ == 0 || now < last_) {
    last_ = now;
    return 0;
  }
  const size_t due = static_cast<size_t>((now - last_) / per_slot);
  if (due <= limit) {
    last_ += due * per_slot;
    return due;
  }
  // What cannot be caught up within a second is let go: laps get longer, debts do not pile up.
  last_ += limit * per_slot;
  if (now - last_ > kSecond) last_ = now - kSecond;
  return limit;
}

Worker::Worker(const ForwardContext& context, PolicySlot* policy, CaptureSlot* capture, const Wakeup* wakeup,
               size_t workers)
    : context_(context),
      policy_(policy),
      wakeup_(wakeup),
      tap_(capture, context.worker),
      pace_(context.worker, workers) {}

Worker::~Worker() { stop(); }

SystemError Worker::start(std::vector<std::unique_ptr<Device>> devices, Wait wait) {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) return system_error("eventfd of a worker", "");
  devices_ = std::move(devices);
  wait_ = wait;

  // Signals belong to the JavaScript thread; a new thread inherits this mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  char name[16];  // the kernel keeps 15 characters
  snprintf(name, sizeof name, "tandem-worker-%zu", context_.worker);
  pthread_setname_np(thread_.native_handle(), name);
  return {};
}

void Worker::wake() {
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof one) < 0) { /* full: the worker wakes by its heartbeat */
  }
}

void Worker::look_at_held() {
  if (context_.held->waits()) wake();
}

void Worker::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) {
    wake();
    thread_.join();
  }
  if (wake_ >= 0) close(wake_);
  wake_ = -1;
  devices_.clear();
}

}  // namespace tandem
