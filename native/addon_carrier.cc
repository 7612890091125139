// Carrier of one interface, for the failover process: read from sysfs again and again by a thread of its own, which
// wakes the event loop when it has changed.
//
// Netlink reports a lost carrier up to a second late (the kernel's link watch), sysfs at once; but a read may wait for
// the kernel's configuration lock while another interface is changed, and no advert must wait for that.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "addon.h"

namespace tandem {
namespace {

constexpr int64_t kPollMsMax = 10'000;

// Shared with the thread, which lets go last: it may hang in a read when the watch is closed.
struct Watched {
  std::string path;
  std::atomic<int64_t> poll_ms;
  Napi::ThreadSafeFunction tell;
  std::mutex mutex;
  std::condition_variable changed;
  bool is_closed = false;
};

struct Seen {
  bool up;
  bool is_replaced;
};

void deliver(Napi::Env env, Napi::Function on_carrier, Seen* seen) {
  const std::unique_ptr<Seen> owned(seen);
  on_carrier.Call({Napi::Boolean::New(env, seen->up), Napi::Boolean::New(env, seen->is_replaced)});
  // As an exception of any other callback: it reaches 'uncaughtException'.
  if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
}

// False: the event loop is ending, and has let go of the function.
bool tell(Watched& watched, Seen seen) {
  auto owned = std::make_unique<Seen>(seen);
  const napi_status status = watched.tell.NonBlockingCall(owned.get(), deliver);
  if (status == napi_ok) static_cast<void>(owned.release());
  return status != napi_closing;
}

void run(const std::shared_ptr<Watched>& watched) {
  int fd = -1;
  bool was_there = false, is_known = false, known = false;
  for (;;) {
    bool is_replaced = false, up = false;
    if (fd < 0 && (fd = open(watched->path.c_str(), O_RDONLY | O_CLOEXEC)) >= 0) {
      is_replaced = was_there;
      was_there = true;
    }
    if (fd >= 0) {
      char first = '0';
      ssize_t bytes;
      do bytes = pread(fd, &first, 1, 0);
      while (bytes < 0 && errno == EINTR);
      // EINVAL: the interface is down. Anything else: it is gone, and the descriptor with it.
      if (bytes < 0 && errno != EINVAL) {
        close(fd);
        fd = -1;
      }
      up = bytes == 1 && first == '1';
    }
    const bool is_news = is_replaced || !is_known || up != known;
    if (is_news && !tell(*watched, {up, is_replaced})) {
      if (fd >= 0) close(fd);
      return;
    }
    is_known = true;
    known = up;

    std::unique_lock<std::mutex> lock(watched->mutex);
    const auto pause = std::chrono::milliseconds(watched->poll_ms.load(std::memory_order_relaxed));
    if (watched->changed.wait_for(lock, pause, [&] { return watched->is_closed; })) break;
  }
  if (fd >= 0) close(fd);
  watched->tell.Release();
}

class CarrierWatch final : public Napi::ObjectWrap<CarrierWatch> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("CarrierWatch", DefineClass(env, "CarrierWatch",
                                            {
                                                InstanceMethod<&CarrierWatch::poll_each>("pollEach"),
                                                InstanceMethod<&CarrierWatch::close>("close"),
                                            }));
  }

  explicit CarrierWatch(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CarrierWatch>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsString() || !info[2].IsFunction()) {
      throw_type_error(env, "CarrierWatch: the arguments must be an interface name, milliseconds and a function");
      return;
    }
    const auto poll_ms = integer_of(info, 1, 1, kPollMsMax, "CarrierWatch", "pollMs");
    if (!poll_ms) return;
    watched_ = std::make_shared<Watched>();
    watched_->path = "/sys/class/net/" + info[0].As<Napi::String>().Utf8Value() + "/carrier";
    watched_->poll_ms = *poll_ms;
    watched_->tell = Napi::ThreadSafeFunction::New(env, info[2].As<Napi::Function>(), "CarrierWatch", 0, 1);
    watched_->tell.Unref(env);  // it keeps no process alive
    std::thread(run, watched_).detach();
  }

  ~CarrierWatch() override { shut(); }

 private:
  void poll_each(const Napi::CallbackInfo& info) {
    const auto poll_ms = integer_of(info, 0, 1, kPollMsMax, "pollEach", "pollMs");
    if (poll_ms && watched_ != nullptr) watched_->poll_ms.store(*poll_ms, std::memory_order_relaxed);
  }

  void close(const Napi::CallbackInfo&) { shut(); }

  void shut() {
    if (watched_ == nullptr) return;
    {
      const std::lock_guard<std::mutex> lock(watched_->mutex);
      watched_->is_closed = true;
    }
    watched_->changed.notify_one();
    watched_ = nullptr;
  }

  std::shared_ptr<Watched> watched_;
};

}  // namespace

void export_carrier(Napi::Env env, Napi::Object exports) { CarrierWatch::define(env, exports); }

}  // namespace tandem
