// What the peer has still to be told: marks, rings and the encoding of records; see mirror.h.
#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <vector>

#include "mirror.h"
#include "policy.h"
#include "seam.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto acq_rel = std::memory_order_acq_rel;

constexpr uint8_t kTcp = 6, kUdp = 17;
// Records refused that are remembered, by the low bits of their sequences.
constexpr size_t kRefusedPlaces = size_t{1} << 16;
// Slots of one ring handled together, so that their cache misses overlap.
constexpr uint32_t kTogether = 32;
// Slots a bulk looks at in one take(): a few milliseconds of an empty table.
constexpr size_t kBulkSlots = size_t{1} << 17;
// Of connections that are offered; terms of active units begin at 1.
constexpr uint16_t kOfferedTerm = 0;
// Places of persistence entries that a bulk looks at in one take(), the same.
constexpr size_t kBulkPlaces = size_t{1} << 17;
// A connection's, and that of the persistence entry that it went by.
constexpr size_t kRecordMax = sizeof(wire::MirrorState<16>) + sizeof(wire::MirrorPersistence<16>);

// A number that wraps is later if it is ahead by less than half of its range (RFC 1982).
bool later(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) > 0; }

// The peer is told of a connection from the end of its handshake on, unless it is to hear of it sooner or later.
bool worth_telling(uint32_t control, uint8_t protocol) {
  if ((control & (Control::kAnnounced | Control::kCommitting)) != 0) return true;
  if ((control & Control::kYoung) != 0) return false;
  const auto state = static_cast<TcpState>(control & Control::kStateMask);
  return protocol == kUdp || (state >= TcpState::kEstablished && state <= TcpState::kClosing);
}

// The member of a half-open connection has answered, or is about to: after a takeover the client's ACK completes it.
uint32_t told_state(uint32_t control, uint8_t protocol) {
  const uint32_t state = control & Control::kStateMask;
  const bool half_open = is_half_open(static_cast<TcpState>(state));
  return protocol == kTcp && half_open ? static_cast<uint32_t>(TcpState::kSynReceived) : state;
}

// Whole records, one after the other; there is always room for one more when an encoder is called.
struct Output {
  uint8_t* at;
  uint8_t* end;
  size_t records = 0;

  bool has_room() const { return static_cast<size_t>(end - at) >= kRecordMax; }
  template <typename Record>
  void append(const Record& record) {
    std::memcpy(at, &record, sizeof record);
    at += sizeof record;
    ++records;
  }
};

// Where a connection's addresses lie, in network byte order: 4 octets each, or 16.
struct Addresses {
  const uint8_t* client;
  const uint8_t* virtual_address;
  const uint8_t* member;
  const uint8_t* snat;
};

Addresses addresses_of(const ConnTable& table, const Connection& connection) {
  if (connection.family == 6) {
    const Ipv6Addresses& block = table.ipv6(connection);
    return {block.client, block.virtual_address, block.member, block.snat};
  }
  const auto octets = [](const wire::be32& address) { return reinterpret_cast<const uint8_t*>(&address); };
  return {octets(connection.client), octets(connection.virtual_address), octets(connection.member),
          octets(connection.snat)};
}

wire::MirrorHead head_of(const Connection& connection, wire::MirrorKind kind, uint32_t control, uint16_t term,
                         uint32_t sequence) {
  wire::MirrorHead head;
  head.kind_family = static_cast<uint8_t>(static_cast<uint8_t>(kind) << 4 | connection.family);
  head.protocol = connection.protocol;
  head.state = static_cast<uint8_t>(told_state(control, connection.protocol) |
                                    ((control & Control::kNoSnat) ? wire::kMirrorNoSnat : 0));
  head.group = connection.group;
  head.term = term;
  head.incarnation = connection.incarnation.load(relaxed);
  head.sequence = sequence;
  head.client_port = connection.client_port;
  head.virtual_port = connection.virtual_port;
  return head;
}

