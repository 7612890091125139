// TCP as a balancer sees it: enough to choose an idle timeout and to know when a connection is over.
//
// A balancer in the middle believes neither side: a FIN or RST shortens the idle timeout and nothing
// else, and later traffic restores it, so a blind RST (RFC 5961) cuts no connection. A half-open connection has a
// short timeout already, so neither does anything to it: only the handshake leads out of it, or whoever sends a SYN,
// a RST and an ACK would have a connection that counts as established. That the client's ACK is one of who has seen the
// SYN-ACK is for the caller to see (Connection::early). The transitions are one table in tcp_state.cc; read
// RFC 9293 section 3.3.2 first.
#pragma once

#include <cstdint>

#include "clock.h"

namespace tandem {

enum class TcpState : uint8_t {
  kSynSent,      // a SYN from the client
  kSynReceived,  // and a SYN-ACK from the member
  kEstablished,  // and the client's ACK; UDP: a datagram from each side
  kFinClient,    // the client has sent its FIN: half-closed
  kFinServer,    // the member has: half-closed
  kClosing,      // both have
  kReset,        // either has sent a RST; data restores kEstablished
  kAdopted,      // opened amid a connection (unknown: adopt), and the member has not said yet that it has it
};
inline constexpr uint8_t kTcpStates = 8;

// The handshake is not complete, or not known to have been; of UDP, nobody has replied.
constexpr bool is_half_open(TcpState state) { return state <= TcpState::kSynReceived || state == TcpState::kAdopted; }

// tcp_state.cc's table, spelt out: [state][0: from the client, 1: from the member, 2: from the client, answered past
// us][the lower five flags].
struct TcpTable {
  TcpState next[kTcpStates][3][32];
};
extern const TcpTable kTcpTable;

// The state after a segment with these TCP flags (RFC 9293 section 3.1: FIN 1, SYN 2, RST 4, ACK 16). `past_us`: the
// member answers past us, so what the client sends must tell all: its ACK behind its SYN, that the handshake is
// complete. The client's FIN is then half of a close at least, and nothing tells that it is all of it.
inline TcpState advance_tcp(TcpState state, bool from_client, uint8_t flags, bool past_us = false) {
  const size_t sender = from_client ? size_t{past_us} * 2 : 1;
  return kTcpTable.next[static_cast<uint8_t>(state)][sender][flags & 31];
}

// Segments that change nothing of an established connection, whoever sends them: all but SYN, FIN and RST. Datagrams
// have none of these flags, and change nothing of one either. (tcp_state.cc asserts both.)
constexpr bool keeps_established(uint8_t flags) {
  constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4;
  return (flags & (kFin | kSyn | kRst)) == 0;
}

// Of UDP: established once a datagram has come from each side. By arithmetic, for nobody can predict who sends next.
constexpr TcpState advance_udp(TcpState state, bool from_client) {
  constexpr auto kOpen = static_cast<uint8_t>(TcpState::kEstablished);
  const auto before = static_cast<uint8_t>(state);
  const auto keeps = static_cast<uint8_t>(-static_cast<int>(from_client));
  return static_cast<TcpState>((before & keeps) | (kOpen & ~keeps));
}

// Whether a SYN on a tuple in this state opens a new connection in its place. After a RST alone it does not, or a
// blind RST and SYN would cut a connection: the SYN goes to the same member, which answers it whichever is true.
constexpr bool may_reopen(TcpState state) { return state == TcpState::kClosing; }

// Of one virtual server. All in deciseconds.
struct IdleTimeouts {
  Deciseconds half_open;  // kSynSent, kSynReceived, kAdopted
  Deciseconds established;
  Deciseconds half_closed;  // kFinClient, kFinServer
  Deciseconds closing;      // kClosing, kReset
  Deciseconds udp;
  Deciseconds other = 0;  // every other protocol

  // Inline, for the sweep asks for every slot.
  Deciseconds of(uint8_t protocol, TcpState state) const {
    constexpr uint8_t kTcp = 6, kUdp = 17;
    if (protocol != kTcp) return protocol == kUdp ? udp : other;
    switch (state) {
      case TcpState::kSynSent:
      case TcpState::kSynReceived:
      case TcpState::kAdopted:
        return half_open;
      case TcpState::kEstablished:
        return established;
      case TcpState::kFinClient:
      case TcpState::kFinServer:
        return half_closed;
      case TcpState::kClosing:
      case TcpState::kReset:
        return closing;
    }
    return closing;
  }
};

}  // namespace tandem
