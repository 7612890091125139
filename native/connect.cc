#include "connect.h"

#include <cstring>

#include "choose_member.h"
#include "connection_close.h"
#include "evict.h"
#include "rewrite.h"
#include "wire/headers.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

// What the packet says of its connection; member and SNAT are still open.
NewConnection describe(const Frame& frame, const wire::Packet& packet, const Opening& opening) {
  NewConnection fresh = {};
  fresh.family = packet.family;
  fresh.protocol = packet.protocol;
  fresh.group = opening.server->group;
  fresh.no_snat = !opening.server->snat;
  if (packet.family == 4) {
    const auto& ip = wire::header_in<wire::Ipv4Header>(frame.data, packet.network);
    std::memcpy(fresh.client, ip.source, sizeof ip.source);
    std::memcpy(fresh.virtual_address, ip.destination, sizeof ip.destination);
  } else {
    const auto& ip = wire::header_in<wire::Ipv6Header>(frame.data, packet.network);
    std::memcpy(fresh.client, ip.source, sizeof ip.source);
    std::memcpy(fresh.virtual_address, ip.destination, sizeof ip.destination);
  }
  if (has_ports(packet.protocol)) {  // TCP and UDP begin alike
    const auto& ports = wire::header_in<wire::UdpHeader>(frame.data, packet.transport);
    fresh.client_port = ports.source_port;
    fresh.virtual_port = ports.destination_port;
  } else {
    fresh.client_port = fresh.virtual_port = wire::be16(0);
  }
  fresh.virtual_server = opening.server->id;
  fresh.incarnation = opening.incarnation;
  fresh.state = opening.state;
  fresh.mirror_control = opening.mirror_control;
  fresh.last_hop = last_hop_of(frame, packet);
  return fresh;
}

Drop drop_of(OpenStatus status) { return status == OpenStatus::kFull ? Drop::kTableFull : Drop::kFlowTaken; }

ConnectionBooks books_of(const ForwardContext& context) {
  return {context.table, context.runtime, context.snat_ports, context.mirror};
}

void count_mark(const ForwardContext& context, MirrorSource::Marked marked) {
  switch (marked) {
    case MirrorSource::Marked::kNo:
      return;
    case MirrorSource::Marked::kQueued:
      return context.counters->add(Count::kMirrorQueued);
    case MirrorSource::Marked::kCoalesced:
      return context.counters->add(Count::kMirrorCoalesced);
    case MirrorSource::Marked::kDeferred:
      return context.counters->add(Count::kMirrorDeferred);
  }
}

// The member sees the client's own address and port.
OpenStatus open_without_snat(const ForwardContext& context, NewConnection* fresh, Connection** opened, Drop* why) {
  std::memcpy(fresh->snat, fresh->client, sizeof fresh->snat);
  fresh->snat_port = fresh->client_port;
  const OpenStatus status = open_connection(books_of(context), context.worker, *fresh, context.now, opened);
  *why = drop_of(status);
  return status;
}

// Without SNAT a client's datagrams from one port look alike to a member, and so do its answers: they share an entry.
Connection* alike(const ForwardContext& context, const NewConnection& fresh) {
  const ConnTable& table = *context.table;
  const bool v4 = fresh.family == 4;
  const auto key = [&](const uint8_t* source, const uint8_t* destination, wire::be16 from, wire::be16 to) {
    if (!v4) return FlowKey::v6(source, destination, from, to, fresh.protocol);
    wire::be32 ends[2];
    std::memcpy(&ends[0], source, sizeof ends[0]);
    std::memcpy(&ends[1], destination, sizeof ends[1]);
    return FlowKey::v4(ends[0], ends[1], from, to, fresh.protocol);
  };
  const FlowKey answers = key(fresh.member, fresh.client, fresh.member_port, fresh.client_port);
  const Found found = table.find(answers, table.hash(answers));
  if (found.connection == nullptr || (found.connection->control.load(relaxed) & Control::kOnePacket) == 0)
    return nullptr;
  const FlowKey asks = key(fresh.client, fresh.virtual_address, fresh.client_port, fresh.virtual_port);
  return table.flow(*found.connection, Direction::kFromClient) == asks ? found.connection : nullptr;
}

