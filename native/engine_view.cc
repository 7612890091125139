// What the control side reads: counters, connections, virtual servers, members.
#include <algorithm>
#include <cstring>

#include "address_text.h"
#include "engine.h"
#include "scheduler.h"
#include "wire/headers.h"

namespace tandem {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// Slots that one call of connections() looks at, so that a filter that matches nothing does not walk a
// whole table while the JavaScript thread waits.
constexpr size_t kSlotsPerCall = 65536;

constexpr const char* kStateNames[] = {"syn_sent",   "syn_received", "established", "fin_client",
                                       "fin_server", "closing",      "reset",       "adopted"};
static_assert(std::size(kStateNames) == kTcpStates);

Address address_v4(const wire::be32& octets) {
  Address address{4, {}};
  std::memcpy(address.octets, &octets, 4);
  return address;
}

Address address_v6(const uint8_t octets[16]) {
  Address address{6, {}};
  std::memcpy(address.octets, octets, 16);
  return address;
}

std::string protocol_name(uint8_t protocol) {
  if (protocol == wire::kTcp) return "tcp";
  return protocol == wire::kUdp ? "udp" : std::to_string(protocol);
}

const char* forwarding_name(uint32_t control, const VirtualServerState& server) {
  if ((control & Control::kDirect) == 0) return "nat";
  if ((control & Control::kTunnelled) == 0) return "dsr";
  return server.tunnel.load(kRelaxed) == Forwarding::kGue ? "gue" : "ipip";
}

bool is_end(const EndFilter& wanted, const Address& address, uint16_t port) {
  if (wanted.address.family == 0) return true;
  return wanted.address == address && (wanted.port == 0 || wanted.port == port);
}

void add_commits(const CommitCounts& counts, ServerView* view) {
  view->held = counts.held.load(kRelaxed);
  view->released = counts.released.load(kRelaxed);
  view->timed_out = counts.timed_out.load(kRelaxed);
  view->refused = counts.refused.load(kRelaxed);
  view->beyond = counts.beyond.load(kRelaxed);
  view->no_peer = counts.no_peer.load(kRelaxed);
  view->unprotected = counts.unprotected.load(kRelaxed);
}

}  // namespace

uint64_t Engine::counter(size_t index) const {
  uint64_t sum = 0;
  for (const auto& counters : counters_) {
    sum += index < kDrops ? counters->drops[index].load(kRelaxed) : counters->counts[index - kDrops].load(kRelaxed);
  }
  return sum;
}

size_t Engine::held() const {
  size_t sum = 0;
  for (const auto& held : held_) sum += held->held();
  return sum;
}

std::array<uint64_t, kLatencyBuckets> Engine::commit_latency() const {
  std::array<uint64_t, kLatencyBuckets> sums{};
  for (const auto& held : held_) {
    for (size_t i = 0; i < kLatencyBuckets; i++) sums[i] += held->latency[i].load(kRelaxed);
  }
  return sums;
}

