// What the rows of forward_burst() tests are made of: the frames of one client, and checks of what became of them.
#pragma once

#include <string>
#include <utility>

#include "test.h"
#include "unit.h"

namespace tandem::test {

inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
inline constexpr auto kForward = Verdict::Kind::kForward;
inline constexpr auto kPunt = Verdict::Kind::kPunt;
inline constexpr auto kDrop = Verdict::Kind::kDrop;

inline const Link kFromClient = {kVirtualMac4, kClientMac};
inline const Link kFromClient6 = {kVirtualMac6, kClientMac};
inline const Ip kToServer = {.source = "10.1.0.9", .destination = "10.1.0.100"};
inline const Ip kToServer6 = {.source = "fd01::9", .destination = "fd01::100"};

inline Bytes client_tcp(uint8_t flags, std::string payload = {}, uint16_t port = 40000) {
  return tcp_frame(kFromClient, kToServer,
                   {.source_port = port, .destination_port = 80, .flags = flags, .payload = std::move(payload)});
}

inline uint16_t word_at(const Bytes& frame, size_t at) { return static_cast<uint16_t>(frame[at] << 8 | frame[at + 1]); }

#define CHECK_FRAME(got, expected)                              \
  do {                                                          \
    if ((got) != (expected)) CHECK_EQ(hex(got), hex(expected)); \
  } while (0)

#define CHECK_DROPPED(sent, why)                            \
  do {                                                      \
    const Verdict verdict = (sent).verdict;                 \
    CHECK_EQ(verdict.kind, kDrop);                          \
    if (verdict.kind == kDrop) CHECK_EQ(verdict.drop, why); \
  } while (0)

}  // namespace tandem::test
