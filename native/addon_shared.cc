// SharedState for JavaScript: the daemon makes one, the failover process opens it from the inherited
// descriptor. Writes follow the order that SharedState::role() relies on: the lease before the role.
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "addon.h"
#include "clock.h"
#include "shared_state.h"

namespace tandem {
namespace {

constexpr const char* kRoleNames[] = {"standby", "active", "handing-over"};

class SharedStateObject final : public Napi::ObjectWrap<SharedStateObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("SharedState", DefineClass(env, "SharedState",
                                           {
                                               InstanceAccessor<&SharedStateObject::fd>("fd"),
                                               InstanceMethod<&SharedStateObject::read_heartbeats>("readHeartbeats"),
                                               InstanceMethod<&SharedStateObject::read_mld_queries>("readMldQueries"),
                                               InstanceMethod<&SharedStateObject::group>("group"),
                                               InstanceMethod<&SharedStateObject::set_role>("setRole"),
                                               InstanceMethod<&SharedStateObject::extend_lease>("extendLease"),
                                               InstanceMethod<&SharedStateObject::now>("now"),
                                           }));
  }

  explicit SharedStateObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SharedStateObject>(info) {
    if (info.Length() == 0 || info[0].IsUndefined()) {
      const SystemError error = create_shared_state(&fd_, &state_);
      owned_ = !error.failed();
      if (error.failed()) throw_system_error(info.Env(), "SharedState", error);
      return;
    }
    const auto fd = integer_of(info, 0, 0, INT32_MAX, "SharedState", "fd");
    if (!fd) return;
    fd_ = static_cast<int>(*fd);
    const SystemError error = map_shared_state(fd_, &state_);
    if (error.failed()) throw_system_error(info.Env(), "SharedState", error);
  }

  ~SharedStateObject() override {
    unmap_shared_state(state_);
    if (owned_) close(fd_);
  }

 private:
  // Not const: node-addon-api takes no const accessor.
  // NOLINTNEXTLINE(readability-make-member-function-const)
  Napi::Value fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_); }

  void read_heartbeats(const Napi::CallbackInfo& info) {
    const auto into = words_of(info, 0, "readHeartbeats");
    if (!into) return;
    for (size_t i = 0; i < into->count; i++) {
      into->data[i] = i < kWorkersMax ? state_->workers[i].heartbeat.load(std::memory_order_acquire) : 0;
    }
  }

  void read_mld_queries(const Napi::CallbackInfo& info) {
    const auto into = words_of(info, 0, "readMldQueries");
    if (!into) return;
    for (size_t i = 0; i < into->count; i++) {
      into->data[i] = i < kDevicesMax ? state_->devices[i].mld_queries.load(std::memory_order_relaxed) : 0;
    }
  }

  SharedState::Group* group_of(const Napi::CallbackInfo& info, const char* where) {
    const auto index = integer_of(info, 0, 0, kGroupsMax - 1, where, "group");
    return index ? &state_->groups[static_cast<size_t>(*index)] : nullptr;
  }

  Napi::Value group(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const SharedState::Group* group = group_of(info, "group");
    if (group == nullptr) return env.Undefined();
    const uint32_t role = group->role.load(std::memory_order_acquire);
    Napi::Object object = Napi::Object::New(env);
    object.Set("role", kRoleNames[role < std::size(kRoleNames) ? role : 0]);
    object.Set("term", group->term.load(std::memory_order_relaxed));
    object.Set("leaseNs", Napi::BigInt::New(env, group->lease.load(std::memory_order_relaxed)));
    object.Set("activatedNs", Napi::BigInt::New(env, group->activated.load(std::memory_order_relaxed)));
    return object;
  }

  // Time on CLOCK_BOOTTIME at which a lease of the argument's milliseconds ends; Infinity: never.
  std::optional<Nanos> lease_of(const Napi::CallbackInfo& info, size_t index, const char* where) {
    const double ms = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : std::nan("");
    if (std::isinf(ms) && ms > 0) return UINT64_MAX;
    if (ms >= 0 && ms < 1e12) return ms == 0 ? 0 : boottime_now() + static_cast<Nanos>(ms * kMillisecond);
    throw_range_error(info.Env(), std::string(where) + ": leaseMs must be 0 or more");
    return std::nullopt;
  }

  void set_role(const Napi::CallbackInfo& info) {
    SharedState::Group* group = group_of(info, "setRole");
    if (group == nullptr) return;
    const std::string name = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
    uint32_t role = 0;
    while (role < std::size(kRoleNames) && name != kRoleNames[role]) role++;
    if (role == std::size(kRoleNames)) {
      return throw_type_error(info.Env(), "setRole: role must be standby, active or handing-over");
    }
    const auto term = integer_of(info, 2, 0, UINT32_MAX, "setRole", "term");
    if (!term) return;
    const auto lease = lease_of(info, 3, "setRole");
    if (!lease) return;
    const bool takes_over = role == static_cast<uint32_t>(Role::kActive) &&
                            group->role.load(std::memory_order_relaxed) != static_cast<uint32_t>(Role::kActive);
    group->term.store(static_cast<uint32_t>(*term), std::memory_order_relaxed);
    if (takes_over) group->activated.store(boottime_now(), std::memory_order_relaxed);
    group->lease.store(*lease, std::memory_order_relaxed);
    group->role.store(role, std::memory_order_release);
  }

  void extend_lease(const Napi::CallbackInfo& info) {
    SharedState::Group* group = group_of(info, "extendLease");
    if (group == nullptr) return;
    const auto lease = lease_of(info, 1, "extendLease");
    if (lease) group->lease.store(*lease, std::memory_order_release);
  }

  Napi::Value now(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(boottime_now()) / kMillisecond);
  }

  int fd_ = -1;
  bool owned_ = false;
  SharedState* state_ = nullptr;
};

}  // namespace

void export_shared_state(Napi::Env env, Napi::Object exports) { SharedStateObject::define(env, exports); }

}  // namespace tandem
