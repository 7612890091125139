// What the operator wants, as the datapath reads it: an immutable snapshot behind one pointer.
//
// Built on the JavaScript thread from a plain object (policy.cc, called by addon.cc), swapped in
// one store, freed when every worker has finished the burst that might still read it. What changes
// more often than the config (next hops, mirror switches, roles) is in runtime.h and shared_state.h.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "clock.h"
#include "limits.h"
#include "mac_address.h"
#include "runtime.h"
#include "snat_ports.h"
#include "wire/big_endian.h"

namespace tandem {

struct Address {
  uint8_t family;      // 4 or 6
  uint8_t octets[16];  // network byte order; IPv4 in the first four, the rest zero
  friend bool operator==(const Address&, const Address&) = default;
};

// fe80::/10, RFC 4291 section 2.5.6.
constexpr bool is_link_local(const Address& address) {
  return address.family == 6 && address.octets[0] == 0xfe && (address.octets[1] & 0xc0) == 0x80;
}

// In the order of kSchedulers in addon_policy.cc.
enum class Scheduler : uint8_t {
  kRoundRobin,
  kWeightedRoundRobin,
  kLeastConnections,          // weights count for nothing, but 0 drains
  kWeightedLeastConnections,  // connections for each unit of weight
  kMaglev,
  kSourceHash,
};
enum class Unknown : uint8_t { kDrop, kReset, kAdopt };
enum class Closed : uint8_t { kDrop, kReset };
// What becomes of the connections of a member that goes down, when their next packet comes (member_down.h).
enum class OnMemberDown : uint8_t { kKeep, kReset, kReselect };

struct Member {
  Address address;
  uint16_t port;          // host byte order; 0: the port that the client asked for
  uint16_t endpoint;      // id in Runtime::endpoints
  uint16_t weight;        // 0: draining, existing connections go on
  bool up;                // a monitor says so, or there is none; and it can be reached
  uint8_t device;         // its next hop is on: SNAT addresses answered there are used towards it
  bool down = false;      // a monitor or the config says so: what is open there is treated as on_member_down says
  uint16_t priority = 0;  // members of lower priority wait until those of higher are too few
  uint32_t connections_max = 0;  // of its endpoint, whatever pool they came by; 0: no limit
  Nanos ramp_from = 0;           // derived: slow start counts from then; 0: it was there from the beginning

  bool is_available() const { return up && weight > 0; }
};

struct Pool {
  std::string name;  // its own before and after a change of the policy is found by it
  Scheduler scheduler = Scheduler::kRoundRobin;
  OnMemberDown on_member_down = OnMemberDown::kKeep;
  uint16_t active_min = 1;  // fewer available members than this: those of the next lower priority serve, too
  Nanos slow_start = 0;     // 0: a member that comes up has its whole share at once
  std::vector<Member> members;
  // Derived from the members that are up and have weight (schedule_tables.h): indices into members.
  std::vector<uint16_t> available;  // those that serve
  std::vector<uint16_t> spare;      // those of lower priority, the highest first: when the others are at their limit
  // Weighted round robin: interleaved turns; Maglev and source hash: Maglev's table; else null. Shared by policies that
  // come to the same.
  std::shared_ptr<const std::vector<uint16_t>> wheel;
  std::vector<std::pair<uint16_t, uint16_t>> by_endpoint;  // endpoint, index; ascending
  mutable std::atomic<uint32_t> turn{0};

  // A copy without what is derived.
  std::unique_ptr<Pool> as_described() const;
  // Index in members, or -1.
  int member_with(uint16_t endpoint) const;
};

// Persistence by source: a client's connections go to the member that its last one went to.
struct SourcePersistence {
  Deciseconds timeout = 0;  // after the last new connection; 0: no persistence
  uint8_t prefix4 = 32;     // bits of the client's address that make it the same client
  uint8_t prefix6 = 128;
  bool mirror = true;  // with the connections, where those are mirrored
};

// SNAT addresses of one family; automap is the group's floating address on the member's link.
struct SnatAddress {
  Address address;
  uint16_t index;  // in SnatPorts
};

struct VirtualServer {
  uint16_t id;  // in Runtime::virtual_servers
  uint8_t group;
  Address address;
  uint8_t protocol;  // IPPROTO_TCP, IPPROTO_UDP, or 0: any protocol, and then any port
  // Host byte order. The last is the first, or ends a range; 0 and 65535: any port.
  uint16_t port;
  uint16_t port_last;
  uint16_t pool;  // index in Policy::pools
  Unknown unknown;
  ClientRate new_per_client;  // connections that one client may open
  SourcePersistence persistence;
  Forwarding forwarding;
  uint16_t gue_port;  // kGue only, host byte order
  bool snat;          // kNat only
  bool one_packet;    // UDP only: each datagram is scheduled by itself (forward_datagram.cc)
  std::vector<SnatAddress> snat_addresses;
  // Derived by seal(): for each member of the pool, in its order, the SNAT addresses that are answered on
  // the member's device; all of them where none is.
  std::vector<std::vector<SnatAddress>> snat_by_member;
};

// An address that Tandem answers for. Virtual and floating addresses never stand on a kernel interface.
struct OwnedAddress {
  Address address;
  uint8_t group;
  uint16_t devices;  // bit n: answered (ARP, ND) on device n
  Closed closed;     // what a port without a virtual server gets
};

struct PolicyGroup {
  // One virtual router per device and family (RFC 9568 section 7.3): 00-00-5E-00-01-{VRID} for IPv4,
  // 00-00-5E-00-02-{VRID} for IPv6. VRID 0: the group has none on this device.
  uint8_t vrid[kDevicesMax];
  // Its floating address on each device, [0] of IPv4 and [1] of IPv6: what errors of our own come from. Family 0: none.
  Address floating[kDevicesMax][2];

