// One-packet UDP (IPVS calls it one-packet scheduling): each datagram of a client is scheduled by itself.
//
//   dsr, tunnel   it goes to its member and is forgotten; the member answers the client past us
//   nat           it gets an entry that its answer finds, by the member's flow alone (Control::kOnePacket), and that is
//                 closed by the answer. Any number of a client's datagrams may wait for theirs at a time.
//
// An entry never leaves half-open, so it makes way as any half-open connection does, and waits no longer than one.
// Two kinds live until then, and their answers close nothing: without SNAT, datagrams of one client's port to one
// member share an entry, for nothing tells their answers apart; and an answer in fragments is not over with its first.
#include "burst.h"
#include "fragments.h"

namespace tandem {
namespace {

using wire::Packet;

constexpr auto relaxed = std::memory_order_relaxed;

// Addresses and ports stay as they are.
Verdict send_as_it_is(Burst& burst, Frame& frame, const Packet& packet, const VirtualServer& server, uint16_t endpoint,
                      const FlowKey& flow) {
  if (is_tunnel(server.forwarding)) return send_datagram_into_tunnel(burst, frame, packet, server, endpoint, flow);
  const LastHop to = burst.context.runtime->endpoints[endpoint].next_hop.load(relaxed);
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  if (const uint32_t mtu = mtu_exceeded(burst, frame, packet, to); mtu != 0) {
    return packet.kind == wire::PacketKind::kUdp ? refuse(burst, frame, packet, server.group, Refusal::too_big(mtu))
                                                 : drop(burst, Drop::kOversized);
  }
  count_traffic(burst, server.id, Direction::kFromClient, frame.bytes);
  rewrite_addresses(frame, packet, {source_of(frame, packet), destination_of(frame, packet), 0});
  rewrite_link(frame, packet, to, source_mac(burst, server.group, packet.family, device_of(to)));
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

}  // namespace

Verdict forward_datagram(Burst& burst, Frame& frame, const Arrival& arrival, const VirtualServer& server) {
  Drop why;
  const int endpoint = schedule_datagram(burst.context, frame, arrival.packet, server, &why);
  if (endpoint < 0) return drop(burst, why);
  burst.context.counters->add(Count::kOnePackets);
  const auto member = static_cast<uint16_t>(endpoint);
  if (burst.first_fragment != nullptr)
    *burst.first_fragment = {arrival.flow.words[4], Followed::Whom::kMember, server.id, member};
  return send_as_it_is(burst, frame, arrival.packet, server, member, arrival.flow);
}

void note_datagram(Burst& burst, const Connection& opened) {
  burst.context.counters->add(Count::kOnePackets);
  if (burst.first_fragment == nullptr) return;
  burst.first_fragment->whom = Followed::Whom::kEntry;
  burst.first_fragment->tag = opened.incarnation.load(relaxed);
  burst.first_fragment->number = static_cast<uint32_t>(burst.context.table->slot_of(opened));
}

Verdict forward_datagram_answer(Burst& burst, Frame& frame, const Arrival& arrival, Connection& connection) {
  const Packet& packet = arrival.packet;
  const LastHop to = connection.last_hop.load(relaxed);
  if (to == 0) return drop(burst, Drop::kNoNeighbour);
  if (const uint32_t mtu = mtu_exceeded(burst, frame, packet, to); mtu != 0)
    return refuse(burst, frame, packet, connection.group, Refusal::too_big(mtu));
  count_traffic(burst, connection.virtual_server, Direction::kFromServer, frame.bytes);
  rewrite_packet(frame, packet, ends_for(*burst.context.table, connection, packet.family, Direction::kFromServer));
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.forwarded++;
  const bool shared = (connection.control.load(relaxed) & Control::kNoSnat) != 0;
  if (!shared && burst.first_fragment == nullptr) disconnect(burst.context, connection);
  return Verdict::forward(device_of(to));
}

Verdict forward_datagram_fragment(Burst& burst, Frame& frame, const Packet& packet, const FlowKey& flow,
                                  const Followed& followed) {
  if (followed.whom == Followed::Whom::kEntry) {
    // Given, it stays the same connection until this worker's next quiesce(), whoever closes it.
    Connection* entry = burst.context.table->at(followed.number);
    if (entry == nullptr || entry->incarnation.load(relaxed) != followed.tag ||
        (entry->control.load(relaxed) & (Control::kOnePacket | Control::kDead)) != Control::kOnePacket ||
        burst.context.table->flow(*entry, Direction::kFromClient) != flow)
      return drop(burst, Drop::kFragment);  // closed meanwhile
    return forward_fragment_of(burst, frame, packet, {entry, Direction::kFromClient});
  }
  const VirtualServer* server = burst.context.policy->virtual_server(followed.tag);
  if (server == nullptr || server->forwarding == Forwarding::kNat) return drop(burst, Drop::kFragment);
  if (burst.roles[server->group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (!tags_are_repeatable(frame, packet)) return drop(burst, Drop::kVlanTags);
  if (packet.ttl <= 1) return drop(burst, Drop::kTtlExpired);
  const uint64_t forwarded = burst.forwarded;
  const Verdict verdict = send_as_it_is(burst, frame, packet, *server, static_cast<uint16_t>(followed.number), flow);
  if (burst.forwarded != forwarded) burst.context.counters->add(Count::kFragmentsForwarded);
  return verdict;
}

}  // namespace tandem
