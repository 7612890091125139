#include "forward.h"

#include <bit>
#include <cstring>

#include "answer.h"
#include "connect.h"
#include "fragments.h"
#include "icmp_error.h"
#include "rewrite.h"
#include "wire/checksum.h"
#include "wire/fragment.h"
#include "wire/headers.h"
#include "wire/parse_usual.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

constexpr auto relaxed = std::memory_order_relaxed;

// What a frame is to us, before anybody asks the table or the policy about its addresses.
enum class Path : uint8_t {
  kConnection,  // TCP or UDP to one of our virtual MACs
  kIcmpError,   // ICMP or ICMPv6 about a packet, to one of our virtual MACs
  kOtherIp,     // any other IP packet to one of our virtual MACs
  kArpRequest,
  kSolicitation,  // of a neighbour, RFC 4861
  kMldQuery,
  kFragment,  // of a packet, to one of our virtual MACs
  kBroken,    // to one of our virtual MACs, and no packet
  kKernels,
};

struct Arrival {
  Packet packet;
  Path path;
  int8_t mac_group;  // whose virtual MAC it was sent to; -1: multicast
  FlowKey flow;      // kConnection only
  uint64_t hash;     // of flow
  uint32_t likely;   // its entry in the table, see ConnTable::prefetch_slot()
};

// What holds for every frame of a burst.
struct Burst {
  explicit Burst(const ForwardContext& with) : context(with), now(to_deciseconds(with.now)) {
    for (size_t group = 0; group < with.policy->groups.size(); ++group)
      roles[group] = with.shared->role(group, with.now);
  }

  const ForwardContext& context;
  const Deciseconds now;
  Role roles[kGroupsMax] = {};  // standby where the policy has no group
  const uint32_t fits_everywhere = context.runtime->fits_everywhere.load(relaxed);
  uint64_t forwarded = 0;
  uint64_t punted = 0;
};

// Frames between two steps of the same frame: as many cache misses are in flight as a core has buffers for.
constexpr size_t kAhead = 16;

void locate_bucket(const Burst& burst, const Frame& frame, Arrival* arrival);
void locate_slot(const Burst& burst, Arrival* arrival);
Path classify(const Burst& burst, const Frame& frame, Arrival* arrival);
void read_flow(const Frame& frame, const Packet& packet, FlowKey* flow);
Verdict handle(Burst& burst, Frame& frame, const Arrival& arrival);
[[gnu::cold]] Verdict refuse(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, const Refusal& refusal);
Verdict forward_later_fragment(Burst& burst, Frame& frame, const Packet& packet, uint64_t ports);
Verdict forward_connection(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found);
Verdict handle_unknown(Burst& burst, Frame& frame, const Arrival& arrival, uint16_t incarnation);

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

Verdict punt(Burst& burst) {
  burst.punted++;
  return Verdict::punt();
}

Verdict drop(const Burst& burst, Drop why) {
  burst.context.counters->add(why);
  return Verdict::dropped(why);
}

