#include "policy.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "schedule_tables.h"

namespace tandem {
namespace {

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93;
  return x ^ (x >> 32);
}

uint64_t hash_of(uint8_t family, const uint8_t* octets, uint64_t more) {
  uint64_t words[2] = {};
  std::memcpy(words, octets, family == 4 ? 4 : 16);
  return mix(mix(mix(words[0] ^ family) ^ words[1]) ^ more);
}

// Beside real ports, in keys.
constexpr uint32_t kAnyPort = 0x10000, kRanges = 0x10001;
constexpr uint64_t server_key(uint8_t protocol, uint32_t port) { return uint64_t{protocol} << 17 | port; }

bool is_any_port(const VirtualServer& server) { return server.port == 0 && server.port_last == UINT16_MAX; }
uint32_t port_key(const VirtualServer& server) { return is_any_port(server) ? kAnyPort : server.port; }

bool same_address(const Address& address, uint8_t family, const uint8_t* octets) {
  return address.family == family && std::memcmp(address.octets, octets, family == 4 ? 4 : 16) == 0;
}

// "virtual server 3: its pool has ..."; the JavaScript side, which knows names, has checked all of this.
std::string fault(const char* what, size_t index, const std::string& text) {
  return std::string(what) + " " + std::to_string(index) + ": " + text;
}

}  // namespace

void Policy::Index::reserve(size_t entries) {
  size_t slots = 8;
  while (slots < 2 * entries) slots *= 2;
  slots_.assign(slots, {});
}

void Policy::Index::insert(uint64_t hash, uint32_t entry) {
  size_t at = hash & (slots_.size() - 1);
  while (slots_[at].entry != kNone) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {hash, entry};
}

template <typename Predicate>
int64_t Policy::Index::find(uint64_t hash, Predicate is_it) const {
  if (slots_.empty()) return -1;
  for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].entry == kNone) return -1;  // at most half full, so there is one
    if (slots_[at].hash == hash && is_it(slots_[at].entry)) return slots_[at].entry;
  }
}

std::string Policy::seal(const Policy* before, Nanos now) {
  // Addresses first: what is checked next looks them up.
  address_index_.reserve(addresses.size());
  for (size_t i = 0; i < addresses.size(); ++i) {
    const Address& address = addresses[i].address;
    if (owned(address.family, address.octets) != nullptr) return fault("address", i, "is given twice");
    address_index_.insert(hash_of(address.family, address.octets, 0), static_cast<uint32_t>(i));
  }
  if (std::string wrong = index_servers(); !wrong.empty()) return wrong;

  if (std::string wrong = check(); !wrong.empty()) return wrong;
  if (std::string wrong = index_virtual_macs(); !wrong.empty()) return wrong;

  server_of_id_.assign(kVirtualServersMax, kNoServer);
  for (size_t i = 0; i < virtual_servers.size(); ++i) server_of_id_[virtual_servers[i].id] = static_cast<uint16_t>(i);
  for (const auto& pool : pools) {
    prepare_schedule(*pool, before != nullptr ? before->pool(pool->name) : nullptr, now);
    pool_of_name_.emplace(pool->name, pool.get());
    for (const Member& member : pool->members) member_addresses_.emplace_back(member.address, member.port);
  }
  member_index_.reserve(member_addresses_.size());
  for (size_t i = 0; i < member_addresses_.size(); ++i) {
    const auto& [address, port] = member_addresses_[i];
    if (has_member(address.family, address.octets, port)) continue;
    member_index_.insert(hash_of(address.family, address.octets, port), static_cast<uint32_t>(i));
  }

  for (VirtualServer& server : virtual_servers) {
    server.snat_by_member.clear();
    for (const Member& member : pools[server.pool]->members) {
      std::vector<SnatAddress>& here = server.snat_by_member.emplace_back();
      for (const SnatAddress& snat : server.snat_addresses) {
        const uint16_t devices = owned(snat.address.family, snat.address.octets)->devices;
        if (snat.address.family == member.address.family && (devices >> member.device & 1) != 0) here.push_back(snat);
      }
      if (!here.empty()) continue;
      for (const SnatAddress& snat : server.snat_addresses) {
        if (snat.address.family == member.address.family) here.push_back(snat);
      }
    }
  }
  return {};
}

