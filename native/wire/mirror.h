// What one unit tells its peer about one connection, as it crosses the mirror channel. Batches of
// these are carried by src/mirror/ without being looked into.
//
//    0                   1                   2                   3
//    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  kind, family |   protocol    |     state     | traffic group |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |             term              |          incarnation          |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                           sequence                            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |          client port          |         virtual port          |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  client address, virtual address: 4 octets each, IPv6 16 each |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   a close ends here
//   |          member port          |          SNAT port            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |        virtual server         |                               |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   last hop: MAC, then device  |
//   |   in 4 bits, 802.1Q tag in 12 bits                            |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |   member address, SNAT address: 4 octets each, IPv6 16 each   |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// The state of a connection that is not translated (DSR, tunnel) has another end, for its member's address may be of
// the other family:
//
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |          member port          |        virtual server         |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                  last hop, 8 octets as above                  |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   | tunnel: 0, 1  | member family | member address, 16 octets     |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//
// A persistence entry has no flow. Its client is told apart by the first bits of its address, the rest is zero:
//
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  kind, family |  prefix bits  | member family | traffic group |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |             term              |        virtual server         |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |                  timeout, tenths of a second                  |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |          member port          |             zero              |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//   |  client address: 4 octets, IPv6 16; member address: 16 octets |
//   +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "big_endian.h"

namespace tandem::wire {

// In the high four bits of kind_family; 4 or 6, the address family of the flow, in the low four.
enum class MirrorKind : uint8_t { kState = 1, kClose = 2, kDirect = 3, kPersistence = 4 };

// In MirrorHead::state, beside the TcpState.
inline constexpr uint8_t kMirrorNoSnat = 0x80;

struct MirrorHead {
  uint8_t kind_family;
  uint8_t protocol;
  uint8_t state;  // TcpState, and kMirrorNoSnat
  uint8_t group;
  be16 term;
  be16 incarnation;
  be32 sequence;
  be16 client_port;
  be16 virtual_port;
};

template <size_t kAddressBytes>
struct MirrorClose {
  MirrorHead head;
  uint8_t client[kAddressBytes];
  uint8_t virtual_address[kAddressBytes];
};

template <size_t kAddressBytes>
struct MirrorState {
  MirrorClose<kAddressBytes> flow;
  be16 member_port;
  be16 snat_port;
  be16 virtual_server;  // the sender's id, translated by its dictionary
  uint8_t last_hop_mac[6];
  be16 last_hop_place;  // the sender's device in the high 4 bits, 802.1Q id in the low 12
  uint8_t member[kAddressBytes];
  uint8_t snat[kAddressBytes];
};

template <size_t kAddressBytes>
struct MirrorDirect {
  MirrorClose<kAddressBytes> flow;
  be16 member_port;     // as the config has it, and not the flow's; 0: it has none
  be16 virtual_server;  // the sender's id, translated by its dictionary
  uint8_t last_hop_mac[6];
  be16 last_hop_place;
  uint8_t tunnelled;  // 0 or 1
  uint8_t member_family;
  uint8_t member[16];  // IPv4 in the first four
};

template <size_t kAddressBytes>
struct MirrorPersistence {
  uint8_t kind_family;
  uint8_t prefix;
  uint8_t member_family;
  uint8_t group;
  be16 term;
  be16 virtual_server;  // the sender's id, translated by its dictionary
  be32 timeout;
  be16 member_port;  // as the config has it; 0: it has none
  be16 zero;
  uint8_t client[kAddressBytes];
  uint8_t member[16];  // IPv4 in the first four
};

static_assert(sizeof(MirrorHead) == 16);
static_assert(sizeof(MirrorPersistence<4>) == 36 && sizeof(MirrorPersistence<16>) == 48);
static_assert(sizeof(MirrorDirect<4>) == 54 && sizeof(MirrorDirect<16>) == 78);
static_assert(sizeof(MirrorClose<4>) == 24 && sizeof(MirrorState<4>) == 46);
static_assert(sizeof(MirrorClose<16>) == 48 && sizeof(MirrorState<16>) == 94);
static_assert(alignof(MirrorState<16>) == 1);
static_assert(std::is_trivially_copyable_v<MirrorState<16>>);

}  // namespace tandem::wire
