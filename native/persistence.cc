#include "persistence.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "schedule_hash.h"

namespace tandem {

static_assert(sizeof(Persistence::Client) == 20 && sizeof(Persistence::Entry) == 32);

bool Persistence::Entry::is_alive(Deciseconds now, Deciseconds activated) const {
  if (client.family == 0) return false;
  if (!is_from_peer) return uint64_t{seen} + timeout > now;
  const uint64_t end = uint64_t{seen} + timeout + timeout / 4;
  if (seen >= activated) return end > now;  // the peer is active, and refreshes it
  return end > activated && uint64_t{activated} + timeout > now;
}

Persistence::Client Persistence::client_of(uint16_t server, uint8_t family, uint8_t prefix, const uint8_t* octets) {
  Client client = {{}, server, family, prefix};
  const size_t whole = prefix / 8;
  std::memcpy(client.network, octets, whole);
  if (prefix % 8 != 0) client.network[whole] = static_cast<uint8_t>(octets[whole] & 0xff00 >> prefix % 8);
  return client;
}

uint16_t Persistence::told_at(Deciseconds now) {
  return static_cast<uint16_t>(std::max<uint32_t>(now / kToldUnit & 0xffff, 1));
}

bool Persistence::reserve(size_t entries) {
  if (!memory_.reserve(entries * sizeof(Entry), ReservedMemory::Touch::kOnUse)) return false;
  if (getrandom(key_, sizeof key_, 0) != static_cast<ssize_t>(sizeof key_)) return false;
  table_ = memory_.as<Set>();
  sets_ = entries / kWays;
  return true;
}

size_t Persistence::set_of(const Client& client) const {
  const uint16_t rest = static_cast<uint16_t>(client.family << 8 | client.prefix);
  const uint64_t hash = hash_address(key_[0] ^ client.server, client.network, rest);
  return mix_bits(hash ^ key_[1]) & (sets_ - 1);
}

uint16_t Persistence::find(const Client& client, Nanos now, Nanos activated) const {
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  for (const Entry& entry : table_[set].entries) {
    if (entry.client == client)
      return entry.is_alive(to_deciseconds(now), to_deciseconds(activated)) ? entry.endpoint : kNone;
  }
  return kNone;
}

Persistence::Entry& Persistence::place_for(Set& set, const Client& client, Deciseconds now,
                                           Deciseconds activated) const {
  Entry* place = nullptr;
  for (Entry& entry : set.entries) {
    if (entry.client == client) return entry;
    const bool better = place == nullptr || (place->is_alive(now, activated) &&
                                             (!entry.is_alive(now, activated) || entry.seen < place->seen));
    if (better) place = &entry;
  }
  return *place;
}

Persistence::Settled Persistence::settle(const Client& client, uint16_t was, uint16_t endpoint, Deciseconds timeout,
                                         Nanos now, Nanos activated) {
  const Deciseconds today = to_deciseconds(now), active_since = to_deciseconds(activated);
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  Entry& entry = place_for(table_[set], client, today, active_since);
  const bool alive = entry.is_alive(today, active_since), same = entry.client == client;
  if (alive && same && entry.endpoint != was) {
    entry.seen = today;
    entry.is_from_peer = 0;
    return {entry.endpoint, false};
  }
  const bool told = same && entry.endpoint == endpoint && entry.timeout == timeout;
  entry = {client, endpoint, told ? entry.told : uint16_t{0}, today, timeout, 0};
  return {endpoint, alive && !same};
}

void Persistence::apply(const Client& client, uint16_t endpoint, Deciseconds timeout, Deciseconds seen) {
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  Entry& entry = place_for(table_[set], client, seen, 0);
  if (entry.client == client && entry.seen > seen) return;
  entry = {client, endpoint, 0, seen, timeout, 1};
}

bool Persistence::take_untold(const Client& client, Nanos now, Nanos activated, Entry* entry) {
  const Deciseconds today = to_deciseconds(now);
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  for (Entry& known : table_[set].entries) {
    if (!(known.client == client) || !known.is_alive(today, to_deciseconds(activated))) continue;
    // A unit less than what has passed, so that it is told too early rather than too late.
    const auto units = static_cast<uint16_t>(told_at(today) - known.told);
    if (known.told != 0 && (units + 1) * kToldUnit < known.timeout / 4) return false;
    known.told = told_at(today);
    *entry = known;
    return true;
  }
  return false;
}

bool Persistence::take_at(size_t place, Nanos now, Nanos activated, Entry* entry) {
  const size_t set = place / kWays;
  SpinGuard guard(lock_of(set));
  Entry& known = table_[set].entries[place % kWays];
  if (!known.is_alive(to_deciseconds(now), to_deciseconds(activated))) return false;
  known.told = told_at(to_deciseconds(now));
  *entry = known;
  return true;
}

bool Persistence::at(size_t place, Nanos now, Entry* entry) const {
  const size_t set = place / kWays;
  SpinGuard guard(lock_of(set));
  *entry = table_[set].entries[place % kWays];
  return entry->is_alive(to_deciseconds(now));
}

size_t Persistence::count(Nanos now) const {
  size_t alive = 0;
  Entry entry;
  for (size_t place = 0; place < places(); ++place) alive += at(place, now, &entry) ? 1 : 0;
  return alive;
}

}  // namespace tandem
