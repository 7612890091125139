#include "forward.h"

#include "burst.h"
#include "icmp_error.h"
#include "wire/parse_usual.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

constexpr auto relaxed = std::memory_order_relaxed;

// Frames between two steps of the same frame: as many cache misses are in flight as a core has buffers for.
constexpr size_t kAhead = 16;

void locate_bucket(const Burst& burst, const Frame& frame, Arrival* arrival);
void locate_slot(const Burst& burst, Arrival* arrival);
Path classify(const Burst& burst, const Frame& frame, Arrival* arrival);
Verdict handle(Burst& burst, Frame& frame, const Arrival& arrival);

}  // namespace

void forward_burst(const ForwardContext& context, Frame* frames, size_t count, Verdict* verdicts) {
  Burst burst(context);
  Arrival arrivals[kBurst];

  // Three steps per frame, those of neighbours interleaved: while one is handled, the memory that the next ones
  // need is on its way. Handled in order, for a packet may depend on the one before it, as data does on its SYN.
  for (size_t i = 0; i < count + 2 * kAhead; ++i) {
    if (i < count) locate_bucket(burst, frames[i], &arrivals[i]);
    if (const size_t at = i - kAhead; at < count) locate_slot(burst, &arrivals[at]);
    if (const size_t at = i - 2 * kAhead; at < count) verdicts[at] = handle(burst, frames[at], arrivals[at]);
  }

  context.counters->add(Count::kReceived, count);
  context.counters->add(Count::kForwarded, burst.forwarded);
  context.counters->add(Count::kPunted, burst.punted);
}

void forward_released(const ForwardContext& context, const Fragments::Released* released, size_t count, Frame* frames,
                      Verdict* verdicts) {
  Burst burst(context);
  for (size_t i = 0; i < count; ++i) {
    frames[i] = released[i].frame;
    Packet packet;
    wire::parse_link(frames[i].data, frames[i].bytes, &packet);
    wire::parse_network(frames[i].data, frames[i].bytes, &packet);
    verdicts[i] = forward_later_fragment(burst, frames[i], packet, released[i].ports);
  }
  context.counters->add(Count::kForwarded, burst.forwarded);
}

