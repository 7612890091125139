// Records of the peer into the connection table; see mirror.h. What arrives is not believed: a record that
// is not whole and valid is not applied, nor is anything behind it.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "connection_close.h"
#include "mirror.h"
#include "policy.h"
#include "serial_number.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto acq_rel = std::memory_order_acq_rel;

constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr Deciseconds kPersistenceMax = 864'000;  // a day, as the config has it
// Records looked up together, so that their cache misses overlap.
constexpr size_t kTogether = 32;
// A worker may open or close a flow while its record is applied; each try meets another change.
constexpr int kTriesMax = 8;

// A record as it came: whole and valid, not yet translated.
struct Parsed {
  wire::MirrorKind kind;
  uint8_t device;         // the sender's, of the last hop
  uint8_t member_family;  // kDirect: of its member, which the flow does not name
  uint8_t member[16];
  wire::be16 member_port;
  NewConnection fresh;
  FlowKey from_client;
  uint64_t hash;
  uint8_t prefix;  // kPersistence: it, the timeout, `fresh.client` and what names the virtual server and the member
  Deciseconds timeout;
};

FlowKey flow_of(uint8_t family, uint8_t protocol, const uint8_t* source, const uint8_t* destination,
                wire::be16 source_port, wire::be16 destination_port) {
  if (family == 6) return FlowKey::v6(source, destination, source_port, destination_port, protocol);
  wire::be32 from, to;
  std::memcpy(&from, source, sizeof from);
  std::memcpy(&to, destination, sizeof to);
  return FlowKey::v4(from, to, source_port, destination_port, protocol);
}

FlowKey from_server_of(const NewConnection& fresh) {
  return flow_of(fresh.family, fresh.protocol, fresh.member, fresh.snat, fresh.member_port, fresh.snat_port);
}

// What of Connection::control never changes: how its packets are forwarded.
constexpr uint32_t kForwardingMask = Control::kNoSnat | Control::kDirect | Control::kTunnelled;
uint32_t forwarding_of(const NewConnection& fresh) {
  return (fresh.no_snat ? Control::kNoSnat : 0) | (fresh.direct ? Control::kDirect : 0) |
         (fresh.tunnelled ? Control::kTunnelled : 0);
}

template <size_t kAddressBytes>
void read_flow(const wire::MirrorClose<kAddressBytes>& record, Parsed* parsed) {
  NewConnection& fresh = parsed->fresh;
  fresh.protocol = record.head.protocol;
  fresh.group = record.head.group;
  fresh.no_snat = record.head.state & wire::kMirrorNoSnat;
  fresh.from_peer = true;
  fresh.state = static_cast<TcpState>(record.head.state & ~wire::kMirrorNoSnat);
  fresh.term = record.head.term.host();
  fresh.incarnation = record.head.incarnation.host();
  fresh.sequence = record.head.sequence.host();
  fresh.client_port = record.head.client_port;
  fresh.virtual_port = record.head.virtual_port;
  std::memcpy(fresh.client, record.client, kAddressBytes);
  std::memcpy(fresh.virtual_address, record.virtual_address, kAddressBytes);
}

template <typename Record>
void read_last_hop(const Record& record, Parsed* parsed) {
  NewConnection& fresh = parsed->fresh;
  const uint16_t place = record.last_hop_place.host();
  parsed->device = static_cast<uint8_t>(place >> 12);
  std::memcpy(&fresh.last_hop, record.last_hop_mac, sizeof record.last_hop_mac);  // octet 0 lowest
  if (fresh.last_hop != 0) fresh.last_hop |= static_cast<uint64_t>(place & 0xfff) << 52;
}
static_assert(std::endian::native == std::endian::little);

