// The connection table: every connection of this unit, found from either direction.
//
//   index                            slots (64 bytes each)          IPv6 addresses (64 bytes each)
//   +---------------------------+    +---------------------+        +-----------------------------+
//   | bucket: 12 x (8-bit tag,  |--->| Connection          |------->| client, virtual, member,    |
//   |   31-bit slot, direction) |    |                     |  IPv6  | SNAT address                |
//   +---------------------------+    +---------------------+  only  +-----------------------------+
//
// A connection stands in the index twice: under the flow its client sends and under the flow its
// member sends (that of one datagram under the latter alone: Control::kOnePacket). There are two places for each flow,
// so with every slot used the buckets are half full on average; then 99 lookups of 100 read one cache line of index,
// and none more than six (flow_index.h). An open that finds no place in those six is refused as kFull, once in 10^11.
//
// Threads: any worker and the JavaScript thread ("participants"). Lookups take no lock and never wait.
// An open locks the primary buckets of its two flows, a close each of them in turn. A freed slot is reused only after
// every participant has passed a quiescent point (end of its burst), so a Connection* stays readable until the caller's
// next quiesce(). What of a Connection can change is atomic; the rest is written before it is published.
//
// Memory is reserved and touched at start (huge pages when there are any); nothing grows later.
// IPv6 address blocks are reserved in address space for every slot and touched as they are used.
//
// Connections are opened and closed through connection_close.h, which keeps the counts, the SNAT ports
// and the mirror in step; this table knows of none of them but the pending mark.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "clock.h"
#include "counters.h"
#include "flow_index.h"
#include "tcp_state.h"
#include "wire/big_endian.h"

namespace tandem {

// A flow as a packet shows it: source and destination, ports, protocol. IPv4 uses words[0] and
// words[4]; IPv6 uses all five. Addresses and ports lie in network byte order.
struct FlowKey {
  // [0] IPv4: source | destination << 32. IPv6: source, octets 0..7; [1] its octets 8..15.
  // [2], [3] IPv6: destination. [4] source port | destination port << 16 | protocol << 32 | family << 40
  uint64_t words[5];