std::string Policy::index_servers() {
  server_index_.reserve(virtual_servers.size());
  range_index_.reserve(virtual_servers.size());
  for (size_t i = 0; i < virtual_servers.size(); ++i) {
    const VirtualServer& server = virtual_servers[i];
    const Address& address = server.address;
    if (server.port > server.port_last) return fault("virtual server", i, "its port range ends before it begins");
    if (server.port != server.port_last && !is_any_port(server)) {
      ranges_of(address, server.protocol)->servers.push_back(static_cast<uint32_t>(i));
      continue;
    }
    const uint32_t port = port_key(server);
    if (server_at(address.family, address.octets, server.protocol, port) != nullptr)
      return fault("virtual server", i, "another has the same address, protocol and port");
    server_index_.insert(hash_of(address.family, address.octets, server_key(server.protocol, port)),
                         static_cast<uint32_t>(i));
  }
  for (Ranges& ranges : ranges_) {
    const auto first = [this](uint32_t i) { return virtual_servers[i].port; };
    std::sort(ranges.servers.begin(), ranges.servers.end(),
              [&first](uint32_t a, uint32_t b) { return first(a) < first(b); });
    for (size_t i = 1; i < ranges.servers.size(); ++i) {
      if (first(ranges.servers[i]) <= virtual_servers[ranges.servers[i - 1]].port_last)
        return fault("virtual server", ranges.servers[i], "its port range overlaps another's of the same address");
    }
  }
  return {};
}

Policy::Ranges* Policy::ranges_of(const Address& address, uint8_t protocol) {
  const uint64_t hash = hash_of(address.family, address.octets, server_key(protocol, kRanges));
  const int64_t at = range_index_.find(
      hash, [&](uint32_t i) { return ranges_[i].protocol == protocol && ranges_[i].address == address; });
  if (at >= 0) return &ranges_[static_cast<size_t>(at)];
  range_index_.insert(hash, static_cast<uint32_t>(ranges_.size()));
  ranges_.push_back({address, protocol, {}});
  return &ranges_.back();
}

std::string Policy::check() const {
  if (groups.size() > kGroupsMax) return "more than " + std::to_string(kGroupsMax) + " traffic groups";
  if (virtual_servers.size() > kVirtualServersMax)
    return "more than " + std::to_string(kVirtualServersMax) + " virtual servers";

  for (size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i].group >= groups.size()) return fault("address", i, "its traffic group does not exist");
  }
  for (size_t i = 0; i < pools.size(); ++i) {
    if (pools[i]->members.size() > kMembersMax)
      return fault("pool", i, "more than " + std::to_string(kMembersMax) + " members");
    for (const Member& member : pools[i]->members) {
      if (member.endpoint >= kMembersMax) return fault("pool", i, "a member's id is out of range");
      if (member.device >= kDevicesMax) return fault("pool", i, "a member's device is out of range");
    }
  }
  for (size_t i = 0; i < virtual_servers.size(); ++i) {
    const VirtualServer& server = virtual_servers[i];
    const uint8_t family = server.address.family;
    if (server.id >= kVirtualServersMax) return fault("virtual server", i, "its id is out of range");
    if (server.group >= groups.size()) return fault("virtual server", i, "its traffic group does not exist");
    if (server.pool >= pools.size()) return fault("virtual server", i, "its pool does not exist");
    if (server.port == 0 && !is_any_port(server)) return fault("virtual server", i, "has port 0");
    if (server.protocol == 0 && !is_any_port(server))
      return fault("virtual server", i, "is of any protocol, and not of any port");
    if (server.protocol != 0 && server.protocol != IPPROTO_TCP && server.protocol != IPPROTO_UDP)
      return fault("virtual server", i, "is neither TCP nor UDP");
    if (server.one_packet && server.protocol != IPPROTO_UDP)
      return fault("virtual server", i, "schedules packet by packet, and is not UDP");
    const OwnedAddress* address = owned(family, server.address.octets);
    if (address == nullptr) return fault("virtual server", i, "its address is not among the addresses answered for");
    if (address->group != server.group)
      return fault("virtual server", i, "its address belongs to another traffic group");
    for (const Member& member : pools[server.pool]->members) {
      if (member.address.family != family && !is_tunnel(server.forwarding))
        return fault("virtual server", i, "a member of its pool has an address of the other family");
    }
    if (server.snat && server.forwarding != Forwarding::kNat)
      return fault("virtual server", i, "has SNAT addresses, and forwards without translation");
    if (server.snat && server.snat_addresses.empty()) return fault("virtual server", i, "has no SNAT address");
    bool of_family = !server.snat;
    for (const SnatAddress& snat : server.snat_addresses) {
      if (owned(snat.address.family, snat.address.octets) == nullptr)
        return fault("virtual server", i, "a SNAT address of it is not among the addresses answered for");
      if (snat.index >= SnatPorts::kAddressesMax)
        return fault("virtual server", i, "a SNAT address's index is out of range");
      if (snat.address.family == family) of_family = true;
    }
    if (!of_family) return fault("virtual server", i, "has no SNAT address of its own family");
  }
  return {};
}