std::vector<ServerView> Engine::servers() const {
  std::vector<ServerView> views;
  for (const uint16_t id : ids_.server_ids()) {
    const VirtualServerState& state = runtime_->virtual_servers[id];
    const uint32_t connections = state.connections.load(kRelaxed);
    if (!ids_.server_named(id) && connections == 0) continue;
    ServerView view{ids_.server_name(id), connections, state.opened.load(kRelaxed), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    add_commits(state.commit, &view);
    for (const auto& traffic : runtime_->traffic) {
      if (traffic == nullptr) continue;
      const Traffic& seen = (*traffic)[id];
      view.packets_in += seen.ways[0].packets.load(kRelaxed);
      view.bytes_in += seen.ways[0].bytes.load(kRelaxed);
      view.packets_out += seen.ways[1].packets.load(kRelaxed);
      view.bytes_out += seen.ways[1].bytes.load(kRelaxed);
    }
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<MemberView> Engine::members() const {
  std::vector<uint32_t> shares(kMembersMax, kWholeShare);
  for (const auto& pool : policy_.current()->pools) {
    for (const Member& member : pool->members)
      shares[member.endpoint] = std::min(shares[member.endpoint], share_of(*pool, member, now()));
  }
  std::vector<MemberView> views;
  for (const uint16_t id : ids_.endpoint_ids()) {
    const Endpoint& endpoint = runtime_->endpoints[id];
    views.push_back({address_text(ids_.endpoint_address(id)), ids_.endpoint_port(id),
                     endpoint.connections.load(kRelaxed), endpoint.opened.load(kRelaxed),
                     endpoint.limited.load(kRelaxed), endpoint.persisted.load(kRelaxed),
                     static_cast<double>(shares[id]) / kWholeShare});
  }
  return views;
}

bool Engine::connections(size_t* cursor, size_t limit, const ConnectionFilter& filter,
                         std::vector<ConnectionView>* rows) {
  const std::string& virtual_server = filter.virtual_server;
  const TableVisit visit(table_, me());
  const Nanos now = boottime_now();
  const uint16_t wanted = virtual_server.empty() ? IdRegistry::kNone : ids_.server(virtual_server);
  const bool nothing = !virtual_server.empty() && wanted == IdRegistry::kNone;
  const size_t slots = nothing ? 0 : table_.slots_touched();
  const size_t end = std::min(slots, *cursor + kSlotsPerCall);
  size_t slot = std::min(*cursor, slots);
  for (; slot < end && rows->size() < limit; slot++) {
    const Connection* connection = table_.at(slot);
    if (connection == nullptr || (connection->control.load(kRelaxed) & Control::kDead) != 0) continue;
    if (wanted != IdRegistry::kNone && connection->virtual_server != wanted) continue;
    if (!is_end(filter.client, client_of(*connection), connection->client_port.host())) continue;
    if (!is_end(filter.member, ids_.endpoint_address(connection->endpoint), connection->member_port.host())) continue;
    rows->push_back(view(*connection, now));
  }
  *cursor = slot;
  return slot < slots;
}

Address Engine::client_of(const Connection& connection) const {
  return connection.family == 4 ? address_v4(connection.client) : address_v6(table_.ipv6(connection).client);
}

ConnectionView Engine::view(const Connection& connection, Nanos now) const {
  ConnectionView view;
  view.id = std::to_string(table_.slot_of(connection)) + '.' + std::to_string(connection.incarnation.load(kRelaxed));
  const uint32_t control = connection.control.load(kRelaxed);
  Address client, virtual_address, member, snat;
  if (connection.family == 4) {
    client = address_v4(connection.client);
    virtual_address = address_v4(connection.virtual_address);
    member = address_v4(connection.member);
    snat = address_v4(connection.snat);
  } else {
    const Ipv6Addresses& addresses = table_.ipv6(connection);
    client = address_v6(addresses.client);
    virtual_address = address_v6(addresses.virtual_address);
    member = address_v6(addresses.member);
    snat = address_v6(addresses.snat);
  }
  if ((control & Control::kNoSnat) != 0) snat = client;
  const bool direct = (control & Control::kDirect) != 0;
  view.virtual_server = ids_.server_name(connection.virtual_server);
  view.protocol = protocol_name(connection.protocol);
  view.client = address_port_text(client, connection.client_port.host());
  view.virtual_address = address_port_text(virtual_address, connection.virtual_port.host());
  view.member =
      address_port_text(direct ? ids_.endpoint_address(connection.endpoint) : member, connection.member_port.host());
  view.forwarding = forwarding_name(control, runtime_->virtual_servers[connection.virtual_server]);
  view.snat = address_port_text(snat, connection.snat_port.host());
  view.state = kStateNames[std::min<size_t>(static_cast<size_t>(connection.state()), kTcpStates - 1)];
  const Deciseconds seen = connection.last_seen.load(kRelaxed);
  const Deciseconds today = to_deciseconds(now);
  view.idle_s = today > seen ? (today - seen) / 10.0 : 0;
  view.from_peer = (control & Control::kFromPeer) != 0;
  view.unprotected = (control & Control::kUnprotected) != 0;
  view.mirrored = (control & (Control::kFromPeer | Control::kAnnounced)) != 0 && !view.unprotected;
  if (const LastHop hop = connection.last_hop.load(kRelaxed); hop != 0) {
    const size_t device = hop_device(hop);
    view.last_hop = mac_text(hop_mac(hop));
    if (device < options_.devices.size()) view.last_hop += " on " + options_.devices[device].name;
    if (hop_vlan(hop) != 0) view.last_hop += " vlan " + std::to_string(hop_vlan(hop));
  }
  return view;
}

}  // namespace tandem
