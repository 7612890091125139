// What goes to members in tunnels: where a tunnel begins and ends, what fits through it, and errors from its way.
#include <algorithm>
#include <cstring>

#include "answer.h"
#include "burst.h"
#include "tunnel.h"

namespace tandem {
namespace {

using wire::Packet;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr uint32_t kPacketBytesMax = 65535;
// RFC 791 section 3.2, RFC 8200 section 5: what every link carries; less is told to nobody.
constexpr uint32_t kMtuMin4 = 68, kMtuMin6 = 1280;

// The tunnel of a connection as it is now.
struct Way {
  Tunnel tunnel;
  LastHop to;
  uint32_t mtu;  // of what goes into it
};

void describe(const Burst& burst, uint16_t virtual_server, uint16_t endpoint, Way* way) {
  const Runtime& runtime = *burst.context.runtime;
  const VirtualServerState& server = runtime.virtual_servers[virtual_server];
  const EndpointAddress& member = runtime.endpoint_addresses[endpoint];
  way->to = runtime.endpoints[endpoint].next_hop.load(relaxed);
  way->tunnel.how = server.tunnel.load(relaxed);
  way->tunnel.port = server.gue_port.load(relaxed);
  way->tunnel.family = member.family;
  std::memcpy(way->tunnel.destination, member.octets, sizeof member.octets);
  const uint32_t mtu = std::min(runtime.mtu(device_of(way->to)), kPacketBytesMax);
  const uint32_t overhead = tunnel_overhead(way->tunnel.how, member.family);
  way->mtu = mtu > overhead ? mtu - overhead : 0;
}

void describe(const Burst& burst, const Connection& connection, Way* way) {
  describe(burst, connection.virtual_server, connection.endpoint, way);
}

// Of a way that is described: where it begins.
bool find_source(const Burst& burst, uint8_t group, Way* way, Drop* why) {
  *why = Drop::kNoNeighbour;
  if (way->to == 0) return false;
  *why = Drop::kTunnelSource;
  const Address* source = burst.context.policy->groups[group].tunnel_source(device_of(way->to), way->tunnel.family);
  if (source == nullptr) return false;
  std::memcpy(way->tunnel.source, source->octets, sizeof source->octets);
  return true;
}

bool find_way(const Burst& burst, const Connection& connection, Way* way, Drop* why) {
  describe(burst, connection, way);
  return find_source(burst, connection.group, way, why);
}

Verdict send(Burst& burst, Frame& frame, const Packet& packet, const FlowKey& flow, uint8_t group, const Way& way) {
  enter_tunnel(frame, packet, way.tunnel, tunnel_entropy(flow));
  rewrite_link(frame, packet, way.to, source_mac(burst, group, way.tunnel.family, device_of(way.to)));
  burst.forwarded++;
  return Verdict::forward(device_of(way.to));
}

Verdict send(Burst& burst, Frame& frame, const Packet& packet, const Connection& connection, const Way& way) {
  const FlowKey flow = burst.context.table->flow(connection, Direction::kFromClient);
  return send(burst, frame, packet, flow, connection.group, way);
}

}  // namespace

Verdict forward_into_tunnel(Burst& burst, Frame& frame, const Arrival& arrival, Connection& connection) {
  const Packet& packet = arrival.packet;
  Way way;
  Drop why;
  if (!find_way(burst, connection, &way, &why)) return drop(burst, why);
  // Nobody takes segments apart behind an outer header.
  if (frame.segment_bytes != 0) return drop(burst, Drop::kTunnelJoined);
  if (packet.end - packet.network > way.mtu)
    return refuse(burst, frame, packet, connection.group, Refusal::too_big(way.mtu));

  advance(burst, frame, packet, true, &connection);
  count_traffic(burst, connection.virtual_server, Direction::kFromClient, frame.bytes);
  clamp_segment_size(frame, packet, way.mtu);
  const Ends ends = ends_for(*burst.context.table, connection, packet.family, Direction::kFromClient);
  if (has_ports(connection.protocol)) {
    rewrite_packet(frame, packet, ends);
  } else {
    rewrite_addresses(frame, packet, ends);
  }
  return send(burst, frame, packet, connection, way);
}

void clamp_answer(const Burst& burst, Frame& frame, const Packet& packet, const Connection& connection) {
  if ((packet.tcp_flags & wire::kSyn) == 0) return;
  Way way;
  describe(burst, connection, &way);
  clamp_segment_size(frame, packet, way.mtu);
}

Verdict send_into_tunnel(Burst& burst, Frame& frame, const Packet& packet, const Connection& connection) {
  Way way;
  Drop why;
  if (!find_way(burst, connection, &way, &why)) return drop(burst, why);
  if (packet.end - packet.network > way.mtu) return drop(burst, Drop::kOversized);
  return send(burst, frame, packet, connection, way);
}

Verdict send_datagram_into_tunnel(Burst& burst, Frame& frame, const Packet& packet, const VirtualServer& server,
                                  uint16_t endpoint, const FlowKey& flow) {
  Way way;
  Drop why;
  describe(burst, server.id, endpoint, &way);
  if (!find_source(burst, server.group, &way, &why)) return drop(burst, why);
  if (frame.segment_bytes != 0) return drop(burst, Drop::kTunnelJoined);
  if (packet.end - packet.network > way.mtu) {
    // Nobody is told about a later fragment.
    return packet.kind == wire::PacketKind::kUdp ? refuse(burst, frame, packet, server.group, Refusal::too_big(way.mtu))
                                                 : drop(burst, Drop::kOversized);
  }
  count_traffic(burst, server.id, Direction::kFromClient, frame.bytes);
  rewrite_addresses(frame, packet, {source_of(frame, packet), destination_of(frame, packet), 0});
  return send(burst, frame, packet, flow, server.group, way);
}

// ---- errors from the way to a member

namespace {

// Whether it was we who sent the quoted packet: blind errors must at least know the member.
bool is_ours(const Burst& burst, const Frame& frame, const Packet& error, const TunnelQuote& quote,
             const Connection& connection) {
  if ((connection.control.load(relaxed) & Control::kTunnelled) == 0) return false;
  Way way;
  describe(burst, connection, &way);
  if (way.tunnel.how != quote.how || way.tunnel.family != error.family) return false;
  if (quote.how == Forwarding::kGue && way.tunnel.port != quote.port) return false;
  const uint8_t* to = error.family == 4 ? wire::header_in<wire::Ipv4Header>(frame.data, quote.outer).destination
                                        : wire::header_in<wire::Ipv6Header>(frame.data, quote.outer).destination;
  return std::memcmp(to, way.tunnel.destination, error.family == 4 ? 4 : 16) == 0;
}

}  // namespace

// RFC 2003 section 4, RFC 2473 section 8: the client is told what fits inside. Of other errors it could make nothing;
// whether a member is there is the monitors' to see.
Verdict handle_tunnel_error(Burst& burst, Frame& frame, const Arrival& arrival, const Quote& quote) {
  TunnelQuote inner;
  const QuoteFault fault = read_tunnel_quote(frame, arrival.packet, quote, &inner);
  const bool ours =
      burst.context.policy->owned(arrival.packet.family, destination_of(frame, arrival.packet)) != nullptr;
  // Nobody but we sends protocols 4 and 41 from our addresses; a datagram may be anybody's.
  if (ours && fault == QuoteFault::kTruncated && inner.how == Forwarding::kIpip) return drop(burst, Drop::kTunnelError);
  if (!ours || fault != QuoteFault::kNone) return handle_unknown(burst, frame, arrival, 0);
  const Found found = burst.context.table->find(inner.inside.reply, burst.context.table->hash(inner.inside.reply));
  if (found.connection == nullptr || found.direction != Direction::kFromServer ||
      !is_ours(burst, frame, arrival.packet, inner, *found.connection))
    return handle_unknown(burst, frame, arrival, 0);

  const Connection& connection = *found.connection;
  if (burst.roles[connection.group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (!tags_are_repeatable(frame, arrival.packet)) return drop(burst, Drop::kVlanTags);
  const uint32_t overhead = tunnel_overhead(inner.how, arrival.packet.family);
  if (inner.mtu <= overhead) return drop(burst, Drop::kTunnelError);
  const uint32_t mtu = std::max(inner.mtu - overhead, inner.family == 4 ? kMtuMin4 : kMtuMin6);

  const LastHop to = connection.last_hop.load(relaxed);
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  const Address* source = burst.context.policy->groups[connection.group].speaker(device_of(to), inner.family);
  if (source == nullptr) return drop(burst, Drop::kTunnelError);
  Packet packet = arrival.packet;
  leave_tunnel_quote(frame, &packet, inner);
  write_refusal(frame, packet, Refusal::too_big(mtu), source->octets, {});
  count_traffic(burst, connection.virtual_server, Direction::kFromServer, frame.bytes);
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.context.counters->add(Count::kIcmpErrors);
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

}  // namespace tandem
