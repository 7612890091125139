#include "capture.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "burst.h"
#include "icmp_error.h"
#include "wire/fragment.h"
#include "wire/headers.h"

namespace tandem {
namespace {

using wire::Packet;
using wire::PacketKind;

constexpr auto relaxed = std::memory_order_relaxed;

// Source and destination, if the frame has them whole; of ARP the sender alone.
struct Addresses {
  uint8_t family;  // 0: none
  const uint8_t* source;
  const uint8_t* destination;  // nullptr: none
};

Addresses addresses_in(const Frame& frame, const Packet& packet) {
  if (packet.kind == PacketKind::kArp)
    return {4, wire::header_in<wire::ArpPacket>(frame.data, packet.network).sender_address, nullptr};
  const size_t header = packet.family == 4 ? sizeof(wire::Ipv4Header) : sizeof(wire::Ipv6Header);
  if (packet.family == 0 || frame.bytes < packet.network + header) return {0, nullptr, nullptr};
  return {packet.family, source_of(frame, packet), destination_of(frame, packet)};
}

// The flow by which its connection is found. False: it has none of its own.
bool flow_of(const Frame& frame, Packet& packet, FlowKey* flow) {
  switch (packet.kind) {
    case PacketKind::kTcp:
    case PacketKind::kUdp:
      read_flow(frame, packet, flow);
      return true;
    case PacketKind::kOther:
      read_portless_flow(frame, packet, flow);
      return true;
    case PacketKind::kIcmp:
    case PacketKind::kIcmpv6: {
      Quote quote;
      if (!is_icmp_error(packet) || read_quote(frame, packet, &quote) != QuoteFault::kNone) return false;
      *flow = quote.reply;
      return true;
    }
    case PacketKind::kFault: {
      wire::Fragment fragment;
      if (packet.fault != wire::Fault::kFragment ||
          wire::parse_fragment(frame.data, packet, &fragment) != wire::FragmentFault::kNone || fragment.begin != 0 ||
          wire::parse_first_fragment(frame.data, fragment, &packet) != wire::FragmentFault::kNone)
        return false;
      if (packet.kind == PacketKind::kOther) {
        read_portless_flow(frame, packet, flow);
      } else {
        read_flow(frame, packet, flow);
      }
      return true;
    }
    case PacketKind::kArp:
    case PacketKind::kNotIp:
      return false;
  }
  return false;
}

// What every frame of the kernel's is: for another MAC address than ours, of which there is no need to look further.
bool is_kernels(const ForwardContext& context, const Frame& frame) {
  if (frame.bytes < sizeof(wire::EthernetHeader)) return false;
  const auto& ethernet = wire::header_in<wire::EthernetHeader>(frame.data, 0);
  uint8_t family;
  return (ethernet.destination[0] & 1) == 0 &&
         context.policy->group_of_mac(ethernet.destination, frame.device, &family) < 0;
}

}  // namespace

bool CaptureFilter::is_client(uint8_t family, const uint8_t* octets) const {
  if (client.family != family) return false;
  const size_t whole = client_bits / 8;
  if (std::memcmp(client.octets, octets, whole) != 0) return false;
  const unsigned rest = client_bits % 8;
  return rest == 0 || ((client.octets[whole] ^ octets[whole]) >> (8 - rest)) == 0;
}

// ---- Capture

bool Capture::reserve() {
  for (size_t worker = 0; worker < workers_; ++worker) {
    lanes_[worker] = std::make_unique<Lane>();
    if (!lanes_[worker]->ring.reserve()) return false;
  }
  return true;
}

size_t Capture::take(uint8_t* into, size_t room) {
  size_t written = 0;
  while (CaptureRing* ring = earliest()) {
    CaptureRecord head;
    std::memcpy(&head, ring->peek(), sizeof head);
    if (head.what != Captured::kVoid) {
      if (head.length > room - written) break;
      std::memcpy(into + written, ring->peek(), head.length);
      const Nanos time = head.time + behind_;
      std::memcpy(into + written + offsetof(CaptureRecord, time), &time, sizeof time);
      written += head.length;
    }
    ring->release();
  }
  return written;
}

// The ring whose next record is the oldest of all; nullptr: every ring is empty.
CaptureRing* Capture::earliest() {
  CaptureRing* found = nullptr;
  Nanos oldest = 0;
  for (size_t worker = 0; worker < workers_; ++worker) {
    const uint8_t* next = lanes_[worker]->ring.peek();
    if (next == nullptr) continue;
    Nanos time;
    std::memcpy(&time, next + offsetof(CaptureRecord, time), sizeof time);
    if (found != nullptr && time >= oldest) continue;
    found = &lanes_[worker]->ring;
    oldest = time;
  }
  return found;
}

uint64_t Capture::wanted(size_t device) const {
  uint64_t sum = 0;
  for (size_t worker = 0; worker < workers_; ++worker) sum += lanes_[worker]->wanted[device].load(relaxed);
  return sum;
}

uint64_t Capture::missed(size_t device) const {
  uint64_t sum = 0;
  for (size_t worker = 0; worker < workers_; ++worker) sum += lanes_[worker]->missed[device].load(relaxed);
  return sum;
}

// ---- CaptureTap

void CaptureTap::arrived(const ForwardContext& context, const Frame* frames, size_t count, bool again) {
  for (size_t i = 0; i < count; ++i) {
    Pending& pending = pending_[i];
    look(context, frames[i], &pending);
    pending.taken = pending.candidate && !again;
    // Its octets are about to be written over, so they are taken before it is known whether they are wanted.
    if (pending.taken) pending.record = copy(context, frames[i], frames[i].device);
  }
}

void CaptureTap::refused(size_t index, Drop why) {
  pending_[index].is_refused = true;
  pending_[index].why = why;
}

void CaptureTap::settle(const ForwardContext& context, const Frame* frames, const Verdict* verdicts, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Pending& pending = pending_[i];
    if (!pending.candidate) continue;
    const Verdict& verdict = verdicts[i];
    if (pending.has_flow && pending.slot == CaptureRecord::kNoConnection) find(context, &pending);
    if (verdict.kind == Verdict::Kind::kPunt) pending.wanted = false;

    if (pending.taken) {
      const Captured what = verdict.kind == Verdict::Kind::kDrop   ? Captured::kDropped
                            : verdict.kind == Verdict::Kind::kHold ? Captured::kHeld
                                                                   : Captured::kReceived;
      finish(pending, pending.record, pending.device, what, verdict.drop);
    } else if (verdict.kind == Verdict::Kind::kDrop && pending.wanted) {
      // What was held is dropped after all; its arrival stands in the capture already.
      finish(pending, copy(context, frames[i], pending.device), pending.device, Captured::kUnsent, verdict.drop);
    }
    if (verdict.kind == Verdict::Kind::kForward && pending.wanted) {
      finish(pending, copy(context, frames[i], verdict.device), verdict.device,
             pending.is_refused ? Captured::kUnsent : Captured::kSent, pending.why);
    }
  }
  capture_->lanes_[worker_]->ring.submit();
}

