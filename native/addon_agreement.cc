// What Datapath is asked about the agreement of both units' tables, and by which virtual servers are named. The
// contract is src/datapath.ts.
#include "addon.h"
#include "engine.h"

namespace tandem {
namespace {

Napi::Array names_of(Napi::Env env, const Engine& engine, const std::vector<uint16_t>& ids) {
  Napi::Array names = Napi::Array::New(env, ids.size());
  for (uint32_t i = 0; i < ids.size(); i++) names.Set(i, engine.server_name(ids[i]));
  return names;
}

}  // namespace

std::optional<ServerSet> servers_of(const Napi::CallbackInfo& info, size_t index, const Engine& engine,
                                    const char* where) {
  ServerSet servers;
  if (info[index].IsUndefined()) return servers.set();
  ObjectReader reader;
  const Napi::Array names = reader.array(info[index], "virtualServers");
  for (uint32_t i = 0; reader.ok() && i < names.Length(); i++) {
    const Napi::Value name = names[i];
    if (!name.IsString()) {
      reader.fail(element("virtualServers", i), "is no string");
      break;
    }
    const uint16_t id = engine.server_id(name.As<Napi::String>().Utf8Value());
    if (id < servers.size()) servers.set(id);
  }
  if (reader.ok()) return servers;
  throw_type_error(info.Env(), std::string(where) + ": " + reader.fault());
  return std::nullopt;
}

Napi::Value lost_servers(const Napi::CallbackInfo& info, Engine& engine) {
  return names_of(info.Env(), engine, engine.mirror().lost_servers());
}

void restart_digests(const Napi::CallbackInfo& info, Engine& engine) {
  if (info[0].IsUndefined()) return engine.digest().restart();
  const std::optional<ServerSet> servers = servers_of(info, 0, engine, "restartDigests");
  if (servers.has_value()) engine.digest().restart(*servers);
}

Napi::Value read_digests(const Napi::CallbackInfo& info, Engine& engine) {
  const Napi::Env env = info.Env();
  static constexpr const char* kSides[] = {"told", "heard"};
  const std::string wanted = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (wanted != kSides[0] && wanted != kSides[1]) {
    throw_type_error(env, "readDigests: side must be \"told\" or \"heard\"");
    return env.Undefined();
  }
  const MirrorDigest& digest = engine.digest();
  const auto side = wanted == kSides[0] ? MirrorDigest::Side::kTold : MirrorDigest::Side::kHeard;
  if (!digest.ready() || (side == MirrorDigest::Side::kTold && !engine.digest_in_order())) return env.Null();
  Napi::Array sums = Napi::Array::New(env), unsummed = Napi::Array::New(env);
  for (uint16_t id = 0; id < kVirtualServersMax; id++) {
    if (!digest.ready(id)) {
      unsummed.Set(unsummed.Length(), engine.server_name(id));
      continue;
    }
    const DigestSum sum = digest.sum(side, id);
    if (sum == DigestSum{}) continue;
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", engine.server_name(id));
    row.Set("connections", static_cast<double>(sum.connections));
    row.Set("identities", Napi::BigInt::New(env, sum.identities));
    sums.Set(sums.Length(), row);
  }
  Napi::Object digests = Napi::Object::New(env);
  digests.Set("sums", sums);
  digests.Set("unsummed", unsummed);
  return digests;
}

}  // namespace tandem
