#include "traffic.h"

#include <bit>

#include "../../../native/wire/checksum.h"

namespace tandem::bench {
namespace {

using wire::be16;
using wire::be32;

constexpr size_t kPortsOfUnit = (65536 - 1024) / 2;  // see snat_ports.h
constexpr uint16_t kServicePort = 80, kMemberPort = 8080;
constexpr uint32_t kClientPorts = 1 << 15;  // that a client address uses
constexpr uint32_t kFirstClient = 10u << 24 | 64u << 16, kFirstServer = 10u << 24 | 1u << 16 | 100;

uint32_t in_memory(uint32_t address) { return std::bit_cast<uint32_t>(be32(address)); }

std::string dotted(const char* network, size_t host) { return network + std::to_string(host); }

}  // namespace

std::unique_ptr<Policy> policy_for(size_t connections) {
  using namespace test;
  auto policy = std::make_unique<Policy>();
  PolicyGroup group = {};
  group.vrid[kClientDevice] = group.vrid[kServerDevice] = kVrid;
  policy->groups.push_back(group);

  std::vector<Member> members;
  for (size_t i = 0; i < kMembers; ++i) {
    members.push_back(member(dotted("10.2.0.", 11 + i), kMemberPort, static_cast<uint16_t>(i)));
  }
  policy->pools.push_back(pool(Scheduler::kRoundRobin, std::move(members)));

  // A tenth more ports than connections, for members and addresses are not used quite evenly.
  const size_t addresses = (connections + connections / 10) / (kMembers * kPortsOfUnit) + 1;
  std::vector<SnatAddress> snat;
  for (size_t i = 0; i < addresses; ++i) {
    const std::string address = dotted("10.2.1.", i);
    add_address(*policy, address, 1 << kServerDevice);
    snat.push_back({policy_address(address), static_cast<uint16_t>(i)});
  }
  for (size_t i = 0; i < kVirtualServers; ++i) {
    const std::string address = dotted("10.1.0.", 100 + i);
    add_address(*policy, address, 1 << kClientDevice);
    add_server(*policy, address, kServicePort, IPPROTO_TCP, 0, snat);
  }
  return policy;
}

Traffic::Template Traffic::make_template(const char* to, const char* from, uint16_t source_port,
                                         uint16_t destination_port) {
  Template made;
  const test::Bytes frame =
      test::tcp_frame({to, from}, {"0.0.0.0", "0.0.0.0"}, {source_port, destination_port, 0, 1000, 1001, "sixsix"});
  std::memcpy(made.octets, frame.data(), kFrameBytes);
  auto& ip = wire::header_in<wire::Ipv4Header>(made.octets, sizeof(wire::EthernetHeader));
  ip.checksum = 0;
  made.network_sum = wire::sum_octets(made.octets + sizeof(wire::EthernetHeader), sizeof ip);
  const size_t transport = sizeof(wire::EthernetHeader) + sizeof ip, bytes = kFrameBytes - transport;
  wire::header_in<wire::TcpHeader>(made.octets, transport).checksum = 0;
  made.transport_sum = wire::sum_octets(made.octets + transport, bytes) +
                       wire::sum_pseudo_header(4, ip.source, static_cast<uint32_t>(bytes), wire::kTcp);
  return made;
}

Traffic::Traffic(size_t connections)
    : client_template_(make_template(test::kVirtualMac4, test::kClientMac, 0, kServicePort)),
      member_template_(make_template(test::kVirtualMac4, test::kMemberMac[0], kMemberPort, 0)),
      memory_((kChunks + 1) * kChunkBytes) {
  // In huge pages if there are any: the generator is to leave the engine its share of the TLB.
  if (!server_memory_.reserve(connections * sizeof(ServerSide), ReservedMemory::Touch::kNow)) std::abort();
  servers_ = server_memory_.as<ServerSide>();
  next_burst();
}

void Traffic::next_burst() {
  first_ = (first_ + kBurst) % kChunks;
  const uintptr_t before = reinterpret_cast<uintptr_t>(memory_.data()) % kChunkBytes;
  uint8_t* chunks = memory_.data() + (kChunkBytes - before) + first_ * kChunkBytes;
  for (size_t i = 0; i < kBurst; ++i) {
    frames_[i] = {chunks + i * kChunkBytes + kHeadroom, kFrameBytes, 0, false, 0};
  }
}

void Traffic::write(size_t at, const Template& from, uint8_t device, uint32_t source, uint32_t destination,
                    uint32_t ports, uint8_t flags) {
  Frame& frame = frames_[at];
  frame.device = device;
  std::memcpy(frame.data, from.octets, kFrameBytes);
  constexpr size_t network = sizeof(wire::EthernetHeader), transport = network + sizeof(wire::Ipv4Header);
  auto& ip = wire::header_in<wire::Ipv4Header>(frame.data, network);
  auto& tcp = wire::header_in<wire::TcpHeader>(frame.data, transport);
  std::memcpy(ip.source, &source, sizeof source);
  std::memcpy(ip.destination, &destination, sizeof destination);
  tcp.flags = flags;
  const uint32_t template_ports = wire::load32(frame.data + transport);
  ports |= template_ports;  // one of them stands in the template, and in its sum
  std::memcpy(frame.data + transport, &ports, sizeof ports);

  const uint64_t addresses = uint64_t{source} + destination;
  ip.checksum = wire::checksum_of(from.network_sum + addresses);
  const uint16_t flags_word = std::bit_cast<uint16_t>(be16(flags));
  tcp.checksum = wire::checksum_of(from.transport_sum + addresses + (ports - template_ports) + flags_word);
}

void Traffic::from_client(size_t at, uint32_t connection, uint8_t flags) {
  const uint32_t client = in_memory(kFirstClient + connection / kClientPorts);
  const uint32_t server = in_memory(kFirstServer + connection % kVirtualServers);
  const be16 port(static_cast<uint16_t>(1024 + connection % kClientPorts));
  write(at, client_template_, test::kClientDevice, client, server, std::bit_cast<uint16_t>(port), flags);
}

void Traffic::from_member(size_t at, uint32_t connection, uint8_t flags) {
  const ServerSide& server = servers_[connection];
  write(at, member_template_, test::kServerDevice, server.member, server.snat, uint32_t{server.snat_port} << 16, flags);
}

void Traffic::learn(size_t at, uint32_t connection) {
  const uint8_t* data = frames_[at].data;
  const auto& ip = wire::header_in<wire::Ipv4Header>(const_cast<uint8_t*>(data), sizeof(wire::EthernetHeader));
  ServerSide& server = servers_[connection];
  std::memcpy(&server.snat, ip.source, sizeof server.snat);
  std::memcpy(&server.member, ip.destination, sizeof server.member);
  std::memcpy(&server.snat_port, data + sizeof(wire::EthernetHeader) + sizeof ip, sizeof server.snat_port);
}

}  // namespace tandem::bench
