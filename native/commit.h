// Connections that the peer must hold before their client hears of them (mirror: commit), and those that it is told of
// late (mirror: async with after:).
//
//   SYN ──► opened, kCommitting, told to the peer half-open
//            │ translated                          │ not translated (DSR, tunnel), or a SYN with data
//            ▼                                     ▼
//           the SYN goes to the member;           the SYN is held
//           its SYN-ACK is held                    │
//            └──────────────┬──────────────────────┘
//         the peer has it ──┼── it does not in time, refuses it, there is no room to hold, ...
//                           │            │ strict                 │ available
//                           ▼            ▼                        ▼
//              sent, the bit is gone    dropped, named;          sent, kUnprotected: counted and shown
//                                       the client asks again    until the peer has it after all
//
// The peer's answer usually comes while the member is still at its SYN-ACK, which then waits for nothing. Nothing is
// sent to the client of such a connection before; a RST is, which ends it. A member's other segments are dropped.
//
// With nobody to tell (no peer, or one whose channel knows no refusals) a new connection is treated as `strict` and
// `available` say, without waiting. What is announced half-open is bounded by the half-open bound and by kCommitPace.
#pragma once

#include <optional>

#include "burst.h"

namespace tandem {

// What a new connection of this virtual server begins with: bits of Control. Nothing: it is not opened, `why` says why.
std::optional<uint32_t> begin_mirroring(const ForwardContext& context, const wire::Packet& packet,
                                        const VirtualServer& server, TcpState state, Drop* why);

// A packet of a connection with one of Control::kMirrorMask. Nothing: it goes on.
[[gnu::cold]] std::optional<Verdict> await_peer(Burst& burst, const Frame& frame, const wire::Packet& packet,
                                                bool from_client, Connection* connection);

// Looks through what is held, if there is news or a deadline has come. At most kBurst frames that may go now are given,
// to be forwarded as if they had just come (forward_again()) and then freed (HoldQueue::free_taken()).
size_t take_held(const ForwardContext& context, Frame* frames);

// What the sweep finds of such a connection: told now that it is old enough, or protected by now.
void settle_mirroring(const ForwardContext& context, Connection* connection);

}  // namespace tandem
