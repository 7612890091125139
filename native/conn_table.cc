// The index and the slots; see conn_table.h for the shape. Free slots and grace periods are slot_pool.cc's.
//
// Why a lookup may run beside a writer without a version to check: an entry never moves. A place of a
// bucket is written entry first and tag second, and emptied by its tag, so a tag seen is an entry that was
// published. A stale entry leads to a slot that is another's or dead, and the whole key is compared. And a
// flow is opened again only after it was closed, so a lookup that saw one bucket before the new entry and
// the other after the old one's removal answers for the moment between the two, when the flow was nobody's.
#include "conn_table.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "reserved_memory.h"
#include "slot_pool.h"
#include "spin_lock.h"

namespace tandem {

static_assert(std::endian::native == std::endian::little, "keys are compared as little-endian words over a slot");

namespace {

constexpr size_t kPlaces = 8;
// The emptier bucket is taken only from here on, so that nearly every flow stands in its primary one and a
// lookup reads one line. In simulation no open failed in 40 million on a table that was kept full.
constexpr int kCrowded = 5;
constexpr size_t kPlacesPerSlot = 4;
constexpr size_t kWaitingShare = 8;  // dead slots wait in an eighth of the table at most

constexpr size_t kSlotsMax = size_t{1} << 31;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

struct alignas(64) Bucket {
  std::atomic<uint64_t> tags[2];           // 8 x 16 bits; 0: the place is empty
  std::atomic<uint32_t> entries[kPlaces];  // slot << 1 | direction
  SpinLock lock;                           // of writers
  uint32_t unused[3];
};
static_assert(sizeof(Bucket) == 64);

// Bit n: place n has this tag.
#if defined(__SSE2__)
inline uint32_t places_with(const Bucket& bucket, uint16_t tag) {
  const __m128i tags = _mm_set_epi64x(static_cast<int64_t>(bucket.tags[1].load(acquire)),
                                      static_cast<int64_t>(bucket.tags[0].load(acquire)));
  const __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16(static_cast<int16_t>(tag)));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
}
#else
inline uint32_t places_with(const Bucket& bucket, uint16_t tag) {
  uint32_t places = 0;
  for (size_t i = 0; i < kPlaces; ++i) {
    const auto here = static_cast<uint16_t>(bucket.tags[i / 4].load(acquire) >> (i % 4 * 16));
    places |= static_cast<uint32_t>(here == tag) << i;
  }
  return places;
}
#endif

// Under the bucket's lock.
void set_tag(Bucket& bucket, uint32_t place, uint16_t tag) {
  std::atomic<uint64_t>& word = bucket.tags[place / 4];
  const uint32_t shift = place % 4 * 16;
  word.store((word.load(relaxed) & ~(uint64_t{0xffff} << shift)) | uint64_t{tag} << shift, release);
}

uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// [0, count) from 32 random bits, without a division; `count` need not be a power of two.
size_t reduced(uint32_t random, size_t count) { return static_cast<size_t>(uint64_t{random} * count >> 32); }

uint64_t word_at(const void* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

size_t direction_index(Direction direction) { return static_cast<size_t>(direction); }

// Both flows of a Connection lie in it as words: the addresses 8 octets apart, the ports 4.
const uint8_t* addresses_of(const Connection& connection, Direction direction) {
  return reinterpret_cast<const uint8_t*>(&connection) + direction_index(direction) * 8;
}
uint64_t ports_of(const Connection& connection, Direction direction) {
  uint32_t ports;
  std::memcpy(&ports, reinterpret_cast<const uint8_t*>(&connection) + 16 + direction_index(direction) * 4,
              sizeof ports);
  return ports | uint64_t{connection.protocol} << 32 | uint64_t{connection.family} << 40;
}
static_assert(offsetof(Connection, client) == 0 && offsetof(Connection, virtual_address) == 4);
static_assert(offsetof(Connection, member) == 8 && offsetof(Connection, snat) == 12);
static_assert(offsetof(Connection, client_port) == 16 && offsetof(Connection, virtual_port) == 18);
static_assert(offsetof(Connection, member_port) == 20 && offsetof(Connection, snat_port) == 22);
static_assert(offsetof(Ipv6Addresses, member) == 32 && offsetof(Ipv6Addresses, snat) == 48);

}  // namespace

struct ConnTable::Impl {
  // Where a flow may stand.
  struct Places {
    Bucket* primary;
    Bucket* secondary;
    uint16_t tag;
  };
  struct Place {
    Bucket* bucket;  // nullptr: both buckets are full
    uint32_t index;
  };
  struct alignas(64) Own {
    std::atomic<int64_t> used{0};  // opened less closed by this participant
    uint32_t next_incarnation = 0;
  };

