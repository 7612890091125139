// The index and the slots; see conn_table.h for the shape. Free slots and grace periods are slot_pool.cc's.
//
// Why a lookup may run beside a writer without a version to check: entries never move, so a tag seen is an
// entry that was published (flow_index.h). A stale entry leads to a slot that is another's or dead, and the
// whole key is compared. And a flow is opened again only after it was closed, so a lookup that saw one bucket
// before the new entry and the other after the old one's removal answers for the moment between the two, when
// the flow was nobody's.
#include "conn_table.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

#include "flow_index.h"
#include "mirror_rule.h"
#include "reserved_memory.h"
#include "seam.h"
#include "slot_pool.h"

namespace tandem {

static_assert(std::endian::native == std::endian::little, "keys are compared as little-endian words over a slot");

namespace {

constexpr size_t kFlowsPerBucket = FlowIndex::kPlaces / 2;
constexpr size_t kWaitingShare = 8;  // dead slots wait in an eighth of the table at most

constexpr size_t kSlotsMax = (size_t{1} << 31) - 1;  // entries number them from 1 in 31 bits

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

}  // namespace

struct ConnTable::Impl : FlowLookup {
  struct alignas(64) Own {
    std::atomic<int64_t> used{0};  // opened less closed by this participant
    uint32_t next_incarnation = 0;
  };

  Found find(uint64_t hash, const FlowKey& flow) const {
    const uint32_t entry =
        index.find(hash, [&](uint32_t candidate) { return at(candidate, flow, flow.is_v6()).connection != nullptr; });
    if (entry == FlowIndex::kNone) return {nullptr, Direction::kFromClient};
    return {&numbered[entry >> 1], static_cast<Direction>(entry & 1)};
  }

  void fill(Connection& connection, const NewConnection& fresh, uint16_t incarnation, Nanos now);
  bool retire_if_done(Participant who, Connection& connection);

  uint32_t entry_of(const Connection& connection, Direction direction) const {
    return static_cast<uint32_t>((slot_of(connection) + 1) << 1 | static_cast<size_t>(direction));
  }

