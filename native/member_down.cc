#include "member_down.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// The virtual server, if the connection's member is down in its pool and what it has open there is not kept.
const VirtualServer* server_to_leave_in(const Burst& burst, const Connection& connection) {
  const Policy& policy = *burst.context.policy;
  const VirtualServer* server = policy.virtual_server(connection.virtual_server);
  if (server == nullptr) return nullptr;
  const Pool& pool = *policy.pools[server->pool];
  if (pool.on_member_down == OnMemberDown::kKeep) return nullptr;
  const int member = pool.member_with(connection.endpoint);
  return member >= 0 && pool.members[static_cast<size_t>(member)].down ? server : nullptr;
}

Verdict reset_both(Burst& burst, Frame& frame, const Arrival& arrival, Connection& connection) {
  if (disconnect(burst.context, connection)) burst.context.counters->add(Count::kMemberDownClosed);
  if (arrival.packet.kind != wire::PacketKind::kTcp) return drop(burst, Drop::kMemberDown);
  return reset(burst, frame, arrival.packet, connection.group, Drop::kMemberDown);
}

bool has_room(const Burst& burst, const Pool& pool, const std::vector<uint16_t>& members) {
  return std::any_of(members.begin(), members.end(), [&](uint16_t i) {
    const Member& member = pool.members[i];
    const uint32_t open = burst.context.runtime->endpoints[member.endpoint].connections.load(relaxed);
    return member.connections_max == 0 || open < member.connections_max;
  });
}

std::optional<Verdict> reselect(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found,
                                const VirtualServer& server) {
  const Pool& pool = *burst.context.policy->pools[server.pool];
  if (found.direction == Direction::kFromServer) return std::nullopt;
  // Without another member it may as well wait for this one.
  if (!has_room(burst, pool, pool.available) && !has_room(burst, pool, pool.spare)) return std::nullopt;
  Connection& connection = *found.connection;
  const auto incarnation = static_cast<uint16_t>(connection.incarnation.load(relaxed) + 1);
  const bool amid = arrival.packet.kind == wire::PacketKind::kTcp && !is_opening_syn(arrival.packet);
  disconnect(burst.context, connection);
  burst.context.counters->add(Count::kReselected);
  const TcpState state = amid ? TcpState::kEstablished : TcpState::kSynSent;
  return open_and_forward(burst, frame, arrival, {&server, state, incarnation});
}

}  // namespace

std::optional<Verdict> leave_member(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found) {
  Connection& connection = *found.connection;
  if (burst.roles[connection.group] != Role::kActive) return std::nullopt;
  const wire::Packet& packet = arrival.packet;
  if (packet.kind == wire::PacketKind::kTcp && (packet.tcp_flags & wire::kRst) != 0) return std::nullopt;
  const VirtualServer* server = server_to_leave_in(burst, connection);
  if (server == nullptr) return std::nullopt;
  if (burst.context.policy->pools[server->pool]->on_member_down == OnMemberDown::kReset)
    return reset_both(burst, frame, arrival, connection);
  return reselect(burst, frame, arrival, found, *server);
}

}  // namespace tandem