template <size_t kAddressBytes>
wire::MirrorClose<kAddressBytes> close_of(const wire::MirrorHead& head, const Addresses& addresses) {
  wire::MirrorClose<kAddressBytes> record;
  record.head = head;
  std::memcpy(record.client, addresses.client, kAddressBytes);
  std::memcpy(record.virtual_address, addresses.virtual_address, kAddressBytes);
  return record;
}

template <typename Record>
void put_last_hop(const Connection& connection, Record* record) {
  const LastHop last_hop = connection.last_hop.load(relaxed);
  std::memcpy(record->last_hop_mac, &last_hop, sizeof record->last_hop_mac);  // octet 0 is the lowest
  const auto device = static_cast<uint16_t>(last_hop >> 48 & 0xf), vlan = static_cast<uint16_t>(last_hop >> 52);
  record->last_hop_place = static_cast<uint16_t>(device << 12 | vlan);
}

template <size_t kAddressBytes>
wire::MirrorState<kAddressBytes> state_of(const wire::MirrorHead& head, const Addresses& addresses,
                                          const Connection& connection) {
  wire::MirrorState<kAddressBytes> record;
  record.flow = close_of<kAddressBytes>(head, addresses);
  record.member_port = connection.member_port;
  record.snat_port = connection.snat_port;
  record.virtual_server = connection.virtual_server;
  put_last_hop(connection, &record);
  std::memcpy(record.member, addresses.member, kAddressBytes);
  std::memcpy(record.snat, addresses.snat, kAddressBytes);
  return record;
}

template <size_t kAddressBytes>
wire::MirrorDirect<kAddressBytes> direct_of(const wire::MirrorHead& head, const Addresses& addresses,
                                            const Connection& connection, uint32_t control,
                                            const EndpointAddress& member) {
  wire::MirrorDirect<kAddressBytes> record;
  record.flow = close_of<kAddressBytes>(head, addresses);
  record.member_port = member.port;
  record.virtual_server = connection.virtual_server;
  put_last_hop(connection, &record);
  record.tunnelled = (control & Control::kTunnelled) != 0;
  record.member_family = member.family;
  std::memcpy(record.member, member.octets, sizeof record.member);
  return record;
}
static_assert(std::endian::native == std::endian::little);

template <size_t kAddressBytes>
wire::MirrorPersistence<kAddressBytes> persistence_of(const Persistence::Entry& entry, uint8_t group, uint16_t term,
                                                      const EndpointAddress& member) {
  wire::MirrorPersistence<kAddressBytes> record{};
  record.kind_family =
      static_cast<uint8_t>(static_cast<uint8_t>(wire::MirrorKind::kPersistence) << 4 | entry.client.family);
  record.prefix = entry.client.prefix;
  record.member_family = member.family;
  record.group = group;
  record.term = term;
  record.virtual_server = entry.client.server;
  record.timeout = entry.timeout;
  record.member_port = member.port;
  std::memcpy(record.client, entry.client.network, kAddressBytes);
  std::memcpy(record.member, member.octets, sizeof record.member);
  return record;
}

}  // namespace

struct MirrorSource::Impl {
  struct PendingRing : Ring<uint32_t, kPendingSlots> {
    // Of those queued, how many a handshake waited for; and as of the last take that left none (JavaScript thread).
    alignas(64) std::atomic<uint32_t> urgent{0};
    uint32_t urgent_sampled = 0, urgent_seen = 0;
  };

  Role role_of(uint8_t group) const { return static_cast<Role>(shared->groups[group].role.load(acquire)); }
  Role role_of(const Connection& connection) const { return role_of(connection.group); }
  bool active_here(uint8_t group) const { return role_of(group) != Role::kStandby; }
  bool active_here(const Connection& connection) const { return active_here(connection.group); }
  bool mirrored(const Connection& connection) const {
    const MirrorRule rule = runtime->virtual_servers[connection.virtual_server].mirror.load(relaxed);
    if (connection.protocol == kTcp) return rule.mode != MirrorMode::kOff;
    return connection.protocol == kUdp && rule.mode == MirrorMode::kAsync && rule.waits();
  }

