// Which member a new connection goes to: the one of its client's persistence entry, else the scheduler's.
#pragma once

#include "conn_table.h"
#include "counters.h"
#include "forward.h"

namespace tandem {

// Index in the members of the virtual server's pool; the connection is counted there, and the caller releases it
// (Endpoint::release()) if nothing is opened. -1: `why` says why not. `client_port` lies in network byte order.
int choose_member(const ForwardContext& context, const VirtualServer& server, const NewConnection& fresh,
                  const uint8_t* client_port, Drop* why);

}  // namespace tandem
