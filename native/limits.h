// Every bound of the datapath that is not configured. What happens at each is said beside it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tandem {

// A connection's last hop names its device in 4 bits; engine start refuses more devices.
inline constexpr size_t kDevicesMax = 16;
// Workers beyond this are refused at start.
inline constexpr size_t kWorkersMax = 16;
// Traffic groups beyond this are refused with the policy.
inline constexpr size_t kGroupsMax = 16;
// Ids of virtual servers and members live as long as a connection names them; a policy that needs
// more is refused whole.
inline constexpr size_t kVirtualServersMax = 4096;
inline constexpr size_t kMembersMax = 16384;
// Frames handled together: one policy read, one clock read, one lease check, prefetches overlap.
inline constexpr size_t kBurst = 64;
// Writable bytes before Frame::data, so that a header or an 802.1Q tag can be put in front.
inline constexpr size_t kFrameHeadroom = 64;
// Writable bytes behind Frame::bytes, so that an answer may be longer than its question (a neighbour
// advertisement carries an option that the solicitation may lack).
inline constexpr size_t kFrameTailroom = 64;
// The MTU of a device that sends packets of any length.
inline constexpr uint32_t kMtuNone = 0xffffffff;
// The largest frame a device hands over: an Ethernet header with a tag and a 64 KiB GRO packet.
inline constexpr size_t kFrameBytesMax = 65536 + 18;

}  // namespace tandem