void CaptureTap::look(const ForwardContext& context, const Frame& frame, Pending* pending) {
  *pending = {};
  if (is_kernels(context, frame)) return;
  pending->candidate = true;
  pending->device = frame.device;
  pending->slot = CaptureRecord::kNoConnection;
  pending->virtual_server = CaptureRecord::kNoServer;
  Packet packet;
  if (wire::parse_link(frame.data, frame.bytes, &packet)) {
    wire::parse_network(frame.data, frame.bytes, &packet);
    pending->has_flow = flow_of(frame, packet, &pending->flow);
    if (pending->has_flow && find(context, pending)) {
      // Whatever becomes of the connection, it is no other's.
      pending->candidate = pending->wanted;
      return;
    }
  }
  pending->wanted = is_wanted_without(context, frame, packet, pending);
  // Without a flow nothing more will be known of it.
  pending->candidate = pending->wanted || pending->has_flow;
}

// Its connection, and what the filter says of that. False: there is none.
bool CaptureTap::find(const ForwardContext& context, Pending* pending) {
  const ConnTable& table = *context.table;
  const Found found = table.find(pending->flow, table.hash(pending->flow));
  if (found.connection == nullptr) return false;
  const Connection& connection = *found.connection;
  pending->slot = static_cast<uint32_t>(table.slot_of(connection));
  pending->incarnation = connection.incarnation.load(relaxed);
  pending->virtual_server = connection.virtual_server;

  const CaptureFilter& filter = capture_->filter();
  const uint8_t* client = connection.family == 4 ? addresses_of(connection, Direction::kFromClient)
                                                 : addresses_of(table.ipv6(connection), Direction::kFromClient);
  pending->wanted =
      (filter.virtual_server == CaptureFilter::kAnyServer || filter.virtual_server == connection.virtual_server) &&
      (filter.client.family == 0 || filter.is_client(connection.family, client));
  return true;
}

