// What the peer has still to be told, and what it tells us. No sockets here: TypeScript carries batches.
//
// A change sets the connection's pending mark and puts it in its worker's pending ring. A connection
// already pending is not queued again; take() encodes its state of that moment. So bursts of changes
// coalesce, and a slow channel costs staleness and never memory. When the ring is full the mark says
// "deferred" and the sweep queues it later. Nothing waits and nothing is lost.
//
// The mark is the truth and the ring a hint: a slot number in a ring whose connection is not pending (any
// more) is passed over. take() clears the mark before it reads, so a change in between is marked anew.
//
// What is mirrored of persistence entries stands in persistence.h.
//
// What is mirrored: TCP of a virtual server with mirror on, from the end of its handshake on; with mirror: commit from
// its SYN on; with after: from when it has lived so long, and then UDP, too. A half-open connection is told as one
// whose member has answered: what of the handshake is missing is the same to the peer. Once the peer knows a connection
// (kAnnounced), every change of state or last hop is marked, and so is its close; one that closes before needs no
// record at all. Changes of a group that is not active here (any more) are forgotten: the active unit decides.
//
// Merging never goes backwards. Terms compare first. Within a term one source numbers all its records in
// ascending sequence, and a record that is not newer than what the slot holds is counted and ignored; so is
// the close of another incarnation than the slot's (of a predecessor on the same tuple).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "conn_table.h"
#include "limits.h"
#include "mirror_digest.h"
#include "persistence.h"
#include "ring.h"
#include "runtime.h"
#include "shared_state.h"
#include "snat_ports.h"
#include "wire/mirror.h"

namespace tandem {

// Names of the peer's virtual servers and devices are its own numbers; these say what they are here.
// kNone: the peer named something this unit does not have.
struct MirrorDictionary {
  static constexpr uint16_t kNone = 0xffff;
  std::array<uint16_t, kVirtualServersMax> virtual_servers;
  std::array<uint8_t, kDevicesMax> devices;  // 0xff: none; a last hop there is applied as unknown (0)
};

class MirrorSource {
 public:
  static constexpr uint32_t kPendingSlots = 1u << 16;  // per worker

  // `digest`: what was told is folded into it; nullptr: nobody compares.
  void start(ConnTable* table, Runtime* runtime, SharedState* shared, size_t workers, MirrorDigest* digest = nullptr);

  // ---- workers; the JavaScript thread has a ring of its own, `worker` is its Participant, `workers`
  // Marks a change of a connection whose virtual server is mirrored, while a peer wants it. Returns what
  // happened, for the counters. The sweep calls it too, for what is kPendingDeferred, dead or not.
  enum class Marked : uint8_t { kNo, kQueued, kCoalesced, kDeferred };
  Marked mark(size_t worker, Connection& connection);
  // Closes a connection in the table and marks the close in the same step. `closed` is false if another
  // thread closed it first, or it is not what `only` says. Called by close_connection() only.
  struct Closing {
    bool closed;
    Marked marked;
  };
  Closing close(size_t worker, Connection& connection, CloseIf only = CloseIf::kOpen);
  // True once after changes were queued while the JavaScript thread waited for them (armed).
  bool take_wakeup();
  // What the peer has said of the last record of a connection that this unit opened.
  enum class Told : uint8_t { kWaits, kConfirmed, kRefused };
  Told told(const Connection& connection) const;
  // Another number whenever told() may say something else of some connection.
  uint32_t news() const;

  // ---- JavaScript thread
  // Encodes whole records into `into`; returns bytes written. Live changes first, then, while a bulk runs,
  // connections from its cursor, a bounded number of slots per call: 0 bytes do not mean that the bulk is over.
  // `records` receives their number. Clears pending marks; recycles dead slots. `live_only`: nothing of a bulk.
  size_t take(Participant who, uint8_t* into, size_t bytes, size_t* records, bool live_only = false);
  // Of the record that was encoded last.
  uint32_t last_sequence() const;
  // Changes queued, or a bulk running.
  bool has_pending() const;
  // Changes queued that a handshake waits for.
  bool has_urgent() const;
  // Asks for one wakeup when the next change is queued; kUrgent: the next that a handshake waits for. False: such a one
  // is pending already.
  enum class Wanted : uint8_t { kNothing, kUrgent, kAny };
  bool arm(Wanted wanted = Wanted::kAny);
  // The peer has applied every record up to this sequence, but for those that it refused; refused() comes first.
  void confirm(uint32_t sequence);
  void refuse(const uint32_t* sequences, size_t count);
  // Another peer from here on: what was confirmed so far says nothing of what it has.
  void forget_confirmed();
  // Something else that those who wait should look at, a switched rule perhaps.
  void tell_news();

  // Starts a bulk: every mirrored connection of the groups active here will be announced once; with `only`, those of
  // these virtual servers. With `offers` also, of groups that are not active here any more, what this unit opened
  // itself and the peer has not told it of since.
  void start_bulk(const ServerSet* only = nullptr, bool offers = false);
  bool bulk_running() const;
  // Changes that found their ring full, since start. Such a one may be told behind a later one of the same tuple.
  uint64_t deferrals() const;
  size_t bulk_announced() const;
  // Persistence entries are told with the connections that went by them: of which virtual servers `policy` says.
  void set_persistence(Persistence* persistence, const struct Policy* policy);

  // Virtual servers that lost closes (VirtualServerState::lost_closes) since their last bulk began: only another makes
  // the tables equal.
  std::vector<uint16_t> lost_servers() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;

 public:
  MirrorSource();
  ~MirrorSource();
};

// Records of one apply() after which the table does not hold their connections.
struct RefusedRecords {
  uint32_t* sequences;
  size_t count;
};

struct Applied {
  uint32_t applied;       // inserted, updated or closed
  uint32_t stale;         // not newer than what the table holds
  uint32_t refused_full;  // no slot: the peer must count it as not protected
  uint32_t unknown;       // virtual server or member that this unit does not have
  bool malformed;         // the bytes are no whole records: nothing after the fault was applied
};

// Records of the peer into the table that packets are looked up in. JavaScript thread. `generation` is
// stamped on what is announced. `endpoint_of` maps a member's address and port to its id here.
class MirrorSink {
 public:
  // `digest`: what was applied is folded into it; nullptr: nobody compares.
  void start(ConnTable* table, Runtime* runtime, SharedState* shared, SnatPorts* snat_ports, Participant who,
             MirrorDigest* digest = nullptr);
  void set_dictionary(const MirrorDictionary& dictionary);
  // Members by address and port, so that records name them by neither index nor id.
  void set_members(const struct Policy* policy);
  void set_persistence(Persistence* persistence);
  // `refused`, if given, receives the sequences of records that were refused, and has room for one of each.
  Applied apply(const uint8_t* records, size_t bytes, uint8_t generation, Nanos now, RefusedRecords* refused = nullptr);
  // Ends a bulk: connections that the peer once knew, of groups that are not active here, and that this
  // generation did not announce, are closed; with `only`, those of these virtual servers. Bounded: looks at `budget`
  // slots from *cursor; true when the walk is complete.
  bool drop_unannounced(uint8_t generation, size_t* cursor, size_t budget, uint32_t* closed,
                        const ServerSet* only = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;

 public:
  MirrorSink();
  ~MirrorSink();
};

}  // namespace tandem
