// A packet of no known connection, to one of our virtual MACs: it opens a connection, is answered, refused or dropped.
#include "answer.h"
#include "burst.h"
#include "commit.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

// Answers are given by active groups only.
MacAddress answering_mac(const Burst& burst, uint8_t group, uint8_t family, uint8_t device) {
  const uint8_t vrid = burst.context.policy->groups[group].vrid[device];
  return vrid != 0 ? virtual_mac(family, vrid) : burst.context.device_macs[device];
}

Verdict handle_closed_port(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned) {
  if (owned.closed == Closed::kDrop || packet.kind != PacketKind::kTcp) return drop(burst, Drop::kClosedPort);
  return reset(burst, frame, packet, owned.group, Drop::kClosedPort);
}

Verdict handle_echo(Burst& burst, Frame& frame, const Packet& packet, const OwnedAddress& owned) {
  const uint8_t request = packet.kind == PacketKind::kIcmp ? wire::kIcmpEchoRequest : wire::kIcmpv6EchoRequest;
  if (packet.icmp_type != request) return drop(burst, Drop::kIcmp);
  write_echo_reply(frame, packet, answering_mac(burst, owned.group, packet.family, frame.device));
  return answered(burst, frame, Count::kEchoReplies);
}

bool is_martian(const Frame& frame, const Packet& packet, const uint8_t* destination) {
  const size_t octets = packet.family == 4 ? 4 : 16;
  return !has_hosts_source(frame, packet) || std::memcmp(source_of(frame, packet), destination, octets) == 0;
}

// A client is an address, or an IPv6 /64; see client_limits.h.
bool is_within_limit(const Burst& burst, const Arrival& arrival, const VirtualServer& server) {
  FlowKey client{};
  const uint64_t mask = arrival.packet.family == 4 ? 0xffffffff : ~uint64_t{0};
  client.words[0] = arrival.flow.words[0] & mask;
  client.words[4] = server.id;
  const ForwardContext& context = burst.context;
  return context.runtime->client_limits.take(context.table->hash(client), server.new_per_client, context.now);
}

// The virtual router's VRID with which to answer; 0: not here.
uint8_t answering_vrid(const Burst& burst, const OwnedAddress& owned, uint8_t device) {
  if (burst.roles[owned.group] != Role::kActive || (owned.devices >> device & 1) == 0) return 0;
  return burst.context.policy->groups[owned.group].vrid[device];
}

}  // namespace

// RFC 9293 section 3.10.7.1: a RST is never sent in answer to a RST.
Verdict reset(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, Drop otherwise) {
  if ((packet.tcp_flags & wire::kRst) != 0) return drop(burst, otherwise);
  write_reset(frame, packet, answering_mac(burst, group, packet.family, frame.device));
  return answered(burst, frame, Count::kResetsSent);
}

Verdict open_and_forward(Burst& burst, Frame& frame, const Arrival& arrival, const Opening& opening) {
  if (!tags_are_repeatable(frame, arrival.packet)) return drop(burst, Drop::kVlanTags);
  if (arrival.packet.ttl <= 1)
    return refuse(burst, frame, arrival.packet, opening.server->group, Refusal::time_exceeded());
  if (opening.server->new_per_client.interval != 0 && !is_within_limit(burst, arrival, *opening.server))
    return drop(burst, Drop::kClientLimit);
  if (opening.server->one_packet && opening.server->forwarding != Forwarding::kNat)
    return forward_datagram(burst, frame, arrival, *opening.server);
  Drop why;
  std::optional<uint32_t> mirroring = 0;
  if (!opening.server->one_packet)
    mirroring = begin_mirroring(burst.context, arrival.packet, *opening.server, opening.state, &why);
  if (!mirroring) return drop(burst, why);
  Opening mirrored = opening;
  mirrored.mirror_control = *mirroring;
  Found found = {connect_client(burst.context, frame, arrival.packet, mirrored, &why), Direction::kFromClient};
  if (found.connection == nullptr) {
    if (why != Drop::kFlowTaken) return drop(burst, why);
    found = burst.context.table->find(arrival.flow, arrival.hash);  // another worker was faster
    if (found.connection == nullptr) return drop(burst, why);
  }
  if (opening.server->one_packet) note_datagram(burst, *found.connection);
  return forward_connection(burst, frame, arrival, found);
}

Verdict handle_unknown(Burst& burst, Frame& frame, const Arrival& arrival, uint16_t incarnation) {
  const Packet& packet = arrival.packet;
  const Policy& policy = *burst.context.policy;
  const uint8_t* destination = destination_of(frame, packet);
  const OwnedAddress* owned = policy.owned(packet.family, destination);
  const size_t group = owned != nullptr ? owned->group : static_cast<size_t>(arrival.mac_group);

  if (burst.roles[group] == Role::kStandby) return drop(burst, Drop::kStandby);
  if (owned == nullptr) return drop(burst, Drop::kTransit);
  if (is_martian(frame, packet, destination)) return drop(burst, Drop::kMartian);
  if (burst.roles[group] == Role::kHandingOver) return drop(burst, Drop::kHandingOver);
  if (packet.kind == PacketKind::kOther) {
    const VirtualServer* any = policy.virtual_server(packet.family, destination, packet.protocol, 0);
    if (any == nullptr) return drop(burst, Drop::kProtocol);
    return open_and_forward(burst, frame, arrival, {any, TcpState::kSynSent, incarnation});
  }
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
      // Where the member answers past us, nothing would ever tell that it has.
      return open_and_forward(
          burst, frame, arrival,
          {server, server->forwarding == Forwarding::kNat ? TcpState::kAdopted : TcpState::kEstablished, incarnation});
  }
  return drop(burst, Drop::kUnknown);
}

Verdict refuse(Burst& burst, Frame& frame, const Packet& packet, uint8_t group, const Refusal& refusal) {
  const bool expired = refusal.kind == Refusal::Kind::kTimeExceeded;
  const Address* source = burst.context.policy->groups[group].speaker(frame.device, packet.family);
  if (burst.roles[group] != Role::kActive || source == nullptr || !has_hosts_source(frame, packet) ||
      !burst.context.runtime->icmp_paces[burst.context.worker].take(burst.context.now))
    return drop(burst, expired ? Drop::kTtlExpired : Drop::kOversized);
  write_refusal(frame, packet, refusal, source->octets, answering_mac(burst, group, packet.family, frame.device));
  return answered(burst, frame, expired ? Count::kTimeExceededSent : Count::kTooBigSent);
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

}  // namespace tandem
