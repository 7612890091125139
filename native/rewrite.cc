#include "rewrite.h"

#include <bit>
#include <cstring>

#include "wire/checksum.h"
#include "wire/headers.h"

namespace tandem {
namespace {

using wire::be16;
using wire::ChecksumChange;
using wire::load32;

void put32(void* to, uint32_t word) { std::memcpy(to, &word, sizeof word); }

// Replaces an address of `words` 32-bit words and notes the difference.
template <size_t words>
void replace_address(uint8_t* address, const uint8_t* with, ChecksumChange* change) {
  for (size_t at = 0; at < 4 * words; at += 4) {
    change->replace(load32(address + at), load32(with + at));
    put32(address + at, load32(with + at));
  }
}

void rewrite_transport(const Frame& frame, const wire::Packet& packet, uint32_t ports, ChecksumChange change) {
  uint8_t* transport = frame.data + packet.transport;
  const uint32_t ports_before = load32(transport);
  put32(transport, ports);

  const bool udp = packet.kind == wire::PacketKind::kUdp;
  be16& checksum = udp ? wire::header_in<wire::UdpHeader>(transport, 0).checksum
                       : wire::header_in<wire::TcpHeader>(transport, 0).checksum;
  // The sender's NIC was to add everything behind the pseudo-header, ports included: only addresses count.
  if (frame.checksum_partial) return change.apply_partial(checksum);
  const be16 none(0);
  if (udp && checksum == none) return;  // RFC 768: the sender generated no checksum
  change.replace(ports_before, ports);
  change.apply(checksum);
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  if (udp && checksum == none) checksum = 0xffff;
}

// Returns what changed under the transport's checksum, too.
inline ChecksumChange rewrite_header4(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  auto& ip = wire::header_in<wire::Ipv4Header>(frame.data, packet.network);
  ChecksumChange addresses;
  replace_address<1>(ip.source, ends.source, &addresses);
  replace_address<1>(ip.destination, ends.destination, &addresses);

  ChecksumChange header = addresses;
  ip.ttl--;
  header.count_down();
  header.apply(ip.checksum);
  return addresses;
}

inline ChecksumChange rewrite_header6(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  auto& ip = wire::header_in<wire::Ipv6Header>(frame.data, packet.network);
  ChecksumChange addresses;
  replace_address<4>(ip.source, ends.source, &addresses);
  replace_address<4>(ip.destination, ends.destination, &addresses);
  ip.hop_limit--;
  return addresses;
}

constexpr uint16_t kVlanIdMask = 0x0fff;
constexpr size_t kTagOffset = 12;  // behind the two MAC addresses, which are written anew afterwards

void rewrite_tag(Frame& frame, uint8_t tags, uint16_t vlan) {
  if (tags == 0 && vlan == 0) return;
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

}  // namespace

static_assert(std::endian::native == std::endian::little, "octet 0 of a MacWord is its lowest");

MacWord mac_word(const uint8_t octets[6]) {
  uint16_t high;
  std::memcpy(&high, octets + 4, sizeof high);
  return load32(octets) | MacWord{high} << 32;
}

void rewrite_packet(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  if (packet.family == 4) return rewrite_transport(frame, packet, ends.ports, rewrite_header4(frame, packet, ends));
  rewrite_transport(frame, packet, ends.ports, rewrite_header6(frame, packet, ends));
}

void rewrite_addresses(Frame& frame, const wire::Packet& packet, const Ends& ends) {
  if (packet.family == 4) {
    rewrite_header4(frame, packet, ends);
  } else {
    rewrite_header6(frame, packet, ends);
  }
}

// In whole words, for a short store that a longer load follows would stall.
void rewrite_link(Frame& frame, const wire::Packet& packet, LastHop to, MacWord from) {
  rewrite_tag(frame, packet.tags, vlan_of(to));
  constexpr MacWord kMac = (MacWord{1} << 48) - 1;
  const uint64_t first = (to & kMac) | from << 48;  // the destination and two octets of the source
  const uint32_t rest = static_cast<uint32_t>(from >> 16);
  std::memcpy(frame.data, &first, sizeof first);
  std::memcpy(frame.data + sizeof first, &rest, sizeof rest);
}

LastHop last_hop_of(const Frame& frame, const wire::Packet& packet) {
  const uint8_t* source = wire::header_in<wire::EthernetHeader>(frame.data, 0).source;
  return mac_word(source) | LastHop{frame.device} << 48 | LastHop{packet.vlan} << 52;
}

bool tags_are_repeatable(const Frame& frame, const wire::Packet& packet) {
  if (packet.tags == 0) return true;
  return packet.tags == 1 && wire::header_in<wire::VlanTag>(frame.data, kTagOffset).tpid.host() == wire::kEtherVlan;
}

}  // namespace tandem
