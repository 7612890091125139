// The beginning and the end of a connection, with everything that must keep step: its place in the table, the
// counts of its member and virtual server, its SNAT port and what the peer is told.
//
// Every connection is opened and closed through these two, whoever decides it: a packet, the sweep, a record
// of the peer. What a connection holds is given back here and nowhere else, by the one thread whose close won.
#pragma once

#include "conn_table.h"
#include "mirror.h"
#include "runtime.h"
#include "snat_ports.h"

namespace tandem {

struct ConnectionBooks {
  ConnTable* table;
  Runtime* runtime;
  SnatPorts* snat_ports;
  MirrorSource* mirror;  // nullptr: the peer is not told (it told us, or the bulk says so)
};

// ConnTable::open(), and the counts. The SNAT port is the caller's until this returns kOpened; otherwise the
// caller releases it.
OpenStatus open_connection(const ConnectionBooks& books, Participant who, const NewConnection& fresh, Nanos now,
                           Connection** opened);

// Closes it, lowers the counts, gives its SNAT port back and marks the close for the peer. Result::closed is
// false, and nothing was done, if another thread closed it first, or if it is not what `only` says. `connection`
// stays readable until the caller's next quiesce().
MirrorSource::Closing close_connection(const ConnectionBooks& books, Participant who, Connection& connection, Nanos now,
                                       CloseIf only = CloseIf::kOpen);

}  // namespace tandem
