// Persistence by source address: which member the last connection of a client went to, per virtual server.
//
// One table for all workers, of a fixed size: sets of eight entries, found by a keyed hash, compared whole. Asked and
// told once per new connection, under a lock of the set; packets of known connections do not come here. An entry lives
// for the virtual server's timeout after the last connection that used it. A full set gives up the entry that was used
// longest ago.
//
// The peer is told of an entry with the first record of a connection that went by it, and again when a quarter of its
// timeout has passed since (take_untold()); what a peer tells is entered by apply(). So what it holds ends by a quarter
// late at most and is not told of an end. An entry of the peer's whose time was not over when this unit took over
// (`activated`, of its traffic group) begins its timeout anew then.
#pragma once

#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "reserved_memory.h"
#include "spin_lock.h"

namespace tandem {

class Persistence {
 public:
  static constexpr uint16_t kNone = 0xffff;
  // Entries of the product's table: 32 MiB when all are used, touched as they are.
  static constexpr size_t kEntries = size_t{1} << 20;

  // A client, as a virtual server tells clients apart.
  struct Client {
    uint8_t network[16];  // its address without the bits behind the prefix; IPv4 in the first four octets, then zeros
    uint16_t server;      // id of the virtual server
    uint8_t family;       // 4 or 6; 0: nobody, the place was never used
    uint8_t prefix;       // bits
    friend bool operator==(const Client&, const Client&) = default;
  };
  // `octets`: 4 or 16 in network byte order.
  static Client client_of(uint16_t server, uint8_t family, uint8_t prefix, const uint8_t* octets);

  struct Entry {
    Client client;
    uint16_t endpoint;          // id of the member
    uint16_t told;              // when the peer was told, in kToldUnit; 0: it was not
    Deciseconds seen;           // of the last connection that used it, or the peer's last record
    uint32_t timeout : 31;      // Deciseconds
    uint32_t is_from_peer : 1;  // and no connection of ours has used it since
    bool is_alive(Deciseconds now, Deciseconds activated = 0) const;
  };

  Persistence() = default;
  Persistence(const Persistence&) = delete;
  Persistence& operator=(const Persistence&) = delete;

  // Once, before any thread; a power of two, at least 8. False: the memory is not to be had (errno says why).
  bool reserve(size_t entries = kEntries);

  // Any thread. The endpoint of the client's entry, or kNone.
  uint16_t find(const Client& client, Nanos now, Nanos activated = 0) const;

  // A connection of the client goes to `endpoint`, where find() said `was`. If another worker has entered another
  // endpoint meanwhile, that one stands and is given back, refreshed, so that two connections at the same time go to
  // one member; else `endpoint` is.
  struct Settled {
    uint16_t endpoint;
    bool replaced;  // the set was full, and an entry that was alive is gone
  };
  Settled settle(const Client& client, uint16_t was, uint16_t endpoint, Deciseconds timeout, Nanos now,
                 Nanos activated = 0);

  // The same from a peer: what it says stands, unless ours is of a later connection.
  void apply(const Client& client, uint16_t endpoint, Deciseconds timeout, Deciseconds seen);

  // JavaScript thread. Whether the peer is to be told of the client's entry; if so it counts as told from now on.
  bool take_untold(const Client& client, Nanos now, Nanos activated, Entry* entry);
  // The same of the entry in a place, told or not; false: none that is alive.
  bool take_at(size_t place, Nanos now, Nanos activated, Entry* entry);

  // ---- walking; `place` runs over [0, places())
  size_t places() const { return sets_ * kWays; }
  // False: no entry that is alive.
  bool at(size_t place, Nanos now, Entry* entry) const;
  // Entries that are alive, counted in a walk over the whole table.
  size_t count(Nanos now) const;

 private:
  static constexpr size_t kWays = 8;
  static constexpr size_t kLocks = 1024;
  static constexpr Deciseconds kToldUnit = 16;  // so that 16 bits are more than the longest timeout, a day

  struct alignas(64) Set {
    Entry entries[kWays];
  };

  static uint16_t told_at(Deciseconds now);
  size_t set_of(const Client& client) const;
  SpinLock& lock_of(size_t set) const { return locks_[set % kLocks]; }
  // The client's entry, alive or not; else the place for it: a free or dead one, else that of the oldest.
  Entry& place_for(Set& set, const Client& client, Deciseconds now, Deciseconds activated) const;

  ReservedMemory memory_;
  Set* table_ = nullptr;
  size_t sets_ = 0;
  uint64_t key_[2] = {};  // chosen at start, so that nobody can choose addresses that fall together
  mutable SpinLock locks_[kLocks];
};

}  // namespace tandem
