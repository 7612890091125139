#include "tcp_state.h"

namespace tandem {
namespace {

// What a segment says, by the flag that matters most.
enum Event : uint8_t { kSyn, kSynAck, kAck, kPush, kFin, kRst, kEvents };

constexpr uint8_t kFlagFin = 1, kFlagSyn = 2, kFlagRst = 4, kFlagPsh = 8, kFlagAck = 16;

constexpr Event event_of(uint8_t flags) {
  if (flags & kFlagRst) return kRst;
  if (flags & kFlagSyn) return flags & kFlagAck ? kSynAck : kSyn;
  if (flags & kFlagFin) return kFin;
  return flags & kFlagPsh ? kPush : kAck;
}

constexpr TcpState SS = TcpState::kSynSent, SR = TcpState::kSynReceived, ES = TcpState::kEstablished,
                   FC = TcpState::kFinClient, FS = TcpState::kFinServer, CL = TcpState::kClosing, RS = TcpState::kReset,
                   AD = TcpState::kAdopted;

// Who pushes data after its FIN has not sent that FIN: somebody else did, and it is taken back. A bare ACK
// proves nothing, for it also answers the other side's FIN. After a RST any segment but a SYN does: an end
// that was reset answers what still arrives with another RST, so a real reset stands in the end.
//
// A member that pushes data into a handshake has completed it, whatever became of the client's ACK. Of an adopted
// connection it is the member's word alone that counts, for whoever sends ACKs at random knows none of its.
//
// Alone: the client, when the member answers past us. Its SYN after its FIN or RST begins anew on the same member,
// which knows whether it is one. Members' segments that come through us all the same are read as ever.
// clang-format off
constexpr TcpState kNext[kTcpStates][3][kEvents] = {
    // from     sender        SYN SYN-ACK ACK PSH FIN RST
    /* SS */ {{/* client */    SS,  SS,   SS, SS, SS, SS},
              {/* member */    SS,  SR,   SS, SS, SS, SS},
              {/* alone */     SS,  SS,   ES, ES, FC, SS}},
    /* SR */ {{/* client */    SR,  SR,   ES, ES, FC, SR},
              {/* member */    SR,  SR,   SR, ES, FS, SR},
              {/* alone */     SR,  SR,   ES, ES, FC, SR}},
    /* ES */ {{/* client */    ES,  ES,   ES, ES, FC, RS},
              {/* member */    ES,  ES,   ES, ES, FS, RS},
              {/* alone */     ES,  ES,   ES, ES, FC, RS}},
    /* FC */ {{/* client */    FC,  FC,   FC, ES, FC, RS},
              {/* member */    FC,  FC,   FC, FC, CL, RS},
              {/* alone */     SS,  FC,   FC, ES, FC, RS}},
    /* FS */ {{/* client */    FS,  FS,   FS, FS, CL, RS},
              {/* member */    FS,  FS,   FS, ES, FS, RS},
              {/* alone */     FS,  FS,   FS, FS, CL, RS}},
    /* CL */ {{/* client */    CL,  CL,   CL, FS, CL, CL},
              {/* member */    CL,  CL,   CL, FC, CL, CL},
              {/* alone */     CL,  CL,   CL, FS, CL, CL}},
    /* RS */ {{/* client */    RS,  RS,   ES, ES, FC, RS},
              {/* member */    RS,  RS,   ES, ES, FS, RS},
              {/* alone */     SS,  RS,   ES, ES, FC, RS}},
    /* AD */ {{/* client */    AD,  AD,   AD, AD, AD, AD},
              {/* member */    AD,  SR,   ES, ES, FS, AD},
              {/* alone */     AD,  AD,   ES, ES, FC, AD}},
};
// clang-format on

}  // namespace

constexpr TcpTable kTcpTable = [] {
  TcpTable table{};
  for (uint8_t state = 0; state < kTcpStates; ++state) {
    for (uint8_t flags = 0; flags < 32; ++flags) {
      for (uint8_t sender = 0; sender < 3; ++sender)
        table.next[state][sender][flags] = kNext[state][sender][event_of(flags)];
    }
  }
  return table;
}();

static_assert([] {
  for (const auto& sender : kTcpTable.next[static_cast<uint8_t>(ES)]) {
    for (uint8_t flags = 0; flags < 32; ++flags) {
      if (keeps_established(flags) && sender[flags] != ES) return false;
    }
  }
  return keeps_established(0) && advance_udp(ES, true) == ES && advance_udp(ES, false) == ES;
}());

}  // namespace tandem
