// The small memory that workers and the failover process share: heartbeats one way, roles and leases
// the other. A memfd made by the daemon and inherited by the failover process; layout below is the
// whole protocol. Every field has one writing side.
//
//   daemon's workers ── heartbeat, MLD queries seen ──► failover process
//   daemon's workers ◄── role, lease, term ──────────── failover process
//
// design: a worker whose lease has run out forwards nothing and answers no ARP. It reads role and
// lease once per burst, so a takeover is one store here and a stopped unit does no harm when it is
// continued.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "limits.h"
#include "system_error.h"

namespace tandem {

enum class Role : uint32_t {
  kStandby = 0,  // forwards nothing, answers nothing
  kActive = 1,
  kHandingOver = 2,  // forwards known connections from its own MAC, answers no ARP, opens nothing
};

struct SharedState {
  static constexpr uint32_t kMagic = 0x5444454d;  // "TDEM"
  static constexpr uint32_t kVersion = 1;

  uint32_t magic;
  uint32_t version;

  struct alignas(64) Worker {
    std::atomic<uint64_t> heartbeat;  // moves at least every kHeartbeatMs while the worker lives; 0: no worker
  };
  struct alignas(64) Group {
    std::atomic<uint32_t> role;  // Role
    std::atomic<uint32_t> term;
    std::atomic<uint64_t> lease;      // Nanos (CLOCK_BOOTTIME) until which `role` holds; standby after
    std::atomic<uint64_t> activated;  // Nanos when it became active; idle timers start no earlier
  };
  struct alignas(64) Device {
    std::atomic<uint64_t> mld_queries;  // seen on this device, so that the failover process reports again
  };

  std::array<Worker, kWorkersMax> workers;
  std::array<Group, kGroupsMax> groups;
  std::array<Device, kDevicesMax> devices;

  // What a worker does with it, once per burst.
  Role role(size_t group, Nanos now) const {
    const Group& g = groups[group];
    const auto role = static_cast<Role>(g.role.load(std::memory_order_acquire));
    return now < g.lease.load(std::memory_order_relaxed) ? role : Role::kStandby;
  }
};

inline constexpr uint64_t kHeartbeatMs = 20;

// A new memfd, mapped; the caller closes `fd` and unmaps `state`.
SystemError create_shared_state(int* fd, SharedState** state);
// Maps a descriptor that create_shared_state() made, here or in the parent process. Refuses one of
// another size, magic number or version. The descriptor stays the caller's.
SystemError map_shared_state(int fd, SharedState** state);
void unmap_shared_state(SharedState* state);

}  // namespace tandem