std::string Policy::index_virtual_macs() {
  for (size_t group = 0; group < groups.size(); ++group) {
    for (size_t device = 0; device < kDevicesMax; ++device) {
      const uint8_t vrid = groups[group].vrid[device];
      if (vrid == 0) continue;
      uint8_t& owner = group_of_vrid_[device][vrid];
      if (owner != 0) return fault("traffic group", group, "another has the same VRID on the same device");
      owner = static_cast<uint8_t>(group + 1);
    }
  }
  return {};
}

const OwnedAddress* Policy::owned(uint8_t family, const uint8_t* octets) const {
  const int64_t at = address_index_.find(
      hash_of(family, octets, 0), [&](uint32_t i) { return same_address(addresses[i].address, family, octets); });
  return at < 0 ? nullptr : &addresses[static_cast<size_t>(at)];
}

const VirtualServer* Policy::server_at(uint8_t family, const uint8_t* octets, uint8_t protocol, uint32_t port) const {
  const int64_t at = server_index_.find(hash_of(family, octets, server_key(protocol, port)), [&](uint32_t i) {
    const VirtualServer& server = virtual_servers[i];
    return server.protocol == protocol && port_key(server) == port && same_address(server.address, family, octets);
  });
  return at < 0 ? nullptr : &virtual_servers[static_cast<size_t>(at)];
}

const VirtualServer* Policy::virtual_server(uint8_t family, const uint8_t* octets, uint8_t protocol,
                                            uint16_t port) const {
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
    if (const VirtualServer* exact = server_at(family, octets, protocol, port)) return exact;
    const int64_t at = range_index_.find(hash_of(family, octets, server_key(protocol, kRanges)), [&](uint32_t i) {
      return ranges_[i].protocol == protocol && same_address(ranges_[i].address, family, octets);
    });
    if (at >= 0) {
      // The last that does not begin behind the port.
      const std::vector<uint32_t>& servers = ranges_[static_cast<size_t>(at)].servers;
      const auto behind = std::upper_bound(servers.begin(), servers.end(), port, [this](uint16_t wanted, uint32_t i) {
        return wanted < virtual_servers[i].port;
      });
      if (behind != servers.begin() && port <= virtual_servers[*(behind - 1)].port_last)
        return &virtual_servers[*(behind - 1)];
    }
    if (const VirtualServer* any = server_at(family, octets, protocol, kAnyPort)) return any;
  }
  return server_at(family, octets, 0, kAnyPort);
}

const VirtualServer* Policy::virtual_server(uint16_t id) const {
  const uint16_t at = id < server_of_id_.size() ? server_of_id_[id] : kNoServer;
  return at == kNoServer ? nullptr : &virtual_servers[at];
}

const Pool* Policy::pool(const std::string& name) const {
  const auto at = pool_of_name_.find(name);
  return at == pool_of_name_.end() ? nullptr : at->second;
}

void Policy::mark_down_members(Runtime* runtime) const {
  std::vector<bool> down(kMembersMax);
  for (const auto& pool : pools) {
    if (pool->on_member_down == OnMemberDown::kKeep) continue;
    for (const Member& member : pool->members) {
      if (member.down) down[member.endpoint] = true;
    }
  }
  for (size_t id = 0; id < kMembersMax; ++id) {
    std::atomic<bool>& told = runtime->endpoints[id].down;
    if (told.load(std::memory_order_relaxed) != down[id]) told.store(down[id], std::memory_order_relaxed);
  }
}

std::unique_ptr<Pool> Pool::as_described() const {
  auto copy = std::make_unique<Pool>();
  copy->name = name;
  copy->scheduler = scheduler;
  copy->on_member_down = on_member_down;
  copy->active_min = active_min;
  copy->slow_start = slow_start;
  copy->members = members;
  return copy;
}

int Pool::member_with(uint16_t endpoint) const {
  const auto at = std::lower_bound(by_endpoint.begin(), by_endpoint.end(), std::pair<uint16_t, uint16_t>{endpoint, 0});
  return at == by_endpoint.end() || at->first != endpoint ? -1 : at->second;
}

bool Policy::has_member(uint8_t family, const uint8_t* octets, uint16_t port) const {
  return member_index_.find(hash_of(family, octets, port), [&](uint32_t i) {
    return member_addresses_[i].second == port && same_address(member_addresses_[i].first, family, octets);
  }) >= 0;
}

bool Policy::is_member(uint8_t family, const uint8_t* octets, uint16_t port) const {
  return has_member(family, octets, port) || has_member(family, octets, 0);
}

}  // namespace tandem