template <size_t kAddressBytes>
bool read_translation(const wire::MirrorState<kAddressBytes>& record, Parsed* parsed) {
  NewConnection& fresh = parsed->fresh;
  fresh.virtual_server = record.virtual_server.host();
  fresh.member_port = record.member_port;
  std::memcpy(fresh.member, record.member, kAddressBytes);
  // Without SNAT the member sees the client's own address and port, whatever the record has there.
  fresh.snat_port = fresh.no_snat ? fresh.client_port : record.snat_port;
  std::memcpy(fresh.snat, fresh.no_snat ? fresh.client : record.snat, kAddressBytes);
  read_last_hop(record, parsed);
  parsed->member_family = fresh.family;
  std::memcpy(parsed->member, fresh.member, sizeof parsed->member);
  parsed->member_port = fresh.member_port;
  return fresh.member_port.host() != 0 && fresh.snat_port.host() != 0;
}

// Both ends of the flow are what the member sees.
template <size_t kAddressBytes>
bool read_direct(const wire::MirrorDirect<kAddressBytes>& record, Parsed* parsed) {
  NewConnection& fresh = parsed->fresh;
  fresh.virtual_server = record.virtual_server.host();
  fresh.no_snat = fresh.direct = true;
  fresh.tunnelled = record.tunnelled != 0;
  fresh.member_port = fresh.virtual_port;
  std::memcpy(fresh.member, fresh.virtual_address, sizeof fresh.member);
  fresh.snat_port = fresh.client_port;
  std::memcpy(fresh.snat, fresh.client, sizeof fresh.snat);
  read_last_hop(record, parsed);
  parsed->member_family = record.member_family;
  std::memcpy(parsed->member, record.member, sizeof parsed->member);
  parsed->member_port = record.member_port;
  return record.tunnelled <= 1 && (record.member_family == 4 || record.member_family == 6);
}

template <size_t kAddressBytes>
constexpr size_t size_of(wire::MirrorKind kind) {
  switch (kind) {
    case wire::MirrorKind::kState:
      return sizeof(wire::MirrorState<kAddressBytes>);
    case wire::MirrorKind::kClose:
      return sizeof(wire::MirrorClose<kAddressBytes>);
    case wire::MirrorKind::kDirect:
      return sizeof(wire::MirrorDirect<kAddressBytes>);
    case wire::MirrorKind::kPersistence:
      return sizeof(wire::MirrorPersistence<kAddressBytes>);
  }
  return 0;
}

template <size_t kAddressBytes>
bool read_persistence(const wire::MirrorPersistence<kAddressBytes>& record, Parsed* parsed) {
  NewConnection& fresh = parsed->fresh;
  fresh.virtual_server = record.virtual_server.host();
  fresh.group = record.group;
  fresh.term = record.term.host();
  std::memcpy(fresh.client, record.client, kAddressBytes);
  parsed->prefix = record.prefix;
  parsed->timeout = record.timeout.host();
  parsed->member_family = record.member_family;
  std::memcpy(parsed->member, record.member, sizeof parsed->member);
  parsed->member_port = record.member_port;
  return record.prefix >= 1 && record.prefix <= 8 * kAddressBytes && record.group < kGroupsMax &&
         parsed->timeout >= 1 && parsed->timeout <= kPersistenceMax &&
         (record.member_family == 4 || record.member_family == 6);
}

// The size of the record that begins here, if it is whole and valid; else 0.
template <size_t kAddressBytes>
size_t read_record(const uint8_t* bytes, size_t available, Parsed* parsed) {
  const size_t size = size_of<kAddressBytes>(parsed->kind);
  if (size == 0 || available < size) return 0;
  if (parsed->kind == wire::MirrorKind::kPersistence)
    return read_persistence(*reinterpret_cast<const wire::MirrorPersistence<kAddressBytes>*>(bytes), parsed) ? size : 0;
  NewConnection& fresh = parsed->fresh;
  read_flow(*reinterpret_cast<const wire::MirrorClose<kAddressBytes>*>(bytes), parsed);
  if (fresh.protocol != kTcp && fresh.protocol != kUdp) return 0;
  if (static_cast<uint8_t>(fresh.state) >= kTcpStates || fresh.group >= kGroupsMax) return 0;
  if (fresh.client_port.host() == 0 || fresh.virtual_port.host() == 0) return 0;
  bool valid = true;
  if (parsed->kind == wire::MirrorKind::kState)
    valid = read_translation(*reinterpret_cast<const wire::MirrorState<kAddressBytes>*>(bytes), parsed);
  if (parsed->kind == wire::MirrorKind::kDirect)
    valid = read_direct(*reinterpret_cast<const wire::MirrorDirect<kAddressBytes>*>(bytes), parsed);
  return valid ? size : 0;
}