namespace {

// ---- classify

void locate_bucket(const Burst& burst, const Frame& frame, Arrival* arrival) {
  arrival->path = classify(burst, frame, arrival);
  if (arrival->path != Path::kConnection) return;
  read_flow(frame, arrival->packet, &arrival->flow);
  arrival->hash = burst.context.table->hash(arrival->flow);
  burst.context.table->prefetch_bucket(arrival->hash);
}

void locate_slot(const Burst& burst, Arrival* arrival) {
  if (arrival->path != Path::kConnection) return;
  arrival->likely = burst.context.table->prefetch_slot(arrival->hash, arrival->packet.family == 6);
}

Path classify_multicast(const Packet& packet) {
  switch (packet.kind) {
    case PacketKind::kArp:
      return Path::kArpRequest;
    case PacketKind::kIcmpv6:
      if (packet.icmp_type == wire::kNeighbourSolicitation) return Path::kSolicitation;
      // RFC 3810 section 5.1.14: a query has hop limit 1, or it has come from elsewhere.
      if (packet.icmp_type == wire::kMldQuery && packet.ttl == 1) return Path::kMldQuery;
      return Path::kKernels;
    default:
      return Path::kKernels;
  }
}

Path classify_ours(const Packet& packet) {
  switch (packet.kind) {
    case PacketKind::kTcp:
    case PacketKind::kUdp:
      return Path::kConnection;
    case PacketKind::kIcmpv6:
      if (packet.icmp_type == wire::kNeighbourSolicitation) return Path::kSolicitation;
      return is_icmp_error(packet) ? Path::kIcmpError : Path::kOtherIp;
    case PacketKind::kIcmp:
      return is_icmp_error(packet) ? Path::kIcmpError : Path::kOtherIp;
    case PacketKind::kOther:
      return Path::kOtherIp;
    case PacketKind::kArp:
      return Path::kArpRequest;
    case PacketKind::kNotIp:
      return Path::kKernels;
    case PacketKind::kFault:
      return packet.fault == wire::Fault::kFragment ? Path::kFragment : Path::kBroken;
  }
  return Path::kBroken;
}

Path classify(const Burst& burst, const Frame& frame, Arrival* arrival) {
  Packet& packet = arrival->packet;
  const bool usual = wire::parse_usual(frame.data, frame.bytes, &packet);
  if (!usual && !wire::parse_link(frame.data, frame.bytes, &packet)) return Path::kBroken;

  const auto& ethernet = wire::header_in<wire::EthernetHeader>(frame.data, 0);
  const Policy& policy = *burst.context.policy;
  uint8_t family;
  const bool multicast = (ethernet.destination[0] & 1) != 0;
  arrival->mac_group =
      multicast ? int8_t{-1} : static_cast<int8_t>(policy.group_of_mac(ethernet.destination, frame.device, &family));
  if (!multicast && arrival->mac_group < 0) return Path::kKernels;
  // A frame of our own that came back, or the peer's.
  if (policy.group_of_mac(ethernet.source, frame.device, &family) >= 0) return Path::kKernels;

  if (!usual) wire::parse_network(frame.data, frame.bytes, &packet);
  return multicast ? classify_multicast(packet) : classify_ours(packet);
}

// ---- handle

Verdict drop_broken(const Burst& burst, wire::Fault fault) {
  switch (fault) {
    case wire::Fault::kTruncated:
      return drop(burst, Drop::kTruncated);
    case wire::Fault::kBadHeader:
      return drop(burst, Drop::kBadHeader);
    case wire::Fault::kFragment:
      return drop(burst, Drop::kFragment);
    case wire::Fault::kExtensionHeaders:
      return drop(burst, Drop::kExtensionHeaders);
  }
  return drop(burst, Drop::kBadHeader);
}

Verdict handle(Burst& burst, Frame& frame, const Arrival& arrival) {
  switch (arrival.path) {
    case Path::kConnection:
      return handle_connection(burst, frame, arrival);
    case Path::kFragment:
      return handle_fragment(burst, frame, arrival);
    case Path::kIcmpError:
      return handle_icmp_error(burst, frame, arrival);
    case Path::kOtherIp:
      if (arrival.packet.kind == PacketKind::kOther) return handle_portless(burst, frame, arrival);
      return handle_unknown(burst, frame, arrival, 0);
    case Path::kArpRequest:
      return handle_arp(burst, frame, arrival.packet);
    case Path::kSolicitation:
      return handle_solicitation(burst, frame, arrival);
    case Path::kMldQuery:
      burst.context.shared->devices[frame.device].mld_queries.fetch_add(1, relaxed);
      return punt(burst);
    case Path::kBroken:
      return drop_broken(burst, arrival.packet.fault);
    case Path::kKernels:
      return punt(burst);
  }
  return punt(burst);
}

// ---- a known connection

// Inlined into what every packet goes through; advance() is the same for the others.
[[gnu::always_inline]] inline void advance_here(const Burst& burst, const Frame& frame, const Packet& packet,
                                                bool from_client, Connection* connection) {
  bool changed = false;

  uint32_t before = connection->control.load(relaxed);
  for (;;) {
    const auto state = static_cast<TcpState>(before & Control::kStateMask);
    TcpState next = state;
    if (packet.kind == PacketKind::kTcp) {
      next = advance_tcp(state, from_client, packet.tcp_flags, (before & Control::kDirect) != 0);
    } else if (!from_client) {
      next = TcpState::kEstablished;
    }
    uint32_t after = (before & ~Control::kStateMask) | static_cast<uint32_t>(next);
    if (burst.roles[connection->group] == Role::kActive) after &= ~Control::kFromPeer;
    if (after == before) break;
    if (!connection->control.compare_exchange_weak(before, after, std::memory_order_acq_rel, relaxed)) continue;
    changed = next != state;
    break;
  }

  if (connection->last_seen.load(relaxed) != burst.now) connection->last_seen.store(burst.now, relaxed);
  connection->packets.store(connection->packets.load(relaxed) + 1, relaxed);

  const LastHop hop = last_hop_of(frame, packet);
  const bool moved = hop != connection->last_hop.load(relaxed);
  if (moved & from_client) {
    connection->last_hop.store(hop, relaxed);
    changed = true;
  }
  if (changed) mark_change(burst.context, *connection);
}

}  // namespace