  Places places(uint64_t hash) const {
    const auto tag = static_cast<uint16_t>((hash * 0x9e3779b97f4a7c15) >> 48);
    return {&buckets[reduced(static_cast<uint32_t>(hash >> 32), bucket_count)],
            &buckets[reduced(static_cast<uint32_t>(hash), bucket_count)], tag == 0 ? uint16_t{1} : tag};
  }

  bool has_flow(const Connection& connection, Direction direction, const FlowKey& flow) const {
    if (ports_of(connection, direction) != flow.words[4]) return false;
    if (!flow.is_v6()) return word_at(addresses_of(connection, direction)) == flow.words[0];
    return std::memcmp(&addresses[slot_of(connection)].client[direction_index(direction) * 32], flow.words, 32) == 0;
  }

  Found find_in(const Bucket& bucket, uint16_t tag, const FlowKey& flow) const {
    for (uint32_t matches = places_with(bucket, tag); matches != 0; matches &= matches - 1) {
      const uint32_t entry = bucket.entries[std::countr_zero(matches)].load(acquire);
      Connection& connection = slots[entry >> 1];
      const auto direction = static_cast<Direction>(entry & 1);
      if (has_flow(connection, direction, flow) && !(connection.control.load(relaxed) & Control::kDead)) {
        return {&connection, direction};
      }
    }
    return {nullptr, Direction::kFromClient};
  }

  Found find(const Places& at, const FlowKey& flow) const {
    const Found found = find_in(*at.primary, at.tag, flow);
    return found.connection != nullptr ? found : find_in(*at.secondary, at.tag, flow);
  }

  size_t slot_of(const Connection& connection) const { return static_cast<size_t>(&connection - slots); }

  static Place empty_place(const Places& at, const Place& taken);
  void fill(Connection& connection, const NewConnection& fresh, uint16_t incarnation, Nanos now);
  void unlink(const Connection& connection, Direction direction, uint64_t hash);
  bool retire_if_done(Participant who, Connection& connection);