// SNAT addresses in turn, each port by port, until the table takes one. Where no port is free on any of them, a
// half-open connection's.
OpenStatus open_with_snat(const ForwardContext& context, const std::vector<SnatAddress>& choices, NewConnection* fresh,
                          Connection** opened, Drop* why) {
  *why = Drop::kNoSnatPort;
  const size_t turn = choices.size() > 1 ? context.policy->snat_turn.fetch_add(1, relaxed) : 0;
  size_t tries = 0, looks = kPortLooksMax;
  for (size_t choice = 0; choice < 2 * choices.size(); ++choice) {
    const SnatAddress& snat = choices[(turn + choice) % choices.size()];
    std::memcpy(fresh->snat, snat.address.octets, sizeof fresh->snat);
    if (!has_ports(fresh->protocol)) {
      // One client of a protocol for each SNAT address and member: nothing tells a second one's answers from the
      // first's.
      fresh->snat_port = 0;
      const OpenStatus status = open_connection(books_of(context), context.worker, *fresh, context.now, opened);
      if (status == OpenStatus::kOpened) return status;
      *why = drop_of(status);
      if (status == OpenStatus::kServerFlowTaken) continue;
      return status;
    }
    while (tries++ < kSnatTriesMax) {
      const SnatPorts::Allocation found = context.snat_ports->allocate(snat.index, fresh->endpoint, context.now);
      if (found.port == 0) {  // none is free on this address
        if (choice >= choices.size() && evict_for_port(context, *fresh, snat, &looks)) continue;
        break;
      }
      fresh->snat_port = found.port;
      const OpenStatus status = open_connection(books_of(context), context.worker, *fresh, context.now, opened);
      if (status == OpenStatus::kOpened) {
        if (found.early) context.counters->add(Count::kSnatPortReusedEarly);
        return status;
      }
      context.snat_ports->release(snat.index, fresh->endpoint, found.port, context.now);
      if (status == OpenStatus::kServerFlowTaken) continue;  // in use by a connection of the peer's
      *why = drop_of(status);
      return status;
    }
  }
  return OpenStatus::kServerFlowTaken;
}

}  // namespace

Connection* connect_client(const ForwardContext& context, const Frame& frame, const wire::Packet& packet,
                           const Opening& opening, Drop* why) {
  const VirtualServer& server = *opening.server;
  NewConnection fresh = describe(frame, packet, opening);
  const int chosen = choose_member(context, server, fresh, reinterpret_cast<const uint8_t*>(&fresh.client_port), why);
  if (chosen < 0) return nullptr;
  const Member& member = context.policy->pools[server.pool]->members[static_cast<size_t>(chosen)];
  Endpoint& endpoint = context.runtime->endpoints[member.endpoint];
  // Without a way to the member there is nothing to open; the client asks again.
  if (endpoint.next_hop.load(relaxed) == 0) {
    endpoint.release();
    *why = Drop::kNoNeighbour;
    return nullptr;
  }
  fresh.endpoint = member.endpoint;
  fresh.reserved = true;
  fresh.one_packet = server.one_packet;
  if (server.forwarding == Forwarding::kNat) {
    std::memcpy(fresh.member, member.address.octets, sizeof fresh.member);
    fresh.member_port = member.port != 0 && has_ports(packet.protocol) ? wire::be16(member.port) : fresh.virtual_port;
  } else {
    fresh.direct = true;
    fresh.tunnelled = is_tunnel(server.forwarding);
    std::memcpy(fresh.member, fresh.virtual_address, sizeof fresh.member);
    fresh.member_port = fresh.virtual_port;
  }

  Connection* opened = nullptr;
  const OpenStatus status =
      server.snat ? open_with_snat(context, server.snat_by_member[static_cast<size_t>(chosen)], &fresh, &opened, why)
                  : open_without_snat(context, &fresh, &opened, why);
  if (status != OpenStatus::kOpened) {
    endpoint.release();
    return status == OpenStatus::kServerFlowTaken && fresh.one_packet && fresh.no_snat ? alike(context, fresh)
                                                                                       : nullptr;
  }

  context.counters->add(Count::kOpened);
  if (opening.incarnation != 0) context.counters->add(Count::kReopened);
  if (opening.state != TcpState::kSynSent) context.counters->add(Count::kAdopted);
  if (is_half_open(opening.state)) {
    admit_half_open(context, *opened);
    if ((opening.mirror_control & Control::kCommitting) != 0) mark_change(context, *opened);
  } else {
    mark_change(context, *opened);
  }
  return opened;
}

int schedule_datagram(const ForwardContext& context, const Frame& frame, const wire::Packet& packet,
                      const VirtualServer& server, Drop* why) {
  const NewConnection fresh = describe(frame, packet, {&server, TcpState::kSynSent, 0});
  const int chosen = choose_member(context, server, fresh, reinterpret_cast<const uint8_t*>(&fresh.client_port), why);
  if (chosen < 0) return -1;
  const uint16_t id = context.policy->pools[server.pool]->members[static_cast<size_t>(chosen)].endpoint;
  Endpoint& endpoint = context.runtime->endpoints[id];
  endpoint.release();
  *why = Drop::kNoNeighbour;
  if (endpoint.next_hop.load(relaxed) == 0) return -1;
  endpoint.opened.fetch_add(1, relaxed);
  context.runtime->virtual_servers[server.id].opened.fetch_add(1, relaxed);
  return id;
}

bool disconnect(const ForwardContext& context, Connection& connection, CloseIf only) {
  const MirrorSource::Closing closing =
      close_connection(books_of(context), context.worker, connection, context.now, only);
  count_mark(context, closing.marked);
  if (closing.closed) context.counters->add(Count::kClosed);
  return closing.closed;
}

void mark_change(const ForwardContext& context, Connection& connection) {
  count_mark(context, context.mirror->mark(context.worker, connection));
}

}  // namespace tandem