void advance(const Burst& burst, const Frame& frame, const Packet& packet, bool from_client, Connection* connection) {
  advance_here(burst, frame, packet, from_client, connection);
}

uint32_t mtu_exceeded(const Burst& burst, const Frame& frame, const Packet& packet, LastHop to) {
  const uint32_t mtu = burst.context.runtime->mtu(device_of(to));
  if (packet.end - packet.network <= mtu) return 0;
  if (frame.segment_bytes == 0) return mtu;
  const uint32_t transport_bytes =
      packet.kind == PacketKind::kTcp
          ? 4u * (wire::header_in<wire::TcpHeader>(frame.data, packet.transport).data_offset >> 4)
          : static_cast<uint32_t>(sizeof(wire::UdpHeader));
  return packet.transport - packet.network + transport_bytes + frame.segment_bytes > mtu ? mtu : 0;
}

Verdict handle_connection(Burst& burst, Frame& frame, const Arrival& arrival) {
  const Found found = burst.context.table->find(arrival.flow, arrival.hash, arrival.likely);
  if (found.connection != nullptr) return forward_connection(burst, frame, arrival, found);
  return handle_unknown(burst, frame, arrival, 0);
}

Verdict forward_connection(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found) {
  Connection& connection = *found.connection;
  const Packet& packet = arrival.packet;
  const bool from_client = found.direction == Direction::kFromClient;

  if (burst.roles[connection.group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (!tags_are_repeatable(frame, packet)) return drop(burst, Drop::kVlanTags);
  if (packet.ttl <= 1) [[unlikely]]
    return refuse(burst, frame, packet, connection.group, Refusal::time_exceeded());

  if (is_opening_syn(packet) && from_client && may_reopen(connection.state())) {
    if (burst.roles[connection.group] == Role::kHandingOver) return drop(burst, Drop::kHandingOver);
    const uint16_t incarnation = static_cast<uint16_t>(connection.incarnation.load(relaxed) + 1);
    disconnect(burst.context, connection);
    return handle_unknown(burst, frame, arrival, incarnation);
  }

  if (const uint32_t control = connection.control.load(relaxed);
      (control & (Control::kTunnelled | Control::kPortless)) != 0) [[unlikely]] {
    if (from_client && (control & Control::kTunnelled) != 0)
      return forward_into_tunnel(burst, frame, arrival, connection);
    if ((control & Control::kPortless) != 0) return forward_portless(burst, frame, arrival, found);
    clamp_answer(burst, frame, packet, connection);
  }

  const LastHop member_hop = burst.context.runtime->endpoints[connection.endpoint].next_hop.load(relaxed);
  const LastHop client_hop = connection.last_hop.load(relaxed);
  const LastHop to = from_client ? member_hop : client_hop;
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  if (frame.bytes > burst.fits_everywhere) [[unlikely]] {
    if (const uint32_t mtu = mtu_exceeded(burst, frame, packet, to); mtu != 0)
      return refuse(burst, frame, packet, connection.group, Refusal::too_big(mtu));
  }

  advance_here(burst, frame, packet, from_client, &connection);
  count_traffic(burst, connection, from_client, frame.bytes);
  rewrite_packet(frame, packet, ends_for(*burst.context.table, connection, from_client));
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

}  // namespace tandem
