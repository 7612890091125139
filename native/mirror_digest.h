// Whether both units hold the same connections: per virtual server, how many there are and the sum of their identities
// (keys, member, translation, incarnation), each a 64-bit hash that both units compute alike. A sum knows no order, so
// it is kept by adding and subtracting whatever way the connections came.
//
// Two sums are kept of each virtual server, in groups that are
//   told   active here: connections that the peer was told of, and not yet of their close
//   heard  not active here: connections that the peer told of
// They are folded when a record is encoded and when one is applied, so `told` here equals `heard` at the peer once it
// has applied everything up to the last record encoded.
//
// What was folded is what the table ought to hold. What it does hold is found by laps over the slots: a lap sums what
// it passes, and a fold of a slot behind the cursor is folded into the lap, too, so at the end of a lap both sums are
// of the same moment, whatever changed meanwhile. Where they differ the table is believed, and the next comparison with
// the peer shows it.
//
// JavaScript thread only: it alone encodes, applies and sweeps, so nothing here is locked and no worker pays for it.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "conn_table.h"
#include "limits.h"
#include "runtime.h"
#include "shared_state.h"

namespace tandem {

// Virtual servers by id.
using ServerSet = std::bitset<kVirtualServersMax>;

struct DigestSum {
  uint64_t connections = 0;
  uint64_t identities = 0;  // the sum of their hashes, modulo 2^64
  friend bool operator==(const DigestSum&, const DigestSum&) = default;
};

class MirrorDigest {
 public:
  enum class Side : uint8_t { kTold, kHeard };

  MirrorDigest();
  ~MirrorDigest();
  void start(ConnTable* table, const Runtime* runtime, const SharedState* shared);

  // Whether a connection is of the set that a side sums, at this moment. A dead one counts as told until its close is.
  bool counts(Side side, const Connection& connection) const;
  // The connection has become one of the set, or is about to stop being one. Between the two its identity is constant.
  void add(Side side, const Connection& connection);
  void subtract(Side side, const Connection& connection);

  // A record of this group has come. A lap moves the sequences of connections that were told long ago, so that however
  // many records passed meanwhile, the next one of theirs is later than what they hold (serial_number.h).
  void note(uint8_t group, uint16_t term, uint32_t sequence);

  // What was folded so far proves nothing, since roles changed: sums are not ready() before the next lap.
  void restart();
  bool ready() const;
  // Of these alone, since their closes were lost: the lap under way may have passed by what is gone.
  void restart(const ServerSet& servers);
  bool ready(uint16_t virtual_server) const;
  // Looks at a bounded number of slots, and gives the share of a lap that this was, 0..1.
  double sweep();
  DigestSum sum(Side side, uint16_t virtual_server) const;
  // Virtual servers, and sides, whose table did not hold at the end of a lap what was folded; since start.
  uint64_t corrections() const;

  // The same on both units, and in every run.
  uint64_t identity(const Connection& connection) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem
