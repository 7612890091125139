// A packet of a connection whose member is down, where its pool says onMemberDown: reset or reselect. Draining is not
// down, and of a member or virtual server that the config no longer has the connections go on.
//
//                    from the client                                from the member
//   reset            TCP: answered with a RST, UDP: dropped; the connection is closed, whoever sent it
//   reselect         the connection moves to another member,         goes on, as it would with keep
//                    if there is one
//
// A RST goes on in either case, for nobody answers a RST. A connection that moves is opened anew: SYN and UDP as every
// new connection, any other segment as with unknown: adopt, so TCP goes on only where members share their state.
#pragma once

#include <optional>

#include "burst.h"

namespace tandem {

// Asked when Endpoint::down says so. Nothing: the packet goes on to its member.
[[gnu::cold]] std::optional<Verdict> leave_member(Burst& burst, Frame& frame, const Arrival& arrival,
                                                  const Found& found);

}  // namespace tandem
