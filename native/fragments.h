// Packets that come in fragments. The first fragment has the ports and finds the connection; the others follow it:
// those behind it at once, those that are early when it comes.
//
//   first, known:    | octets seen | whom |           later fragments pass and follow it
//   first, awaited:  | octets seen | -> held -> held  later fragments are held, some time and a bounded number
//   first, refused:  | octets seen |                  later fragments are dropped as it was
//
// Nothing is put together here: fragments go on as fragments, and the receiver sees only such as neither overlap
// (RFC 5722) nor hide a header (RFC 1858), for each is checked against the octets that have passed. A packet whose
// octets have all passed is forgotten at once, so that its identification may be used again.
//
// One table for all workers, because fragments of one packet need not come to one worker: AF_PACKET's fanout hashes
// all fragments of a packet alike, but NICs may hash a first fragment with its ports and the others without, and
// the kernel's own reassembly (PACKET_FANOUT_FLAG_DEFRAG) knows IPv4 only. A shard's lock is held for one fragment;
// packets that are whole touch nothing of this.
//
// Bounds: kShards shards of kPackets packets and kHeld held fragments each, kRangesMax gaps in a packet, kTimeout
// since its first octets came. At each bound a drop with a name. Memory is reserved at start.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "clock.h"
#include "conn_table.h"
#include "counters.h"
#include "frame.h"
#include "limits.h"
#include "reserved_memory.h"
#include "spin_lock.h"
#include "wire/fragment.h"

namespace tandem {

// What later fragments follow: the connection of their flow or, of a datagram that was scheduled by itself, what
// became of it.
struct Followed {
  enum class Whom : uint8_t { kFlow, kEntry, kMember };
  uint64_t ports = 0;  // words[4] of the packet's FlowKey
  Whom whom = Whom::kFlow;
  uint16_t tag = 0;     // kEntry: its incarnation; kMember: the virtual server's id
  uint32_t number = 0;  // kEntry: its slot; kMember: the member's endpoint
};

class Fragments {
 public:
  static constexpr size_t kShards = 64;
  static constexpr size_t kPackets = 64;
  static constexpr size_t kHeld = 8;
  static constexpr size_t kRangesMax = 8;
  // Longer ones are not held: an Ethernet frame of 9216 octets and a tag.
  static constexpr size_t kHeldBytesMax = 9216 + 18;
  // RFC 791 section 3.2 suggests 15 s and RFC 8200 section 4.5 has 60 s, for a receiver that waits for all of a packet;
  // here only reordering is waited for.
  static constexpr Nanos kTimeout = 2 * kSecond;

  // A fragment that was held and may go now.
  struct Released {
    Frame frame;
    Followed followed;
  };

  enum class Status : uint8_t { kPass, kHeld, kDrop };
  struct Admission {
    Status status;
    Drop why;           // kDrop
    Followed followed;  // kPass of a later fragment
  };

  Fragments() = default;
  Fragments(const Fragments&) = delete;
  Fragments& operator=(const Fragments&) = delete;

  // Once, before any thread. False: the memory is not to be had; errno says why.
  bool reserve();

  // `packet` names the packet that a fragment is of: a FlowKey with the identification in place of the ports, and
  // `hash` is the table's of it. `counters` are the caller's: held fragments whose time has come are dropped there.

  // The first fragment: kPass or kDrop. After kPass the caller says what became of it.
  Admission admit_first(const FlowKey& packet, uint64_t hash, const wire::Fragment& fragment, Nanos now,
                        Counters* counters);
  // It went on, and later fragments follow. What was held is now `worker`'s to take.
  void resolve(size_t worker, const FlowKey& packet, uint64_t hash, const Followed& followed);
  // It did not: later fragments are dropped, and what was held.
  void refuse(const FlowKey& packet, uint64_t hash, Counters* counters);

  // A later fragment; kHeld: its frame was copied.
  Admission admit_later(const FlowKey& packet, uint64_t hash, const wire::Fragment& fragment, const Frame& frame,
                        Nanos now, Counters* counters);

  // At most `limit` fragments that resolve() released to this worker; their memory is good until free_released().
  size_t take_released(size_t worker, Released* released, size_t limit);
  void free_released(size_t worker);

  // Drops what one shard has held for too long; the next call looks at the next shard. Any worker.
  void expire(Nanos now, Counters* counters);

  size_t packets() const;  // known of now
  size_t held() const;     // fragments that wait, or are released and not yet taken

 private:
  static constexpr uint8_t kNobody = 0xff;

  struct Range {
    uint32_t begin, end;
  };
  struct Held {
    Frame frame;
    Followed followed;
    uint8_t next;        // in its packet's list, its worker's, or the free one
    uint8_t next_shard;  // in a worker's list: where `next` is
    alignas(8) uint8_t memory[kFrameHeadroom + kHeldBytesMax + kFrameTailroom];
  };
  enum class First : uint8_t { kAwaited, kKnown, kRefused };
  struct Entry {
    FlowKey packet;
    uint64_t hash;
    Followed followed;
    Nanos deadline;
    uint32_t total;  // octets of its payload; 0: the last fragment has not come
    uint8_t ranges;  // 0: the entry is free
    First first;
    uint8_t held;            // index of the first held fragment
    Range seen[kRangesMax];  // ascending, apart
  };
  struct alignas(64) Shard {
    SpinLock lock;
    uint8_t free;  // first of the free Held
    std::atomic<uint16_t> used;
    std::atomic<uint16_t> held;
    std::array<Entry, kPackets> entries;
    std::array<Held, kHeld> frames;
  };
  // What was released to a worker; only that worker touches it.
  struct alignas(64) Ready {
    uint8_t first_shard = kNobody, first = 0;  // to take
    uint8_t taken_shard = kNobody, taken = 0;  // to free
  };

  Shard& shard_of(uint64_t hash) { return memory_.as<Shard>()[hash >> 32 & (kShards - 1)]; }
  static Entry* find(Shard& shard, const FlowKey& packet, uint64_t hash);
  static Entry* find_or_make(Shard& shard, const FlowKey& packet, uint64_t hash, Nanos now, Counters* counters);
  static bool note(Entry& entry, const wire::Fragment& fragment, Drop* why);
  static void forget_if_complete(Shard& shard, Entry& entry);
  static void forget(Shard& shard, Entry& entry, Drop why, Counters* counters);

  ReservedMemory memory_;
  std::array<Ready, kWorkersMax> ready_;
  std::atomic<uint32_t> expiring_{0};
};

}  // namespace tandem