  Marked queue(size_t worker, Connection& connection);
  Marked queue_deferred(size_t worker, Connection& connection);
  bool rings_empty() const;
  bool urgent_pending() const;
  bool drain(PendingRing& ring, Participant who, Output& out);
  void take_pending(Participant who, Connection& connection, Output& out);
  void continue_bulk(Output& out);
  bool continue_persistence(Output& out);
  void tell_persistence(const Connection& connection, Output& out);
  void encode(const Persistence::Entry& entry, Output& out);
  // A peer that names what it refuses knows records of persistence entries, too.
  bool mirrors_persistence(uint16_t server) const {
    const SourcePersistence& rule = persistence_rules[server];
    return runtime->commit_wanted.load(relaxed) && rule.timeout != 0 && rule.mirror &&
           runtime->virtual_servers[server].mirror.load(relaxed).mode != MirrorMode::kOff;
  }
  Nanos activated(uint8_t group) const { return shared->groups[group].activated.load(relaxed); }
  bool announce(Connection& connection, Output& out);
  void encode(Connection& connection, wire::MirrorKind kind, uint32_t control, Output& out);
  void encode(Connection& connection, wire::MirrorKind kind, uint32_t control, uint16_t term, Output& out);

  ConnTable* table = nullptr;
  Runtime* runtime = nullptr;
  SharedState* shared = nullptr;
  std::vector<std::unique_ptr<PendingRing>> rings;  // one for each worker, and one for the JavaScript thread

  // The JavaScript thread has armed: it waits to be woken. `wake`: a change was queued since.
  alignas(64) std::atomic<Wanted> armed{Wanted::kNothing};
  std::atomic<bool> wake{false};
  std::atomic<uint64_t> deferrals{0};

  // What the peer has said: records behind `floor` and up to `confirmed` are in its table, but for those in `refused`.
  alignas(64) std::atomic<uint32_t> floor{0};
  std::atomic<uint32_t> confirmed{0};
  std::atomic<uint32_t> news{0};
  // By the low bits of a sequence; 0: nothing. What was pushed out by a later one counts as refused, too.
  std::unique_ptr<std::atomic<uint32_t>[]> refused { new std::atomic<uint32_t>[ kRefusedPlaces ]() };

  // The JavaScript thread's own.
  alignas(64) uint32_t sequence = 0;
  size_t next_ring = 0;
  bool bulk_running = false;
  bool bulk_offers = false;
  size_t bulk_cursor = 0;
  size_t bulk_announced = 0;
  ServerSet bulk_of;  // what the bulk announces
  // Of each virtual server, VirtualServerState::lost_closes when its last bulk began.
  std::array<uint32_t, kVirtualServersMax> lost_before_bulk{};
  MirrorDigest* digest = nullptr;
  Persistence* persistence = nullptr;
  std::array<SourcePersistence, kVirtualServersMax> persistence_rules{};
  std::array<uint8_t, kVirtualServersMax> group_of{};
  size_t bulk_place = 0;
};

MirrorSource::MirrorSource() : impl_(new Impl) {}
MirrorSource::~MirrorSource() = default;

void MirrorSource::start(ConnTable* table, Runtime* runtime, SharedState* shared, size_t workers,
                         MirrorDigest* digest) {
  assert(workers <= kWorkersMax);
  impl_->digest = digest;
  impl_->table = table;
  impl_->runtime = runtime;
  impl_->shared = shared;
  impl_->rings.clear();
  for (size_t i = 0; i < workers + 1; ++i) impl_->rings.push_back(std::make_unique<Impl::PendingRing>());
}

// ---- workers ----

