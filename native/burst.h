// What the parts of the data path share while a burst goes through them: what is known of a frame (Arrival), what holds
// for every frame (Burst), and the small steps that each part takes. forward.cc is where the order of events stands.
//
//   forward.cc           arrival, and the packet of a known connection
//   forward_related.cc   what belongs to a known connection otherwise: ICMP errors, fragments
//   forward_tunnel.cc    what goes to members in tunnels, and errors about it
//   forward_datagram.cc  datagrams that are scheduled one by one
//   forward_unknown.cc   packets of no known connection, and who has an address: opened, answered, refused or dropped
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "answer.h"
#include "connect.h"
#include "forward.h"
#include "icmp_error.h"
#include "rewrite.h"
#include "wire/checksum.h"
#include "wire/headers.h"
#include "wire/parse.h"

namespace tandem {

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
  wire::Packet packet;
  Path path;
  int8_t mac_group;  // whose virtual MAC it was sent to; -1: multicast
  FlowKey flow;      // kConnection only
  uint64_t hash;     // of flow
  uint32_t likely;   // its entry in the table, see ConnTable::prefetch_slot()
  bool usual;        // kConnection, and `packet` is a wire::usual_packet()
};

// What holds for every frame of a burst.
struct Burst {
  explicit Burst(const ForwardContext& with) : context(with), now(to_deciseconds(with.now)) {
    vrids.fill(kNoVrids);
    for (size_t group = 0; group < with.policy->groups.size(); ++group) {
      roles[group] = with.shared->role(group, with.now);
      // In a hand-over the peer uses the virtual MAC already.
      if (roles[group] == Role::kActive) vrids[group] = with.policy->groups[group].vrid;
    }
  }

  const ForwardContext context;
  const Deciseconds now;
  Role roles[kGroupsMax] = {};                   // standby where the policy has no group
  std::array<const uint8_t*, kGroupsMax> vrids;  // [group][device]: whose virtual MAC frames leave from; 0: our own
  const uint32_t fits_everywhere = context.runtime->fits_everywhere.load(std::memory_order_relaxed);
  uint64_t forwarded = 0;
  uint64_t punted = 0;
  // While a first fragment is handled: what those behind it are to follow. Else nullptr.
  Followed* first_fragment = nullptr;

 private:
  static constexpr uint8_t kNoVrids[kDevicesMax] = {};
};

// ---- verdicts, counted

inline Verdict punt(Burst& burst) {
  burst.punted++;
  return Verdict::punt();
}

inline Verdict drop(const Burst& burst, Drop why) {
  burst.context.counters->add(why);
  return Verdict::dropped(why);
}

inline Verdict answered(const Burst& burst, const Frame& frame, Count with) {
  burst.context.counters->add(with);
  return Verdict::forward(frame.device);
}

// ---- reading

