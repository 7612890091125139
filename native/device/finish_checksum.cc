// RFC 9293 section 3.1 and RFC 768: where the checksum stands and what is under it.
#include "finish_checksum.h"

#include "../wire/checksum.h"
#include "../wire/headers.h"
#include "../wire/parse.h"
#include "../wire/parse_usual.h"

namespace tandem {
namespace {

struct Transport {
  wire::be16* checksum;
  uint8_t* start;
  uint32_t bytes;
  uint64_t pseudo_header;
  bool udp;
};

bool find_transport(const Frame& frame, Transport* transport) {
  wire::Packet packet;
  if (!wire::parse_usual(frame.data, frame.bytes, &packet)) {
    if (!wire::parse_link(frame.data, frame.bytes, &packet)) return false;
    wire::parse_network(frame.data, frame.bytes, &packet);
  }
  transport->udp = packet.kind == wire::PacketKind::kUdp;
  if (!transport->udp && packet.kind != wire::PacketKind::kTcp) return false;
  transport->start = frame.data + packet.transport;
  transport->bytes = packet.end - packet.transport;
  transport->checksum = transport->udp ? &wire::header_in<wire::UdpHeader>(transport->start, 0).checksum
                                       : &wire::header_in<wire::TcpHeader>(transport->start, 0).checksum;
  const uint8_t* const addresses = packet.family == 4
                                       ? wire::header_in<wire::Ipv4Header>(frame.data, packet.network).source
                                       : wire::header_in<wire::Ipv6Header>(frame.data, packet.network).source;
  transport->pseudo_header = wire::sum_pseudo_header(packet.family, addresses, transport->bytes, packet.protocol);
  return true;
}

}  // namespace

bool has_partial_checksum(const Frame& frame) {
  Transport transport;
  return find_transport(frame, &transport) &&
         std::bit_cast<uint16_t>(*transport.checksum) == wire::fold(transport.pseudo_header);
}

bool finish_checksum(const Frame& frame) {
  Transport transport;
  if (!find_transport(frame, &transport)) return false;
  const wire::be16 none(0);
  *transport.checksum = none;
  *transport.checksum = wire::checksum_of(transport.pseudo_header + wire::sum_octets(transport.start, transport.bytes));
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  if (transport.udp && *transport.checksum == none) *transport.checksum = 0xffff;
  return true;
}

}  // namespace tandem
