// Giving and taking back ids.
#include "id_registry.h"

#include <algorithm>
#include <cstring>

namespace tandem {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

IdRegistry::IdRegistry(Runtime* runtime, SnatPorts* snat_ports)
    : runtime_(runtime), snat_ports_(snat_ports), servers_(kVirtualServersMax), endpoints_(kMembersMax) {}

std::string IdRegistry::assign(PolicyDraft* draft) {
  free_unused();
  Policy& policy = *draft->policy;
  for (size_t i = 0; i < policy.virtual_servers.size(); i++) {
    VirtualServer& server = policy.virtual_servers[i];
    server.id = give_server(draft->servers[i].name);
    if (server.id == kNone) {
      return "more than " + std::to_string(kVirtualServersMax) +
             " virtual servers, those counted that are gone but still have connections";
    }
  }
  for (const auto& pool : policy.pools) {
    for (Member& member : pool->members) {
      member.endpoint = give_endpoint(member.address, member.port);
      if (member.endpoint == kNone) {
        return "more than " + std::to_string(kMembersMax) +
               " members, those counted that are gone but still have connections";
      }
    }
  }
  for (VirtualServer& server : policy.virtual_servers) {
    for (SnatAddress& wanted : server.snat_addresses) {
      const int index = snat_ports_->add_address(wanted.address.family, wanted.address.octets);
      if (index < 0) {
        return "more than " + std::to_string(SnatPorts::kAddressesMax) + " SNAT addresses since the daemon started";
      }
      wanted.index = static_cast<uint16_t>(index);
    }
  }
  return {};
}

void IdRegistry::commit(const PolicyDraft& draft) {
  for (ServerEntry& entry : servers_) entry.named = false;
  for (EndpointEntry& entry : endpoints_) entry.named = false;
  for (const VirtualServer& server : draft.policy->virtual_servers) servers_[server.id].named = true;
  for (const auto& pool : draft.policy->pools) {
    for (const Member& member : pool->members) endpoints_[member.endpoint].named = true;
  }
}

void IdRegistry::free_unused() {
  for (size_t id = 0; id < servers_.size(); id++) {
    ServerEntry& entry = servers_[id];
    if (entry.name.empty() || entry.named || runtime_->virtual_servers[id].connections.load(kRelaxed) != 0) continue;
    server_of_.erase(entry.name);
    entry.name.clear();
  }
  for (size_t id = 0; id < endpoints_.size(); id++) {
    EndpointEntry& entry = endpoints_[id];
    if (!entry.used || entry.named || runtime_->endpoints[id].connections.load(kRelaxed) != 0) continue;
    endpoint_of_.erase(key(entry.address, entry.port));
    entry.used = false;
  }
}

uint16_t IdRegistry::give_server(const std::string& name) {
  if (const uint16_t known = server(name); known != kNone) return known;
  for (size_t i = 0; i < kVirtualServersMax; i++) {
    const size_t id = (next_server_ + i) % kVirtualServersMax;
    if (!servers_[id].name.empty()) continue;
    next_server_ = id + 1;
    servers_[id].name = name;
    server_of_[name] = static_cast<uint16_t>(id);
    // No worker knows the id yet, so its counts may be set from here.
    runtime_->virtual_servers[id].mirror.store(MirrorRule{}, kRelaxed);
    runtime_->virtual_servers[id].opened.store(0, kRelaxed);
    for (const auto& traffic : runtime_->traffic) {
      if (traffic == nullptr) continue;
      Traffic& seen = (*traffic)[id];
      for (auto* counter : {&seen.ways[0].packets, &seen.ways[0].bytes, &seen.ways[1].packets, &seen.ways[1].bytes}) {
        counter->store(0, kRelaxed);
      }
    }
    return static_cast<uint16_t>(id);
  }
  return kNone;
}

uint16_t IdRegistry::give_endpoint(const Address& address, uint16_t port) {
  if (const uint16_t known = endpoint(address, port); known != kNone) return known;
  for (size_t i = 0; i < kMembersMax; i++) {
    const size_t id = (next_endpoint_ + i) % kMembersMax;
    if (endpoints_[id].used) continue;
    next_endpoint_ = id + 1;
    endpoints_[id] = {address, port, true, false};
    endpoint_of_[key(address, port)] = static_cast<uint16_t>(id);
    Endpoint& fresh = runtime_->endpoints[id];
    fresh.next_hop.store(0, kRelaxed);
    for (auto* counter : {&fresh.opened, &fresh.limited, &fresh.persisted}) counter->store(0, kRelaxed);
    EndpointAddress& to = runtime_->endpoint_addresses[id];
    to.family = address.family;
    to.port = port;
    std::memcpy(to.octets, address.octets, sizeof to.octets);
    return static_cast<uint16_t>(id);
  }
  return kNone;
}

uint16_t IdRegistry::server(const std::string& name) const {
  const auto at = server_of_.find(name);
  return at == server_of_.end() ? kNone : at->second;
}

uint16_t IdRegistry::endpoint(const Address& address, uint16_t port) const {
  const auto at = endpoint_of_.find(key(address, port));
  return at == endpoint_of_.end() ? kNone : at->second;
}

std::vector<uint16_t> IdRegistry::server_ids() const {
  std::vector<uint16_t> ids;
  for (size_t id = 0; id < servers_.size(); id++) {
    if (!servers_[id].name.empty()) ids.push_back(static_cast<uint16_t>(id));
  }
  return ids;
}

std::vector<uint16_t> IdRegistry::endpoint_ids() const {
  std::vector<uint16_t> ids;
  for (size_t id = 0; id < endpoints_.size(); id++) {
    if (endpoints_[id].used) ids.push_back(static_cast<uint16_t>(id));
  }
  return ids;
}

std::string IdRegistry::key(const Address& address, uint16_t port) {
  std::string key(reinterpret_cast<const char*>(address.octets), sizeof address.octets);
  key.push_back(static_cast<char>(address.family));
  key.push_back(static_cast<char>(port >> 8));
  key.push_back(static_cast<char>(port & 0xff));
  return key;
}

}  // namespace tandem
