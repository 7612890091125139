// What the kernel is told about a frame whose checksum or segmentation is unfinished (virtio-net's
// header, section 5.1.6 of the virtio 1.2 specification; PACKET_VNET_HDR in packet(7)).
//
// Receiving, two fields matter: is the transport checksum partial, and how long is each segment. Sending,
// the kernel also wants offsets; forwarding may have moved them (an 802.1Q tag), so they are read from
// the frame again. This is all a device knows of protocols: where a checksum stands.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../frame.h"

namespace tandem {

// As struct virtio_net_hdr; named here because Debian 12's <linux/virtio_net.h> lacks UDP segmentation.
// Host byte order, as PACKET_VNET_HDR has it.
struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kSegmentNone = 0;
  static constexpr uint8_t kSegmentTcp4 = 1;
  static constexpr uint8_t kSegmentTcp6 = 4;
  static constexpr uint8_t kSegmentUdp = 5;
  static constexpr uint8_t kSegmentEcn = 0x80;  // the first segment alone carries CWR (RFC 3168 section 6.1.2)

  uint8_t flags;
  uint8_t segment_kind;
  uint16_t header_bytes;
  uint16_t segment_bytes;
  uint16_t checksum_start;   // from the Ethernet header
  uint16_t checksum_offset;  // from checksum_start
};
static_assert(sizeof(VnetHeader) == 10);

// Fills `header` for sending `frame`. Returns the bytes of the longest frame that will reach the wire
// (of a joined frame, one segment with its headers), or 0 when the frame asks for an offload that its
// protocol does not have.
size_t describe_offloads(const Frame& frame, VnetHeader* header);

}  // namespace tandem
