#include "mirror_digest.h"

#include <algorithm>
#include <cstring>

#include "serial_number.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;

// Slots of one sweep(): less than half a millisecond, so that a record that waits is not kept waiting.
constexpr size_t kSweepSlots = size_t{1} << 15;
constexpr size_t kSides = 2;

using Sums = std::array<std::array<DigestSum, kVirtualServersMax>, kSides>;

// Sequences are kept less than this behind the newest: half of what makes an older one pass for a later one.
constexpr uint32_t kBehindMax = uint32_t{1} << 30;

// Of a group: the newest record that came.
struct Newest {
  uint16_t term = 0;
  uint32_t sequence = 0;
};

// Of a group, for a lap that began under other roles to be thrown away.
struct RoleSeen {
  uint32_t role, term;
  friend bool operator==(const RoleSeen&, const RoleSeen&) = default;
};
using Roles = std::array<RoleSeen, kGroupsMax>;

// Not keyed: whoever opens connections could make two of them collide, which hides nothing but a difference between
// his own.
struct Mixer {
  uint64_t mixed = 0x9e37'79b9'7f4a'7c15;
  void word(uint64_t word) { mixed = FlowLookup::fold(mixed ^ word, 0xa076'1d64'78bd'642f); }
  void octets(const void* from, size_t bytes) {  // a multiple of 8
    for (size_t at = 0; at < bytes; at += 8) {
      uint64_t next;
      std::memcpy(&next, static_cast<const uint8_t*>(from) + at, sizeof next);
      word(next);
    }
  }
};

void fold(DigestSum* sum, uint64_t identity, uint64_t sign) {
  sum->connections += sign;
  sum->identities += sign * identity;
}

}  // namespace

struct MirrorDigest::Impl {
  Roles roles_now() const {
    Roles roles;
    for (size_t group = 0; group < kGroupsMax; ++group)
      roles[group] = {shared->groups[group].role.load(acquire), shared->groups[group].term.load(relaxed)};
    return roles;
  }
  void fold_all(const MirrorDigest& digest, Side side, const Connection& connection, uint64_t sign) {
    const uint64_t identity = digest.identity(connection);
    const auto at = static_cast<size_t>(side);
    fold(&folded[at][connection.virtual_server], identity, sign);
    if (table->slot_of(connection) < cursor) fold(&lap[at][connection.virtual_server], identity, sign);
  }
  // No record of its own can be on the way that is older than what it holds now, and newer than what it held.
  void keep_comparable(Connection& connection) const {
    const Newest& of = newest[connection.group];
    const uint32_t behind = of.sequence - connection.sequence.load(relaxed);
    if (connection.term.load(relaxed) != of.term || behind <= kBehindMax || behind >= 2 * kBehindMax) return;
    connection.sequence.store(of.sequence - kBehindMax, relaxed);
  }
  void begin_lap() {
    cursor = 0;
    lost_in_lap.reset();
    roles = roles_now();
    for (auto& side : lap) side.fill({});
  }
  void end_lap() {
    if (roles == roles_now()) {
      for (size_t side = 0; side < kSides && is_ready; ++side)
        for (size_t server = 0; server < kVirtualServersMax; ++server)
          corrections += folded[side][server] == lap[side][server] || unsummed[server] ? 0 : 1;
      folded = lap;
      unsummed = lost_in_lap;
      is_ready = true;
    } else {
      is_ready = false;
    }
    begin_lap();
  }