size_t parse(const uint8_t* bytes, size_t available, Parsed* parsed) {
  if (available < sizeof(wire::MirrorHead)) return 0;
  *parsed = {};
  parsed->kind = static_cast<wire::MirrorKind>(bytes[0] >> 4);
  parsed->fresh.family = bytes[0] & 0xf;
  switch (parsed->fresh.family) {
    case 4:
      return read_record<4>(bytes, available, parsed);
    case 6:
      return read_record<16>(bytes, available, parsed);
    default:
      return 0;
  }
}

void note_refused(const Parsed& parsed, RefusedRecords* refused) {
  if (refused != nullptr) refused->sequences[refused->count++] = parsed.fresh.sequence;
}

// Members by address and port: open addressing, at most half full. Built whole, then only read.
class MemberIndex {
 public:
  static constexpr uint16_t kNone = 0xffff;

  void build(const Policy& policy) {
    size_t members = 0;
    for (const auto& pool : policy.pools) members += pool->members.size();
    entries_.assign(std::bit_ceil(members * 2 + 1), {});
    for (const auto& pool : policy.pools) {
      for (const Member& member : pool->members) add(member);
    }
  }

  uint16_t find(uint8_t family, const uint8_t octets[16], wire::be16 port) const {
    if (entries_.empty()) return kNone;
    const Key key = key_of(family, octets, port);
    for (size_t i = start_of(key);; i = next(i)) {
      if (entries_[i].endpoint == kNone || entries_[i].key == key) return entries_[i].endpoint;
    }
  }

 private:
  using Key = std::array<uint64_t, 3>;
  struct Entry {
    Key key{};
    uint16_t endpoint = kNone;
  };

  static Key key_of(uint8_t family, const uint8_t octets[16], wire::be16 port) {
    Key key{};
    std::memcpy(key.data(), octets, family == 4 ? 4 : 16);
    key[2] = static_cast<uint64_t>(family) << 16 | port.host();
    return key;
  }
  size_t start_of(const Key& key) const {
    uint64_t mixed = 0;
    for (const uint64_t word : key) mixed = (mixed ^ word) * 0x9e3779b97f4a7c15, mixed ^= mixed >> 32;
    return mixed & (entries_.size() - 1);
  }
  size_t next(size_t i) const { return (i + 1) & (entries_.size() - 1); }
  void add(const Member& member) {
    const Key key = key_of(member.address.family, member.address.octets, wire::be16(member.port));
    size_t i = start_of(key);
    while (entries_[i].endpoint != kNone && entries_[i].key != key) i = next(i);
    entries_[i] = {key, member.endpoint};
  }

  std::vector<Entry> entries_;
};

}  // namespace

struct MirrorSink::Impl {
  bool translate(Parsed* parsed) const;
  // False: there is no room for it, or something else stands in its place.
  bool apply_state(const NewConnection& fresh, const Parsed& parsed, Nanos now, Applied* applied);
  void apply_close(const Parsed& parsed, Nanos now, Applied* applied);
  void apply_persistence(Parsed* parsed, Nanos now, Applied* applied);
  bool is_newer(const NewConnection& fresh, const Connection& connection) const;
  bool is_same(const NewConnection& fresh, const Connection& connection) const;
  bool update(Connection& connection, const NewConnection& fresh, Nanos now) const;
  bool close(Connection& connection, Nanos now);
  void learn_port(const NewConnection& fresh) const;
  bool heard(const Connection& connection) const {
    return digest != nullptr && digest->counts(MirrorDigest::Side::kHeard, connection);
  }

