// Packets in packets: what goes to a member in a tunnel, and what an error about such a packet quotes.
//
//   kIpip  | Ethernet, tag | outer IP: protocol 4 or 41 | packet |
//   kGue   | Ethernet, tag | outer IP | UDP: from the flow's port, to the member's GUE port | GUE | packet |
//
// IPv4 in IPv4 is RFC 2003, IPv6 in IPv4 RFC 4213 section 3, either in IPv6 RFC 2473; the GUE header is that of
// draft-ietf-intarea-gue section 3, variant 0 without extensions, as Linux's fou module reads it. The packet is
// unchanged but for its TTL. The outer header has a TTL of 64, the packet's DSCP and ECN (RFC 6040 section 4.1, normal
// mode) and, of IPv4, "don't fragment": nothing is fragmented here, so who sends too much is told (RFC 2003
// section 3.1).
//
// Bytes only; where a tunnel begins and ends is decided in forward_tunnel.cc.
#pragma once

#include <cstdint>

#include "conn_table.h"
#include "frame.h"
#include "icmp_error.h"
#include "runtime.h"
#include "wire/headers.h"
#include "wire/parse.h"

namespace tandem {

struct Tunnel {
  Forwarding how;      // kIpip or kGue
  uint16_t port;       // kGue: of the member, host byte order
  uint8_t family;      // of the outer header, 4 or 6
  uint8_t source[16];  // network byte order; IPv4 in the first four
  uint8_t destination[16];
};

// Octets that stand before a packet in such a tunnel.
constexpr uint32_t tunnel_overhead(Forwarding how, uint8_t family) {
  const size_t outer = family == 4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  return static_cast<uint32_t>(outer +
                               (how == Forwarding::kGue ? sizeof(wire::UdpHeader) + sizeof(wire::GueHeader) : 0));
}
inline constexpr uint32_t kTunnelOverheadMax = tunnel_overhead(Forwarding::kGue, 6);

// The same for all packets of a flow, the same on both units: what receivers spread by. GUE's source port is made of it
// (RFC 6335's dynamic ports, as the draft's section 5.6.1 has it), and IPv6's flow label (RFC 6438).
uint32_t tunnel_entropy(const FlowKey& flow);

// Puts the packet into the tunnel: the frame grows to the front by tunnel_overhead(), padding behind the packet goes.
// The packet with it has at most 65,535 octets. What is unfinished of its checksum is finished first, for behind an
// outer header nobody would.
void enter_tunnel(Frame& frame, const wire::Packet& packet, const Tunnel& tunnel, uint32_t entropy);

// Lowers the maximum segment size that a SYN or SYN-ACK announces (RFC 9293 section 3.7.1) to what fits in packets of
// `mtu` octets. One that announces none, or less, stays as it is.
void clamp_segment_size(Frame& frame, const wire::Packet& packet, uint32_t mtu);

// An error about a packet in a tunnel: the packet inside, as much of it as the error holds.
struct TunnelQuote {
  Forwarding how;
  uint16_t port;   // kGue: destination port, host byte order
  uint16_t outer;  // offset of the outer IP header in the frame
  uint8_t family;  // of the packet inside
  uint32_t mtu;    // what the error says fits on the way, outer header included; 0: it is not about that
  Quote inside;    // its reply is the flow of what answers the packet inside
};

// `quote` is what read_quote() made of the error, whatever it said. kUnspeakable: no packet in a tunnel.
QuoteFault read_tunnel_quote(const Frame& frame, const wire::Packet& packet, const Quote& quote, TunnelQuote* inside);

// The frame becomes as if the packet inside had come in it, cut where the quote ends. `packet` is made to fit.
void leave_tunnel_quote(Frame& frame, wire::Packet* packet, const TunnelQuote& quote);

}  // namespace tandem
