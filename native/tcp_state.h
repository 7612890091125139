// TCP as a balancer sees it: enough to choose an idle timeout and to know when a connection is over.
//
// A balancer in the middle believes neither side: a FIN or RST shortens the idle timeout and nothing
// else, and later traffic restores it, so a blind RST (RFC 5961) cuts no connection. The transitions
// are one table in tcp_state.cc; read RFC 9293 section 3.3.2 first.
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
};
inline constexpr uint8_t kTcpStates = 7;

// tcp_state.cc's table, spelt out: [state][0: from the client, 1: from the member][the lower five flags].
struct TcpTable {
  TcpState next[kTcpStates][2][32];
};
extern const TcpTable kTcpTable;

// The state after a segment with these TCP flags (RFC 9293 section 3.1: FIN 1, SYN 2, RST 4, ACK 16).
inline TcpState advance_tcp(TcpState state, bool from_client, uint8_t flags) {
  return kTcpTable.next[static_cast<uint8_t>(state)][from_client ? 0 : 1][flags & 31];
}

// Of UDP: established once a datagram has come from each side. By arithmetic, for nobody can predict who sends next.
inline TcpState advance_udp(TcpState state, bool from_client) {
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
  Deciseconds half_open;  // kSynSent, kSynReceived
  Deciseconds established;
  Deciseconds half_closed;  // kFinClient, kFinServer
  Deciseconds closing;      // kClosing, kReset
  Deciseconds udp;

  // Inline, for the sweep asks for every slot.
  Deciseconds of(uint8_t protocol, TcpState state) const {
    constexpr uint8_t kUdp = 17;
    if (protocol == kUdp) return udp;
    switch (state) {
      case TcpState::kSynSent:
      case TcpState::kSynReceived:
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