MirrorSource::Marked MirrorSource::mark(size_t worker, Connection& connection) {
  uint32_t control = connection.control.load(acquire);
  if (control & Control::kPendingDeferred) return impl_->queue_deferred(worker, connection);
  if (!impl_->runtime->mirror_wanted.load(relaxed) || !impl_->mirrored(connection)) return Marked::kNo;
  const bool active = static_cast<Role>(impl_->shared->groups[connection.group].role.load(acquire)) == Role::kActive;
  uint32_t marked;
  do {
    if ((control & Control::kDead) || !worth_telling(control, connection.protocol)) return Marked::kNo;
    marked = control;
    if (!(control & Control::kPendingMask)) marked |= Control::kPendingQueued;
    if (active) marked &= ~Control::kFromPeer;
    // Written even if nothing changes: so take() either clears the mark later, and sees what the caller has
    // changed, or has cleared it, and this fails.
  } while (!connection.control.compare_exchange_weak(control, marked, acq_rel, acquire));
  return (control & Control::kPendingMask) ? Marked::kCoalesced : impl_->queue(worker, connection);
}

MirrorSource::Closing MirrorSource::close(size_t worker, Connection& connection, CloseIf only) {
  ConnTable& table = *impl_->table;
  if (!impl_->runtime->mirror_wanted.load(relaxed) || !impl_->active_here(connection)) {
    return {table.close(worker, connection, only), Marked::kNo};
  }
  switch (table.close_untold(worker, connection, only)) {
    case ConnTable::CloseStatus::kAlready:
      return {false, Marked::kNo};
    case ConnTable::CloseStatus::kClosed:
      return {true, Marked::kNo};
    case ConnTable::CloseStatus::kLost:
      impl_->runtime->virtual_servers[connection.virtual_server].lost_closes.fetch_add(1, relaxed);
      return {true, Marked::kNo};
    case ConnTable::CloseStatus::kWaits:
      return {true, Marked::kCoalesced};
    case ConnTable::CloseStatus::kWaitsNew:
      break;
  }
  return {true, impl_->queue(worker, connection)};
}

// The connection is marked kPendingQueued by this thread, and in no ring.
MirrorSource::Marked MirrorSource::Impl::queue(size_t worker, Connection& connection) {
  seam();
  PendingRing& ring = *rings[worker];
  uint32_t* place = ring.reserve();
  if (place == nullptr) {
    uint32_t control = connection.control.load(relaxed);
    while (control & Control::kPendingQueued) {  // a bulk may have announced it meanwhile
      const uint32_t deferred = (control & ~Control::kPendingQueued) | Control::kPendingDeferred;
      if (connection.control.compare_exchange_weak(control, deferred, acq_rel, relaxed)) break;
    }
    deferrals.fetch_add(1, relaxed);
    return Marked::kDeferred;
  }
  *place = static_cast<uint32_t>(table->slot_of(connection));
  const bool urgent = (connection.control.load(relaxed) & Control::kCommitting) != 0;
  if (urgent) ring.urgent.store(ring.urgent.load(relaxed) + 1, std::memory_order_seq_cst);
  ring.submit(std::memory_order_seq_cst);
  const Wanted wanted = armed.load(std::memory_order_seq_cst);
  if (wanted == Wanted::kAny || (urgent && wanted == Wanted::kUrgent)) wake.store(true, relaxed);
  return Marked::kQueued;
}

MirrorSource::Marked MirrorSource::Impl::queue_deferred(size_t worker, Connection& connection) {
  uint32_t control = connection.control.load(acquire);
  uint32_t queued;
  do {
    if (!(control & Control::kPendingDeferred)) {
      return (control & Control::kPendingQueued) ? Marked::kCoalesced : Marked::kNo;
    }
    queued = (control & ~Control::kPendingDeferred) | Control::kPendingQueued;
  } while (!connection.control.compare_exchange_weak(control, queued, acq_rel, acquire));
  return queue(worker, connection);
}

bool MirrorSource::take_wakeup() {
  if (!impl_->wake.load(relaxed)) return false;
  return impl_->wake.exchange(false) && impl_->armed.exchange(Wanted::kNothing) != Wanted::kNothing;
}

MirrorSource::Told MirrorSource::told(const Connection& connection) const {
  const uint32_t sequence = connection.sequence.load(relaxed);
  const uint32_t confirmed = impl_->confirmed.load(acquire);
  if (sequence == 0 || !later(sequence, impl_->floor.load(relaxed))) return Told::kWaits;
  const uint32_t refused = impl_->refused[sequence % kRefusedPlaces].load(relaxed);
  if (refused == sequence || (refused != 0 && later(refused, sequence))) return Told::kRefused;
  return later(sequence, confirmed) ? Told::kWaits : Told::kConfirmed;
}

