#include "answer.h"

#include <algorithm>
#include <cstring>

#include "limits.h"
#include "wire/checksum.h"
#include "wire/headers.h"

namespace tandem {
namespace {

using namespace wire;  // every name here is a field of a packet

constexpr uint8_t kAnswerTtl = 64;      // of echo replies and resets: RFC 1700's default
constexpr uint8_t kNeighbourTtl = 255;  // RFC 4861 section 7.1: proof that no router has forwarded it

void return_to_sender(Frame& frame, const MacAddress& virtual_mac) {
  auto& ethernet = header_in<EthernetHeader>(frame.data, 0);
  std::memcpy(ethernet.destination, ethernet.source, sizeof ethernet.destination);
  std::memcpy(ethernet.source, virtual_mac.octets, sizeof ethernet.source);
}

// The answer is complete as it stands: nothing of the question's offloads applies to it.
void end_frame_at(Frame& frame, size_t bytes) {
  frame.bytes = static_cast<uint32_t>(bytes);
  frame.checksum_partial = false;
  frame.segment_bytes = 0;
}

bool is_unspecified(const uint8_t address[16]) {
  return std::all_of(address, address + 16, [](uint8_t octet) { return octet == 0; });
}

// ff02::1:ff00:0/104, RFC 4291 section 2.7.1.
bool is_solicited_node(const uint8_t address[16]) {
  constexpr uint8_t prefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff};
  return std::memcmp(address, prefix, sizeof prefix) == 0;
}

uint64_t sum_transport(const Frame& frame, const Packet& packet, const uint8_t* addresses) {
  const uint32_t length = packet.end - packet.transport;
  return sum_pseudo_header(packet.family, addresses, length, packet.protocol) +
         sum_octets(frame.data + packet.transport, length);
}

void finish_ipv4(Ipv4Header& ip, size_t header_bytes) {
  ip.checksum = 0;
  ip.checksum = checksum_of(sum_octets(reinterpret_cast<uint8_t*>(&ip), header_bytes)).host();
}

}  // namespace

void write_arp_reply(Frame& frame, const Packet& packet, const MacAddress& virtual_mac) {
  auto& arp = header_in<ArpPacket>(frame.data, packet.network);
  uint8_t asked[4];
  std::memcpy(asked, arp.target_address, sizeof asked);
  arp.operation = 2;
  std::memcpy(arp.target_mac, arp.sender_mac, sizeof arp.target_mac);
  std::memcpy(arp.target_address, arp.sender_address, sizeof arp.target_address);
  // The virtual MAC in both headers: bridges learn from one, neighbours from the other (RFC 9568 section 8.1.2).
  std::memcpy(arp.sender_mac, virtual_mac.octets, sizeof arp.sender_mac);
  std::memcpy(arp.sender_address, asked, sizeof arp.sender_address);
  return_to_sender(frame, virtual_mac);
}

const uint8_t* solicited_address(const Frame& frame, const Packet& packet) {
  const auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
  const auto* message = header_at<NeighbourMessage>(frame.data, packet.end, packet.transport);
  if (packet.ttl != kNeighbourTtl || message == nullptr || message->code != 0) return nullptr;
  if (message->target[0] == 0xff) return nullptr;  // multicast
  if (!frame.checksum_partial && fold(sum_transport(frame, packet, ip.source)) != 0xffff) return nullptr;

  bool has_source_mac = false;
  for (size_t at = packet.transport + sizeof(NeighbourMessage); at < packet.end;) {
    const auto* option = header_at<LinkLayerOption>(frame.data, packet.end, at);
    if (option == nullptr || option->length == 0) return nullptr;
    if (option->type == 1) has_source_mac = true;
    at += size_t{8} * option->length;
  }
  if (is_unspecified(ip.source) && (has_source_mac || !is_solicited_node(ip.destination))) return nullptr;
  return message->target;
}

