// Every number the datapath counts, as two lists of (name, sentence). The lists are exported to
// TypeScript at load, which shows them as they stand here.
//
// Each worker owns one Counters; only that worker writes it. Readers add them up, so a sum read
// while packets flow is never behind by more than the burst in flight.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "limits.h"

namespace tandem {

// Why a frame went no further. Names are shown to the operator in snake_case without the k.
#define TANDEM_FOREACH_DROP(X)                                                                           \
  X(kTruncated, "a header or the stated length runs past the end of the frame")                          \
  X(kBadHeader, "a header's version, length or checksum is wrong")                                       \
  X(kFragment, "a fragment of ICMP, or whose first fragment was not forwarded")                          \
  X(kFragmentTiny, "a fragment that hides or overwrites a transport header (RFC 1858)")                  \
  X(kFragmentOverlap, "a fragment with octets that another of its packet had (RFC 5722)")                \
  X(kFragmentDisorder, "a fragment of a packet with too many gaps between its fragments")                \
  X(kFragmentTimeout, "a fragment that was held until its first fragment came, which it did not")        \
  X(kFragmentsFull, "a fragment of a packet more than are followed at a time")                           \
  X(kFragmentsHeldFull, "a fragment before its first one, and too many are held or it is too long")      \
  X(kExtensionHeaders, "an IPv6 extension header that hides the transport, or too many of them")         \
  X(kMartian, "from an address that no host sends from, or from the one it is sent to (RFC 1812 5.3.7)") \
  X(kProtocol, "of a protocol that no virtual server of the address takes, and no connection has")       \
  X(kStandby, "its traffic group is not active on this unit, or the lease has run out")                  \
  X(kUnknown, "TCP of no known connection, and the virtual server says unknown: drop")                   \
  X(kUnknownReturn, "from a member to a floating address, of no known connection")                       \
  X(kClosedPort, "to a virtual or floating address on a port that no virtual server has")                \
  X(kTransit, "sent to a virtual MAC for an address that is not ours: Tandem is no router")              \
  X(kNoMember, "no member of the pool is available")                                                     \
  X(kMembersFull, "every available member has as many connections as its maxConnections")                \
  X(kMemberDown, "UDP of a connection closed because its member is down (onMemberDown: reset)")          \
  X(kNoSnatPort, "every SNAT port towards this member is in use")                                        \
  X(kNoNeighbour, "the next hop's MAC address is not known")                                             \
  X(kTableFull, "the connection table has no free slot")                                                 \
  X(kClientLimit, "its client opens connections faster than newConnectionsPerClient allows")             \
  X(kTtlExpired, "the TTL or hop limit has run out, and its sender is not told")                         \
  X(kIcmp, "ICMP or ICMPv6 to one of our addresses that is neither an echo request nor an error")        \
  X(kIcmpUnknown, "an ICMP or ICMPv6 error about no known connection")                                   \
  X(kHandingOver, "of no known connection while its traffic group is being handed over")                 \
  X(kFlowTaken, "the member already has a connection whose answers could not be told from this one's")   \
  X(kCommitNoPeer, "opens what the peer must hold first, and nobody is there (onTimeout: strict)")       \
  X(kCommitPace, "opens what the peer must hold first, faster than is announced (onTimeout: strict)")    \
  X(kHoldFull, "was to wait until the peer has its connection, and found no room (onTimeout: strict)")   \
  X(kHoldTimeout, "waited until the peer has its connection, for too long (onTimeout: strict)")          \
  X(kHoldRefused, "of a connection that the peer must hold first and refused (onTimeout: strict)")       \
  X(kHoldReplaced, "waited until the peer has its connection, and was sent again meanwhile")             \
  X(kHoldClosed, "waited until the peer has its connection, which was closed meanwhile")                 \
  X(kBehindHeld, "of a connection whose beginning waits until the peer has it")                          \
  X(kVlanTags, "of a connection, with tags that a reply cannot repeat: two of them, or an 802.1ad tag")  \
  X(kNotAsked, "ARP or neighbour solicitation for an address that is not active on this unit")           \
  X(kTunnelJoined, "into a tunnel, and several segments that the kernel had joined")                     \
  X(kTunnelSource, "no floating address of the member's family for a tunnel to begin at")                \
  X(kTunnelError, "an error about a tunnelled packet that tells its client nothing")                     \
  X(kDeviceFull, "the device's transmit queue refused it")                                               \
  X(kOversized, "longer than the device's MTU, and its sender is not told")                              \
  X(kDeviceGone, "the interface it was to leave by has been deleted")

enum class Drop : uint8_t {
#define X(name, text) name,
  TANDEM_FOREACH_DROP(X)
#undef X
};

#define TANDEM_FOREACH_COUNT(X)                                                          \
  X(kReceived, "frames read from devices")                                               \
  X(kForwarded, "frames sent for a known or new connection")                             \
  X(kIcmpErrors, "of these, ICMP and ICMPv6 errors about a connection")                  \
  X(kPunted, "frames left to the kernel")                                                \
  X(kFragmentsForwarded, "of these, later fragments of a packet")                        \
  X(kFragmentsHeld, "fragments held until their first one comes")                        \
  X(kHeldForPeer, "frames held until the peer has their connection (mirror: commit)")    \
  X(kArpReplies, "ARP requests answered")                                                \
  X(kNeighbourAdvertisements, "neighbour solicitations answered")                        \
  X(kEchoReplies, "ICMP and ICMPv6 echo requests answered")                              \
  X(kResetsSent, "TCP resets sent (unknown, closed, onMemberDown: reset)")               \
  X(kTimeExceededSent, "senders told that the TTL or hop limit has run out")             \
  X(kTooBigSent, "senders told that a packet is longer than the next device's MTU")      \
  X(kOpened, "connections opened by a packet")                                           \
  X(kAdopted, "connections opened by a packet that was no SYN (unknown: adopt)")         \
  X(kOnePackets, "datagrams scheduled by themselves (onePacket)")                        \
  X(kReopened, "connections opened anew by a SYN on a tuple that was closing")           \
  X(kPersisted, "of the opened, those that a persistence entry sent")                    \
  X(kPersistenceReplaced, "persistence entries lost to others, their set being full")    \
  X(kReselected, "connections moved from a member that is down")                         \
  X(kMemberDownClosed, "connections closed because their member is down")                \
  X(kClosed, "connections freed")                                                        \
  X(kExpired, "connections freed by their idle timeout")                                 \
  X(kHalfOpenEvicted, "half-open connections closed to make way for newer ones")         \
  X(kSnatPortReusedEarly, "SNAT ports reused within 60 s because no older one was free") \
  X(kMirrorQueued, "changes marked pending for the peer")                                \
  X(kMirrorCoalesced, "changes that joined one already pending")                         \
  X(kMirrorDeferred, "changes left to the sweep because the pending ring was full")      \
  X(kDeviceDropped, "frames the kernel dropped before the worker could read them")

enum class Count : uint8_t {
#define X(name, text) name,
  TANDEM_FOREACH_COUNT(X)
#undef X
};

#define X(name, text) +1
inline constexpr size_t kDrops = 0 TANDEM_FOREACH_DROP(X);
inline constexpr size_t kCounts = 0 TANDEM_FOREACH_COUNT(X);
#undef X

// One writer, so add() needs no locked instruction; atomics only so that readers see whole values.
struct alignas(64) Counters {
  std::array<std::atomic<uint64_t>, kDrops> drops{};
  std::array<std::atomic<uint64_t>, kCounts> counts{};

  void add(Count which, uint64_t n = 1) { bump(counts[static_cast<size_t>(which)], n); }
  void add(Drop which, uint64_t n = 1) { bump(drops[static_cast<size_t>(which)], n); }

  static void bump(std::atomic<uint64_t>& counter, uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

}  // namespace tandem
