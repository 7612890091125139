// What outlives a policy: members and virtual servers under ids that connections keep, and what may
// change between two policies without building a new one (next hops, mirror switches, group states).
//
// A policy is swapped whole and names these by id. An id is given by the JavaScript thread when a
// config first names a virtual server or a member, and taken back when no policy names it and no
// connection counts on it. Workers read; who writes a field is said beside it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "client_limits.h"
#include "clock.h"
#include "half_open.h"
#include "icmp_pace.h"
#include "limits.h"
#include "mirror_rule.h"
#include "pace.h"
#include "tcp_state.h"

namespace tandem {

// MAC address, device and tag in one word, as LastHop in conn_table.h; 0: not known.
using NextHop = uint64_t;

// How a virtual server's packets reach their member. All but kNat leave addresses and ports as they are: the member has
// the virtual address itself, and answers the client past us.
enum class Forwarding : uint8_t {
  kNat,   // translated
  kDsr,   // to the member's MAC address
  kIpip,  // in IPv4 or IPv6 to the member: RFC 2003, RFC 4213, RFC 2473
  kGue,   // in UDP to the member: draft-ietf-intarea-gue, variant 0
};
constexpr bool is_tunnel(Forwarding forwarding) { return forwarding >= Forwarding::kIpip; }
inline constexpr uint16_t kGuePort = 6080;  // IANA: gue

// One member of a pool, or rather its address and port: pools that share it share its count.
// A line of its own: what every packet reads of it (next_hop, down) is fetched together.
struct alignas(64) Endpoint {
  std::atomic<NextHop> next_hop{0};  // JavaScript thread, from the kernel's neighbours
  // JavaScript thread: down in a pool that does not keep its connections then (Policy::mark_down_members()). Whether
  // it is down for the connection at hand is the policy's to say; this only tells when to ask.
  std::atomic<bool> down{false};
  std::atomic<uint32_t> connections{0};  // open now, mirrored ones included; any participant
  std::atomic<uint64_t> opened{0};
  std::atomic<uint64_t> limited{0};    // times that it was passed over because it had as many as it may have
  std::atomic<uint64_t> persisted{0};  // of those opened: by a persistence entry

  // Counts a connection that is about to be opened, so that all workers together never pass the limit (0: none).
  // False: it has as many as it may have; nothing was counted.
  bool reserve(uint32_t connections_max) {
    constexpr auto relaxed = std::memory_order_relaxed;
    if (connections_max == 0) {
      connections.fetch_add(1, relaxed);
      return true;
    }
    uint32_t now = connections.load(relaxed);
    do {
      if (now >= connections_max) {
        limited.fetch_add(1, relaxed);
        return false;
      }
    } while (!connections.compare_exchange_weak(now, now + 1, relaxed, relaxed));
    return true;
  }
  // What was reserved was not opened after all.
  void release() { connections.fetch_sub(1, std::memory_order_relaxed); }
};
static_assert(sizeof(Endpoint) == 64);

// Where tunnels to an endpoint end. Written with its id, before a worker knows that.
struct EndpointAddress {
  uint8_t family;  // 4 or 6
  uint8_t octets[16];
  uint16_t port;  // of the member as the config has it, host byte order; 0: it has none
};

// Half-open connections that one worker announces (mirror: commit), 200,000 each second and 20,000 at once: a flood of
// SYNs takes no more of the mirror channel.
using CommitPace = Pace<5'000, 20'000>;

// Handshakes of one virtual server with mirror: commit. Any worker.
struct CommitCounts {
  std::atomic<uint64_t> held{0};         // frames that waited for the peer
  std::atomic<uint64_t> released{0};     // of these, sent because the peer had the connection
  std::atomic<uint64_t> timed_out{0};    // the peer did not answer in time
  std::atomic<uint64_t> refused{0};      // the peer had no room, or does not know the virtual server or member
  std::atomic<uint64_t> beyond{0};       // more than may be held or announced
  std::atomic<uint64_t> no_peer{0};      // opened while nobody was there to tell
  std::atomic<uint32_t> unprotected{0};  // open now, and the peer may not have them
};

struct VirtualServerState {
  std::atomic<MirrorRule> mirror{MirrorRule{}};  // JavaScript thread
  // Written with the policy; kept for the connections of a virtual server that is gone.
  std::atomic<Deciseconds> half_open{0}, established{0}, half_closed{0}, closing{0}, udp{0}, other{0};
  std::atomic<uint32_t> connections{0};  // open now; any participant
  std::atomic<uint64_t> opened{0};
  CommitCounts commit;
  std::atomic<uint32_t> lost_closes{0};  // that the peer was not told, around; any participant
  // What its tunnelled connections go through: kIpip or kGue, and the UDP port of members. JavaScript thread; as they
  // last were when the virtual server has no tunnel any more.
  std::atomic<Forwarding> tunnel{Forwarding::kIpip};
  std::atomic<uint16_t> gue_port{kGuePort};

  IdleTimeouts timeouts() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    return {half_open.load(relaxed), established.load(relaxed), half_closed.load(relaxed),
            closing.load(relaxed),   udp.load(relaxed),         other.load(relaxed)};
  }
};

// Traffic through one virtual server as one worker saw it. That worker writes.
struct Traffic {
  struct Way {
    std::atomic<uint64_t> packets{0}, bytes{0};  // of frames
  };
  Way ways[2];  // [0] client to member, [1] member to client, as Direction has it: a packet picks one without a branch
};

struct Runtime {
  Runtime() {
    for (auto& mtu : mtus_) mtu.store(kMtuNone, std::memory_order_relaxed);
  }

  std::array<Endpoint, kMembersMax> endpoints;
  std::array<EndpointAddress, kMembersMax> endpoint_addresses{};  // by the same ids
  std::array<VirtualServerState, kVirtualServersMax> virtual_servers;
  // traffic[worker][virtual server]
  std::array<std::unique_ptr<std::array<Traffic, kVirtualServersMax>>, kWorkersMax> traffic;
  // Octets behind the Ethernet header that a device sends, by device; of any worker, from its device, now and then.
  uint32_t mtu(size_t device) const { return mtus_[device].load(std::memory_order_relaxed); }
  void set_mtu(size_t device, uint32_t mtu) {
    mtus_[device].store(mtu, std::memory_order_relaxed);
    uint32_t least = kMtuNone - kEthernetBytes;
    for (const auto& each : mtus_) least = std::min(least, each.load(std::memory_order_relaxed));
    fits_everywhere.store(least + kEthernetBytes, std::memory_order_relaxed);
  }
  // What every packet is compared with: a frame of so many octets is too long for no device, and few are longer.
  std::atomic<uint32_t> fits_everywhere{kMtuNone};
  std::array<IcmpPace, kWorkersMax> icmp_paces;  // that worker
  HalfOpen half_open;                            // each worker its own part
  ClientLimits client_limits;                    // any worker
  // A peer is there to be told: without one no change is marked, and the bulk covers it later.
  std::atomic<bool> mirror_wanted{false};
  // And it says which records it refuses, so that handshakes may wait for it.
  std::atomic<bool> commit_wanted{false};
  std::array<CommitPace, kWorkersMax> commit_paces;  // that worker

 private:
  static constexpr uint32_t kEthernetBytes = 14;
  std::array<std::atomic<uint32_t>, kDevicesMax> mtus_;
};

}  // namespace tandem
