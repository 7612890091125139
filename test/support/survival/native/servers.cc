// Plays the servers of any number of connections and remembers none of them: a SYN is answered by a number that only
// the addresses and ports of the connection give, data by its echo, and a segment that acknowledges another number by a
// RST, as a kernel that knows no such connection would. So a balancer that sends a known connection to another member,
// or from another address or port, is found out.
//
//   servers interface=NAME count=N address4=FIRST address6=FIRST port=PORT gateway4=MAC gateway6=MAC
//
// `count` addresses of each family, from FIRST on, answer ARP and neighbour solicitations. What comes from the same /24
// or /64 is answered to its sender, everything else to the gateway. Each line on standard input is answered by a line,
// the counts since the start as JSON. Ends with its input.
#include <poll.h>

#include <cstdio>

#include "segment.h"

namespace survival {
namespace {

struct Counts {
  uint64_t syns = 0, data = 0, fins = 0, rsts_received = 0, rsts_sent = 0, bad_checksums = 0;
};

class Servers {
 public:
  explicit Servers(const wire::Options& options)
      : socket_(options.text("interface")),
        addresses_{address_of(options.text("address4")), address_of(options.text("address6"))},
        gateways_{mac_of(options.text("gateway4")), mac_of(options.text("gateway6"))},
        count_(options.count("count")),
        port_(static_cast<uint16_t>(options.count("port"))) {}

  int descriptor() const { return socket_.descriptor(); }

  void work() {
    socket_.receive([this](const Received& received) { answer(received); });
    socket_.flush();
  }

  void tell() {
    std::printf(
        "{\"syns\":%llu,\"data\":%llu,\"fins\":%llu,\"rstsReceived\":%llu,\"rstsSent\":%llu,"
        "\"badChecksums\":%llu,\"lostFrames\":%llu}\n",
        as_printed(counts_.syns), as_printed(counts_.data), as_printed(counts_.fins), as_printed(counts_.rsts_received),
        as_printed(counts_.rsts_sent), as_printed(counts_.bad_checksums), as_printed(socket_.losses()));
    std::fflush(stdout);
  }

 private:
  // What may be on its way to a client and not acknowledged; more, or less than nothing, is not ours.
  static constexpr uint32_t kUnderWayMax = 1 << 20;

  static unsigned long long as_printed(uint64_t value) { return value; }

  void answer(const Received& received) {
    Segment segment;
    switch (read_segment(received, &segment)) {
      case ReadResult::kSegment:
        return answer_segment(segment);
      case ReadResult::kBadChecksum:
        ++counts_.bad_checksums;
        return;
      case ReadResult::kOther:
        answer_arp(received);
        answer_solicitation(received);
        return;
    }
  }

  void answer_segment(const Segment& segment) {
    if (segment.to_port != port_ || !is_ours(segment.family, segment.to)) return;
    if ((segment.flags & tandem::wire::kRst) != 0) {
      ++counts_.rsts_received;
      return;
    }
    Segment reply = {};
    reply.to_mac = is_on_link(segment) ? segment.from_mac : gateways_[segment.family == 6];
    reply.from_mac = socket_.mac();
    reply.family = segment.family;
    reply.from = segment.to;
    reply.to = segment.from;
    reply.from_port = segment.to_port;
    reply.to_port = segment.from_port;
    reply.window = kWindow;
    const uint32_t own_sequence = segment.sequence + distance(segment);
    if ((segment.flags & tandem::wire::kSyn) != 0) {
      ++counts_.syns;
      reply.sequence = own_sequence;
      reply.acknowledgment = segment.sequence + 1;
      reply.flags = tandem::wire::kSyn | tandem::wire::kAck;
      return send(reply);
    }
    if (own_sequence - segment.acknowledgment > kUnderWayMax) {
      ++counts_.rsts_sent;
      reply.sequence = segment.acknowledgment;
      reply.flags = tandem::wire::kRst;
      reply.window = kMembersRst;
      return send(reply);
    }
    const bool ends = (segment.flags & tandem::wire::kFin) != 0;
    // More than fits the window was not asked for; its sender sends again what is not acknowledged.
    if ((segment.bytes == 0 && !ends) || segment.bytes > kWindow) return;
    ++(ends ? counts_.fins : counts_.data);
    reply.sequence = own_sequence;
    reply.acknowledgment = segment.sequence + static_cast<uint32_t>(segment.bytes) + ends;
    reply.flags = static_cast<uint8_t>(tandem::wire::kAck | kPush | (ends ? tandem::wire::kFin : 0));
    reply.data = segment.data;
    reply.bytes = segment.bytes;
    send(reply);
  }

  void send(const Segment& segment) { socket_.commit(write_segment(segment, socket_.next_frame())); }

  static uint32_t distance(const Segment& segment) {
    uint64_t hash = mix(uint64_t{segment.from_port} << 16 | segment.to_port);
    for (const Address* address : {&segment.from, &segment.to}) {
      uint64_t halves[2];
      std::memcpy(halves, address->data(), sizeof halves);
      hash = mix(mix(hash ^ halves[0]) ^ halves[1]);
    }
    return static_cast<uint32_t>(hash);
  }