  static FlowKey v4(wire::be32 source, wire::be32 destination, wire::be16 source_port, wire::be16 destination_port,
                    uint8_t protocol);
  static FlowKey v6(const uint8_t source[16], const uint8_t destination[16], wire::be16 source_port,
                    wire::be16 destination_port, uint8_t protocol);
  bool is_v6() const { return (words[4] >> 40 & 0xff) == 6; }
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

// TCP and UDP; flows of other protocols have ports of 0.
constexpr bool has_ports(uint8_t protocol) { return protocol == 6 || protocol == 17; }

enum class Direction : uint8_t { kFromClient = 0, kFromServer = 1 };
constexpr Direction opposite(Direction direction) {
  return static_cast<Direction>(static_cast<uint8_t>(direction) ^ 1);
}

struct Ipv6Addresses {
  uint8_t client[16];
  uint8_t virtual_address[16];
  uint8_t member[16];
  uint8_t snat[16];
};
static_assert(sizeof(Ipv6Addresses) == 64);

// The way back to a client: MAC address, device and 802.1Q tag in one word, so that it changes whole.
//   bits 0..47 MAC address (octet 0 lowest), 48..51 device, 52..63 VLAN id (0: untagged)
using LastHop = uint64_t;

// Bits of Connection::control.
//   0..4   TcpState (of UDP: kEstablished after a reply, kSynSent before)
//   5..6   pending: what the peer has still to be told (see mirror.h)
//   7      kFromPeer: applied from a record, not opened here
//   8      kDead: closed; stays until its close is taken, and is found by nobody
//   9      kNoSnat: the member sees the client's own address
//   10     kAnnounced: the peer knows it (it was told, or it told us), so its close must be told too
//   11..13 the table's own
//   16     kDirect: not translated, the member answers past us; `member` is the virtual address, `endpoint` the member
//   17     kTunnelled: and what the client sends goes to the member in a tunnel (its VirtualServerState says which)
//   18     kPortless: neither TCP nor UDP; its ports are 0, and nothing behind the IP header is touched
//   19     kCommitting: its client is not to hear of it before the peer has it (commit.h)
//   20     kUnprotected: it was to be so, and was not; until the peer has it
//   21     kYoung: the peer is told when it has lived longer (MirrorRule::waits())
//   22     kOnePacket: of one datagram, so it stands in the index under its server's flow alone
//   23     kHasYouth: was kYoung from its opening, so `early` is its Youth for as long as it lives
struct Control {
  static constexpr uint32_t kStateMask = 0x1f;
  static constexpr uint32_t kPendingQueued = 1u << 5;    // in a worker's pending ring
  static constexpr uint32_t kPendingDeferred = 1u << 6;  // ring was full: the sweep queues it
  static constexpr uint32_t kPendingMask = kPendingQueued | kPendingDeferred;
  static constexpr uint32_t kFromPeer = 1u << 7;
  static constexpr uint32_t kDead = 1u << 8;
  static constexpr uint32_t kNoSnat = 1u << 9;
  static constexpr uint32_t kAnnounced = 1u << 10;
  static constexpr uint32_t kOccupied = 1u << 11;  // the slot holds a connection, open or dead
  static constexpr uint32_t kUnlinked = 1u << 12;  // dead, and out of the index
  static constexpr uint32_t kWaiting = 1u << 13;   // dead, and counted by waiting()
  static constexpr uint32_t kDirect = 1u << 16;
  static constexpr uint32_t kTunnelled = 1u << 17;
  static constexpr uint32_t kPortless = 1u << 18;
  static constexpr uint32_t kCommitting = 1u << 19;
  static constexpr uint32_t kUnprotected = 1u << 20;
  static constexpr uint32_t kYoung = 1u << 21;
  static constexpr uint32_t kMirrorMask = kCommitting | kUnprotected | kYoung;
  static constexpr uint32_t kOnePacket = 1u << 22;
  static constexpr uint32_t kHasYouth = 1u << 23;
};

struct alignas(64) Connection {
  // Identity: constant from publication to reuse. For IPv6 `client` holds the number of the
  // Ipv6Addresses block and the other three addresses are unused.
  wire::be32 client;
  wire::be32 virtual_address;
  wire::be32 member;
  wire::be32 snat;
  wire::be16 client_port;
  wire::be16 virtual_port;
  wire::be16 member_port;
  wire::be16 snat_port;     // the client's port when kNoSnat
  uint16_t virtual_server;  // id, see runtime.h
  uint16_t endpoint;        // id of the member, see runtime.h
  uint8_t protocol;         // IANA protocol number
  uint8_t family;           // 4 or 6
  uint8_t group;            // index of its traffic group
  uint8_t generation;       // of the bulk that last announced it (standby only)
  std::atomic<uint64_t> last_hop;
  std::atomic<uint32_t> last_seen;  // Deciseconds
  std::atomic<uint32_t> control;
  std::atomic<uint32_t> sequence;     // of the record last sent or applied
  std::atomic<uint16_t> term;         // of the group when that record was made
  std::atomic<uint16_t> incarnation;  // raised when a SYN opens a closing tuple anew
  uint32_t link;                      // free list, limbo list
  // kHasYouth: Youth. Else the acknowledgment number of the client's next segment, if it has seen the member's SYN-ACK
  // (RFC 9293 section 3.10.7.4: that one's sequence number and 1), while in TcpState::kSynReceived; 0: not known.
  std::atomic<uint32_t> early;