  Role role_of(uint8_t group) const { return static_cast<Role>(shared->groups[group].role.load(acquire)); }

  ConnTable* table = nullptr;
  SharedState* shared = nullptr;
  Participant who = 0;
  ConnectionBooks books{};  // without a mirror: the peer is not told what it told us
  MirrorDictionary dictionary;
  MemberIndex members;
  MirrorDigest* digest = nullptr;
  Persistence* persistence = nullptr;
  Nanos applied_at = 0;  // of the last records: near enough for what is closed at the end of a bulk
};

MirrorSink::MirrorSink() : impl_(new Impl) {
  impl_->dictionary.virtual_servers.fill(MirrorDictionary::kNone);
  impl_->dictionary.devices.fill(0xff);
}
MirrorSink::~MirrorSink() = default;

void MirrorSink::start(ConnTable* table, Runtime* runtime, SharedState* shared, SnatPorts* snat_ports, Participant who,
                       MirrorDigest* digest) {
  impl_->table = table;
  impl_->shared = shared;
  impl_->who = who;
  impl_->digest = digest;
  impl_->books = {table, runtime, snat_ports, nullptr};
}

void MirrorSink::set_dictionary(const MirrorDictionary& dictionary) { impl_->dictionary = dictionary; }
void MirrorSink::set_persistence(Persistence* persistence) { impl_->persistence = persistence; }
void MirrorSink::set_members(const Policy* policy) { impl_->members.build(*policy); }

Applied MirrorSink::apply(const uint8_t* records, size_t bytes, uint8_t generation, Nanos now,
                          RefusedRecords* refused) {
  Impl& sink = *impl_;
  TableVisit visit(*sink.table, sink.who);
  sink.applied_at = now;
  Applied applied{};
  std::array<Parsed, kTogether> together;
  for (size_t offset = 0; offset < bytes && !applied.malformed;) {
    size_t count = 0;
    for (; count < kTogether && offset < bytes; ++count) {
      Parsed& parsed = together[count];
      const size_t size = parse(records + offset, bytes - offset, &parsed);
      if (size == 0) {
        applied.malformed = true;
        break;
      }
      offset += size;
      if (parsed.kind == wire::MirrorKind::kPersistence) continue;
      NewConnection& fresh = parsed.fresh;
      fresh.generation = generation;
      if (sink.digest != nullptr) sink.digest->note(fresh.group, fresh.term, fresh.sequence);
      parsed.from_client = flow_of(fresh.family, fresh.protocol, fresh.client, fresh.virtual_address, fresh.client_port,
                                   fresh.virtual_port);
      parsed.hash = sink.table->hash(parsed.from_client);
      sink.table->prefetch_bucket(parsed.hash);
      if (parsed.kind != wire::MirrorKind::kClose) sink.table->prefetch_bucket(sink.table->hash(from_server_of(fresh)));
    }
    for (size_t i = 0; i < count; ++i) {
      if (together[i].kind != wire::MirrorKind::kPersistence) sink.table->prefetch_slot(together[i].hash);
    }
    for (size_t i = 0; i < count; ++i) {
      Parsed& parsed = together[i];
      if (parsed.kind == wire::MirrorKind::kPersistence) {
        sink.apply_persistence(&parsed, now, &applied);
      } else if (parsed.kind == wire::MirrorKind::kClose) {
        sink.apply_close(parsed, now, &applied);
      } else if (!sink.translate(&parsed)) {
        ++applied.unknown;
        note_refused(parsed, refused);
      } else if (!sink.apply_state(parsed.fresh, parsed, now, &applied)) {
        note_refused(parsed, refused);
      }
    }
  }
  return applied;
}