Verdict drop(const Burst& burst, wire::Fault fault) {
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

Verdict answered(const Burst& burst, const Frame& frame, Count with) {
  burst.context.counters->add(with);
  return Verdict::forward(frame.device);
}

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

// FlowKey::v4() and v6() in a few loads: source and destination stand side by side in a header, as do ports.
// Word by word, for the table reads the key word by word: what is stored in one width and loaded in another stalls.
inline void read_addresses(const Frame& frame, const Packet& packet, FlowKey* flow) {
  const auto word = [&frame](size_t offset) {
    uint64_t octets;
    std::memcpy(&octets, frame.data + offset, sizeof octets);
    return octets;
  };
  if (packet.family == 4) {
    flow->words[0] = word(packet.network + offsetof(wire::Ipv4Header, source));
    flow->words[1] = flow->words[2] = flow->words[3] = 0;
  } else {
    for (size_t i = 0; i < 4; ++i) {
      flow->words[i] = word(packet.network + offsetof(wire::Ipv6Header, source) + 8 * i);
    }
  }
}

void read_flow(const Frame& frame, const Packet& packet, FlowKey* flow) {
  read_addresses(frame, packet, flow);
  flow->words[4] =
      wire::load32(frame.data + packet.transport) | uint64_t{packet.protocol} << 32 | uint64_t{packet.family} << 40;
}

const uint8_t* destination_of(const Frame& frame, const Packet& packet) {
  return packet.family == 4 ? wire::header_in<wire::Ipv4Header>(frame.data, packet.network).destination
                            : wire::header_in<wire::Ipv6Header>(frame.data, packet.network).destination;
}

const uint8_t* source_of(const Frame& frame, const Packet& packet) {
  return packet.family == 4 ? wire::header_in<wire::Ipv4Header>(frame.data, packet.network).source
                            : wire::header_in<wire::Ipv6Header>(frame.data, packet.network).source;
}

// ---- handle

[[gnu::cold]] Verdict handle_icmp_error(Burst& burst, Frame& frame, const Arrival& arrival);
[[gnu::cold]] Verdict handle_fragment(Burst& burst, Frame& frame, const Arrival& arrival);
Verdict handle_arp(Burst& burst, Frame& frame, const Packet& packet);
Verdict handle_solicitation(Burst& burst, Frame& frame, const Arrival& arrival);

inline Verdict handle_connection(Burst& burst, Frame& frame, const Arrival& arrival) {
  const Found found = burst.context.table->find(arrival.flow, arrival.hash, arrival.likely);
  if (found.connection != nullptr) return forward_connection(burst, frame, arrival, found);
  return handle_unknown(burst, frame, arrival, 0);
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
      return handle_unknown(burst, frame, arrival, 0);
    case Path::kArpRequest:
      return handle_arp(burst, frame, arrival.packet);
    case Path::kSolicitation:
      return handle_solicitation(burst, frame, arrival);
    case Path::kMldQuery:
      burst.context.shared->devices[frame.device].mld_queries.fetch_add(1, relaxed);
      return punt(burst);
    case Path::kBroken:
      return drop(burst, arrival.packet.fault);
    case Path::kKernels:
      return punt(burst);
  }
  return punt(burst);
}

// ---- a known connection

bool is_opening_syn(const Packet& packet) {
  constexpr uint8_t kOpens = wire::kSyn | wire::kAck | wire::kRst | wire::kFin;
  return packet.kind == PacketKind::kTcp && (packet.tcp_flags & kOpens) == wire::kSyn;
}

// Frames of a group leave from its virtual MAC; in a hand-over the peer uses that already.
[[gnu::always_inline]] inline MacWord source_mac(const Burst& burst, uint8_t group, uint8_t family, uint8_t device) {
  const uint8_t vrid =
      burst.roles[group] == Role::kActive ? burst.context.policy->groups[group].vrid[device] : uint8_t{0};
  return vrid != 0 ? virtual_mac_word(family, vrid) : mac_word(burst.context.device_macs[device].octets);
}