uint32_t MirrorSource::news() const { return impl_->news.load(std::memory_order_seq_cst); }

// ---- JavaScript thread ----

bool MirrorSource::Impl::rings_empty() const {
  return std::all_of(rings.begin(), rings.end(),
                     [](const auto& ring) { return ring->peek(1, std::memory_order_seq_cst) == 0; });
}

bool MirrorSource::has_pending() const { return impl_->bulk_running || !impl_->rings_empty(); }

bool MirrorSource::Impl::urgent_pending() const {
  return std::any_of(rings.begin(), rings.end(), [](const auto& ring) {
    return ring->urgent.load(std::memory_order_seq_cst) != ring->urgent_seen;
  });
}

bool MirrorSource::has_urgent() const { return impl_->urgent_pending(); }

bool MirrorSource::arm(Wanted wanted) {
  if (wanted == Wanted::kUrgent && impl_->armed.load(relaxed) == Wanted::kAny) return true;  // covers it
  impl_->armed.store(wanted);
  if (!(wanted == Wanted::kUrgent ? has_urgent() : has_pending())) return true;
  impl_->armed.store(Wanted::kNothing);
  return false;
}

void MirrorSource::confirm(uint32_t sequence) {
  impl_->confirmed.store(sequence, std::memory_order_release);
  tell_news();
}

void MirrorSource::refuse(const uint32_t* sequences, size_t count) {
  for (size_t i = 0; i < count; ++i) impl_->refused[sequences[i] % kRefusedPlaces].store(sequences[i], relaxed);
  tell_news();
}

void MirrorSource::forget_confirmed() {
  impl_->confirmed.store(impl_->sequence, relaxed);
  impl_->floor.store(impl_->sequence, relaxed);
}

void MirrorSource::tell_news() { impl_->news.fetch_add(1, std::memory_order_seq_cst); }

uint32_t MirrorSource::last_sequence() const { return impl_->sequence; }

size_t MirrorSource::take(Participant who, uint8_t* into, size_t bytes, size_t* records, bool live_only) {
  TableVisit visit(*impl_->table, who);
  Output out{into, into + bytes};
  for (const auto& ring : impl_->rings) ring->urgent_sampled = ring->urgent.load(std::memory_order_seq_cst);
  // A few of each ring in turn, so that no worker waits for another's; until all are empty.
  for (size_t empty = 0; empty < impl_->rings.size() && out.has_room();) {
    Impl::PendingRing& ring = *impl_->rings[impl_->next_ring];
    impl_->next_ring = (impl_->next_ring + 1) % impl_->rings.size();
    empty = impl_->drain(ring, who, out) ? 0 : empty + 1;
  }
  if (out.has_room()) {
    for (const auto& ring : impl_->rings) ring->urgent_seen = ring->urgent_sampled;
  }
  if (impl_->bulk_running && !live_only) impl_->continue_bulk(out);
  *records = out.records;
  return static_cast<size_t>(out.at - into);
}

// False: the ring is empty.
bool MirrorSource::Impl::drain(PendingRing& ring, Participant who, Output& out) {
  const uint32_t count = ring.peek(kTogether);
  for (uint32_t i = 0; i < count; ++i) table->prefetch(ring[i]);
  for (uint32_t i = 0; i < count; ++i) {
    const Connection* connection = table->at(ring[i]);
    if (connection != nullptr && connection->family == 6) __builtin_prefetch(&table->ipv6(*connection));
  }
  uint32_t done = 0;
  for (; done < count && out.has_room(); ++done) {
    if (Connection* connection = table->at(ring[done])) take_pending(who, *connection, out);
  }
  ring.release(done);
  return count > 0;
}