  ReservedMemory index_memory, slot_memory, address_memory;
  Bucket* buckets = nullptr;
  Connection* slots = nullptr;
  Ipv6Addresses* addresses = nullptr;  // addresses[n] belongs to slots[n]
  size_t bucket_count = 0;
  size_t slot_count = 0;
  size_t participants = 0;
  uint64_t key[4];  // of the hash: chosen at start, so that nobody can send flows that collide
  SlotPool pool;
  Own own[kWorkersMax + 1];
  alignas(64) std::atomic<size_t> waiting{0};
  std::atomic<uint64_t> lost_closes{0};
};

ConnTable::~ConnTable() { delete impl_; }

bool ConnTable::reserve(const Size& size) {
  assert(impl_ == nullptr);
  const size_t slots = (std::max<size_t>(size.connections, 1) + 63) / 64 * 64;
  if (slots >= kSlotsMax || size.participants < 1 || size.participants > kWorkersMax + 1) {
    errno = EINVAL;
    return false;
  }
  std::unique_ptr<Impl> impl(new (std::nothrow) Impl);
  if (impl == nullptr) {
    errno = ENOMEM;
    return false;
  }
  impl->slot_count = slots;
  impl->bucket_count = slots * kPlacesPerSlot / kPlaces;
  impl->participants = size.participants;
  if (!impl->index_memory.reserve(impl->bucket_count * sizeof(Bucket), ReservedMemory::Touch::kNow) ||
      !impl->slot_memory.reserve(slots * sizeof(Connection), ReservedMemory::Touch::kNow) ||
      !impl->address_memory.reserve(slots * sizeof(Ipv6Addresses), ReservedMemory::Touch::kOnUse)) {
    return false;
  }
  impl->buckets = impl->index_memory.as<Bucket>();
  impl->slots = impl->slot_memory.as<Connection>();
  impl->addresses = impl->address_memory.as<Ipv6Addresses>();
  if (!impl->pool.reserve(impl->slots, slots, size.participants)) return false;
  if (getrandom(impl->key, sizeof impl->key, 0) != static_cast<ssize_t>(sizeof impl->key)) return false;
  for (size_t i = 0; i < size.participants; ++i) {
    // Apart from each other, so that two threads do not give the same incarnations at the same time.
    impl->own[i].next_incarnation = static_cast<uint32_t>(i * (0x10000 / (kWorkersMax + 1)));
  }
  impl_ = impl.release();
  return true;
}

// ---- lookup ----

uint64_t ConnTable::hash(const FlowKey& flow) const {
  const uint64_t* key = impl_->key;
  uint64_t mixed = fold(flow.words[0] ^ key[0], flow.words[4] ^ key[1]);
  if (flow.is_v6())
    mixed ^= fold(fold(flow.words[1] ^ key[1], flow.words[2] ^ key[2]) ^ key[0], flow.words[3] ^ key[3]);
  return fold(mixed ^ key[2], key[3] | 1);
}

void ConnTable::prefetch_bucket(uint64_t hash) const {
  __builtin_prefetch(&impl_->buckets[reduced(static_cast<uint32_t>(hash >> 32), impl_->bucket_count)]);
}

void ConnTable::prefetch_slot(uint64_t hash) const {
  const Impl::Places at = impl_->places(hash);
  const uint32_t matches = places_with(*at.primary, at.tag);
  if (matches == 0) {
    __builtin_prefetch(at.secondary);
    return;
  }
  const uint32_t slot = at.primary->entries[std::countr_zero(matches)].load(relaxed) >> 1;
  __builtin_prefetch(&impl_->slots[slot], 1);
}

Found ConnTable::find(const FlowKey& flow, uint64_t hash) const { return impl_->find(impl_->places(hash), flow); }

FlowKey ConnTable::flow(const Connection& connection, Direction direction) const {
  FlowKey key{};
  if (connection.family == 6) {
    // The block holds the flows one after the other: client and virtual address, then member and SNAT address.
    const auto* block = reinterpret_cast<const uint8_t*>(&ipv6(connection));
    std::memcpy(key.words, block + direction_index(direction) * 32, 32);
  } else {
    key.words[0] = word_at(addresses_of(connection, direction));
  }
  key.words[4] = ports_of(connection, direction);
  return key;
}

const Ipv6Addresses& ConnTable::ipv6(const Connection& connection) const {
  return impl_->addresses[connection.client.host()];
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
  connection.packets.store(0, relaxed);
}

// The place for a new entry: in the primary bucket unless that is crowded, then in the emptier. `taken` is
// spoken for but not written yet.
ConnTable::Impl::Place ConnTable::Impl::empty_place(const Places& at, const Place& taken) {
  const auto empty = [&taken](const Bucket& bucket) {
    const uint32_t places = places_with(bucket, 0);
    return &bucket == taken.bucket ? places & ~(1u << taken.index) : places;
  };
  const uint32_t in_primary = empty(*at.primary);
  const int free_in_primary = std::popcount(in_primary);
  if (free_in_primary > static_cast<int>(kPlaces) - kCrowded) {
    return {at.primary, static_cast<uint32_t>(std::countr_zero(in_primary))};
  }
  const uint32_t in_secondary = empty(*at.secondary);
  if (std::popcount(in_secondary) > free_in_primary) {
    return {at.secondary, static_cast<uint32_t>(std::countr_zero(in_secondary))};
  }
  if (in_primary == 0) return {nullptr, 0};
  return {at.primary, static_cast<uint32_t>(std::countr_zero(in_primary))};
}

namespace {

// Up to four buckets at once, in the order of their addresses so that two writers never wait for each other.
class BucketLocks {
 public:
  template <typename... Buckets>
  explicit BucketLocks(Buckets*... buckets) : buckets_{buckets...} {
    std::sort(std::begin(buckets_), std::end(buckets_));
    for (size_t i = 0; i < 4; ++i) {
      if (i == 0 || buckets_[i] != buckets_[i - 1]) buckets_[i]->lock.lock();
    }
  }
  ~BucketLocks() {
    for (size_t i = 0; i < 4; ++i) {
      if (i == 0 || buckets_[i] != buckets_[i - 1]) buckets_[i]->lock.unlock();
    }
  }
  BucketLocks(const BucketLocks&) = delete;
  BucketLocks& operator=(const BucketLocks&) = delete;