  TcpState state() const {
    return static_cast<TcpState>(control.load(std::memory_order_relaxed) & Control::kStateMask);
  }
};
static_assert(sizeof(Connection) == 64);

struct Found {
  Connection* connection;  // nullptr: no such flow
  Direction direction;
};

// Both flows of a Connection lie in it as words: the addresses 8 octets apart (IPv6: 32), the ports 4.
inline const uint8_t* addresses_of(const Connection& connection, Direction direction) {
  return reinterpret_cast<const uint8_t*>(&connection) + static_cast<size_t>(direction) * 8;
}
inline const uint8_t* addresses_of(const Ipv6Addresses& block, Direction direction) {
  return reinterpret_cast<const uint8_t*>(&block) + static_cast<size_t>(direction) * 32;
}
inline uint32_t ports_of(const Connection& connection, Direction direction) {
  uint32_t ports;
  std::memcpy(&ports, reinterpret_cast<const uint8_t*>(&connection) + 16 + static_cast<size_t>(direction) * 4,
              sizeof ports);
  return ports;
}
static_assert(offsetof(Connection, client) == 0 && offsetof(Connection, virtual_address) == 4);
static_assert(offsetof(Connection, member) == 8 && offsetof(Connection, snat) == 12);
static_assert(offsetof(Connection, client_port) == 16 && offsetof(Connection, virtual_port) == 18);
static_assert(offsetof(Connection, member_port) == 20 && offsetof(Connection, snat_port) == 22);
static_assert(offsetof(Connection, family) == offsetof(Connection, protocol) + 1);
static_assert(offsetof(Ipv6Addresses, member) == 32 && offsetof(Ipv6Addresses, snat) == 48);

// What of the table a lookup reads. Inline, for every packet passes through it; the rest is conn_table.cc's.
struct FlowLookup {
  uint64_t hash(const FlowKey& flow) const {
    uint64_t mixed = fold(flow.words[0] ^ key[0], flow.words[4] ^ key[1]);
    if (flow.is_v6())
      mixed ^= fold(fold(flow.words[1] ^ key[1], flow.words[2] ^ key[2]) ^ key[0], flow.words[3] ^ key[3]);
    return fold(mixed ^ key[2], key[3]);
  }
  void prefetch_bucket(uint64_t hash) const { prefetch(index.primary(hash)); }
  uint32_t prefetch_slot(uint64_t hash, bool v6) const;
  // Into the second level of cache: a core has many more misses to that one in flight than to its first, and waits
  // for none of them.
  static void prefetch(const void* line) { __builtin_prefetch(line, 0, 2); }
  bool has_flow(const Connection& connection, Direction direction, const FlowKey& flow, bool v6) const;
  // What the entry is of, if it is this flow's, open or open when the entry was read. `v6`: flow.is_v6(), which most
  // callers know.
  Found at(uint32_t entry, const FlowKey& flow, bool v6) const {
    Connection& connection = numbered[entry >> 1];
    const auto direction = static_cast<Direction>(entry & 1);
    if (!has_flow(connection, direction, flow, v6) ||
        (connection.control.load(std::memory_order_relaxed) & Control::kDead) != 0)
      return {nullptr, direction};
    return {&connection, direction};
  }
  size_t slot_of(const Connection& connection) const { return static_cast<size_t>(&connection - slots); }

  static uint64_t fold(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  FlowIndex index;
  // An entry of the index is a slot's number and a direction. Number 0 is FlowIndex::kNone's and kClaimed's: a slot
  // that has nobody's flow. The others are slots[0] and so on.
  Connection* numbered = nullptr;
  Connection* slots = nullptr;
  Ipv6Addresses* addresses = nullptr;  // addresses[n] belongs to slots[n]
  // Of the hash: chosen at start, so that nobody can send flows that collide. The last is odd.
  uint64_t key[4];
};

// Everything a new connection starts with; the table copies it into a slot.
struct NewConnection {
  uint8_t family;
  uint8_t protocol;
  uint8_t group;
  bool no_snat;
  bool from_peer;
  bool reserved;       // its member has counted it already (Endpoint::reserve())
  bool direct;         // Control::kDirect: no_snat, too, and `member` is `virtual_address`, the port likewise
  bool tunnelled;      // Control::kTunnelled: direct, too
  bool one_packet;     // Control::kOnePacket: any number of them may have the same client's flow
  uint8_t client[16];  // IPv4: the first four octets
  uint8_t virtual_address[16];
  uint8_t member[16];
  uint8_t snat[16];
  wire::be16 client_port;
  wire::be16 virtual_port;
  wire::be16 member_port;
  wire::be16 snat_port;
  uint16_t virtual_server;
  uint16_t endpoint;
  uint16_t incarnation;  // 0: the table picks one; a SYN on a closing tuple gives the old one's plus 1
  uint16_t term;
  uint32_t sequence;
  uint8_t generation;
  TcpState state;
  uint32_t mirror_control;  // of Control::kMirrorMask
  LastHop last_hop;
};

enum class OpenStatus : uint8_t { kOpened, kClientFlowTaken, kServerFlowTaken, kFull };

// What a connection must still be when it is closed; decided in the same step, whoever changes it meanwhile.
enum class CloseIf : uint8_t { kOpen, kHalfOpen };

// One per thread that touches the table.
using Participant = size_t;

class ConnTable {
 public:
  struct Size {
    size_t connections;   // rounded up to a multiple of 64
    size_t participants;  // at most kWorkersMax + 1
  };