  const Address* speaker(uint8_t device, uint8_t family) const {
    const Address& address = floating[device][family == 4 ? 0 : 1];
    return address.family == family ? &address : nullptr;
  }
  // Where tunnels to members on `device` begin: its floating address there, else elsewhere, as automap chooses. Not a
  // link-local one, which no router would send an error to. nullptr: there is none.
  const Address* tunnel_source(uint8_t device, uint8_t family) const {
    for (size_t look = 0; look < kDevicesMax; ++look) {
      const Address* address = speaker(static_cast<uint8_t>((device + look) % kDevicesMax), family);
      if (address != nullptr && !is_link_local(*address)) return address;
    }
    return nullptr;
  }
};

class Policy {
 public:
  std::vector<PolicyGroup> groups;
  std::vector<OwnedAddress> addresses;
  std::vector<VirtualServer> virtual_servers;
  std::vector<std::unique_ptr<Pool>> pools;
  mutable std::atomic<uint32_t> snat_turn{0};  // spreads connections over a member's SNAT addresses

  // Builds the lookups below and every pool's scheduling data, of which what has not changed is taken over from the
  // policy before; at `now` members that have come up since begin their slow start. Empty: fine; else what is wrong.
  // Once, before anything else is asked.
  std::string seal(const Policy* before = nullptr, Nanos now = 0);

  const OwnedAddress* owned(uint8_t family, const uint8_t* octets) const;
  // The exact port comes first, then a range, then any port, then any protocol. Of protocols without ports, `port` 0.
  const VirtualServer* virtual_server(uint8_t family, const uint8_t* octets, uint8_t protocol, uint16_t port) const;
  // nullptr: no virtual server has this id any more.
  const VirtualServer* virtual_server(uint16_t id) const;
  // nullptr: there is none.
  const Pool* pool(const std::string& name) const;
  // Endpoint::down of every endpoint.
  void mark_down_members(Runtime* runtime) const;
  // Whether some pool has a member with this address and port (host byte order), or with this address and any port.
  bool is_member(uint8_t family, const uint8_t* octets, uint16_t port) const;
  // The group whose virtual MAC on `device` this is, or -1. `family` receives 4 or 6.
  int group_of_mac(const uint8_t mac[6], uint8_t device, uint8_t* family) const;

 private:
  // One lookup: open addressing over hashes, an index into the vector that holds what was hashed.
  class Index {
   public:
    void reserve(size_t entries);
    void insert(uint64_t hash, uint32_t entry);
    // The first entry of this hash for which `is_it(entry)` holds, or -1.
    template <typename Predicate>
    int64_t find(uint64_t hash, Predicate is_it) const;

   private:
    static constexpr uint32_t kNone = 0xffffffff;
    struct Slot {
      uint64_t hash = 0;
      uint32_t entry = kNone;
    };
    std::vector<Slot> slots_;
  };

  static constexpr uint16_t kNoServer = 0xffff;
  // The virtual servers of one address and protocol that are port ranges, ascending and apart.
  struct Ranges {
    Address address;
    uint8_t protocol;
    std::vector<uint32_t> servers;
  };

  std::string check() const;
  std::string index_servers();
  const VirtualServer* server_at(uint8_t family, const uint8_t* octets, uint8_t protocol, uint32_t port) const;
  Ranges* ranges_of(const Address& address, uint8_t protocol);
  bool has_member(uint8_t family, const uint8_t* octets, uint16_t port) const;
  std::string index_virtual_macs();

  Index address_index_;
  Index server_index_;  // by exact port, and those of any port
  Index range_index_;
  std::vector<Ranges> ranges_;
  Index member_index_;
  std::vector<uint16_t> server_of_id_;  // index in virtual_servers, or kNoServer
  std::unordered_map<std::string_view, const Pool*> pool_of_name_;
  std::vector<std::pair<Address, uint16_t>> member_addresses_;
  std::array<std::array<uint8_t, 256>, kDevicesMax> group_of_vrid_{};  // [device][VRID]: group + 1, or 0
};

// RFC 9568 section 7.3.
inline MacAddress virtual_mac(uint8_t family, uint8_t vrid) {
  return {{0x00, 0x00, 0x5e, 0x00, static_cast<uint8_t>(family == 4 ? 0x01 : 0x02), vrid}};
}

inline int Policy::group_of_mac(const uint8_t mac[6], uint8_t device, uint8_t* family) const {
  uint32_t prefix;
  std::memcpy(&prefix, mac, sizeof prefix);
  static_assert(std::endian::native == std::endian::little);
  if (prefix != 0x005e0000 || mac[4] - 1u > 1) return -1;
  *family = mac[4] == 1 ? 4 : 6;
  return group_of_vrid_[device][mac[5]] - 1;
}

}  // namespace tandem