void MirrorSource::Impl::take_pending(Participant who, Connection& connection, Output& out) {
  uint32_t control = connection.control.load(acquire);
  bool tell;
  uint32_t taken;
  do {
    if (!(control & Control::kPendingMask)) return;
    const bool dead = control & Control::kDead;
    tell = active_here(connection) && (dead ? (control & Control::kAnnounced) != 0 : mirrored(connection));
    taken = (control & ~Control::kPendingMask) | (tell ? Control::kAnnounced : 0);
  } while (!connection.control.compare_exchange_weak(control, taken, acq_rel, acquire));

  seam();
  const bool dead = control & Control::kDead;
  if (tell) encode(connection, dead ? wire::MirrorKind::kClose : wire::MirrorKind::kState, control, out);
  if (tell && !dead && !(control & Control::kAnnounced)) tell_persistence(connection, out);
  if (tell && digest != nullptr) {
    if (dead) digest->subtract(MirrorDigest::Side::kTold, connection);
    if (!(control & Control::kAnnounced)) digest->add(MirrorDigest::Side::kTold, connection);
  }
  if (dead) table->recycle(who, connection);
}

void MirrorSource::Impl::encode(Connection& connection, wire::MirrorKind kind, uint32_t control, Output& out) {
  encode(connection, kind, control, static_cast<uint16_t>(shared->groups[connection.group].term.load(relaxed)), out);
}

void MirrorSource::Impl::encode(Connection& connection, wire::MirrorKind kind, uint32_t control, uint16_t term,
                                Output& out) {
  connection.term.store(term, relaxed);
  if (++sequence == 0) ++sequence;  // 0: never told
  connection.sequence.store(sequence, relaxed);
  if (kind == wire::MirrorKind::kState && (control & Control::kDirect)) kind = wire::MirrorKind::kDirect;
  const wire::MirrorHead head = head_of(connection, kind, control, term, sequence);
  const Addresses addresses = addresses_of(*table, connection);
  const bool v6 = connection.family == 6;
  if (kind == wire::MirrorKind::kClose) {
    v6 ? out.append(close_of<16>(head, addresses)) : out.append(close_of<4>(head, addresses));
  } else if (kind == wire::MirrorKind::kDirect) {
    const EndpointAddress& member = runtime->endpoint_addresses[connection.endpoint];
    v6 ? out.append(direct_of<16>(head, addresses, connection, control, member))
       : out.append(direct_of<4>(head, addresses, connection, control, member));
  } else {
    v6 ? out.append(state_of<16>(head, addresses, connection)) : out.append(state_of<4>(head, addresses, connection));
  }
}

void MirrorSource::start_bulk(const ServerSet* only, bool offers) {
  impl_->bulk_offers = offers;
  impl_->bulk_running = true;
  impl_->bulk_cursor = 0;
  impl_->bulk_place = 0;
  impl_->bulk_announced = 0;
  impl_->bulk_of = only != nullptr ? *only : ServerSet{}.set();
  for (size_t server = 0; server < kVirtualServersMax; ++server)
    if (impl_->bulk_of[server])
      impl_->lost_before_bulk[server] = impl_->runtime->virtual_servers[server].lost_closes.load(relaxed);
}

uint64_t MirrorSource::deferrals() const { return impl_->deferrals.load(relaxed); }
bool MirrorSource::bulk_running() const { return impl_->bulk_running; }
size_t MirrorSource::bulk_announced() const { return impl_->bulk_announced; }

std::vector<uint16_t> MirrorSource::lost_servers() const {
  std::vector<uint16_t> servers;
  if (impl_->table->lost_closes() == 0) return servers;
  for (size_t server = 0; server < kVirtualServersMax; ++server)
    if (impl_->runtime->virtual_servers[server].lost_closes.load(relaxed) != impl_->lost_before_bulk[server])
      servers.push_back(static_cast<uint16_t>(server));
  return servers;
}

void MirrorSource::Impl::continue_bulk(Output& out) {
  const size_t end = table->slots_touched();
  const size_t stop = std::min(end, bulk_cursor + kBulkSlots);
  for (; bulk_cursor < stop && out.has_room(); ++bulk_cursor) {
    Connection* connection = table->at(bulk_cursor);
    if (connection != nullptr && announce(*connection, out)) ++bulk_announced;
  }
  if (bulk_cursor >= end && continue_persistence(out)) bulk_running = false;
}