  // FIRST and the addresses behind it differ in the last octet only.
  bool is_ours(uint8_t family, const Address& address) const {
    const Address& first = addresses_[family == 6];
    const size_t last = address_bytes(family) - 1;
    return std::memcmp(address.data(), first.data(), last) == 0 && address[last] >= first[last] &&
           address[last] < first[last] + count_;
  }

  static bool is_on_link(const Segment& segment) {
    return std::memcmp(segment.from.data(), segment.to.data(), segment.family == 4 ? 3 : 8) == 0;
  }

  void answer_arp(const Received& received) {
    using namespace tandem::wire;
    const auto* ethernet = header_at<EthernetHeader>(received.frame, received.bytes, 0);
    const auto* question = header_at<ArpPacket>(received.frame, received.bytes, sizeof(EthernetHeader));
    if (question == nullptr || ethernet->ethertype.host() != kEtherArp || question->operation.host() != 1) return;
    Address target = {};
    std::memcpy(target.data(), question->target_address, 4);
    if (!is_ours(4, target)) return;
    uint8_t* frame = socket_.next_frame();
    auto& out = header_in<EthernetHeader>(frame, 0);
    auto& reply = header_in<ArpPacket>(frame, sizeof out);
    out = *ethernet;
    std::memcpy(out.destination, ethernet->source, 6);
    std::memcpy(out.source, socket_.mac().data(), 6);
    reply = *question;
    reply.operation = 2;
    std::memcpy(reply.sender_mac, socket_.mac().data(), 6);
    std::memcpy(reply.sender_address, question->target_address, 4);
    std::memcpy(reply.target_mac, question->sender_mac, 6);
    std::memcpy(reply.target_address, question->sender_address, 4);
    socket_.commit(sizeof out + sizeof reply);
  }

  // RFC 4861 section 7.2.4.
  void answer_solicitation(const Received& received) {
    using namespace tandem::wire;
    const size_t at = sizeof(EthernetHeader) + sizeof(Ipv6Header);
    const auto* ethernet = header_at<EthernetHeader>(received.frame, received.bytes, 0);
    const auto* question = header_at<NeighbourMessage>(received.frame, received.bytes, at);
    if (question == nullptr || ethernet->ethertype.host() != kEtherIpv6) return;
    const auto* ip = header_at<Ipv6Header>(received.frame, received.bytes, sizeof(EthernetHeader));
    Address target = {};
    std::memcpy(target.data(), question->target, 16);
    if (ip->next_header != kIcmpv6 || question->type != kNeighbourSolicitation || !is_ours(6, target)) return;
    uint8_t* frame = socket_.next_frame();
    auto& out = header_in<EthernetHeader>(frame, 0);
    out = *ethernet;
    std::memcpy(out.destination, ethernet->source, 6);
    std::memcpy(out.source, socket_.mac().data(), 6);
    auto& out_ip = header_in<Ipv6Header>(frame, sizeof out);
    out_ip = *ip;
    const size_t bytes = sizeof(NeighbourMessage) + sizeof(LinkLayerOption);
    out_ip.payload_length = static_cast<uint16_t>(bytes);
    out_ip.hop_limit = 255;
    std::memcpy(out_ip.source, question->target, 16);
    std::memcpy(out_ip.destination, ip->source, 16);
    auto& reply = header_in<NeighbourMessage>(frame, at);
    reply = *question;
    reply.type = kNeighbourAdvertisement;
    reply.flags = 3u << 29;  // solicited, override
    reply.checksum = 0;
    auto& option = header_in<LinkLayerOption>(frame, at + sizeof reply);
    option.type = 2;
    option.length = 1;
    std::memcpy(option.mac, socket_.mac().data(), 6);
    reply.checksum = transport_checksum(6, out_ip.source, kIcmpv6, frame + at, bytes);
    socket_.commit(at + bytes);
  }

  PacketSocket socket_;
  Address addresses_[2];
  Mac gateways_[2];
  uint32_t count_;
  uint16_t port_;
  Counts counts_;
};

void serve(const wire::Options& options) {
  Servers servers(options);
  be_preferred();
  std::puts("{}");
  std::fflush(stdout);
  for (;;) {
    pollfd watched[] = {{servers.descriptor(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(watched, 2, -1) < 0 && errno != EINTR) wire::fail("poll");
    if (watched[1].revents != 0) {
      char line[4096];
      if (read(STDIN_FILENO, line, sizeof line) <= 0) return;
      servers.tell();
    }
    servers.work();
  }
}

}  // namespace
}  // namespace survival

int main(int count, char** arguments) {
  std::string words;
  for (int i = 1; i < count; ++i) words += std::string(arguments[i]) + " ";
  survival::serve(wire::Options(words));
  return 0;
}