 private:
  Bucket* buckets_[4];
};

}  // namespace

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
  const Impl::Places client_places = table.places(hash(from_client));
  const Impl::Places server_places = table.places(hash(from_server));
  __builtin_prefetch(server_places.primary, 1);
  __builtin_prefetch(server_places.secondary, 1);
  __builtin_prefetch(client_places.secondary, 1);

  const OpenStatus status = [&] {
    BucketLocks locks(client_places.primary, client_places.secondary, server_places.primary, server_places.secondary);
    if (table.find(client_places, from_client).connection != nullptr) return OpenStatus::kClientFlowTaken;
    // The two flows of one connection may not be the same either.
    if (from_client == from_server || table.find(server_places, from_server).connection != nullptr) {
      return OpenStatus::kServerFlowTaken;
    }
    const Impl::Place client_place = Impl::empty_place(client_places, {nullptr, 0});
    if (client_place.bucket == nullptr) return OpenStatus::kFull;
    const Impl::Place server_place = Impl::empty_place(server_places, client_place);
    if (server_place.bucket == nullptr) return OpenStatus::kFull;

    const uint32_t control = Control::kOccupied | static_cast<uint32_t>(fresh.state) |
                             (fresh.from_peer ? Control::kFromPeer | Control::kAnnounced : 0) |
                             (fresh.no_snat ? Control::kNoSnat : 0);
    connection.control.store(control, release);
    client_place.bucket->entries[client_place.index].store(slot << 1, release);
    set_tag(*client_place.bucket, client_place.index, client_places.tag);
    server_place.bucket->entries[server_place.index].store(slot << 1 | 1, release);
    set_tag(*server_place.bucket, server_place.index, server_places.tag);
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

void ConnTable::Impl::unlink(const Connection& connection, Direction direction, uint64_t hash) {
  const Places at = places(hash);
  const auto entry = static_cast<uint32_t>(slot_of(connection) << 1 | direction_index(direction));
  for (Bucket* bucket : {at.primary, at.secondary}) {
    SpinGuard guard(bucket->lock);
    for (uint32_t matches = places_with(*bucket, at.tag); matches != 0; matches &= matches - 1) {
      const auto place = static_cast<uint32_t>(std::countr_zero(matches));
      if (bucket->entries[place].load(relaxed) != entry) continue;
      set_tag(*bucket, place, 0);
      return;
    }
  }
  assert(!"an open connection stands in the index under both flows");
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

bool ConnTable::close(Participant who, Connection& connection) {
  return close(who, connection, false) != CloseStatus::kAlready;
}

ConnTable::CloseStatus ConnTable::close_untold(Participant who, Connection& connection) {
  return close(who, connection, true);
}

ConnTable::CloseStatus ConnTable::close(Participant who, Connection& connection, bool tell) {
  Impl& table = *impl_;
  // Room to wait is taken before it is known to be needed, so that the bound holds whoever closes meanwhile.
  const bool room = tell && table.waiting.fetch_add(1, relaxed) < table.slot_count / kWaitingShare;
  uint32_t control = connection.control.load(acquire);
  uint32_t dead;
  bool untold, waits;
  do {
    if (control & Control::kDead) {
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

  for (const Direction direction : {Direction::kFromClient, Direction::kFromServer}) {
    table.unlink(connection, direction, hash(flow(connection, direction)));
  }
  Impl::Own& own = table.own[who];
  own.used.store(own.used.load(relaxed) - 1, relaxed);
  connection.control.fetch_or(Control::kUnlinked, release);
  table.retire_if_done(who, connection);

  if (untold && !waits) table.lost_closes.fetch_add(1, relaxed);
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
  return impl_->index_memory.bytes() + impl_->slot_memory.bytes() + impl_->pool.bytes() + sizeof(Impl);
}

}  // namespace tandem