void write_neighbour_advertisement(Frame& frame, const Packet& packet, const MacAddress& virtual_mac) {
  auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
  // Written right behind the IPv6 header: extension headers of the question are not repeated.
  const size_t transport = packet.network + sizeof(Ipv6Header);
  constexpr uint16_t kBytes = sizeof(NeighbourMessage) + sizeof(LinkLayerOption);
  uint8_t target[16];
  std::memcpy(target, header_in<NeighbourMessage>(frame.data, packet.transport).target, sizeof target);

  // RFC 4861 section 7.2.4: a probe for duplicates comes from no address and is answered to all nodes, unsolicited.
  const bool probe = is_unspecified(ip.source);
  constexpr uint8_t kAllNodes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01};
  constexpr uint8_t kAllNodesMac[6] = {0x33, 0x33, 0, 0, 0, 0x01};
  return_to_sender(frame, virtual_mac);
  if (probe) std::memcpy(header_in<EthernetHeader>(frame.data, 0).destination, kAllNodesMac, sizeof kAllNodesMac);

  ip.version_class_flow = uint32_t{6} << 28;
  ip.payload_length = kBytes;
  ip.next_header = kIcmpv6;
  ip.hop_limit = kNeighbourTtl;
  std::memcpy(ip.destination, probe ? kAllNodes : ip.source, sizeof ip.destination);
  std::memcpy(ip.source, target, sizeof ip.source);

  // Router: members route back through floating addresses, and a host that sees the flag fall gives up every
  // route through that neighbour (RFC 4861 section 7.2.5). It is set for every address, as RFC 9568 section
  // 6.4.3 has it in announcements, so that it never changes. Override: the virtual MAC is the answer.
  constexpr uint32_t kRouter = 1u << 31, kSolicited = 1u << 30, kOverride = 1u << 29;
  auto& message = header_in<NeighbourMessage>(frame.data, transport);
  message.type = kNeighbourAdvertisement;
  message.code = 0;
  message.checksum = 0;
  message.flags = kRouter | kOverride | (probe ? 0 : kSolicited);
  std::memcpy(message.target, target, sizeof message.target);
  auto& option = header_in<LinkLayerOption>(frame.data, transport + sizeof(NeighbourMessage));
  option.type = 2;
  option.length = 1;
  std::memcpy(option.mac, virtual_mac.octets, sizeof option.mac);

  message.checksum =
      checksum_of(sum_pseudo_header(6, ip.source, kBytes, kIcmpv6) + sum_octets(frame.data + transport, kBytes)).host();
  end_frame_at(frame, transport + kBytes);
}

void write_echo_reply(Frame& frame, const Packet& packet, const MacAddress& virtual_mac) {
  auto& icmp = header_in<IcmpHeader>(frame.data, packet.transport);
  const bool v4 = packet.family == 4;
  const uint8_t reply = v4 ? kIcmpEchoReply : kIcmpv6EchoReply;
  // The addresses change places, which changes no sum; the type is the high octet of its word.
  ChecksumChange change;
  change.replace(std::bit_cast<uint16_t>(be16(static_cast<uint16_t>(icmp.type << 8))),
                 std::bit_cast<uint16_t>(be16(static_cast<uint16_t>(reply << 8))));
  if (!frame.checksum_partial) change.apply(icmp.checksum);
  icmp.type = reply;

  if (v4) {
    auto& ip = header_in<Ipv4Header>(frame.data, packet.network);
    std::swap_ranges(ip.source, ip.source + sizeof ip.source, ip.destination);
    ip.ttl = kAnswerTtl;
    finish_ipv4(ip, packet.transport - packet.network);
  } else {
    auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
    std::swap_ranges(ip.source, ip.source + sizeof ip.source, ip.destination);
    ip.hop_limit = kAnswerTtl;
  }
  return_to_sender(frame, virtual_mac);
}

