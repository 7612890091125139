// Finds the transport header of a frame that is to be sent with an unfinished checksum.
#include "vnet_header.h"

#include <cstring>

namespace tandem {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr size_t kTagBytes = 4;
constexpr uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd, kTypeTag = 0x8100;
constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr uint8_t kHopByHop = 0, kRouting = 43, kDestinationOptions = 60;
constexpr size_t kExtensionsMax = 8;
constexpr uint8_t kCwr = 0x80;

uint16_t be16_at(const uint8_t* data) { return static_cast<uint16_t>(data[0] << 8 | data[1]); }

struct Transport {
  size_t offset = 0;  // 0: not found
  uint8_t protocol = 0;
  bool v6 = false;
};

Transport find_transport(const Frame& frame) {
  size_t at = kEthernetBytes;
  if (frame.bytes < at) return {};
  uint16_t type = be16_at(frame.data + at - 2);
  if (type == kTypeTag) {
    at += kTagBytes;
    if (frame.bytes < at) return {};
    type = be16_at(frame.data + at - 2);
  }
  if (type == kTypeIpv4) {
    if (frame.bytes < at + 20) return {};
    return {at + size_t{4} * (frame.data[at] & 0x0f), frame.data[at + 9], false};
  }
  if (type != kTypeIpv6 || frame.bytes < at + 40) return {};
  uint8_t next = frame.data[at + 6];
  at += 40;
  for (size_t i = 0; i < kExtensionsMax; i++) {
    if (next != kHopByHop && next != kRouting && next != kDestinationOptions) return {at, next, true};
    if (frame.bytes < at + 8) return {};
    next = frame.data[at];
    at += size_t{8} * (frame.data[at + 1] + 1u);
  }
  return {};
}

}  // namespace

size_t describe_offloads(const Frame& frame, VnetHeader* header) {
  *header = VnetHeader{};
  if (!frame.checksum_partial && frame.segment_bytes == 0) return frame.bytes;

  const Transport transport = find_transport(frame);
  if (transport.offset == 0) return 0;
  const uint8_t* const start = frame.data + transport.offset;
  const size_t left = frame.bytes > transport.offset ? frame.bytes - transport.offset : 0;
  size_t transport_bytes;
  if (transport.protocol == kTcp && left >= 20) {
    transport_bytes = size_t{4} * (start[12] >> 4);
    header->checksum_offset = 16;
  } else if (transport.protocol == kUdp && left >= 8) {
    transport_bytes = 8;
    header->checksum_offset = 6;
  } else {
    return 0;
  }
  const size_t header_bytes = transport.offset + transport_bytes;
  if (header_bytes > frame.bytes) return 0;
  header->header_bytes = static_cast<uint16_t>(header_bytes);
  header->checksum_start = static_cast<uint16_t>(transport.offset);
  if (frame.checksum_partial) header->flags = VnetHeader::kNeedsChecksum;
  if (frame.segment_bytes == 0) return frame.bytes;

  header->segment_bytes = frame.segment_bytes;
  if (transport.protocol == kUdp) {
    header->segment_kind = VnetHeader::kSegmentUdp;
  } else {
    header->segment_kind = transport.v6 ? VnetHeader::kSegmentTcp6 : VnetHeader::kSegmentTcp4;
    if ((start[13] & kCwr) != 0) header->segment_kind |= VnetHeader::kSegmentEcn;
  }
  const size_t segment = header_bytes + frame.segment_bytes;
  return segment < frame.bytes ? segment : frame.bytes;
}

}  // namespace tandem
