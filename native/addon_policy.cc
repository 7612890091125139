// From the control side's PolicyDescription to the datapath's Policy, ids not yet given.
//
// Checks what a plain object can have wrong: types, ranges, indices, names given twice. What concerns the
// whole (addresses given twice, families that do not fit) is Policy::seal()'s.
#include <netinet/in.h>

#include <cmath>
#include <set>

#include "addon.h"

namespace tandem {
namespace {

// In the order of the enums they stand for.
constexpr const char* kSchedulers[] = {
    "round-robin", "weighted-round-robin", "least-connections", "weighted-least-connections", "maglev", "source-hash",
    nullptr};
constexpr const char* kUnknowns[] = {"drop", "reset", "adopt", nullptr};
constexpr const char* kCloseds[] = {"drop", "reset", nullptr};
constexpr const char* kOnMemberDowns[] = {"keep", "reset", "reselect", nullptr};
constexpr const char* kForwardings[] = {"nat", "dsr", "ipip", "gue", nullptr};
constexpr const char* kProtocols[] = {"any", "tcp", "udp", nullptr};
constexpr uint8_t kProtocolNumbers[] = {0, IPPROTO_TCP, IPPROTO_UDP};

constexpr const char* kMirrorModes[] = {"off", "async", "commit", nullptr};
constexpr const char* kOnTimeouts[] = {"available", "strict", nullptr};

constexpr double kSlowStartMaxS = 86400;
constexpr double kPersistenceMaxS = 86400.0 * 30;
constexpr double kIdleTimeoutMaxS = 86400.0 * 365;

uint32_t last_index(size_t count) { return count == 0 ? 0 : static_cast<uint32_t>(count - 1); }

uint32_t index_in(ObjectReader* reader, const Napi::Object& object, const char* key, const std::string& path,
                  size_t count, const char* what) {
  const uint32_t index = reader->integer(object, key, path, 0, last_index(count));
  if (reader->ok() && count == 0) reader->fail(member_of(path, key), std::string("there are no ") + what);
  return index;
}

// The first of each family that is not link-local; else the first.
void choose_speaker(const Address& address, Address* speakers) {
  Address& speaker = speakers[address.family == 4 ? 0 : 1];
  if (speaker.family == 0 || (is_link_local(speaker) && !is_link_local(address))) speaker = address;
}

void read_group(ObjectReader* reader, const Napi::Value& value, const std::string& path, size_t devices,
                PolicyDraft* draft) {
  const Napi::Object group = reader->object(value, path);
  reader->text(group, "name", path);
  const Napi::Array vrids = reader->array(group, "vrids", path);
  if (reader->ok() && vrids.Length() != devices) {
    reader->fail(path + ".vrids",
                 std::to_string(vrids.Length()) + " entries, and there are " + std::to_string(devices) + " devices");
  }
  PolicyGroup made{};
  for (uint32_t device = 0; reader->ok() && device < vrids.Length(); device++) {
    made.vrid[device] = static_cast<uint8_t>(reader->integer(vrids[device], element(path + ".vrids", device), 0, 255));
  }
  const Napi::Array floating = reader->array(group, "floating", path);
  if (reader->ok() && floating.Length() != devices) {
    reader->fail(path + ".floating",
                 std::to_string(floating.Length()) + " entries, and there are " + std::to_string(devices) + " devices");
  }
  for (uint32_t device = 0; reader->ok() && device < floating.Length(); device++) {
    const std::string at = element(path + ".floating", device);
    const Napi::Array addresses = reader->array(floating[device], at);
    for (uint32_t i = 0; reader->ok() && i < addresses.Length(); i++) {
      const Address address = reader->address(addresses[i], element(at, i));
      if (reader->ok()) choose_speaker(address, made.floating[device]);
    }
  }
  draft->policy->groups.push_back(made);
}

void read_address(ObjectReader* reader, const Napi::Value& value, const std::string& path, size_t devices,
                  PolicyDraft* draft) {
  const Napi::Object object = reader->object(value, path);
  OwnedAddress owned{};
  owned.address = reader->address(object, "address", path);
  owned.group = static_cast<uint8_t>(index_in(reader, object, "group", path, draft->policy->groups.size(), "groups"));
  const Napi::Array on = reader->array(object, "devices", path);
  for (uint32_t i = 0; reader->ok() && i < on.Length(); i++) {
    const uint32_t device = reader->integer(on[i], element(path + ".devices", i), 0, last_index(devices));
    owned.devices = static_cast<uint16_t>(owned.devices | 1u << device);
  }
  owned.closed = static_cast<Closed>(reader->choice(object, "closed", path, kCloseds));
  draft->policy->addresses.push_back(owned);
}

void read_pool(ObjectReader* reader, const Napi::Value& value, const std::string& path, size_t devices,
               PolicyDraft* draft) {
  const Napi::Object object = reader->object(value, path);
  auto pool = std::make_unique<Pool>();
  pool->name = reader->text(object, "name", path);
  pool->scheduler = static_cast<Scheduler>(reader->choice(object, "scheduler", path, kSchedulers));
  if (reader->has(object, "onMemberDown"))
    pool->on_member_down = static_cast<OnMemberDown>(reader->choice(object, "onMemberDown", path, kOnMemberDowns));
  if (reader->has(object, "minActiveMembers"))
    pool->active_min = static_cast<uint16_t>(reader->integer(object, "minActiveMembers", path, 1, UINT16_MAX));
  if (reader->has(object, "slowStartS")) {
    const double seconds = reader->number(object, "slowStartS", path, 0, kSlowStartMaxS);
    pool->slow_start = static_cast<Nanos>(seconds * static_cast<double>(kSecond));
  }
  const Napi::Array members = reader->array(object, "members", path);
  for (uint32_t i = 0; reader->ok() && i < members.Length(); i++) {
    const std::string at = element(path + ".members", i);
    const Napi::Object member = reader->object(members[i], at);
    Member made{};
    made.address = reader->address(member, "address", at);
    made.port = static_cast<uint16_t>(reader->integer(member, "port", at, 0, 65535));
    made.weight = static_cast<uint16_t>(reader->integer(member, "weight", at, 0, 65535));
    made.up = reader->boolean(member, "up", at);
    made.device = static_cast<uint8_t>(reader->integer(member, "device", at, 0, last_index(devices)));
    made.down = reader->has(member, "down") ? reader->boolean(member, "down", at) : !made.up;
    if (reader->has(member, "priority"))
      made.priority = static_cast<uint16_t>(reader->integer(member, "priority", at, 0, UINT16_MAX));
    if (reader->has(member, "maxConnections"))
      made.connections_max = reader->integer(member, "maxConnections", at, 0, UINT32_MAX);
    pool->members.push_back(made);
  }
  draft->policy->pools.push_back(std::move(pool));
}

IdleTimeouts read_timeouts(ObjectReader* reader, const Napi::Object& server, const std::string& path) {
  if (!reader->ok()) return {};
  const std::string at = path + ".idleTimeoutS";
  const Napi::Object object = reader->object(server.Get("idleTimeoutS"), at);
  const auto read = [&](const char* key) {
    return static_cast<Deciseconds>(std::lround(10 * reader->number(object, key, at, 0.1, kIdleTimeoutMaxS)));
  };
  IdleTimeouts timeouts;
  timeouts.half_open = read("halfOpen");
  timeouts.established = read("established");
  timeouts.half_closed = read("halfClosed");
  timeouts.closing = read("closing");
  timeouts.udp = read("udp");
  timeouts.other = reader->ok() && object.Has("other") ? read("other") : timeouts.udp;
  return timeouts;
}

// Not there: no limit.
ClientRate read_client_rate(ObjectReader* reader, const Napi::Object& server, const std::string& path) {
  if (!reader->ok() || server.Get("newConnectionsPerClient").IsUndefined()) return {};
  const std::string at = path + ".newConnectionsPerClient";
  const Napi::Object rate = reader->object(server.Get("newConnectionsPerClient"), at);
  const uint32_t per_s = reader->integer(rate, "perS", at, 1, ClientRate::kPerSMax);
  const uint32_t burst = reader->integer(rate, "burst", at, 1, per_s * ClientRate::kBurstSMax);
  return ClientRate::of(per_s, burst);
}

SourcePersistence read_persistence(ObjectReader* reader, const Napi::Object& server, const std::string& path) {
  if (!reader->has(server, "persistence") || server.Get("persistence").IsNull()) return {};
  const std::string at = path + ".persistence";
  const Napi::Object object = reader->object(server.Get("persistence"), at);
  SourcePersistence rule;
  rule.timeout =
      static_cast<Deciseconds>(std::lround(10 * reader->number(object, "timeoutS", at, 0.1, kPersistenceMaxS)));
  rule.prefix4 = static_cast<uint8_t>(reader->integer(object, "prefix4", at, 1, 32));
  rule.prefix6 = static_cast<uint8_t>(reader->integer(object, "prefix6", at, 1, 128));
  if (reader->has(object, "mirror")) rule.mirror = reader->boolean(object, "mirror", at);
  return rule;
}

void read_server(ObjectReader* reader, const Napi::Value& value, const std::string& path, std::set<std::string>* names,
                 PolicyDraft* draft) {
  const Napi::Object object = reader->object(value, path);
  VirtualServer server{};
  PolicyDraft::Server more{};
  more.name = reader->text(object, "name", path);
  if (reader->ok() && more.name.empty()) reader->fail(path + ".name", "is empty");
  if (reader->ok() && !names->insert(more.name).second) {
    reader->fail(path + ".name", "\"" + more.name + "\" is the name of two virtual servers");
  }
  server.group = static_cast<uint8_t>(index_in(reader, object, "group", path, draft->policy->groups.size(), "groups"));
  server.address = reader->address(object, "address", path);
  server.port = server.port_last = static_cast<uint16_t>(reader->integer(object, "port", path, 0, 65535));
  if (reader->ok() && object.Has("portLast"))
    server.port_last = static_cast<uint16_t>(reader->integer(object, "portLast", path, 0, 65535));
  server.protocol = kProtocolNumbers[reader->choice(object, "protocol", path, kProtocols)];
  server.pool = static_cast<uint16_t>(index_in(reader, object, "pool", path, draft->policy->pools.size(), "pools"));
  server.unknown = static_cast<Unknown>(reader->choice(object, "unknown", path, kUnknowns));
  server.new_per_client = read_client_rate(reader, object, path);
  server.persistence = read_persistence(reader, object, path);
  if (reader->ok() && object.Has("forwarding"))
    server.forwarding = static_cast<Forwarding>(reader->choice(object, "forwarding", path, kForwardings));
  server.gue_port = kGuePort;
  if (reader->ok() && object.Has("guePort"))
    server.gue_port = static_cast<uint16_t>(reader->integer(object, "guePort", path, 1, 65535));
  const Napi::Array snat = reader->array(object, "snatAddresses", path);
  for (uint32_t i = 0; reader->ok() && i < snat.Length(); i++) {
    server.snat_addresses.push_back({reader->address(snat[i], element(path + ".snatAddresses", i)), 0});
  }
  server.snat = !server.snat_addresses.empty();
  server.one_packet = reader->has(object, "onePacket") && reader->boolean(object, "onePacket", path);
  if (reader->ok()) more.mirror = read_mirror(reader, object.Get("mirror"), path + ".mirror");
  more.timeouts = read_timeouts(reader, object, path);
  draft->policy->virtual_servers.push_back(std::move(server));
  draft->servers.push_back(std::move(more));
}

}  // namespace

MirrorRule read_mirror(ObjectReader* reader, const Napi::Value& value, const std::string& path) {
  MirrorRule rule;
  const Napi::Object object = reader->object(value, path);
  rule.mode = static_cast<MirrorMode>(reader->choice(object, "mode", path, kMirrorModes));
  if (reader->has(object, "onTimeout")) rule.strict = reader->choice(object, "onTimeout", path, kOnTimeouts) == 1;
  if (reader->has(object, "timeoutMs"))
    rule.timeout_ms = static_cast<uint16_t>(reader->integer(object, "timeoutMs", path, 1, UINT16_MAX));
  if (reader->has(object, "afterAgeS"))
    rule.after_age =
        static_cast<uint16_t>(std::lround(10 * reader->number(object, "afterAgeS", path, 0, UINT16_MAX / 10)));
  if (reader->has(object, "afterBytes")) {
    const uint32_t bytes = reader->integer(object, "afterBytes", path, 0, UINT16_MAX * MirrorRule::kStepBytes);
    rule.after_steps = static_cast<uint16_t>((bytes + MirrorRule::kStepBytes - 1) / MirrorRule::kStepBytes);
  }
  return rule;
}

bool read_policy(ObjectReader* reader, const Napi::Value& value, size_t devices, const PolicyBefore& before,
                 PolicyDraft* draft) {
  draft->policy = std::make_unique<Policy>();
  const Napi::Object policy = reader->object(value, "policy");

  const Napi::Array groups = reader->array(policy, "groups", "");
  if (reader->ok() && groups.Length() > kGroupsMax) {
    reader->fail("groups", std::to_string(groups.Length()) + " traffic groups; at most " + std::to_string(kGroupsMax));
  }
  for (uint32_t i = 0; reader->ok() && i < groups.Length(); i++) {
    read_group(reader, groups[i], element("groups", i), devices, draft);
  }
  const Napi::Array addresses = reader->array(policy, "addresses", "");
  for (uint32_t i = 0; reader->ok() && i < addresses.Length(); i++) {
    read_address(reader, addresses[i], element("addresses", i), devices, draft);
  }
  const Napi::Array pools = reader->array(policy, "pools", "");
  if (reader->ok() && pools.Length() > UINT16_MAX) {
    reader->fail("pools", std::to_string(pools.Length()) + " pools; at most " + std::to_string(UINT16_MAX));
  }
  for (uint32_t i = 0; reader->ok() && i < pools.Length(); i++) {
    if (i < before.pools.Length() && pools.Get(i).StrictEquals(before.pools.Get(i))) {
      draft->policy->pools.push_back(before.policy->pools[i]->as_described());
    } else {
      read_pool(reader, pools[i], element("pools", i), devices, draft);
    }
  }
  const Napi::Array servers = reader->array(policy, "virtualServers", "");
  std::set<std::string> names;
  for (uint32_t i = 0; reader->ok() && i < servers.Length(); i++) {
    read_server(reader, servers[i], element("virtualServers", i), &names, draft);
  }
  return reader->ok();
}

}  // namespace tandem