  ReservedMemory slot_memory, address_memory;
  size_t slot_count = 0;
  size_t participants = 0;
  SlotPool pool;
  Own own[kWorkersMax + 1];
  alignas(64) std::atomic<size_t> waiting{0};
  std::atomic<uint64_t> lost_closes{0};
};

ConnTable::~ConnTable() { delete impl_; }

bool ConnTable::reserve(const Size& size) {
  assert(impl_ == nullptr);
  const size_t slots = (std::max<size_t>(size.connections, 1) + 63) / 64 * 64;
  if (slots > kSlotsMax || size.participants < 1 || size.participants > kWorkersMax + 1) {
    errno = EINVAL;
    return false;
  }
  std::unique_ptr<Impl> impl(new (std::nothrow) Impl);
  if (impl == nullptr) {
    errno = ENOMEM;
    return false;
  }
  impl->slot_count = slots;
  impl->participants = size.participants;
  if (!impl->index.reserve(2 * slots / kFlowsPerBucket + 1) ||
      !impl->slot_memory.reserve((slots + 1) * sizeof(Connection), ReservedMemory::Touch::kNow) ||
      !impl->address_memory.reserve(slots * sizeof(Ipv6Addresses), ReservedMemory::Touch::kOnUse)) {
    return false;
  }
  impl->numbered = impl->slot_memory.as<Connection>();
  impl->slots = impl->numbered + 1;
  impl->addresses = impl->address_memory.as<Ipv6Addresses>();
  if (!impl->pool.reserve(impl->slots, slots, size.participants)) return false;
  if (getrandom(impl->key, sizeof impl->key, 0) != static_cast<ssize_t>(sizeof impl->key)) return false;
  impl->key[3] |= 1;
  for (size_t i = 0; i < size.participants; ++i) {
    // Apart from each other, so that two threads do not give the same incarnations at the same time.
    impl->own[i].next_incarnation = static_cast<uint32_t>(i * (0x10000 / (kWorkersMax + 1)));
  }
  impl_ = impl.release();
  lookup_ = impl_;
  return true;
}

// ---- lookup ----

Found ConnTable::find(const FlowKey& flow, uint64_t hash) const { return impl_->find(hash, flow); }

FlowKey ConnTable::flow(const Connection& connection, Direction direction) const {
  FlowKey key{};
  if (connection.family == 6) {
    std::memcpy(key.words, addresses_of(ipv6(connection), direction), 32);
  } else {
    std::memcpy(key.words, addresses_of(connection, direction), 8);
  }
  key.words[4] =
      ports_of(connection, direction) | uint64_t{connection.protocol} << 32 | uint64_t{connection.family} << 40;
  return key;
}

// ---- change ----

void ConnTable::Impl::fill(Connection& connection, const NewConnection& fresh, uint16_t incarnation, Nanos now) {
  const uint8_t* snat = fresh.no_snat ? fresh.client : fresh.snat;
  if (fresh.family == 6) {
    const auto slot = static_cast<uint32_t>(slot_of(connection));
    Ipv6Addresses& block = addresses[slot];
    std::memcpy(block.client, fresh.client, 16);
    std::memcpy(block.virtual_address, fresh.virtual_address, 16);
    std::memcpy(block.member, fresh.member, 16);
    std::memcpy(block.snat, snat, 16);
    connection.client = slot;
    connection.virtual_address = connection.member = connection.snat = wire::be32(0);
  } else {
    std::memcpy(&connection.client, fresh.client, 4);
    std::memcpy(&connection.virtual_address, fresh.virtual_address, 4);
    std::memcpy(&connection.member, fresh.member, 4);
    std::memcpy(&connection.snat, snat, 4);
  }
  connection.client_port = fresh.client_port;
  connection.virtual_port = fresh.virtual_port;
  connection.member_port = fresh.member_port;
  connection.snat_port = fresh.no_snat ? fresh.client_port : fresh.snat_port;
  connection.virtual_server = fresh.virtual_server;
  connection.endpoint = fresh.endpoint;
  connection.protocol = fresh.protocol;
  connection.family = fresh.family;
  connection.group = fresh.group;
  connection.generation = fresh.generation;
  connection.last_hop.store(fresh.last_hop, relaxed);
  connection.last_seen.store(to_deciseconds(now), relaxed);
  connection.sequence.store(fresh.sequence, relaxed);
  connection.term.store(fresh.term, relaxed);
  connection.incarnation.store(incarnation, relaxed);
  connection.early.store(
      (fresh.mirror_control & Control::kYoung) ? Youth{static_cast<uint16_t>(to_deciseconds(now)), 0}.word() : 0,
      relaxed);
}

OpenStatus ConnTable::open(Participant who, const NewConnection& fresh, Nanos now, Connection** opened) {
  Impl& table = *impl_;
  assert(fresh.family == 4 || fresh.family == 6);
  const uint32_t slot = table.pool.take(who);
  if (slot == SlotPool::kNone) return OpenStatus::kFull;
  Connection& connection = table.slots[slot];
  const uint16_t incarnation = fresh.incarnation != 0 || fresh.from_peer
                                   ? fresh.incarnation
                                   : static_cast<uint16_t>(table.own[who].next_incarnation++ % 0xffff + 1);
  table.fill(connection, fresh, incarnation, now);

  const FlowKey from_client = flow(connection, Direction::kFromClient);
  const FlowKey from_server = flow(connection, Direction::kFromServer);
  const uint64_t client_hash = hash(from_client), server_hash = hash(from_server);
  __builtin_prefetch(table.index.primary(server_hash), 1);

  const OpenStatus status = [&] {
    FlowIndex::Lock lock(table.index, client_hash, server_hash);
    const bool by_client = !fresh.one_packet;
    if (by_client && table.find(client_hash, from_client).connection != nullptr) return OpenStatus::kClientFlowTaken;
    // The two flows of one connection may not be the same either.
    if (from_client == from_server || table.find(server_hash, from_server).connection != nullptr) {
      return OpenStatus::kServerFlowTaken;
    }
    const FlowIndex::Place server_place = table.index.claim(server_hash);
    if (server_place.bucket == nullptr) return OpenStatus::kFull;
    FlowIndex::Place client_place = {};
    if (by_client && (client_place = table.index.claim(client_hash)).bucket == nullptr) {
      table.index.give_up(server_place, server_hash);
      return OpenStatus::kFull;
    }
    const uint32_t control =
        Control::kOccupied | static_cast<uint32_t>(fresh.state) |
        (fresh.from_peer ? Control::kFromPeer | Control::kAnnounced : 0) | (fresh.no_snat ? Control::kNoSnat : 0) |
        (fresh.direct ? Control::kDirect : 0) | (fresh.tunnelled ? Control::kTunnelled : 0) |
        (fresh.one_packet ? Control::kOnePacket : 0) | (has_ports(fresh.protocol) ? 0 : Control::kPortless) |
        fresh.mirror_control | ((fresh.mirror_control & Control::kYoung) ? Control::kHasYouth : 0);
    connection.control.store(control, release);
    if (by_client) table.index.publish(client_place, client_hash, table.entry_of(connection, Direction::kFromClient));
    seam();
    table.index.publish(server_place, server_hash, table.entry_of(connection, Direction::kFromServer));
    return OpenStatus::kOpened;
  }();
  if (status != OpenStatus::kOpened) {
    table.pool.put_back(who, slot);
    return status;
  }
  Impl::Own& own = table.own[who];
  own.used.store(own.used.load(relaxed) + 1, relaxed);
  *opened = &connection;
  return OpenStatus::kOpened;
}

// The last of those who have something to do with a dead slot (its closer, who takes it out of the index, and
// whoever takes its pending close) gives it back.
bool ConnTable::Impl::retire_if_done(Participant who, Connection& connection) {
  constexpr uint32_t done = Control::kOccupied | Control::kDead | Control::kUnlinked;
  uint32_t control = connection.control.load(acquire);
  do {
    if ((control & (done | Control::kPendingMask)) != done) return false;
    // It stays dead, so that who still holds a pointer marks nothing.
  } while (!connection.control.compare_exchange_weak(control, control & ~Control::kOccupied, std::memory_order_acq_rel,
                                                     acquire));
  if (control & Control::kWaiting) waiting.fetch_sub(1, relaxed);
  pool.retire(who, static_cast<uint32_t>(slot_of(connection)));
  return true;
}

bool ConnTable::close(Participant who, Connection& connection, CloseIf only) {
  return close(who, connection, only, false) != CloseStatus::kAlready;
}

ConnTable::CloseStatus ConnTable::close_untold(Participant who, Connection& connection, CloseIf only) {
  return close(who, connection, only, true);
}

ConnTable::CloseStatus ConnTable::close(Participant who, Connection& connection, CloseIf only, bool tell) {
  Impl& table = *impl_;
  // Room to wait is taken before it is known to be needed, so that the bound holds whoever closes meanwhile.
  const bool room = tell && table.waiting.fetch_add(1, relaxed) < table.slot_count / kWaitingShare;
  uint32_t control = connection.control.load(acquire);
  uint32_t dead;
  bool untold, waits;
  do {
    const bool kept = only == CloseIf::kHalfOpen && !is_half_open(static_cast<TcpState>(control & Control::kStateMask));
    if ((control & Control::kDead) || kept) {
      if (tell) table.waiting.fetch_sub(1, relaxed);
      return CloseStatus::kAlready;
    }
    untold = tell && (control & Control::kAnnounced) != 0;
    waits = untold && room;
    const uint32_t pending = (control & Control::kPendingMask) ? 0 : Control::kPendingQueued;
    dead = waits ? control | Control::kDead | Control::kWaiting | pending
                 : (control | Control::kDead) & ~Control::kPendingMask;
  } while (!connection.control.compare_exchange_weak(control, dead, std::memory_order_acq_rel, acquire));
  if (tell && !waits) table.waiting.fetch_sub(1, relaxed);
  seam();

  for (const Direction direction : {Direction::kFromClient, Direction::kFromServer}) {
    if (direction == Direction::kFromClient && (control & Control::kOnePacket) != 0) continue;
    const bool removed = table.index.remove(hash(flow(connection, direction)), table.entry_of(connection, direction));
    assert(removed);  // an open connection stands in the index under its flows
    (void)removed;
  }
  Impl::Own& own = table.own[who];
  own.used.store(own.used.load(relaxed) - 1, relaxed);
  seam();
  connection.control.fetch_or(Control::kUnlinked, release);
  table.retire_if_done(who, connection);

  if (untold && !waits) {
    table.lost_closes.fetch_add(1, relaxed);
    return CloseStatus::kLost;
  }
  if (!waits) return CloseStatus::kClosed;
  return (control & Control::kPendingMask) ? CloseStatus::kWaits : CloseStatus::kWaitsNew;
}

void ConnTable::quiesce(Participant who) { impl_->pool.quiesce(who); }
void ConnTable::offline(Participant who) { impl_->pool.offline(who); }
void ConnTable::online(Participant who) { impl_->pool.online(who); }
bool ConnTable::is_online(Participant who) const { return impl_->pool.is_online(who); }

// ---- walking ----

size_t ConnTable::slots() const { return impl_->slot_count; }
size_t ConnTable::slots_touched() const { return impl_->pool.touched(); }

Connection* ConnTable::at(size_t slot) {
  Connection& connection = impl_->slots[slot];
  return connection.control.load(acquire) & Control::kOccupied ? &connection : nullptr;
}

size_t ConnTable::slot_of(const Connection& connection) const { return impl_->slot_of(connection); }

void ConnTable::prefetch(size_t slot) const { __builtin_prefetch(&impl_->slots[slot], 1); }

void ConnTable::recycle(Participant who, Connection& connection) { impl_->retire_if_done(who, connection); }

size_t ConnTable::used() const {
  int64_t used = 0;
  for (size_t i = 0; i < impl_->participants; ++i) used += impl_->own[i].used.load(relaxed);
  return static_cast<size_t>(std::max<int64_t>(used, 0));
}

size_t ConnTable::waiting() const { return impl_->waiting.load(relaxed); }
uint64_t ConnTable::lost_closes() const { return impl_->lost_closes.load(relaxed); }
size_t ConnTable::bytes() const {
  return impl_->index.bytes() + impl_->slot_memory.bytes() + impl_->pool.bytes() + sizeof(Impl);
}

}  // namespace tandem