  ConnTable* table = nullptr;
  const Runtime* runtime = nullptr;
  const SharedState* shared = nullptr;
  Sums folded{}, lap{};
  Roles roles{};
  size_t cursor = 0;  // slots before it are in `lap`
  bool is_ready = false;
  ServerSet unsummed, lost_in_lap;
  std::array<Newest, kGroupsMax> newest{};
  uint64_t corrections = 0;
};

MirrorDigest::MirrorDigest() : impl_(new Impl) {}
MirrorDigest::~MirrorDigest() = default;

void MirrorDigest::start(ConnTable* table, const Runtime* runtime, const SharedState* shared) {
  impl_->table = table;
  impl_->runtime = runtime;
  impl_->shared = shared;
  restart();
}

uint64_t MirrorDigest::identity(const Connection& connection) const {
  Mixer mixer;
  if (connection.family == 6) {
    mixer.octets(&impl_->table->ipv6(connection), sizeof(Ipv6Addresses));
  } else {
    mixer.octets(&connection.client, 16);
  }
  mixer.octets(&connection.client_port, 8);  // all four ports
  // A tunnel's member is named by no flow. Its port is the config's, which may have the same member with and without.
  const EndpointAddress& member = impl_->runtime->endpoint_addresses[connection.endpoint];
  if (member.family == 6) {
    mixer.octets(member.octets, 16);
  } else {
    uint32_t octets;
    std::memcpy(&octets, member.octets, sizeof octets);
    mixer.word(octets);
  }
  const uint32_t forwarding =
      connection.control.load(relaxed) & (Control::kNoSnat | Control::kDirect | Control::kTunnelled);
  mixer.word(uint64_t{connection.incarnation.load(relaxed)} << 48 | uint64_t{connection.protocol} << 40 |
             uint64_t{connection.family} << 36 | uint64_t{connection.group} << 28 | forwarding);
  return mixer.mixed;
}
static_assert(offsetof(Connection, snat_port) - offsetof(Connection, client_port) == 6);
static_assert(offsetof(Connection, snat) - offsetof(Connection, client) == 12);
static_assert(Control::kTunnelled < 1u << 28);

bool MirrorDigest::counts(Side side, const Connection& connection) const {
  const uint32_t control = connection.control.load(acquire);
  const bool active = static_cast<Role>(impl_->shared->groups[connection.group].role.load(acquire)) != Role::kStandby;
  if (side == Side::kTold) {
    const bool told = (control & Control::kAnnounced) != 0;
    return active && told && (!(control & Control::kDead) || (control & Control::kPendingMask));
  }
  return !active && !(control & Control::kDead) && (control & (Control::kFromPeer | Control::kAnnounced)) != 0;
}

void MirrorDigest::add(Side side, const Connection& connection) { impl_->fold_all(*this, side, connection, 1); }
void MirrorDigest::subtract(Side side, const Connection& connection) {
  impl_->fold_all(*this, side, connection, ~uint64_t{0});  // minus one, modulo 2^64
}

void MirrorDigest::note(uint8_t group, uint16_t term, uint32_t sequence) {
  Newest& newest = impl_->newest[group];
  const bool is_newer = term == newest.term ? later(sequence, newest.sequence) : later(term, newest.term);
  if (is_newer) newest = {term, sequence};
}

void MirrorDigest::restart() {
  impl_->is_ready = false;
  impl_->begin_lap();
}

void MirrorDigest::restart(const ServerSet& servers) {
  impl_->unsummed |= servers;
  impl_->lost_in_lap |= servers;
}

bool MirrorDigest::ready(uint16_t virtual_server) const { return ready() && !impl_->unsummed[virtual_server]; }

bool MirrorDigest::ready() const { return impl_->is_ready && impl_->roles == impl_->roles_now(); }

double MirrorDigest::sweep() {
  Impl& digest = *impl_;
  const size_t end = digest.table->slots_touched();
  const size_t first = std::min(digest.cursor, end);
  const size_t stop = std::min(end, first + kSweepSlots);
  for (size_t slot = first; slot < stop; ++slot) {
    Connection* connection = digest.table->at(slot);
    if (connection == nullptr) continue;
    if (counts(Side::kHeard, *connection)) digest.keep_comparable(*connection);
    for (const Side side : {Side::kTold, Side::kHeard}) {
      if (counts(side, *connection))
        fold(&digest.lap[static_cast<size_t>(side)][connection->virtual_server], identity(*connection), 1);
    }
  }
  digest.cursor = stop;
  const double share = end == 0 ? 1 : static_cast<double>(stop - first) / static_cast<double>(end);
  if (stop == end) digest.end_lap();
  return share;
}

DigestSum MirrorDigest::sum(Side side, uint16_t virtual_server) const {
  return impl_->folded[static_cast<size_t>(side)][virtual_server];
}

uint64_t MirrorDigest::corrections() const { return impl_->corrections; }

}  // namespace tandem