// What the packet changes of its connection; whatever the peer must know is marked.
void advance(const Burst& burst, const Frame& frame, const Packet& packet, bool from_client, Connection* connection) {
  bool changed = false;

  uint32_t before = connection->control.load(relaxed);
  for (;;) {
    const auto state = static_cast<TcpState>(before & Control::kStateMask);
    TcpState next = state;
    if (packet.kind == PacketKind::kTcp) {
      next = advance_tcp(state, from_client, packet.tcp_flags);
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

// A packet leaves with the connection's other flow, turned round: what a client sends goes where its member's
// answers come from. Without a branch, for nobody can predict which side the next packet is from.
// Always inlined, as is what every packet of a known connection goes through: errors and fragments call it, too.
[[gnu::always_inline]] inline Ends ends_for(const ConnTable& table, const Connection& connection, bool from_client) {
  const Direction other = from_client ? Direction::kFromServer : Direction::kFromClient;
  const uint32_t ports = std::rotl(ports_of(connection, other), 16);
  if (connection.family == 4) {
    const uint8_t* pair = addresses_of(connection, other);
    return {pair + 4, pair, ports};
  }
  const uint8_t* pair = addresses_of(table.ipv6(connection), other);
  return {pair + 16, pair, ports};
}

// The MTU of the device that this is too long for; 0: it fits. Tags and padding are no part of a packet that has to
// fit, and of a frame that the kernel joined each segment has to.
[[gnu::noinline]] uint32_t mtu_exceeded(const Burst& burst, const Frame& frame, const Packet& packet, LastHop to) {
  const uint32_t mtu = burst.context.runtime->mtu(device_of(to));
  if (packet.end - packet.network <= mtu) return 0;
  if (frame.segment_bytes == 0) return mtu;
  const uint32_t transport_bytes =
      packet.kind == PacketKind::kTcp
          ? 4u * (wire::header_in<wire::TcpHeader>(frame.data, packet.transport).data_offset >> 4)
          : static_cast<uint32_t>(sizeof(wire::UdpHeader));
  return packet.transport - packet.network + transport_bytes + frame.segment_bytes > mtu ? mtu : 0;
}

[[gnu::always_inline]] inline void count_traffic(const Burst& burst, const Connection& connection, bool from_client,
                                                 uint32_t bytes) {
  Traffic& traffic = (*burst.context.traffic)[connection.virtual_server];
  Counters::bump(from_client ? traffic.packets_in : traffic.packets_out, 1);
  Counters::bump(from_client ? traffic.bytes_in : traffic.bytes_out, bytes);
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

  const LastHop member_hop = burst.context.runtime->endpoints[connection.endpoint].next_hop.load(relaxed);
  const LastHop client_hop = connection.last_hop.load(relaxed);
  const LastHop to = from_client ? member_hop : client_hop;
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  if (frame.bytes > burst.fits_everywhere) [[unlikely]] {
    if (const uint32_t mtu = mtu_exceeded(burst, frame, packet, to); mtu != 0)
      return refuse(burst, frame, packet, connection.group, Refusal::too_big(mtu));
  }

  advance(burst, frame, packet, from_client, &connection);
  count_traffic(burst, connection, from_client, frame.bytes);
  rewrite_packet(frame, packet, ends_for(*burst.context.table, connection, from_client));
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

// ---- an error about a packet of a known connection, from its end or from any router on the way

Verdict forward_icmp_error(Burst& burst, Frame& frame, const Packet& packet, const Quote& quote, const Found& found);

Verdict handle_icmp_error(Burst& burst, Frame& frame, const Arrival& arrival) {
  Quote quote;
  switch (read_quote(frame, arrival.packet, &quote)) {
    case QuoteFault::kTruncated:
      return drop(burst, Drop::kTruncated);
    case QuoteFault::kBadHeader:
      return drop(burst, Drop::kBadHeader);
    case QuoteFault::kUnspeakable:
      return handle_unknown(burst, frame, arrival, 0);
    case QuoteFault::kNone:
      break;
  }
  const Found found = burst.context.table->find(quote.reply, burst.context.table->hash(quote.reply));
  if (found.connection == nullptr) return handle_unknown(burst, frame, arrival, 0);
  return forward_icmp_error(burst, frame, arrival.packet, quote, found);
}

// Where a packet goes that changes nothing of its connection: neither its state nor its last hop. 0: nowhere, for
// `why`.
LastHop way_along(const Burst& burst, const Frame& frame, const Packet& packet, const Found& found, Drop* why) {
  const Connection& connection = *found.connection;
  *why = Drop::kStandby;
  if (burst.roles[connection.group] == Role::kStandby) return 0;
  *why = Drop::kVlanTags;
  if (!tags_are_repeatable(frame, packet)) return 0;
  *why = Drop::kTtlExpired;
  if (packet.ttl <= 1) return 0;
  *why = Drop::kNoNeighbour;
  return found.direction == Direction::kFromClient
             ? burst.context.runtime->endpoints[connection.endpoint].next_hop.load(relaxed)
             : connection.last_hop.load(relaxed);
}

// The sender's view of what it sent: the translated reply, the other way round.
Ends reversed(const Ends& reply) { return {reply.destination, reply.source, std::rotl(reply.ports, 16)}; }

// RFC 5508 REQ-7: an error neither refreshes a connection nor ends it.
Verdict forward_icmp_error(Burst& burst, Frame& frame, const Packet& packet, const Quote& quote, const Found& found) {
  const Connection& connection = *found.connection;
  const bool from_client = found.direction == Direction::kFromClient;
  Drop why;
  const LastHop to = way_along(burst, frame, packet, found, &why);
  if (to == 0) return drop(burst, why);

  // Whoever noticed is hidden where the quoted destination is: a client knows the virtual address alone, and a member
  // may have no route to a client's router. A member that sees the client's own address sees the router's, too.
  const Ends reply = ends_for(*burst.context.table, connection, from_client);
  const bool seen = from_client && (connection.control.load(relaxed) & Control::kNoSnat) != 0;
  translate_icmp_error(frame, packet, quote, {seen ? nullptr : reply.source, reply.destination, reversed(reply)});
  count_traffic(burst, connection, from_client, frame.bytes);
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.context.counters->add(Count::kIcmpErrors);
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

// ---- fragments: the first finds or opens its connection as a whole packet does, the others follow it

Drop drop_of(wire::FragmentFault fault) {
  switch (fault) {
    case wire::FragmentFault::kTruncated:
      return Drop::kTruncated;
    case wire::FragmentFault::kExtensionHeaders:
      return Drop::kExtensionHeaders;
    case wire::FragmentFault::kTiny:
      return Drop::kFragmentTiny;
    default:
      return Drop::kBadHeader;
  }
}

// What its fragments have in common: addresses, identification and, of IPv4, the protocol (RFC 791 section 3.2; RFC
// 8200 section 4.5 has no protocol among them).
FlowKey packet_of(const Frame& frame, const Packet& packet, const wire::Fragment& fragment) {
  FlowKey key;
  read_addresses(frame, packet, &key);
  const uint64_t protocol = packet.family == 4 ? fragment.protocol : 0;
  key.words[4] = fragment.identification | protocol << 32 | uint64_t{packet.family} << 40;
  return key;
}

Verdict handle_first_fragment(Burst& burst, Frame& frame, const Arrival& arrival, const wire::Fragment& fragment);

Verdict handle_fragment(Burst& burst, Frame& frame, const Arrival& arrival) {
  wire::Fragment fragment;
  const wire::FragmentFault fault = wire::parse_fragment(frame.data, arrival.packet, &fragment);
  if (fault != wire::FragmentFault::kNone) return drop(burst, drop_of(fault));
  if (fragment.begin == 0) return handle_first_fragment(burst, frame, arrival, fragment);

  const FlowKey key = packet_of(frame, arrival.packet, fragment);
  const Fragments::Admission admission = burst.context.fragments->admit_later(
      key, burst.context.table->hash(key), fragment, frame, burst.context.now, burst.context.counters);
  switch (admission.status) {
    case Fragments::Status::kPass:
      return forward_later_fragment(burst, frame, arrival.packet, admission.ports);
    case Fragments::Status::kHeld:
      burst.context.counters->add(Count::kFragmentsHeld);
      return Verdict::held();
    case Fragments::Status::kDrop:
      break;
  }
  return drop(burst, admission.why);
}

Verdict handle_first_fragment(Burst& burst, Frame& frame, const Arrival& arrival, const wire::Fragment& fragment) {
  Arrival whole = arrival;
  const wire::FragmentFault fault = wire::parse_first_fragment(frame.data, fragment, &whole.packet);
  if (fault != wire::FragmentFault::kNone) return drop(burst, drop_of(fault));
  if (whole.packet.kind == PacketKind::kOther) return drop(burst, Drop::kFragment);
  whole.path = Path::kConnection;
  read_flow(frame, whole.packet, &whole.flow);
  whole.hash = burst.context.table->hash(whole.flow);
  whole.likely = FlowIndex::kNone;
  // RFC 6946: a fragment that is all of its packet is nobody's fragment.
  if (!fragment.more) return handle_connection(burst, frame, whole);

  const ForwardContext& context = burst.context;
  const FlowKey key = packet_of(frame, arrival.packet, fragment);
  const uint64_t hash = context.table->hash(key);
  const Fragments::Admission admission =
      context.fragments->admit_first(key, hash, fragment, context.now, context.counters);
  if (admission.status == Fragments::Status::kDrop) return drop(burst, admission.why);
  const uint64_t forwarded = burst.forwarded;
  const Verdict verdict = handle_connection(burst, frame, whole);
  if (burst.forwarded != forwarded) {
    context.fragments->resolve(context.worker, key, hash, whole.flow.words[4]);
  } else {
    context.fragments->refuse(key, hash, context.counters);
  }
  return verdict;
}

// `ports` are those of its packet's flow. RFC 1812 section 4.3.2.7: nobody is told about a later fragment.
Verdict forward_later_fragment(Burst& burst, Frame& frame, const Packet& packet, uint64_t ports) {
  FlowKey flow;
  read_addresses(frame, packet, &flow);
  flow.words[4] = ports;
  const Found found = burst.context.table->find(flow, burst.context.table->hash(flow));
  if (found.connection == nullptr) return drop(burst, Drop::kFragment);  // closed meanwhile

  Drop why;
  const LastHop to = way_along(burst, frame, packet, found, &why);
  if (to == 0) return drop(burst, why);
  if (mtu_exceeded(burst, frame, packet, to) != 0) return drop(burst, Drop::kOversized);
  const Connection& connection = *found.connection;
  const bool from_client = found.direction == Direction::kFromClient;
  count_traffic(burst, connection, from_client, frame.bytes);
  rewrite_addresses(frame, packet, ends_for(*burst.context.table, connection, from_client));
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.context.counters->add(Count::kFragmentsForwarded);
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

// ---- a packet of no known connection, to one of our virtual MACs: never the kernel's (design: "What a packet
// of no known connection gets")

Verdict handle_echo(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned);
Verdict handle_closed_port(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned);
Verdict reset(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, Drop otherwise);
Verdict open_and_forward(Burst& burst, Frame& frame, const Arrival& arrival, const Opening& opening);

Verdict handle_unknown(Burst& burst, Frame& frame, const Arrival& arrival, uint16_t incarnation) {
  const Packet& packet = arrival.packet;
  const Policy& policy = *burst.context.policy;
  const uint8_t* destination = destination_of(frame, packet);
  const OwnedAddress* owned = policy.owned(packet.family, destination);
  const size_t group = owned != nullptr ? owned->group : static_cast<size_t>(arrival.mac_group);

  if (burst.roles[group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (owned == nullptr) return drop(burst, Drop::kTransit);
  if (burst.roles[group] == Role::kHandingOver) return drop(burst, Drop::kHandingOver);
  if (packet.kind == PacketKind::kOther) return drop(burst, Drop::kProtocol);
  if (arrival.path == Path::kIcmpError) return drop(burst, Drop::kIcmpUnknown);
  if (arrival.path != Path::kConnection) return handle_echo(burst, frame, packet, *owned);

  const auto& ports = wire::header_in<wire::UdpHeader>(frame.data, packet.transport);  // TCP begins alike
  const VirtualServer* server =
      policy.virtual_server(packet.family, destination, packet.protocol, ports.destination_port.host());
  if (server == nullptr) {
    if (policy.is_member(packet.family, source_of(frame, packet), ports.source_port.host()))
      return drop(burst, Drop::kUnknownReturn);
    return handle_closed_port(burst, frame, packet, *owned);
  }

  if (packet.kind == PacketKind::kUdp || is_opening_syn(packet))
    return open_and_forward(burst, frame, arrival, {server, TcpState::kSynSent, incarnation});
  switch (server->unknown) {
    case Unknown::kDrop:
      return drop(burst, Drop::kUnknown);
    case Unknown::kReset:
      return reset(burst, frame, packet, owned->group, Drop::kUnknown);
    case Unknown::kAdopt:
      // Only what a client sends amid a connection: an acknowledgment, and neither a SYN nor a RST.
      if ((packet.tcp_flags & (wire::kSyn | wire::kRst | wire::kAck)) != wire::kAck) return drop(burst, Drop::kUnknown);
      return open_and_forward(burst, frame, arrival, {server, TcpState::kEstablished, incarnation});
  }
  return drop(burst, Drop::kUnknown);
}

Verdict open_and_forward(Burst& burst, Frame& frame, const Arrival& arrival, const Opening& opening) {
  if (!tags_are_repeatable(frame, arrival.packet)) return drop(burst, Drop::kVlanTags);
  if (arrival.packet.ttl <= 1)
    return refuse(burst, frame, arrival.packet, opening.server->group, Refusal::time_exceeded());
  Drop why;
  Found found = {connect_client(burst.context, frame, arrival.packet, opening, &why), Direction::kFromClient};
  if (found.connection == nullptr) {
    if (why != Drop::kFlowTaken) return drop(burst, why);
    found = burst.context.table->find(arrival.flow, arrival.hash);  // another worker was faster
    if (found.connection == nullptr) return drop(burst, why);
  }
  return forward_connection(burst, frame, arrival, found);
}

Verdict handle_closed_port(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned) {
  if (owned.closed == Closed::kDrop || packet.kind != PacketKind::kTcp) return drop(burst, Drop::kClosedPort);
  return reset(burst, frame, packet, owned.group, Drop::kClosedPort);
}

// Answers are given by active groups only.
MacAddress answering_mac(const Burst& burst, uint8_t group, uint8_t family, uint8_t device) {
  const uint8_t vrid = burst.context.policy->groups[group].vrid[device];
  return vrid != 0 ? virtual_mac(family, vrid) : burst.context.device_macs[device];
}

// RFC 9293 section 3.10.7.1: a RST is never sent in answer to a RST.
Verdict reset(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, Drop otherwise) {
  if ((packet.tcp_flags & wire::kRst) != 0) return drop(burst, otherwise);
  write_reset(frame, packet, answering_mac(burst, group, packet.family, frame.device));
  return answered(burst, frame, Count::kResetsSent);
}

// The sender is told, from the group's floating address where the packet came in. IPv4 without "don't fragment", too:
// Tandem fragments nothing, and senders take the smaller MTU whatever that bit was.
Verdict refuse(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, const Refusal& refusal) {
  const bool expired = refusal.kind == Refusal::Kind::kTimeExceeded;
  const Address* source = burst.context.policy->groups[group].speaker(frame.device, packet.family);
  if (burst.roles[group] != Role::kActive || source == nullptr || !may_be_told(frame, packet) ||
      !burst.context.runtime->icmp_paces[burst.context.worker].take(burst.context.now))
    return drop(burst, expired ? Drop::kTtlExpired : Drop::kOversized);
  write_refusal(frame, packet, refusal, source->octets, answering_mac(burst, group, packet.family, frame.device));
  return answered(burst, frame, expired ? Count::kTimeExceededSent : Count::kTooBigSent);
}

Verdict handle_echo(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned) {
  const uint8_t request = packet.kind == PacketKind::kIcmp ? wire::kIcmpEchoRequest : wire::kIcmpv6EchoRequest;
  if (packet.icmp_type != request) return drop(burst, Drop::kIcmp);
  write_echo_reply(frame, packet, answering_mac(burst, owned.group, packet.family, frame.device));
  return answered(burst, frame, Count::kEchoReplies);
}

// ---- who has an address: answered where its group is active, on the devices where it is announced

// The virtual router's VRID with which to answer; 0: not here.
uint8_t answering_vrid(const Burst& burst, const OwnedAddress& owned, uint8_t device) {
  if (burst.roles[owned.group] != Role::kActive || (owned.devices >> device & 1) == 0) return 0;
  return burst.context.policy->groups[owned.group].vrid[device];
}

Verdict handle_arp(Burst& burst, Frame& frame, const Packet& packet) {
  const auto& arp = wire::header_in<wire::ArpPacket>(frame.data, packet.network);
  const OwnedAddress* owned = burst.context.policy->owned(4, arp.target_address);
  if (arp.operation.host() != 1 || owned == nullptr) return punt(burst);
  const uint8_t vrid = answering_vrid(burst, *owned, frame.device);
  if (vrid == 0) return drop(burst, Drop::kNotAsked);
  write_arp_reply(frame, packet, virtual_mac(4, vrid));
  return answered(burst, frame, Count::kArpReplies);
}

Verdict handle_solicitation(Burst& burst, Frame& frame, const Arrival& arrival) {
  const uint8_t* target = solicited_address(frame, arrival.packet);
  const OwnedAddress* owned = target != nullptr ? burst.context.policy->owned(6, target) : nullptr;
  if (owned == nullptr && arrival.mac_group < 0) return punt(burst);
  if (target == nullptr) return drop(burst, Drop::kBadHeader);
  if (owned == nullptr) return drop(burst, Drop::kTransit);
  const uint8_t vrid = answering_vrid(burst, *owned, frame.device);
  if (vrid == 0) return drop(burst, Drop::kNotAsked);
  write_neighbour_advertisement(frame, arrival.packet, virtual_mac(6, vrid));
  return answered(burst, frame, Count::kNeighbourAdvertisements);
}

}  // namespace
}  // namespace tandem