  ConnTable() = default;
  ConnTable(const ConnTable&) = delete;
  ConnTable& operator=(const ConnTable&) = delete;
  ~ConnTable();

  // Once, before any thread. False: the memory is not to be had (errno says why).
  bool reserve(const Size& size);

  // ---- lookup; a burst calls hash and prefetch_bucket for all, then prefetch_slot for all, then
  // find_likely for each, and find where that finds nobody
  uint64_t hash(const FlowKey& flow) const { return lookup_->hash(flow); }
  void prefetch_bucket(uint64_t hash) const { lookup_->prefetch_bucket(hash); }
  // Gives the entry where the flow most likely stands, for find_likely(); FlowIndex::kNone if it is not known.
  uint32_t prefetch_slot(uint64_t hash, bool v6 = false) const { return lookup_->prefetch_slot(hash, v6); }
  // A flow's connection at the entry that prefetch_slot() gave. Nobody: it may still stand elsewhere.
  Found find_likely(const FlowKey& flow, uint32_t likely, bool v6) const { return lookup_->at(likely, flow, v6); }
  Found find(const FlowKey& flow, uint64_t hash) const;

  // The two flows of a connection.
  FlowKey flow(const Connection& connection, Direction direction) const;
  const Ipv6Addresses& ipv6(const Connection& connection) const { return lookup_->addresses[connection.client.host()]; }

  // ---- change
  // Publishes a connection under its flows, or none. A dead connection in the way is no conflict.
  OpenStatus open(Participant who, const NewConnection& fresh, Nanos now, Connection** opened);
  // Takes the connection out of the index; nobody finds it afterwards. Its slot is reused after a grace
  // period, and what was pending on it is forgotten. Once per connection: false if another thread closed
  // it first, or it is not what `only` says (any more).
  bool close(Participant who, Connection& connection, CloseIf only = CloseIf::kOpen);
  // The same, but if the peer knows the connection its slot waits, pending, until the close is taken. At most
  // an eighth of the slots wait; beyond, the close is forgotten and counted (lost_closes).
  enum class CloseStatus : uint8_t {
    kAlready,   // another thread closed it first, or it is not what `only` says
    kClosed,    // nobody to tell
    kLost,      // nobody will be told: too many wait
    kWaits,     // was pending already, and is in somebody's ring or deferred
    kWaitsNew,  // now marked kPendingQueued: the caller puts it in its ring
  };
  CloseStatus close_untold(Participant who, Connection& connection, CloseIf only = CloseIf::kOpen);
  // Marks a quiescent point: the caller holds no Connection* any more.
  void quiesce(Participant who);
  // Before a thread blocks, and after: a blocked participant delays nobody. Participants start offline;
  // both may be called twice.
  void offline(Participant who);
  void online(Participant who);
  bool is_online(Participant who) const;

  // ---- walking; `slot` runs over [0, slots()), or over [0, slots_touched()): no later one was ever used
  size_t slots() const;
  size_t slots_touched() const;
  // nullptr if the slot holds no connection. A dead one still waiting for its close to be taken is given.
  Connection* at(size_t slot);
  size_t slot_of(const Connection& connection) const;
  void prefetch(size_t slot) const;
  // Gives a dead slot whose pending mark is gone back to the free slots; does nothing to any other, so it
  // may be called by whoever meets one.
  void recycle(Participant who, Connection& connection);