void write_reset(Frame& frame, const Packet& packet, const MacAddress& virtual_mac) {
  const TcpHeader asked = header_in<TcpHeader>(frame.data, packet.transport);
  const size_t header_bytes = size_t{4} * (asked.data_offset >> 4);
  const uint32_t segment = static_cast<uint32_t>(packet.end - packet.transport - header_bytes) +
                           ((asked.flags & kSyn) != 0 ? 1 : 0) + ((asked.flags & kFin) != 0 ? 1 : 0);

  // Options and extension headers of the question are not repeated: the segment follows the fixed IP header.
  const bool v4 = packet.family == 4;
  const size_t transport = packet.network + (v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
  uint8_t* addresses;
  if (v4) {
    auto& ip = header_in<Ipv4Header>(frame.data, packet.network);
    std::swap_ranges(ip.source, ip.source + sizeof ip.source, ip.destination);
    ip.version_ihl = 0x45;
    ip.tos = 0;
    ip.total_length = sizeof(Ipv4Header) + sizeof(TcpHeader);
    ip.identification = 0;
    ip.flags_fragment = 0x4000;  // don't fragment
    ip.ttl = kAnswerTtl;
    finish_ipv4(ip, sizeof ip);
    addresses = ip.source;
  } else {
    auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
    std::swap_ranges(ip.source, ip.source + sizeof ip.source, ip.destination);
    ip.version_class_flow = uint32_t{6} << 28;
    ip.payload_length = sizeof(TcpHeader);
    ip.next_header = kTcp;
    ip.hop_limit = kAnswerTtl;
    addresses = ip.source;
  }

  // RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN>
  // <CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>".
  const bool acked = (asked.flags & kAck) != 0;
  auto& tcp = header_in<TcpHeader>(frame.data, transport);
  tcp = {};
  tcp.source_port = asked.destination_port;
  tcp.destination_port = asked.source_port;
  tcp.sequence = acked ? asked.acknowledgment.host() : 0;
  tcp.acknowledgment = acked ? 0 : asked.sequence.host() + segment;
  tcp.data_offset = sizeof(TcpHeader) / 4 << 4;
  tcp.flags = acked ? kRst : kRst | kAck;
  tcp.checksum = checksum_of(sum_pseudo_header(packet.family, addresses, sizeof tcp, kTcp) +
                             sum_octets(frame.data + transport, sizeof tcp))
                     .host();
  return_to_sender(frame, virtual_mac);
  end_frame_at(frame, transport + sizeof tcp);
}

// ---- refusals

namespace {

// RFC 1812 section 4.3.2.3: "as much of the original datagram as possible without the length of the ICMP datagram
// exceeding 576 bytes"; RFC 4443 section 2.4 (c): "without exceeding the minimum IPv6 MTU".
constexpr size_t kErrorBytesMax4 = 576, kErrorBytesMax6 = 1280;
// RFC 1812 section 4.3.2.5: an error has precedence 6 or 7.
constexpr uint8_t kInternetworkControl = 0xc0;
constexpr size_t kHeaders4 = sizeof(Ipv4Header) + sizeof(IcmpHeader),
                 kHeaders6 = sizeof(Ipv6Header) + sizeof(IcmpHeader);
// A device may have put a tag, which it took out of the bytes, into the headroom already.
static_assert(kHeaders6 + sizeof(VlanTag) <= kFrameHeadroom);

IcmpHeader refusal_header(uint8_t family, const Refusal& refusal) {
  const bool too_big = refusal.kind == Refusal::Kind::kTooBig;
  IcmpHeader icmp = {};
  if (family == 4) {
    // RFC 1191 section 4: the next hop's MTU stands in the low 16 bits.
    constexpr uint8_t kFragmentationNeeded = 4;
    icmp.type = too_big ? kIcmpUnreachable : kIcmpTimeExceeded;
    icmp.code = too_big ? kFragmentationNeeded : 0;
    icmp.rest = std::min<uint32_t>(refusal.mtu, UINT16_MAX);
  } else {
    icmp.type = too_big ? kIcmpv6PacketTooBig : kIcmpv6TimeExceeded;
    icmp.rest = refusal.mtu;
  }
  return icmp;
}

}  // namespace

bool has_hosts_source(const Frame& frame, const Packet& packet) {
  if (packet.family == 6) {
    // Multicast, and what begins with 80 zero bits: ::, ::1 and IPv4-mapped (RFC 4291 sections 2.5.2, 2.5.3, 2.5.5).
    constexpr uint8_t kZeros[10] = {};
    const auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
    return ip.source[0] != 0xff && std::memcmp(ip.source, kZeros, sizeof kZeros) != 0;
  }
  // 0.0.0.0/8, 127.0.0.0/8, multicast, what is reserved, and broadcast.
  const uint8_t first = header_in<Ipv4Header>(frame.data, packet.network).source[0];
  return first != 0 && first != 127 && first < 224;
}

void write_refusal(Frame& frame, const Packet& packet, const Refusal& refusal, const uint8_t* source,
                   const MacAddress& virtual_mac) {
  const bool v4 = packet.family == 4;
  const size_t headers = v4 ? kHeaders4 : kHeaders6;
  const size_t quoted =
      std::min<size_t>(packet.end - packet.network, (v4 ? kErrorBytesMax4 : kErrorBytesMax6) - headers);
  // Ethernet header and tags move to the front; the packet stays where it is and becomes the quote.
  std::memmove(frame.data - headers, frame.data, packet.network);
  frame.data -= headers;
  const size_t quote = packet.network + headers;
  const size_t transport = quote - sizeof(IcmpHeader);
  const uint32_t message_bytes = static_cast<uint32_t>(sizeof(IcmpHeader) + quoted);
  auto& icmp = header_in<IcmpHeader>(frame.data, transport);
  icmp = refusal_header(packet.family, refusal);

  uint64_t sum = sum_octets(frame.data + transport, message_bytes);
  if (v4) {
    auto& ip = header_in<Ipv4Header>(frame.data, packet.network);
    ip = {};
    ip.version_ihl = 0x45;
    ip.tos = kInternetworkControl;
    ip.total_length = static_cast<uint16_t>(headers + quoted);
    ip.ttl = kAnswerTtl;
    ip.protocol = wire::kIcmp;
    std::memcpy(ip.source, source, sizeof ip.source);
    std::memcpy(ip.destination, header_in<Ipv4Header>(frame.data, quote).source, sizeof ip.destination);
    finish_ipv4(ip, sizeof ip);
  } else {
    auto& ip = header_in<Ipv6Header>(frame.data, packet.network);
    ip.version_class_flow = uint32_t{6} << 28;
    ip.payload_length = static_cast<uint16_t>(message_bytes);
    ip.next_header = wire::kIcmpv6;
    ip.hop_limit = kAnswerTtl;
    std::memcpy(ip.source, source, sizeof ip.source);
    std::memcpy(ip.destination, header_in<Ipv6Header>(frame.data, quote).source, sizeof ip.destination);
    sum += sum_pseudo_header(6, ip.source, message_bytes, wire::kIcmpv6);
  }
  icmp.checksum = checksum_of(sum).host();
  return_to_sender(frame, virtual_mac);
  end_frame_at(frame, quote + quoted);
}

}  // namespace tandem
