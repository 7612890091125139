// Expiry: a bounded walk over a few slots after each burst. See forward.h.
#include <algorithm>

#include "commit.h"
#include "connect.h"
#include "forward.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// A bit more than a burst's worth of slots ahead: the walk is in order, so memory is there when it comes.
constexpr ptrdiff_t kPrefetchSlots = 8;

bool is_expired(const ForwardContext& context, const Connection& connection, uint32_t control) {
  const Deciseconds now = to_deciseconds(context.now);
  const auto state = static_cast<TcpState>(control & Control::kStateMask);
  const VirtualServerState& server = context.runtime->virtual_servers[connection.virtual_server];
  // A datagram's entry only waits for the answer.
  const Deciseconds limit = (control & Control::kOnePacket) != 0 ? server.half_open.load(relaxed)
                                                                 : server.timeouts().of(connection.protocol, state);
  const Deciseconds seen = connection.last_seen.load(relaxed);
  if (uint64_t{seen} + limit > now) return false;

  const bool active = context.shared->role(connection.group, context.now) != Role::kStandby;
  const bool peer_knows = (control & (Control::kFromPeer | Control::kAnnounced)) != 0;
  if (!active && peer_knows) return false;  // the active unit decides
  // After a takeover every idle timer starts anew.
  const Nanos activated = context.shared->groups[connection.group].activated.load(relaxed);
  return uint64_t{to_deciseconds(activated)} + limit <= now;
}

}  // namespace

void sweep(const ForwardContext& context, SweepCursor* cursor, size_t budget) {
  ConnTable& table = *context.table;
  const size_t touched = table.slots_touched();
  const size_t first = touched * cursor->part / cursor->parts, end = touched * (cursor->part + 1) / cursor->parts;
  context.fragments->expire(context.now, context.counters);
  for (size_t look = 0; look < std::min(budget, end - first); ++look) {
    if (cursor->slot < first || cursor->slot >= end) cursor->slot = first;
    Connection* connection = table.at(cursor->slot++);
    if (connection == nullptr) continue;
    __builtin_prefetch(connection + kPrefetchSlots);

    const uint32_t control = connection->control.load(relaxed);
    if ((control & Control::kPendingDeferred) != 0) {
      mark_change(context, *connection);  // queues it, if there is room now
    } else if ((control & Control::kDead) != 0) {
      if ((control & Control::kPendingMask) == 0) table.recycle(context.worker, *connection);
    } else if (is_expired(context, *connection, control)) {
      if (disconnect(context, *connection)) context.counters->add(Count::kExpired);
    } else if ((control & (Control::kUnprotected | Control::kYoung)) != 0) {
      settle_mirroring(context, connection);
    }
  }
}

}  // namespace tandem