  size_t used() const;           // connections open now
  size_t waiting() const;        // dead slots whose close has not been taken
  uint64_t lost_closes() const;  // closes that the peer will not be told, since start
  size_t bytes() const;          // all memory touched at start, index included

 private:
  CloseStatus close(Participant who, Connection& connection, CloseIf only, bool tell);

  struct Impl;
  Impl* impl_ = nullptr;
  const FlowLookup* lookup_ = nullptr;  // the part of *impl_ that is read
};

// While one lives, its thread may hold Connection pointers. For threads that come and go, as the JavaScript
// thread does; nests. A worker instead stays online and calls quiesce() after each burst.
class TableVisit {
 public:
  TableVisit(ConnTable& table, Participant who) : table_(table), who_(who), entered_(!table.is_online(who)) {
    if (entered_) table_.online(who_);
  }
  ~TableVisit() {
    if (entered_) table_.offline(who_);
  }
  TableVisit(const TableVisit&) = delete;
  TableVisit& operator=(const TableVisit&) = delete;

 private:
  ConnTable& table_;
  Participant who_;
  bool entered_;
};

inline bool FlowLookup::has_flow(const Connection& connection, Direction direction, const FlowKey& flow,
                                 bool v6) const {
  uint16_t protocol_family;
  std::memcpy(&protocol_family, &connection.protocol, sizeof protocol_family);
  if ((ports_of(connection, direction) | uint64_t{protocol_family} << 32) != flow.words[4]) return false;
  if (v6) return std::memcmp(addresses_of(addresses[slot_of(connection)], direction), flow.words, 32) == 0;
  uint64_t pair;
  std::memcpy(&pair, addresses_of(connection, direction), sizeof pair);
  return pair == flow.words[0];
}

inline uint32_t FlowLookup::prefetch_slot(uint64_t hash, bool v6) const {
  const FlowIndex::Bucket& bucket = *index.primary(hash);
  uint32_t matches = FlowIndex::places_with(bucket, FlowIndex::tag_of(hash));
  if (matches == 0) [[unlikely]] {
    if (FlowIndex::is_passed(bucket)) prefetch(index.second(hash));
    return FlowIndex::kNone;
  }
  const uint32_t likely = bucket.entries[std::countr_zero(matches)].load(std::memory_order_acquire);
  for (uint32_t entry = likely;;) {
    prefetch(&numbered[entry >> 1]);
    if (v6) prefetch(addresses + (entry >> 1) - 1);
    matches &= matches - 1;
    if (matches == 0) [[likely]]
      return likely;
    entry = bucket.entries[std::countr_zero(matches)].load(std::memory_order_acquire);
  }
}

inline FlowKey FlowKey::v4(wire::be32 source, wire::be32 destination, wire::be16 source_port,
                           wire::be16 destination_port, uint8_t protocol) {
  FlowKey key{};
  std::memcpy(&key.words[0], &source, 4);
  std::memcpy(reinterpret_cast<uint8_t*>(&key.words[0]) + 4, &destination, 4);
  std::memcpy(&key.words[4], &source_port, 2);
  std::memcpy(reinterpret_cast<uint8_t*>(&key.words[4]) + 2, &destination_port, 2);
  key.words[4] |= uint64_t{protocol} << 32 | uint64_t{4} << 40;
  return key;
}

inline FlowKey FlowKey::v6(const uint8_t source[16], const uint8_t destination[16], wire::be16 source_port,
                           wire::be16 destination_port, uint8_t protocol) {
  FlowKey key{};
  std::memcpy(&key.words[0], source, 16);
  std::memcpy(&key.words[2], destination, 16);
  std::memcpy(&key.words[4], &source_port, 2);
  std::memcpy(reinterpret_cast<uint8_t*>(&key.words[4]) + 2, &destination_port, 2);
  key.words[4] |= uint64_t{protocol} << 32 | uint64_t{6} << 40;
  return key;
}

}  // namespace tandem
