#include "forward.h"

#include <algorithm>

#include "burst.h"
#include "commit.h"
#include "icmp_error.h"
#include "member_down.h"
#include "seam.h"
#include "wire/parse_usual.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

constexpr auto relaxed = std::memory_order_relaxed;

// Frames that take a step together. A prefetch waits for its page to be found, and a core looks for several pages at a
// time only if the prefetches stand close together: so those of a group follow each other with nothing between. The
// memory that they ask for comes while other groups are read and handled.
constexpr size_t kGroup = 16;

void read(const Burst& burst, const Frame& frame, Arrival* arrival);
Verdict handle(Burst& burst, Frame& frame, const Arrival& arrival);
Verdict handle_usual(Burst& burst, Frame& frame, const Arrival& arrival);

}  // namespace

void forward_burst(const ForwardContext& context, Frame* frames, size_t count, Verdict* verdicts) {
  Burst burst(context);
  const ConnTable& table = *context.table;
  Arrival arrivals[kBurst];

  // Three steps per group of frames: read it, find out where its connections are, handle it. In order, for a packet
  // may depend on the one before it, as data does on its SYN.
  for (size_t first = 0; first < count + 2 * kGroup; first += kGroup) {
    if (first < count) {
      const size_t end = std::min(first + kGroup, count);
      for (size_t i = first; i < end; ++i) read(burst, frames[i], &arrivals[i]);
      for (size_t i = first; i < end; ++i) table.prefetch_bucket(arrivals[i].hash);
    }
    if (const size_t start = first - kGroup; start < count) {
      const size_t end = std::min(start + kGroup, count);
      for (size_t i = start; i < end; ++i)
        arrivals[i].likely = table.prefetch_slot(arrivals[i].hash, arrivals[i].packet.family == 6);
    }
    if (const size_t start = first - 2 * kGroup; start < count) {
      const size_t end = std::min(start + kGroup, count);
      for (size_t i = start; i < end; ++i) {
        verdicts[i] =
            arrivals[i].usual ? handle_usual(burst, frames[i], arrivals[i]) : handle(burst, frames[i], arrivals[i]);
      }
    }
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
    verdicts[i] = forward_later_fragment(burst, frames[i], packet, released[i].followed);
  }
  context.counters->add(Count::kForwarded, burst.forwarded);
}

void forward_held(const ForwardContext& context, Frame* frames, size_t count, Verdict* verdicts) {
  Burst burst(context);
  for (size_t i = 0; i < count; ++i) {
    Arrival arrival;
    read(burst, frames[i], &arrival);
    arrival.likely = FlowIndex::kNone;
    verdicts[i] = handle(burst, frames[i], arrival);
  }
  context.counters->add(Count::kForwarded, burst.forwarded);
  context.counters->add(Count::kPunted, burst.punted);
}

