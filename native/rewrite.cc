#include "rewrite.h"

namespace tandem {
namespace {

constexpr uint16_t kVlanIdMask = 0x0fff;
constexpr size_t kTagOffset = 12;  // behind the two MAC addresses

}  // namespace

void rewriting::rewrite_tag(Frame& frame, uint8_t tags, uint16_t vlan) {
  if (tags == 1 && vlan != 0) {  // replace the id, keep the priority
    auto& tag = wire::header_in<wire::VlanTag>(frame.data, kTagOffset);
    tag.control = static_cast<uint16_t>((tag.control.host() & ~kVlanIdMask) | vlan);
    return;
  }
  if (tags == 1) {
    frame.data += sizeof(wire::VlanTag);
    frame.bytes -= static_cast<uint32_t>(sizeof(wire::VlanTag));
    return;
  }
  frame.data -= sizeof(wire::VlanTag);
  frame.bytes += static_cast<uint32_t>(sizeof(wire::VlanTag));
  auto& tag = wire::header_in<wire::VlanTag>(frame.data, kTagOffset);
  tag.tpid = wire::kEtherVlan;
  tag.control = vlan;
}

void rewrite_addresses(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  if (packet.family == 4) {
    rewriting::rewrite_header4(frame, packet, ends);
  } else {
    rewriting::rewrite_header6(frame, packet, ends);
  }
}

bool rewriting::is_customer_tag(const Frame& frame) {
  return wire::header_in<wire::VlanTag>(frame.data, kTagOffset).tpid.host() == wire::kEtherVlan;
}

}  // namespace tandem
