#include "persistence.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "schedule_hash.h"

namespace tandem {

static_assert(sizeof(Persistence::Client) == 20 && sizeof(Persistence::Entry) == 32);

Persistence::Client Persistence::client_of(uint16_t server, uint8_t family, uint8_t prefix, const uint8_t* octets) {
  Client client = {{}, server, family, prefix};
  const size_t whole = prefix / 8;
  std::memcpy(client.network, octets, whole);
  if (prefix % 8 != 0) client.network[whole] = static_cast<uint8_t>(octets[whole] & 0xff00 >> prefix % 8);
  return client;
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

uint16_t Persistence::find(const Client& client, Nanos now) const {
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  for (const Entry& entry : table_[set].entries) {
    if (entry.client == client) return entry.is_alive(to_deciseconds(now)) ? entry.endpoint : kNone;
  }
  return kNone;
}

Persistence::Entry& Persistence::place_for(Set& set, const Client& client, Deciseconds now) const {
  Entry* place = nullptr;
  for (Entry& entry : set.entries) {
    if (entry.client == client) return entry;
    const bool better =
        place == nullptr || (place->is_alive(now) && (!entry.is_alive(now) || entry.seen < place->seen));
    if (better) place = &entry;
  }
  return *place;
}

Persistence::Settled Persistence::settle(const Client& client, uint16_t was, uint16_t endpoint, Deciseconds timeout,
                                         Nanos now) {
  const Deciseconds today = to_deciseconds(now);
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  Entry& entry = place_for(table_[set], client, today);
  const bool alive = entry.is_alive(today);
  if (alive && entry.client == client && entry.endpoint != was) {
    entry.seen = today;
    return {entry.endpoint, false};
  }
  const bool replaced = alive && !(entry.client == client);
  entry = {client, endpoint, today, timeout};
  return {endpoint, replaced};
}

void Persistence::apply(const Client& client, uint16_t endpoint, Deciseconds timeout, Deciseconds seen) {
  const size_t set = set_of(client);
  SpinGuard guard(lock_of(set));
  Entry& entry = place_for(table_[set], client, seen);
  if (entry.is_alive(seen) && entry.seen > seen) return;
  entry = {client, endpoint, seen, timeout};
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
