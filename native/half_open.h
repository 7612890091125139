// The bound of half-open connections: those that their member has not answered, or whose client has not acknowledged
// the answer (RFC 4987 calls a flood of them a SYN flood). UDP that has seen no reply counts as half-open, too.
//
//            +----+----+----+----+----+----+
//   places   | c7 | c8 | c3 | c4 | c5 | c6 |   a new connection takes the place of the oldest: c9 that of c3.
//            +----+----+----+----+----+----+   Is c3 still half-open, it is closed (evict.h); else it is forgotten
//                        ^ next                here: nothing that is established is ever closed for a new one.
//
// Each worker has a ring of its own, an equal part of the bound, that no other thread touches: a half-open connection
// that this unit's packets opened stands in exactly one place, so there are never more of them than places, and an
// opening costs the same however many there are. Connections that the peer told of stand in none; the peer has
// bounded them. A client that completes its handshake within (places / openings per second of its worker) is never
// evicted.
//
// Memory is reserved at start.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "limits.h"
#include "reserved_memory.h"
#include "wire/big_endian.h"

namespace tandem {

class HalfOpen {
 public:
  // Of a table of so many connections, unless the config says otherwise: a quarter. A flood of a million SYNs each
  // second leaves a client of a table of a million connections 250 ms for its handshake, most round trips of the
  // Internet, and three quarters of the table are established connections' alone.
  static constexpr size_t bound_for(size_t connections) { return connections < 4 ? 1 : connections / 4; }

  static constexpr uint32_t kNone = 0xffffffff;

  // A connection as a ring remembers it. Its slot may be another's by then: then incarnation and port differ, but for
  // once in 2^32 times, and then a younger half-open connection is closed in its stead.
  struct Place {
    uint32_t slot;  // kNone: nobody took the place yet
    uint16_t incarnation;
    wire::be16 client_port;
    friend bool operator==(const Place&, const Place&) = default;
  };
  static_assert(sizeof(Place) == 8);

  HalfOpen() = default;
  HalfOpen(const HalfOpen&) = delete;
  HalfOpen& operator=(const HalfOpen&) = delete;

  // Once, before any thread. Each worker gets bound / workers places, at least one. False: no memory (errno).
  bool reserve(size_t bound, size_t workers);

  // That worker: the newest takes the oldest's place. Before reserve() there is no bound, and the oldest is nobody.
  Place replace_oldest(size_t worker, const Place& newest);
  // Whose place is the next to be taken, so that memory can be fetched in time.
  uint32_t oldest_slot(size_t worker) const;

  size_t places(size_t worker) const { return rings_[worker].places; }
  size_t bytes() const { return memory_.bytes(); }

 private:
  struct alignas(64) OfWorker {
    Place* first = nullptr;
    uint32_t places = 0;
    uint32_t next = 0;
  };

  ReservedMemory memory_;
  std::array<OfWorker, kWorkersMax> rings_;
};

}  // namespace tandem