// FlowKey::v4() and v6() in a few loads: source and destination stand side by side in a header, as do ports.
// Word by word, for the table reads the key word by word: what is stored in one width and loaded in another stalls.
inline void read_addresses(const Frame& frame, const wire::Packet& packet, FlowKey* flow) {
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

inline void read_flow(const Frame& frame, const wire::Packet& packet, FlowKey* flow) {
  read_addresses(frame, packet, flow);
  flow->words[4] =
      wire::load32(frame.data + packet.transport) | uint64_t{packet.protocol} << 32 | uint64_t{packet.family} << 40;
}

// Of a protocol without ports that we know of.
inline void read_portless_flow(const Frame& frame, const wire::Packet& packet, FlowKey* flow) {
  read_addresses(frame, packet, flow);
  flow->words[4] = uint64_t{packet.protocol} << 32 | uint64_t{packet.family} << 40;
}

inline const uint8_t* destination_of(const Frame& frame, const wire::Packet& packet) {
  return packet.family == 4 ? wire::header_in<wire::Ipv4Header>(frame.data, packet.network).destination
                            : wire::header_in<wire::Ipv6Header>(frame.data, packet.network).destination;
}

inline const uint8_t* source_of(const Frame& frame, const wire::Packet& packet) {
  return packet.family == 4 ? wire::header_in<wire::Ipv4Header>(frame.data, packet.network).source
                            : wire::header_in<wire::Ipv6Header>(frame.data, packet.network).source;
}

inline bool is_opening_syn(const wire::Packet& packet) {
  constexpr uint8_t kOpens = wire::kSyn | wire::kAck | wire::kRst | wire::kFin;
  return packet.kind == wire::PacketKind::kTcp && (packet.tcp_flags & kOpens) == wire::kSyn;
}

// ---- sending

// Frames of a group leave from its virtual MAC.
[[gnu::always_inline]] inline MacWord source_mac(const Burst& burst, uint8_t group, uint8_t family, uint8_t device) {
  const uint8_t vrid = burst.vrids[group][device];
  return vrid != 0 ? virtual_mac_word(family, vrid) : mac_word(burst.context.device_macs[device].octets);
}

// A packet leaves with the connection's other flow, turned round: what a client sends goes where its member's
// answers come from. Without a branch, for nobody can predict which side the next packet is from.
// Always inlined, as is what every packet of a known connection goes through: errors and fragments call it, too.
[[gnu::always_inline]] inline Ends ends_for(const ConnTable& table, const Connection& connection, uint8_t family,
                                            Direction direction) {
  const Direction other = opposite(direction);
  const uint32_t ports = std::rotl(ports_of(connection, other), 16);
  if (family == 4) {
    const uint8_t* pair = addresses_of(connection, other);
    return {pair + 4, pair, ports};
  }
  const uint8_t* pair = addresses_of(table.ipv6(connection), other);
  return {pair + 16, pair, ports};
}

[[gnu::always_inline]] inline void count_traffic(const Burst& burst, uint16_t virtual_server, Direction direction,
                                                 uint32_t bytes) {
  Traffic::Way& way = (*burst.context.traffic)[virtual_server].ways[static_cast<size_t>(direction)];
  Counters::bump(way.packets, 1);
  Counters::bump(way.bytes, bytes);
}

// The MTU of the device that this is too long for; 0: it fits. Tags and padding are no part of a packet that has to
// fit, and of a frame that the kernel joined each segment has to.
uint32_t mtu_exceeded(const Burst& burst, const Frame& frame, const wire::Packet& packet, LastHop to);

// ---- the parts: each gives the verdict, counted

// forward.cc: what a packet changes of its connection; whatever the peer must know is marked.
void advance(const Burst& burst, const Frame& frame, const wire::Packet& packet, bool from_client,
             Connection* connection);

// forward_related.cc: a packet of a protocol other than TCP, UDP and ICMP; the same once its connection is found. Of
// these addresses are translated and nothing else.
[[gnu::cold]] Verdict handle_portless(Burst& burst, Frame& frame, const Arrival& arrival);
[[gnu::cold]] Verdict forward_portless(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found);

// forward_tunnel.cc: a client's packet of a connection that is tunnelled (Control::kTunnelled), its TTL above 1.
[[gnu::cold]] Verdict forward_into_tunnel(Burst& burst, Frame& frame, const Arrival& arrival, Connection& connection);
// What a member answers, when it comes through us all the same: its SYN-ACK is not to ask for more than the tunnel
// holds.
[[gnu::cold]] void clamp_answer(const Burst& burst, Frame& frame, const wire::Packet& packet,
                                const Connection& connection);
// A packet of such a connection that changes nothing of it, rewritten already.
[[gnu::cold]] Verdict send_into_tunnel(Burst& burst, Frame& frame, const wire::Packet& packet,
                                       const Connection& connection);
// A datagram of no connection into the tunnel to that member, addresses as they are.
Verdict send_datagram_into_tunnel(Burst& burst, Frame& frame, const wire::Packet& packet, const VirtualServer& server,
                                  uint16_t endpoint, const FlowKey& flow);
// An error that quotes what read_quote() finds no connection for: perhaps a packet that we sent into a tunnel.
[[gnu::cold]] Verdict handle_tunnel_error(Burst& burst, Frame& frame, const Arrival& arrival, const Quote& quote);

// Sends a packet that is rewritten, but for its link header, towards `to`.
inline Verdict send_along(Burst& burst, Frame& frame, const wire::Packet& packet, const Connection& connection,
                          bool from_client, LastHop to) {
  if (from_client && (connection.control.load(std::memory_order_relaxed) & Control::kTunnelled) != 0)
    return send_into_tunnel(burst, frame, packet, connection);
  rewrite_link(frame, packet, to, source_mac(burst, connection.group, packet.family, device_of(to)));
  burst.forwarded++;
  return Verdict::forward(device_of(to));
}

// forward.cc: a TCP or UDP packet to one of our virtual MACs; the same once its connection is found.
Verdict handle_connection(Burst& burst, Frame& frame, const Arrival& arrival);
Verdict forward_connection(Burst& burst, Frame& frame, const Arrival& arrival, const Found& found);

// forward_related.cc
[[gnu::cold]] Verdict handle_icmp_error(Burst& burst, Frame& frame, const Arrival& arrival);
[[gnu::cold]] Verdict handle_fragment(Burst& burst, Frame& frame, const Arrival& arrival);
// RFC 1812 section 4.3.2.7: nobody is told about a later fragment.
Verdict forward_later_fragment(Burst& burst, Frame& frame, const wire::Packet& packet, const Followed& followed);
// The same where its connection is found.
Verdict forward_fragment_of(Burst& burst, Frame& frame, const wire::Packet& packet, const Found& found);

// forward_datagram.cc: virtual servers that schedule datagram by datagram. One that is not translated goes to a member
// and leaves nothing behind; one that is has an entry for its answer, `opened` just now.
Verdict forward_datagram(Burst& burst, Frame& frame, const Arrival& arrival, const VirtualServer& server);
void note_datagram(Burst& burst, const Connection& opened);
Verdict forward_datagram_answer(Burst& burst, Frame& frame, const Arrival& arrival, Connection& connection);
// A fragment of such a datagram, whose first one went before.
Verdict forward_datagram_fragment(Burst& burst, Frame& frame, const wire::Packet& packet, const FlowKey& flow,
                                  const Followed& followed);

// forward_unknown.cc: a packet of no known connection, to one of our virtual MACs: never the kernel's (design: "What a
// packet of no known connection gets"). `incarnation` as Opening has it.
Verdict handle_unknown(Burst& burst, Frame& frame, const Arrival& arrival, uint16_t incarnation);
// The sender is told, from the group's floating address where the packet came in. IPv4 without "don't fragment", too:
// Tandem fragments nothing, and senders take the smaller MTU whatever that bit was.
[[gnu::cold]] Verdict refuse(Burst& burst, Frame& frame, const wire::Packet& packet, uint8_t group,
                             const Refusal& refusal);
// A connection for a client's packet, and the packet sent on it.
Verdict open_and_forward(Burst& burst, Frame& frame, const Arrival& arrival, const Opening& opening);
// The sender of a segment is answered with a RST; one that is a RST itself is dropped, `otherwise` saying why.
Verdict reset(Burst& burst, Frame& frame, const wire::Packet& packet, uint8_t group, Drop otherwise);
// Who has an address: answered where its group is active, on the devices where it is announced.
Verdict handle_arp(Burst& burst, Frame& frame, const wire::Packet& packet);
Verdict handle_solicitation(Burst& burst, Frame& frame, const Arrival& arrival);

}  // namespace tandem
