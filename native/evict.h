// Half-open connections make way: for newer ones when their bound is reached (half_open.h), and for one that needs a
// SNAT port when all ports of its member are taken. What has completed its handshake never does.
#pragma once

#include "conn_table.h"
#include "forward.h"
#include "policy.h"

namespace tandem {

// Ports looked at, at most, for one that a half-open connection holds, for one new connection.
inline constexpr size_t kPortLooksMax = 32;

// A connection as it is remembered by who holds no pointer to it.
HalfOpen::Place place_of(const ConnTable& table, const Connection& connection);

// `opened` is half-open, and this worker opened it just now: it takes the place of the oldest, which is closed if it is
// half-open still.
void admit_half_open(const ForwardContext& context, const Connection& opened);

// Closes a half-open connection that holds a port of this SNAT address towards the member of `fresh`, one of the
// oldest. False: none was found within `looks`, which it lowers by what it needed.
bool evict_for_port(const ForwardContext& context, const NewConnection& fresh, const SnatAddress& snat, size_t* looks);

}  // namespace tandem
