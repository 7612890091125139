#include "evict.h"

#include <cstring>

#include "connect.h"
#include "counters.h"
#include "seam.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

FlowKey server_flow_on(const NewConnection& fresh, const SnatAddress& snat, uint16_t port) {
  if (fresh.family == 6)
    return FlowKey::v6(fresh.member, snat.address.octets, fresh.member_port, wire::be16(port), fresh.protocol);
  wire::be32 member, address;
  std::memcpy(&member, fresh.member, sizeof member);
  std::memcpy(&address, snat.address.octets, sizeof address);
  return FlowKey::v4(member, address, fresh.member_port, wire::be16(port), fresh.protocol);
}

bool evict(const ForwardContext& context, Connection& connection) {
  seam();
  if (!disconnect(context, connection, CloseIf::kHalfOpen)) return false;
  context.counters->add(Count::kHalfOpenEvicted);
  return true;
}

}  // namespace

HalfOpen::Place place_of(const ConnTable& table, const Connection& connection) {
  return {static_cast<uint32_t>(table.slot_of(connection)), connection.incarnation.load(relaxed),
          connection.client_port};
}

void admit_half_open(const ForwardContext& context, const Connection& opened) {
  HalfOpen& half_open = context.runtime->half_open;
  ConnTable& table = *context.table;
  const HalfOpen::Place oldest = half_open.replace_oldest(context.worker, place_of(table, opened));
  if (const uint32_t next = half_open.oldest_slot(context.worker); next != HalfOpen::kNone) table.prefetch(next);
  if (oldest.slot == HalfOpen::kNone) return;
  // Given and open, it stays the same connection until this worker's next quiesce(), whoever closes it.
  Connection* connection = table.at(oldest.slot);
  if (connection == nullptr || !is_half_open(connection->state()) || place_of(table, *connection) != oldest) return;
  evict(context, *connection);
}

bool evict_for_port(const ForwardContext& context, const NewConnection& fresh, const SnatAddress& snat, size_t* looks) {
  for (; *looks > 0; --*looks) {
    const uint16_t port = context.snat_ports->next_in_use(snat.index, fresh.endpoint);
    if (port == 0) return false;
    const FlowKey flow = server_flow_on(fresh, snat, port);
    const Found found = context.table->find(flow, context.table->hash(flow));
    if (found.connection == nullptr || found.direction != Direction::kFromServer) continue;
    if (is_half_open(found.connection->state()) && evict(context, *found.connection)) return true;
  }
  return false;
}

}  // namespace tandem
