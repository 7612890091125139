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

// The state after a segment with these TCP flags (RFC 9293 section 3.1: FIN 1, SYN 2, RST 4, ACK 16). `past_us`: the
// member answers past us, so what the client sends must tell all: its ACK behind its SYN, that the handshake is
// complete. The client's FIN is then half of a close at least, and nothing tells that it is all of it.
TcpState advance_tcp(TcpState state, bool from_client, uint8_t flags, bool past_us = false);

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
  Deciseconds other = 0;  // every other protocol

  Deciseconds of(uint8_t protocol, TcpState state) const;
};

}  // namespace tandem
