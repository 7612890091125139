// How a packet's connection begins and ends here: a member is scheduled, a SNAT port found, the table told, and
// this worker's counters. The books that every close and open keeps, whoever decides it, are connection_close.h's.
#pragma once

#include "conn_table.h"
#include "counters.h"
#include "forward.h"
#include "wire/parse.h"

namespace tandem {

// Ports asked for at most for one connection: each may turn out to be in use by a connection of the peer's.
inline constexpr size_t kSnatTriesMax = 64;

struct Opening {
  const VirtualServer* server;
  TcpState state;               // kSynSent; amid a connection kAdopted, or kEstablished
  uint16_t incarnation;         // one more than that of the connection whose place it takes, else 0
  uint32_t mirror_control = 0;  // what begin_mirroring() gave
};

// Opens a connection for the client's packet in `frame`. nullptr: `why` says why not; kFlowTaken also when
// another worker was faster.
Connection* connect_client(const ForwardContext& context, const Frame& frame, const wire::Packet& packet,
                           const Opening& opening, Drop* why);

// Chooses a member for a datagram that opens nothing (VirtualServer::one_packet without translation): counted as opened
// there, and over at once. Its endpoint's id; -1: `why` says why not.
int schedule_datagram(const ForwardContext& context, const Frame& frame, const wire::Packet& packet,
                      const VirtualServer& server, Drop* why);

// Closes a connection; the peer is told if it knows of it. False: another thread did, or it is not what `only` says.
bool disconnect(const ForwardContext& context, Connection& connection, CloseIf only = CloseIf::kOpen);

// Marks a change for the peer, if it is to know of this connection, and counts what became of the mark.
void mark_change(const ForwardContext& context, Connection& connection);

}  // namespace tandem