// The peer's names in ours. False: a virtual server or member that this unit does not have.
bool MirrorSink::Impl::translate(Parsed* parsed) const {
  NewConnection& fresh = parsed->fresh;
  if (fresh.virtual_server >= dictionary.virtual_servers.size()) return false;
  fresh.virtual_server = dictionary.virtual_servers[fresh.virtual_server];
  fresh.endpoint = members.find(parsed->member_family, parsed->member, parsed->member_port);
  // A member that keeps the client's port has none of its own.
  if (fresh.endpoint == MemberIndex::kNone)
    fresh.endpoint = members.find(parsed->member_family, parsed->member, wire::be16(0));
  if (fresh.virtual_server >= kVirtualServersMax || fresh.endpoint >= kMembersMax) return false;
  const uint8_t device = dictionary.devices[parsed->device];
  fresh.last_hop = fresh.last_hop == 0 || device >= kDevicesMax ? 0 : fresh.last_hop | uint64_t{device} << 48;
  return true;
}

bool MirrorSink::Impl::apply_state(const NewConnection& fresh, const Parsed& parsed, Nanos now, Applied* applied) {
  bool held = false;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    Connection* known = table->find(parsed.from_client, parsed.hash).connection;
    if (known == nullptr) {
      Connection* opened;
      switch (open_connection(books, who, fresh, now, &opened)) {
        case OpenStatus::kOpened:
          learn_port(fresh);
          if (heard(*opened)) digest->add(MirrorDigest::Side::kHeard, *opened);
          ++applied->applied;
          return true;
        case OpenStatus::kFull:
          ++applied->refused_full;
          return false;
        case OpenStatus::kClientFlowTaken:
          continue;  // a worker was faster
        case OpenStatus::kServerFlowTaken:
          break;
      }
      const FlowKey from_server = from_server_of(fresh);
      known = table->find(from_server, table->hash(from_server)).connection;
      if (known == nullptr) continue;
    }
    if (!is_newer(fresh, *known)) {
      // It tells nothing new, but the peer has the connection: a bulk's end must not take it for gone.
      held = is_same(fresh, *known);
      if (held) known->generation = fresh.generation;
      break;
    }
    if (is_same(fresh, *known)) {
      if (!update(*known, fresh, now)) continue;
      ++applied->applied;
      return true;
    }
    close(*known, now);
  }
  ++applied->stale;
  return held;
}

void MirrorSink::Impl::apply_close(const Parsed& parsed, Nanos now, Applied* applied) {
  const NewConnection& fresh = parsed.fresh;
  const Found found = table->find(parsed.from_client, parsed.hash);
  const bool closes = found.connection != nullptr && found.direction == Direction::kFromClient &&
                      is_newer(fresh, *found.connection) &&
                      // In the same term only its own close: a predecessor's may come after the successor's opening.
                      (fresh.term != found.connection->term.load(relaxed) ||
                       fresh.incarnation == found.connection->incarnation.load(relaxed));
  if (closes && close(*found.connection, now)) {
    ++applied->applied;
  } else {
    ++applied->stale;
  }
}

// The active unit decides where a client goes; it tells an entry once more when that changes.
void MirrorSink::Impl::apply_persistence(Parsed* parsed, Nanos now, Applied* applied) {
  const NewConnection& fresh = parsed->fresh;
  if (persistence == nullptr || !translate(parsed)) {
    ++applied->unknown;
  } else if (role_of(fresh.group) != Role::kStandby) {
    ++applied->stale;
  } else {
    const Persistence::Client client =
        Persistence::client_of(fresh.virtual_server, fresh.family, parsed->prefix, fresh.client);
    persistence->apply(client, fresh.endpoint, parsed->timeout, to_deciseconds(now));
    ++applied->applied;
  }
}

