// Captures: made and freed here, on the JavaScript thread. What workers do with one is in capture.cc.
#include <ctime>

#include "engine.h"

namespace tandem {

SystemError Engine::start_capture(const CaptureFilter& filter) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const Nanos since_epoch = static_cast<Nanos>(now.tv_sec) * kSecond + static_cast<Nanos>(now.tv_nsec);
  auto made = std::make_unique<Capture>(filter, options_.workers, since_epoch - boottime_now());
  if (!made->reserve()) return system_error("memory for a capture", "");
  capture_.swap(std::move(made));
  return {};
}

void Engine::stop_capture() { capture_.swap(nullptr); }

}  // namespace tandem