// Of no connection: the virtual server is the one that it is sent to, the client is either of its addresses.
bool CaptureTap::is_wanted_without(const ForwardContext& context, const Frame& frame, const Packet& packet,
                                   Pending* pending) const {
  const CaptureFilter& filter = capture_->filter();
  const Addresses addresses = addresses_in(frame, packet);
  if (pending->has_flow && addresses.destination != nullptr && !is_icmp_error(packet)) {
    const bool ports = packet.kind == PacketKind::kTcp || packet.kind == PacketKind::kUdp;
    const uint16_t port =
        ports ? wire::header_in<wire::UdpHeader>(frame.data, packet.transport).destination_port.host() : uint16_t{0};
    const VirtualServer* server =
        context.policy->virtual_server(packet.family, addresses.destination, packet.protocol, port);
    if (server != nullptr) pending->virtual_server = server->id;
  }
  if (filter.virtual_server != CaptureFilter::kAnyServer) {
    const VirtualServer* server = context.policy->virtual_server(filter.virtual_server);
    // Later fragments have no port to tell by.
    const bool later = packet.kind == PacketKind::kFault && packet.fault == wire::Fault::kFragment;
    const bool its_fragment =
        later && server != nullptr && addresses.destination != nullptr && addresses.family == server->address.family &&
        std::memcmp(addresses.destination, server->address.octets, addresses.family == 4 ? 4 : 16) == 0;
    if (pending->virtual_server != filter.virtual_server && !its_fragment) return false;
  }
  if (filter.client.family == 0) return true;
  return addresses.family != 0 &&
         (filter.is_client(addresses.family, addresses.source) ||
          (addresses.destination != nullptr && filter.is_client(addresses.family, addresses.destination)));
}

// nullptr: there is no room.
CaptureRecord* CaptureTap::copy(const ForwardContext& context, const Frame& frame, uint8_t device) {
  const uint32_t captured = std::min(frame.bytes, capture_->filter().snaplen);
  const size_t padded = (captured + CaptureRing::kUnit - 1) / CaptureRing::kUnit * CaptureRing::kUnit;
  uint8_t* memory = capture_->lanes_[worker_]->ring.claim(sizeof(CaptureRecord) + padded);
  if (memory == nullptr) return nullptr;
  auto* record = reinterpret_cast<CaptureRecord*>(memory);
  record->captured = captured;
  record->original = frame.bytes;
  record->time = context.now;
  record->device = device;
  record->what = Captured::kVoid;
  record->reserved = 0;
  std::memcpy(record->frame(), frame.data, captured);
  return record;
}

void CaptureTap::finish(const Pending& pending, CaptureRecord* record, uint8_t device, Captured what, Drop why) {
  if (!pending.wanted) return;
  Capture::Lane& lane = *capture_->lanes_[worker_];
  Counters::bump(lane.wanted[device], 1);
  if (record == nullptr) return Counters::bump(lane.missed[device], 1);
  record->slot = pending.slot;
  record->incarnation = pending.incarnation;
  record->virtual_server = pending.virtual_server;
  record->what = what;
  record->drop = why;
}

}  // namespace tandem
