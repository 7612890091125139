// What belongs to a known connection and is no packet of its flows as such: ICMP errors about it, and fragments.
#include <bit>

#include "burst.h"
#include "fragments.h"
#include "icmp_error.h"
#include "wire/fragment.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

constexpr auto relaxed = std::memory_order_relaxed;

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

// ---- an error about a packet of a known connection, from its end or from any router on the way

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
  const Ends reply = ends_for(*burst.context.table, connection, packet.family, found.direction);
  const bool seen = from_client && (connection.control.load(relaxed) & Control::kNoSnat) != 0;
  translate_icmp_error(frame, packet, quote, {seen ? nullptr : reply.source, reply.destination, reversed(reply)});
  count_traffic(burst, connection.virtual_server, found.direction, frame.bytes);
  const Verdict verdict = send_along(burst, frame, packet, connection, from_client, to);
  if (verdict.kind == Verdict::Kind::kForward) burst.context.counters->add(Count::kIcmpErrors);
  return verdict;
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

Verdict handle_first_fragment(Burst& burst, Frame& frame, const Arrival& arrival, const wire::Fragment& fragment) {
  Arrival whole = arrival;
  const wire::FragmentFault fault = wire::parse_first_fragment(frame.data, fragment, &whole.packet);
  if (fault != wire::FragmentFault::kNone) return drop(burst, drop_of(fault));
  whole.path = Path::kConnection;
  if (whole.packet.kind == PacketKind::kOther) {
    read_portless_flow(frame, whole.packet, &whole.flow);
  } else {
    read_flow(frame, whole.packet, &whole.flow);
  }
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
  Followed followed = {.ports = whole.flow.words[4]};
  burst.first_fragment = &followed;
  const Verdict verdict = handle_connection(burst, frame, whole);
  burst.first_fragment = nullptr;
  if (burst.forwarded != forwarded) {
    context.fragments->resolve(context.worker, key, hash, followed);
  } else {
    context.fragments->refuse(key, hash, context.counters);
  }
  return verdict;
}

}  // namespace

Verdict handle_icmp_error(Burst& burst, Frame& frame, const Arrival& arrival) {
  Quote quote;
  switch (read_quote(frame, arrival.packet, &quote)) {
    case QuoteFault::kTruncated:
      return drop(burst, Drop::kTruncated);
    case QuoteFault::kBadHeader:
      return drop(burst, Drop::kBadHeader);
    case QuoteFault::kUnspeakable:
      return handle_tunnel_error(burst, frame, arrival, quote);
    case QuoteFault::kNone:
      break;
  }
  const Found found = burst.context.table->find(quote.reply, burst.context.table->hash(quote.reply));
  if (found.connection == nullptr) return handle_tunnel_error(burst, frame, arrival, quote);
  return forward_icmp_error(burst, frame, arrival.packet, quote, found);
}

Verdict handle_fragment(Burst& burst, Frame& frame, const Arrival& arrival) {
  wire::Fragment fragment;
  const wire::FragmentFault fault = wire::parse_fragment(frame.data, arrival.packet, &fragment);
  if (fault != wire::FragmentFault::kNone) return drop(burst, drop_of(fault));
  // Of no connection, and not to be held until a first fragment comes that would be dropped.
  if (fragment.protocol == wire::kIcmp || fragment.protocol == wire::kIcmpv6) return drop(burst, Drop::kFragment);
  if (fragment.begin == 0) return handle_first_fragment(burst, frame, arrival, fragment);

  const FlowKey key = packet_of(frame, arrival.packet, fragment);
  const Fragments::Admission admission = burst.context.fragments->admit_later(
      key, burst.context.table->hash(key), fragment, frame, burst.context.now, burst.context.counters);
  switch (admission.status) {
    case Fragments::Status::kPass:
      return forward_later_fragment(burst, frame, arrival.packet, admission.followed);
    case Fragments::Status::kHeld:
      burst.context.counters->add(Count::kFragmentsHeld);
      return Verdict::held();
    case Fragments::Status::kDrop:
      break;
  }
  return drop(burst, admission.why);
}

Verdict handle_portless(Burst& burst, Frame& frame, const Arrival& arrival) {
  Arrival whole = arrival;
  read_portless_flow(frame, whole.packet, &whole.flow);
  whole.hash = burst.context.table->hash(whole.flow);
  whole.likely = FlowIndex::kNone;
  return handle_connection(burst, frame, whole);
}

Verdict forward_portless(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found) {
  Connection& connection = *found.connection;
  const Packet& packet = arrival.packet;
  const bool from_client = found.direction == Direction::kFromClient;
  Drop why;
  const LastHop to = way_along(burst, frame, packet, found, &why);
  if (to == 0) return drop(burst, why);
  if (const uint32_t mtu = mtu_exceeded(burst, frame, packet, to); mtu != 0)
    return refuse(burst, frame, packet, connection.group, Refusal::too_big(mtu));
  advance(burst, frame, packet, from_client, &connection);
  count_traffic(burst, connection.virtual_server, found.direction, frame.bytes);
  rewrite_addresses(frame, packet, ends_for(*burst.context.table, connection, packet.family, found.direction));
  return send_along(burst, frame, packet, connection, from_client, to);
}

Verdict forward_later_fragment(Burst& burst, Frame& frame, const Packet& packet, const Followed& followed) {
  FlowKey flow;
  read_addresses(frame, packet, &flow);
  flow.words[4] = followed.ports;
  if (followed.whom != Followed::Whom::kFlow) return forward_datagram_fragment(burst, frame, packet, flow, followed);
  const Found found = burst.context.table->find(flow, burst.context.table->hash(flow));
  if (found.connection == nullptr) return drop(burst, Drop::kFragment);  // closed meanwhile
  return forward_fragment_of(burst, frame, packet, found);
}

Verdict forward_fragment_of(Burst& burst, Frame& frame, const Packet& packet, const Found& found) {
  Drop why;
  const LastHop to = way_along(burst, frame, packet, found, &why);
  if (to == 0) return drop(burst, why);
  if (mtu_exceeded(burst, frame, packet, to) != 0) return drop(burst, Drop::kOversized);
  const Connection& connection = *found.connection;
  const bool from_client = found.direction == Direction::kFromClient;
  count_traffic(burst, connection.virtual_server, found.direction, frame.bytes);
  rewrite_addresses(frame, packet, ends_for(*burst.context.table, connection, packet.family, found.direction));
  const Verdict verdict = send_along(burst, frame, packet, connection, from_client, to);
  if (verdict.kind == Verdict::Kind::kForward) burst.context.counters->add(Count::kFragmentsForwarded);
  return verdict;
}

}  // namespace tandem