namespace {

// ---- classify

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

enum class Addressee : uint8_t { kUs, kEverybody, kKernel };

[[gnu::always_inline]] inline Addressee addressee_of(const Burst& burst, const Frame& frame, int8_t* mac_group) {
  const auto& ethernet = wire::header_in<wire::EthernetHeader>(frame.data, 0);
  const Policy& policy = *burst.context.policy;
  uint8_t family;
  *mac_group = static_cast<int8_t>(policy.group_of_mac(ethernet.destination, frame.device, &family));
  // A frame of our own that came back, or the peer's.
  if (policy.group_of_mac(ethernet.source, frame.device, &family) >= 0) return Addressee::kKernel;
  if (*mac_group >= 0) return Addressee::kUs;
  return (ethernet.destination[0] & 1) != 0 ? Addressee::kEverybody : Addressee::kKernel;
}

// Any frame; what nearly all are is read() before.
[[gnu::noinline]] Path classify(const Burst& burst, const Frame& frame, Arrival* arrival) {
  Packet& packet = arrival->packet;
  if (!wire::parse_link(frame.data, frame.bytes, &packet)) return Path::kBroken;
  const Addressee addressee = addressee_of(burst, frame, &arrival->mac_group);
  if (addressee == Addressee::kKernel) return Path::kKernels;
  wire::parse_network(frame.data, frame.bytes, &packet);
  return addressee == Addressee::kUs ? classify_ours(packet) : classify_multicast(packet);
}

[[gnu::always_inline]] inline void read(const Burst& burst, const Frame& frame, Arrival* arrival) {
  Packet usual;
  arrival->usual = wire::parse_usual(frame.data, frame.bytes, &usual) &&
                   addressee_of(burst, frame, &arrival->mac_group) == Addressee::kUs;
  if (arrival->usual) [[likely]] {
    arrival->path = Path::kConnection;
    arrival->packet = usual;
    read_flow(frame, usual, &arrival->flow);
  } else {
    arrival->path = classify(burst, frame, arrival);
    arrival->hash = 0;  // somewhere
    if (arrival->path != Path::kConnection) return;
    read_flow(frame, arrival->packet, &arrival->flow);
  }
  arrival->hash = burst.context.table->hash(arrival->flow);
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

// The connection's control word behind this packet.
uint32_t control_after(const Burst& burst, const Packet& packet, bool from_client, const Connection& connection,
                       uint32_t before) {
  const auto state = static_cast<TcpState>(before & Control::kStateMask);
  const TcpState next = packet.kind == PacketKind::kTcp
                            ? advance_tcp(state, from_client, packet.tcp_flags, (before & Control::kDirect) != 0)
                            : advance_udp(state, from_client);
  const uint32_t ours = burst.roles[connection.group] == Role::kActive ? ~Control::kFromPeer : ~0u;
  return ((before & ~Control::kStateMask) | static_cast<uint32_t>(next)) & ours;
}

TcpState told_state(uint32_t control) {
  const auto state = static_cast<TcpState>(control & Control::kStateMask);
  return is_half_open(state) ? TcpState::kSynReceived : state;
}

// True: the state is another one now, to the peer's eyes, which knows one kind of half-open (mirror.h).
[[gnu::noinline]] bool change_control(const Burst& burst, const Packet& packet, bool from_client,
                                      Connection* connection) {
  uint32_t before = connection->control.load(relaxed);
  for (;;) {
    const uint32_t after = control_after(burst, packet, from_client, *connection, before);
    if (after == before) return false;
    if (connection->control.compare_exchange_weak(before, after, std::memory_order_acq_rel, relaxed))
      return told_state(before) != told_state(after);
  }
}

// A segment that would complete the handshake, of somebody who has not seen the member's SYN-ACK: the member answers it
// with a RST, and here it changes nothing. So a flood of SYNs and blind ACKs establishes nothing, nor is it mirrored.
// (Not where the member answers past us: its SYN-ACK was never seen.)
[[gnu::noinline]] bool is_blind_acknowledgment(const Frame& frame, const Packet& packet, bool from_client,
                                               const Connection& connection) {
  if (!from_client || packet.kind != PacketKind::kTcp) return false;
  const uint32_t control = connection.control.load(std::memory_order_acquire);
  if (static_cast<TcpState>(control & Control::kStateMask) != TcpState::kSynReceived) return false;
  const uint32_t expected = connection.early.load(relaxed);
  if ((control & Control::kHasYouth) != 0 || expected == 0) return false;
  const auto& tcp = wire::header_in<wire::TcpHeader>(frame.data, packet.transport);
  return (packet.tcp_flags & wire::kAck) == 0 || tcp.acknowledgment.host() != expected;
}

// Every packet leaves behind when it came, and a client's where replies go: where it came from. `follows`: this one
// tells that. True: they went elsewhere.
[[gnu::always_inline]] inline bool leave_trace(const Burst& burst, const Frame& frame, const Packet& packet,
                                               Direction direction, bool follows, Connection* connection) {
  if (connection->last_seen.load(relaxed) != burst.now) connection->last_seen.store(burst.now, relaxed);
  // Members do not move: of what they send, nothing is compared.
  const uint64_t compared = follows ? uint64_t{static_cast<uint8_t>(direction)} - 1 : 0;
  static_assert(static_cast<uint8_t>(Direction::kFromClient) == 0 && static_cast<uint8_t>(Direction::kFromServer) == 1);
  const LastHop hop = last_hop_of(frame, packet);
  if (((hop ^ connection->last_hop.load(relaxed)) & compared) == 0) [[likely]]
    return false;
  connection->last_hop.store(hop, relaxed);
  return true;
}

// What the packet changes of its connection; whatever the peer must know is marked.
void advance_here(const Burst& burst, const Frame& frame, const Packet& packet, bool from_client, bool follows,
                  Connection* connection) {
  bool changed = false;
  const uint32_t control = connection->control.load(relaxed);
  if (control_after(burst, packet, from_client, *connection, control) != control) {
    if (is_blind_acknowledgment(frame, packet, from_client, *connection)) return;
    changed = change_control(burst, packet, from_client, connection);
  }
  const Direction direction = from_client ? Direction::kFromClient : Direction::kFromServer;
  if (leave_trace(burst, frame, packet, direction, follows, connection)) changed = true;
  if (changed) mark_change(burst.context, *connection);
}

// Segments that nearly none of a connection are, and that are sent by who has not seen it: of these, a SYN or SYN-ACK
// goes on, for the end answers it with a challenge ACK (RFC 5961 section 4), and changes nothing here, neither the
// state nor the idle time nor the last hop; a RST says nothing of where its client is. (A segment that pretends to be
// data does move the replies, until the client's own next one.)
bool is_odd(const Packet& packet) {
  return packet.kind == PacketKind::kTcp && (packet.tcp_flags & (wire::kSyn | wire::kRst)) != 0;
}

[[gnu::noinline, gnu::cold]] void advance_oddly(const Burst& burst, const Frame& frame, const Packet& packet,
                                                bool from_client, Connection* connection) {
  // Where only the client is seen, its SYN behind a FIN or RST begins anew (tcp_state.cc).
  const uint32_t control = connection->control.load(relaxed);
  const bool begins = (control_after(burst, packet, from_client, *connection, control) & Control::kStateMask) !=
                      (control & Control::kStateMask);
  if ((packet.tcp_flags & wire::kSyn) != 0 && !is_half_open(connection->state()) && !begins) return;
  // The latest of them counts: a client that sends its SYN again has seen none before.
  constexpr uint8_t kSynAck = wire::kSyn | wire::kAck;
  if (!from_client && (packet.tcp_flags & kSynAck) == kSynAck && (control & Control::kHasYouth) == 0)
    connection->early.store(wire::header_in<wire::TcpHeader>(frame.data, packet.transport).sequence.host() + 1,
                            relaxed);
  advance_here(burst, frame, packet, from_client, (packet.tcp_flags & wire::kRst) == 0, connection);
}

}  // namespace

void advance(const Burst& burst, const Frame& frame, const Packet& packet, bool from_client, Connection* connection) {
  if (is_odd(packet)) return advance_oddly(burst, frame, packet, from_client, connection);
  advance_here(burst, frame, packet, from_client, true, connection);
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

namespace {

// An established connection that packets pass as they come, and one that changes nothing of it.
bool is_settled(uint32_t control, const Packet& packet) {
  constexpr uint32_t kCare = Control::kStateMask | Control::kFromPeer | Control::kTunnelled | Control::kPortless |
                             Control::kOnePacket | Control::kMirrorMask;
  return (control & kCare) == static_cast<uint32_t>(TcpState::kEstablished) && keeps_established(packet.tcp_flags);
}

// What a packet of a known connection may meet that nearly none does. A verdict: it goes no further here.
[[gnu::noinline]] std::optional<Verdict> meet_exceptions(Burst& burst, Frame& frame, const Arrival& arrival,
                                                         Found found) {
  Connection& connection = *found.connection;
  const Packet& packet = arrival.packet;
  const bool from_client = found.direction == Direction::kFromClient;

  if (is_opening_syn(packet) && from_client && may_reopen(connection.state())) {
    if (burst.roles[connection.group] == Role::kHandingOver) return drop(burst, Drop::kHandingOver);
    const uint16_t incarnation = static_cast<uint16_t>(connection.incarnation.load(relaxed) + 1);
    disconnect(burst.context, connection);
    seam();
    return handle_unknown(burst, frame, arrival, incarnation);
  }
  if (burst.context.runtime->endpoints[connection.endpoint].down.load(relaxed)) {
    if (const std::optional<Verdict> left = leave_member(burst, frame, arrival, found)) return left;
  }

  const uint32_t control = connection.control.load(relaxed);
  if ((control & Control::kMirrorMask) != 0) {
    if (const std::optional<Verdict> waits = await_peer(burst, frame, packet, from_client, &connection)) return waits;
  }
  if (from_client && (control & Control::kTunnelled) != 0)
    return forward_into_tunnel(burst, frame, arrival, connection);
  if ((control & Control::kPortless) != 0) return forward_portless(burst, frame, arrival, found);
  if (!from_client && (control & Control::kOnePacket) != 0)
    return forward_datagram_answer(burst, frame, arrival, connection);
  if ((control & Control::kTunnelled) != 0) clamp_answer(burst, frame, packet, connection);
  return std::nullopt;
}

// `packet` is the arrival's, as much of it constant as the caller knows.
[[gnu::always_inline]] inline Verdict forward_found(Burst& burst, Frame& frame, const Arrival& arrival,
                                                    const Packet& packet, const Found& found) {
  Connection& connection = *found.connection;
  const bool from_client = found.direction == Direction::kFromClient;

  if (burst.roles[connection.group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (!tags_are_repeatable(frame, packet)) return drop(burst, Drop::kVlanTags);
  if (packet.ttl <= 1) [[unlikely]]
    return refuse(burst, frame, arrival.packet, connection.group, Refusal::time_exceeded());

  const Endpoint& endpoint = burst.context.runtime->endpoints[connection.endpoint];
  const bool settled = is_settled(connection.control.load(relaxed), packet);
  if (!settled || endpoint.down.load(relaxed)) [[unlikely]] {
    if (const std::optional<Verdict> met = meet_exceptions(burst, frame, arrival, found)) return *met;
  }

  const LastHop member_hop = endpoint.next_hop.load(relaxed);
  const LastHop client_hop = connection.last_hop.load(relaxed);
  const LastHop to = from_client ? member_hop : client_hop;
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  if (frame.bytes > burst.fits_everywhere) [[unlikely]] {
    if (const uint32_t mtu = mtu_exceeded(burst, frame, arrival.packet, to); mtu != 0)
      return refuse(burst, frame, arrival.packet, connection.group, Refusal::too_big(mtu));
  }

  if (!settled) [[unlikely]] {
    advance(burst, frame, arrival.packet, from_client, &connection);
  } else if (leave_trace(burst, frame, packet, found.direction, true, &connection)) [[unlikely]] {
    mark_change(burst.context, connection);
  }
  count_traffic(burst, connection.virtual_server, found.direction, frame.bytes);
  rewrite_packet(frame, packet, ends_for(*burst.context.table, connection, packet.family, found.direction));
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

[[gnu::always_inline]] inline Verdict handle_known(Burst& burst, Frame& frame, const Arrival& arrival,
                                                   const Packet& packet) {
  Found found = burst.context.table->find_likely(arrival.flow, arrival.likely, packet.family == 6);
  if (found.connection == nullptr) [[unlikely]] {
    found = burst.context.table->find(arrival.flow, arrival.hash);
    if (found.connection == nullptr) return handle_unknown(burst, frame, arrival, 0);
  }
  return forward_found(burst, frame, arrival, packet, found);
}

// In the loop itself, for nearly every frame comes here.
[[gnu::always_inline]] inline Verdict handle_usual(Burst& burst, Frame& frame, const Arrival& arrival) {
  const Packet& read = arrival.packet;
  const Packet packet = wire::usual_packet(read.kind, read.protocol, read.tcp_flags, read.ttl, read.end);
  return handle_known(burst, frame, arrival, packet);
}

}  // namespace

Verdict handle_connection(Burst& burst, Frame& frame, const Arrival& arrival) {
  return handle_known(burst, frame, arrival, arrival.packet);
}

Verdict forward_connection(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found) {
  return forward_found(burst, frame, arrival, arrival.packet, found);
}

}  // namespace tandem
