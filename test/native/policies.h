// A policy for tests: two devices, one traffic group, one pool; what a test needs changed it changes before seal().
#pragma once

#include <netinet/in.h>

#include <memory>
#include <string>
#include <vector>

#include "../../native/policy.h"
#include "packets.h"

namespace tandem::test {

inline constexpr uint8_t kClientDevice = 0, kServerDevice = 1;
inline constexpr uint8_t kVrid = 51;

inline Address policy_address(const std::string& text) {
  Address made = {};
  made.family = is_v6(text) ? 6 : 4;
  const Bytes octets = address(text);
  std::copy(octets.begin(), octets.end(), made.octets);
  return made;
}

inline Member member(const std::string& text, uint16_t port, uint16_t endpoint, uint16_t weight = 1, bool up = true) {
  return {policy_address(text), port, endpoint, weight, up, kServerDevice};
}

inline std::unique_ptr<Pool> pool(Scheduler scheduler, std::vector<Member> members) {
  auto made = std::make_unique<Pool>();
  made->scheduler = scheduler;
  made->members = std::move(members);
  return made;
}

inline void add_address(Policy& policy, const std::string& text, uint16_t devices, Closed closed = Closed::kDrop) {
  policy.addresses.push_back({policy_address(text), 0, devices, closed});
}

inline void add_server(Policy& policy, const std::string& text, uint16_t port, uint8_t protocol, uint16_t pool,
                       std::vector<SnatAddress> snat) {
  VirtualServer server = {};
  server.id = static_cast<uint16_t>(policy.virtual_servers.size());
  server.address = policy_address(text);
  server.protocol = protocol;
  server.port = server.port_last = port;
  server.pool = pool;
  server.unknown = Unknown::kDrop;
  server.snat = !snat.empty();
  server.snat_addresses = std::move(snat);
  policy.virtual_servers.push_back(std::move(server));
}

// Virtual servers 0: 10.1.0.100:80 (SNAT), 1: fd01::100 port 80 (SNAT), 2: 10.1.0.100:53/udp (SNAT),
// 3: 10.1.0.101:80 (no SNAT); floating addresses .1 on both sides.
inline std::unique_ptr<Policy> two_sided_policy() {
  auto policy = std::make_unique<Policy>();
  PolicyGroup group = {};
  group.vrid[kClientDevice] = group.vrid[kServerDevice] = kVrid;
  group.floating[kClientDevice][0] = policy_address("10.1.0.1");
  group.floating[kClientDevice][1] = policy_address("fd01::1");
  group.floating[kServerDevice][0] = policy_address("10.2.0.1");
  group.floating[kServerDevice][1] = policy_address("fd02::1");
  policy->groups.push_back(group);
  constexpr uint16_t client = 1 << kClientDevice, servers = 1 << kServerDevice;
  for (const char* text : {"10.1.0.100", "10.1.0.101", "fd01::100", "10.1.0.1", "fd01::1"})
    add_address(*policy, text, client);
  add_address(*policy, "10.2.0.1", servers);
  add_address(*policy, "fd02::1", servers);
  policy->pools.push_back(pool(Scheduler::kRoundRobin, {member("10.2.0.11", 8080, 0), member("10.2.0.12", 8080, 1)}));
  policy->pools.push_back(pool(Scheduler::kRoundRobin, {member("fd02::11", 8080, 2)}));
  policy->pools.push_back(pool(Scheduler::kRoundRobin, {member("10.2.0.11", 53, 3)}));
  const SnatAddress v4 = {policy_address("10.2.0.1"), 0}, v6 = {policy_address("fd02::1"), 1};
  add_server(*policy, "10.1.0.100", 80, IPPROTO_TCP, 0, {v4});
  add_server(*policy, "fd01::100", 80, IPPROTO_TCP, 1, {v6});
  add_server(*policy, "10.1.0.100", 53, IPPROTO_UDP, 2, {v4});
  add_server(*policy, "10.1.0.101", 80, IPPROTO_TCP, 0, {});
  return policy;
}

}  // namespace tandem::test