bool MirrorSink::Impl::is_newer(const NewConnection& fresh, const Connection& connection) const {
  // What this unit opened or changed while active is of its own term, even if the peer was not told yet.
  const bool ours =
      role_of(connection.group) == Role::kActive && !(connection.control.load(relaxed) & Control::kFromPeer);
  if (ours) return later(fresh.term, static_cast<uint16_t>(shared->groups[connection.group].term.load(relaxed)));
  const uint16_t term = connection.term.load(relaxed);
  if (fresh.term != term) return later(fresh.term, term);
  return later(fresh.sequence, connection.sequence.load(relaxed));
}

// Whether the slot may be kept: everything that is constant while a connection is published.
bool MirrorSink::Impl::is_same(const NewConnection& fresh, const Connection& connection) const {
  return connection.virtual_server == fresh.virtual_server && connection.endpoint == fresh.endpoint &&
         connection.group == fresh.group &&
         table->flow(connection, Direction::kFromClient) == flow_of(fresh.family, fresh.protocol, fresh.client,
                                                                    fresh.virtual_address, fresh.client_port,
                                                                    fresh.virtual_port) &&
         table->flow(connection, Direction::kFromServer) == from_server_of(fresh) &&
         (connection.control.load(relaxed) & kForwardingMask) == forwarding_of(fresh);
}

void MirrorSink::Impl::learn_port(const NewConnection& fresh) const {
  if (fresh.no_snat) return;
  const int address = books.snat_ports->find_address(fresh.family, fresh.snat);
  if (address >= 0) books.snat_ports->learn(static_cast<uint16_t>(address), fresh.endpoint, fresh.snat_port.host());
}

bool MirrorSink::Impl::close(Connection& connection, Nanos now) {
  const bool counted = heard(connection);
  if (!close_connection(books, who, connection, now).closed) return false;
  // Its slot is not used again while this thread may look at it.
  if (counted) digest->subtract(MirrorDigest::Side::kHeard, connection);
  return true;
}

// False: it was closed meanwhile.
bool MirrorSink::Impl::update(Connection& connection, const NewConnection& fresh, Nanos now) const {
  const bool counted = heard(connection);
  uint32_t control = connection.control.load(acquire);
  uint32_t updated;
  do {
    if (control & Control::kDead) return false;
    updated = (control & ~Control::kStateMask) | static_cast<uint32_t>(fresh.state) | Control::kFromPeer |
              Control::kAnnounced;
  } while (!connection.control.compare_exchange_weak(control, updated, acq_rel, acquire));
  connection.last_hop.store(fresh.last_hop, relaxed);
  connection.last_seen.store(to_deciseconds(now), relaxed);
  connection.term.store(fresh.term, relaxed);
  if (!counted || connection.incarnation.load(relaxed) != fresh.incarnation) {
    if (counted) digest->subtract(MirrorDigest::Side::kHeard, connection);
    connection.incarnation.store(fresh.incarnation, relaxed);
    if (heard(connection)) digest->add(MirrorDigest::Side::kHeard, connection);
  }
  connection.sequence.store(fresh.sequence, relaxed);
  connection.generation = fresh.generation;
  return true;
}

bool MirrorSink::drop_unannounced(uint8_t generation, size_t* cursor, size_t budget, uint32_t* closed,
                                  const ServerSet* only) {
  Impl& sink = *impl_;
  TableVisit visit(*sink.table, sink.who);
  *closed = 0;
  const size_t end = sink.table->slots_touched();
  const size_t stop = std::min(end, *cursor + std::min(budget, end));
  for (; *cursor < stop; ++*cursor) {
    Connection* connection = sink.table->at(*cursor);
    if (connection == nullptr || (only != nullptr && !(*only)[connection->virtual_server])) continue;
    const uint32_t control = connection->control.load(relaxed);
    if ((control & Control::kDead) || !(control & (Control::kFromPeer | Control::kAnnounced))) continue;
    if (sink.role_of(connection->group) != Role::kStandby || connection->generation == generation) continue;
    if (sink.close(*connection, sink.applied_at)) ++*closed;
  }
  return *cursor >= end;
}

}  // namespace tandem