// True: all entries are told.
bool MirrorSource::Impl::continue_persistence(Output& out) {
  if (persistence == nullptr || !runtime->commit_wanted.load(relaxed)) return true;
  const Nanos now = boottime_now();
  const size_t end = persistence->places();
  const size_t stop = std::min(end, bulk_place + kBulkPlaces);
  for (; bulk_place < stop && out.has_room(); ++bulk_place) {
    Persistence::Entry entry;
    if (!persistence->at(bulk_place, now, &entry) && !entry.is_from_peer) continue;
    const uint16_t server = entry.client.server;
    if (!bulk_of[server] || !mirrors_persistence(server) || !active_here(group_of[server])) continue;
    if (persistence->take_at(bulk_place, now, activated(group_of[server]), &entry)) encode(entry, out);
  }
  return bulk_place >= end;
}

// A half-open connection's is not told: a flood makes no records.
void MirrorSource::Impl::tell_persistence(const Connection& connection, Output& out) {
  const uint16_t server = connection.virtual_server;
  if (persistence == nullptr || !mirrors_persistence(server)) return;
  const SourcePersistence& rule = persistence_rules[server];
  const Persistence::Client client =
      Persistence::client_of(server, connection.family, connection.family == 4 ? rule.prefix4 : rule.prefix6,
                             addresses_of(*table, connection).client);
  Persistence::Entry entry;
  if (persistence->take_untold(client, boottime_now(), activated(connection.group), &entry)) encode(entry, out);
}

void MirrorSource::Impl::encode(const Persistence::Entry& entry, Output& out) {
  const uint8_t group = group_of[entry.client.server];
  const auto term = static_cast<uint16_t>(shared->groups[group].term.load(relaxed));
  const EndpointAddress& member = runtime->endpoint_addresses[entry.endpoint];
  entry.client.family == 6 ? out.append(persistence_of<16>(entry, group, term, member))
                           : out.append(persistence_of<4>(entry, group, term, member));
}

void MirrorSource::set_persistence(Persistence* persistence, const Policy* policy) {
  impl_->persistence = persistence;
  for (const VirtualServer& server : policy->virtual_servers) {
    impl_->persistence_rules[server.id] = server.persistence;
    impl_->group_of[server.id] = server.group;
  }
}

// A dead connection's close is in a ring already. One that is not mirrored (any more) will be dropped by the
// peer when the bulk ends, so nothing of it needs to be told from here on.
//
// Of a group that is not active here any more only an offer tells, and only what this unit opened or changed while it
// was: after a partition the peer may lack it. Under term 0 an offer is newer than nothing that the peer has.
bool MirrorSource::Impl::announce(Connection& connection, Output& out) {
  if (!bulk_of[connection.virtual_server]) return false;
  const Role role = role_of(connection);
  if (role == Role::kStandby && !bulk_offers) return false;
  const bool active = role == Role::kActive || !bulk_offers;
  const bool tell = mirrored(connection);
  uint32_t control = connection.control.load(acquire);
  uint32_t announced;
  do {
    if ((control & Control::kDead) || !worth_telling(control, connection.protocol)) return false;
    if (!active && (control & Control::kFromPeer)) return false;
    announced = (control & ~(Control::kPendingMask | Control::kAnnounced)) | (tell ? Control::kAnnounced : 0);
  } while (!connection.control.compare_exchange_weak(control, announced, acq_rel, acquire));
  if (active && digest != nullptr && tell != ((control & Control::kAnnounced) != 0)) {
    tell ? digest->add(MirrorDigest::Side::kTold, connection) : digest->subtract(MirrorDigest::Side::kTold, connection);
  }
  if (!tell) return false;
  if (active) encode(connection, wire::MirrorKind::kState, control, out);
  if (!active) encode(connection, wire::MirrorKind::kState, control, kOfferedTerm, out);
  return true;
}

}  // namespace tandem
