// Datapath for JavaScript: checks and converts arguments and calls Engine. The contract is src/datapath.ts.
//
// Three kinds of call cross here, and no others:
//   cold  setPolicy() connections() ...                  plain objects, walked once
//   warm  readCounters() takeMirror() applyMirror() ...  fill or drain a typed array owned by the caller
//   hot   none: no packet becomes a JavaScript value but those that an operator captures
#include "addon.h"

#include <memory>

#include "address_text.h"
#include "engine.h"

namespace tandem {
namespace {

// Memory per connection is well above 100 bytes; this many need hundreds of gigabytes.
constexpr uint32_t kConnectionsMax = 1u << 30;

class Datapath;
void wake_datapath(Napi::Env env, Napi::Function callback, Datapath* datapath, void* data);

class Datapath final : public Napi::ObjectWrap<Datapath> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("Datapath", DefineClass(env, "Datapath",
                                        {
                                            InstanceMethod<&Datapath::start>("start"),
                                            InstanceMethod<&Datapath::stop>("stop"),
                                            InstanceMethod<&Datapath::set_policy>("setPolicy"),
                                            InstanceMethod<&Datapath::set_next_hops>("setNextHops"),
                                            InstanceMethod<&Datapath::set_mirror>("setMirror"),
                                            InstanceMethod<&Datapath::set_mirror_wanted>("setMirrorWanted"),
                                            InstanceMethod<&Datapath::take_mirror>("takeMirror"),
                                            InstanceMethod<&Datapath::confirm_mirror>("confirmMirror"),
                                            InstanceMethod<&Datapath::refuse_mirror>("refuseMirror"),
                                            InstanceMethod<&Datapath::on_mirror_pending>("onMirrorPending"),
                                            InstanceMethod<&Datapath::arm_mirror>("armMirror"),
                                            InstanceMethod<&Datapath::start_bulk>("startBulk"),
                                            InstanceMethod<&Datapath::bulk_running>("bulkRunning"),
                                            InstanceMethod<&Datapath::bulk_announced>("bulkAnnounced"),
                                            InstanceMethod<&Datapath::lost_closes>("lostCloses"),
                                            InstanceMethod<&Datapath::restart_digests>("restartDigests"),
                                            InstanceMethod<&Datapath::sweep_digests>("sweepDigests"),
                                            InstanceMethod<&Datapath::digests>("digests"),
                                            InstanceMethod<&Datapath::set_mirror_dictionary>("setMirrorDictionary"),
                                            InstanceMethod<&Datapath::mirror_dictionary>("mirrorDictionary"),
                                            InstanceMethod<&Datapath::apply_mirror>("applyMirror"),
                                            InstanceMethod<&Datapath::drop_unannounced>("dropUnannounced"),
                                            InstanceMethod<&Datapath::read_counters>("readCounters"),
                                            InstanceMethod<&Datapath::table_counts>("tableCounts"),
                                            InstanceMethod<&Datapath::virtual_server_counts>("virtualServerCounts"),
                                            InstanceMethod<&Datapath::member_counts>("memberCounts"),
                                            InstanceMethod<&Datapath::commit_latency>("commitLatency"),
                                            InstanceMethod<&Datapath::connections>("connections"),
                                            InstanceMethod<&Datapath::start_capture>("startCapture"),
                                            InstanceMethod<&Datapath::take_capture>("takeCapture"),
                                            InstanceMethod<&Datapath::capture_counts>("captureCounts"),
                                            InstanceMethod<&Datapath::stop_capture>("stopCapture"),
                                            InstanceMethod<&Datapath::replay>("replay"),
                                        }));
  }

  explicit Datapath(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Datapath>(info) {
    ObjectReader reader;
    EngineOptions options;
    const int shared_fd = read_options(&reader, info[0], &options);
    if (!reader.ok()) {
      throw_type_error(info.Env(), "Datapath: " + reader.fault());
      return;
    }
    SystemError error = map_shared_state(shared_fd, &shared_);
    if (!error.failed()) error = engine_->open(options, shared_);
    if (error.failed()) {
      throw_system_error(info.Env(), "Datapath", error);
      return;
    }
    pending_ = Pending::New(info.Env(), "tandem mirror pending", 0, 1, this);
    pending_.Unref(info.Env());  // waiting for changes keeps no process alive
    engine_->set_wakeup({[](void* self) { static_cast<Datapath*>(self)->pending_.NonBlockingCall(); }, this});
    // Registered behind pending_'s own hook, so it runs before it: no worker may call a function that ended.
    napi_add_env_cleanup_hook(info.Env(), at_exit, this);
    open_ = true;
  }

  ~Datapath() override {
    if (open_) napi_remove_env_cleanup_hook(Env(), at_exit, this);
    end();
    engine_.reset();
    unmap_shared_state(shared_);
  }

  // A change is pending: tells who waits for it, on the JavaScript thread.
  void mirror_pending() {
    if (!on_pending_.IsEmpty()) on_pending_.Call({Napi::Boolean::New(Env(), engine_->mirror().has_urgent())});
  }

 private:
  using Pending = Napi::TypedThreadSafeFunction<Datapath, void, wake_datapath>;

  static void at_exit(void* self) { static_cast<Datapath*>(self)->end(); }

  void end() {
    if (!open_) return;
    open_ = false;
    engine_->stop();
    pending_.Abort();
  }

  // ---- construction

  // The shared state's descriptor.
  static int read_options(ObjectReader* reader, const Napi::Value& value, EngineOptions* options) {
    // The first three in the order of DeviceKind, the waits in that of Wait.
    static constexpr const char* kKinds[] = {"auto", "xdp", "packet", "memory", nullptr};
    static constexpr const char* kWaits[] = {"poll", "busy-poll", "spin", nullptr};
    const Napi::Object object = reader->object(value, "options");
    const size_t kind = reader->choice(object, "kind", "", kKinds);
    options->live = kind < 3;
    if (options->live) options->kind = static_cast<DeviceKind>(kind);
    if (reader->ok() && object.Has("wait"))
      options->wait = static_cast<Wait>(reader->choice(object, "wait", "", kWaits));
    const Napi::Array devices = reader->array(object, "devices", "");
    if (reader->ok() && (devices.Length() == 0 || devices.Length() > kDevicesMax)) {
      reader->fail("devices", std::to_string(devices.Length()) + " devices; 1 to " + std::to_string(kDevicesMax));
    }
    for (uint32_t i = 0; reader->ok() && i < devices.Length(); i++) {
      const std::string path = element("devices", i);
      const Napi::Object device = reader->object(devices[i], path);
      EngineOptions::DeviceOptions made{
          reader->text(device, "name", path), reader->text(device, "interface", path), {}, kMtuNone};
      if (!options->live) {
        const std::string mac = reader->text(device, "mac", path);
        if (reader->ok() && !parse_mac(mac, &made.mac))
          reader->fail(path + ".mac", "\"" + mac + "\" is no MAC address");
        if (reader->ok() && device.Has("mtu")) made.mtu = reader->integer(device, "mtu", path, 68, UINT16_MAX);
      }
      options->devices.push_back(std::move(made));
    }
    options->workers = reader->integer(object, "workers", "", 1, kWorkersMax);
    options->connections = reader->integer(object, "connections", "", 1, kConnectionsMax);
    if (reader->ok() && object.Has("halfOpen") && !object.Get("halfOpen").IsUndefined())
      options->half_open = reader->integer(object, "halfOpen", "", 1, kConnectionsMax);
    options->unit = static_cast<uint8_t>(reader->integer(object, "unit", "", 0, 1));
    if (!reader->ok()) return -1;
    const Napi::Object shared = reader->object(object.Get("sharedState"), "sharedState");
    return static_cast<int>(reader->integer(shared, "fd", "sharedState", 0, INT32_MAX));
  }

  Napi::Value start(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const SystemError error = engine_->start();
    if (error.failed()) {
      throw_system_error(env, "start", error);
      return env.Undefined();
    }
    const Napi::Array devices = Napi::Array::New(env);
    for (const DeviceChoice& choice : engine_->device_choices()) {
      const Napi::Object row = Napi::Object::New(env);
      row.Set("device", choice.device);
      row.Set("mode", choice.mode);
      row.Set("reason", choice.reason);
      devices.Set(devices.Length(), row);
    }
    const Napi::Object report = Napi::Object::New(env);
    report.Set("devices", devices);
    report.Set("workers", Napi::Number::New(env, static_cast<double>(engine_->workers())));
    return report;
  }

  void stop(const Napi::CallbackInfo&) { engine_->stop(); }

  // ---- policy

  void set_policy(const Napi::CallbackInfo& info) {
    ObjectReader reader;
    PolicyDraft draft;
    const PolicyBefore before = {pools_.IsEmpty() ? Napi::Array::New(info.Env()) : pools_.Value().As<Napi::Array>(),
                                 &engine_->policy()};
    if (!read_policy(&reader, info[0], engine_->options().devices.size(), before, &draft)) {
      if (!info.Env().IsExceptionPending()) throw_type_error(info.Env(), "setPolicy: " + reader.fault());
      return;
    }
    const SystemError error = engine_->set_policy(std::move(draft));
    if (error.failed()) return throw_system_error(info.Env(), "setPolicy", error);
    // A copy: the caller's own array may change, only what is in it must not.
    const auto pools = info[0].As<Napi::Object>().Get("pools").As<Napi::Array>();
    Napi::Array kept = Napi::Array::New(info.Env(), pools.Length());
    for (uint32_t i = 0; i < pools.Length(); i++) kept.Set(i, pools.Get(i));
    pools_ = Napi::Persistent(kept.As<Napi::Object>());
  }

  void set_next_hops(const Napi::CallbackInfo& info) {
    struct Hop {
      Address address;
      uint16_t port;
      NextHop word;
    };
    if (!info[0].IsArray()) return throw_type_error(info.Env(), "setNextHops: expected an array");
    const auto array = info[0].As<Napi::Array>();
    ObjectReader reader;
    std::vector<Hop> hops;
    for (uint32_t i = 0; reader.ok() && i < array.Length(); i++) {
      const std::string path = element("hops", i);
      const Napi::Object object = reader.object(array[i], path);
      Hop hop{reader.address(object, "address", path),
              static_cast<uint16_t>(reader.integer(object, "port", path, 0, 65535)), 0};
      const auto devices = static_cast<uint32_t>(engine_->options().devices.size());
      const auto device = static_cast<uint8_t>(reader.integer(object, "device", path, 0, devices - 1));
      const auto vlan = static_cast<uint16_t>(reader.integer(object, "vlan", path, 0, 4094));
      if (!reader.ok()) break;
      if (!object.Get("mac").IsNull()) {
        const std::string text = reader.text(object, "mac", path);
        MacAddress mac{};
        if (reader.ok() && !parse_mac(text, &mac)) reader.fail(path + ".mac", "\"" + text + "\" is no MAC address");
        hop.word = hop_word(mac, device, vlan);
      }
      hops.push_back(hop);
    }
    if (!reader.ok()) return throw_type_error(info.Env(), "setNextHops: " + reader.fault());
    for (const Hop& hop : hops) engine_->set_next_hop(hop.address, hop.port, hop.word);
  }

  Napi::Value set_mirror(const Napi::CallbackInfo& info) {
    ObjectReader reader;
    if (!info[0].IsString()) reader.fail("", "expected a virtual server's name");
    const MirrorRule rule = read_mirror(&reader, info[1], "mirror");
    if (!reader.ok()) {
      throw_type_error(info.Env(), "setMirror: " + reader.fault());
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(), engine_->set_mirror(info[0].As<Napi::String>().Utf8Value(), rule));
  }

  // ---- mirror

  void set_mirror_wanted(const Napi::CallbackInfo& info) {
    if (!info[0].IsBoolean()) return throw_type_error(info.Env(), "setMirrorWanted: expected a boolean");
    engine_->set_mirror_wanted(info[0].As<Napi::Boolean>().Value(), info[1].ToBoolean().Value());
  }

  Napi::Value take_mirror(const Napi::CallbackInfo& info) {
    const auto into = octets_of(info, 0, "takeMirror");
    if (!into) return info.Env().Undefined();
    const TakenRecords taken = engine_->take_mirror(into->data, into->bytes, info[1].ToBoolean().Value());
    Napi::Array all = Napi::Array::New(info.Env(), 3);
    all.Set(0u, static_cast<double>(taken.bytes));
    all.Set(1u, static_cast<double>(taken.records));
    all.Set(2u, static_cast<double>(taken.last_sequence));
    return all;
  }

  void confirm_mirror(const Napi::CallbackInfo& info) {
    const auto sequence = integer_of(info, 0, 0, UINT32_MAX, "confirmMirror", "sequence");
    if (sequence) engine_->confirm_mirror(static_cast<uint32_t>(*sequence));
  }

  void refuse_mirror(const Napi::CallbackInfo& info) {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
      return throw_type_error(info.Env(), "refuseMirror: expected a Uint32Array");
    const auto sequences = info[0].As<Napi::Uint32Array>();
    engine_->refuse_mirror(sequences.Data(), sequences.ElementLength());
  }

  void on_mirror_pending(const Napi::CallbackInfo& info) {
    if (!info[0].IsFunction()) return throw_type_error(info.Env(), "onMirrorPending: expected a function");
    on_pending_ = Napi::Persistent(info[0].As<Napi::Function>());
    arm_mirror(info);
  }

  void arm_mirror(const Napi::CallbackInfo& info) {
    const bool urgent = info[0].IsBoolean() && info[0].As<Napi::Boolean>().Value();
    if (!engine_->mirror().arm(urgent ? MirrorSource::Wanted::kUrgent : MirrorSource::Wanted::kAny))
      pending_.NonBlockingCall();
  }

  void start_bulk(const Napi::CallbackInfo& info) {
    const auto servers = servers_of(info, 0, *engine_, "startBulk");
    if (servers) engine_->mirror().start_bulk(&*servers, info[1].ToBoolean());
  }
  Napi::Value bulk_running(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), engine_->mirror().bulk_running());
  }
  Napi::Value lost_closes(const Napi::CallbackInfo& info) { return lost_servers(info, *engine_); }
  void restart_digests(const Napi::CallbackInfo& info) { tandem::restart_digests(info, *engine_); }
  Napi::Value sweep_digests(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), engine_->sweep_digest());
  }
  Napi::Value digests(const Napi::CallbackInfo& info) { return read_digests(info, *engine_); }
  Napi::Value bulk_announced(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(engine_->mirror().bulk_announced()));
  }

  void set_mirror_dictionary(const Napi::CallbackInfo& info) {
    ObjectReader reader;
    MirrorNames names;
    const Napi::Object object = reader.object(info[0], "dictionary");
    const Napi::Array servers = reader.array(object, "virtualServers", "");
    for (uint32_t i = 0; reader.ok() && i < servers.Length(); i++) {
      const std::string path = element("virtualServers", i);
      const Napi::Object server = reader.object(servers[i], path);
      const auto id = static_cast<uint16_t>(reader.integer(server, "id", path, 0, UINT16_MAX));
      names.virtual_servers.emplace_back(id, reader.text(server, "name", path));
    }
    const Napi::Array devices = reader.array(object, "devices", "");
    for (uint32_t i = 0; reader.ok() && i < devices.Length(); i++) {
      const Napi::Value name = devices[i];
      if (!name.IsString()) reader.fail(element("devices", i), "is no string");
      if (reader.ok()) names.devices.push_back(name.As<Napi::String>().Utf8Value());
    }
    if (!reader.ok()) return throw_type_error(info.Env(), "setMirrorDictionary: " + reader.fault());
    engine_->set_mirror_names(std::move(names));
  }

  Napi::Value mirror_dictionary(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const MirrorNames names = engine_->mirror_names();
    Napi::Array servers = Napi::Array::New(env, names.virtual_servers.size());
    for (uint32_t i = 0; i < names.virtual_servers.size(); i++) {
      Napi::Object server = Napi::Object::New(env);
      server.Set("id", static_cast<uint32_t>(names.virtual_servers[i].first));
      server.Set("name", names.virtual_servers[i].second);
      servers.Set(i, server);
    }
    Napi::Array devices = Napi::Array::New(env, names.devices.size());
    for (uint32_t i = 0; i < names.devices.size(); i++) devices.Set(i, names.devices[i]);
    Napi::Object dictionary = Napi::Object::New(env);
    dictionary.Set("virtualServers", servers);
    dictionary.Set("devices", devices);
    return dictionary;
  }

  Napi::Value apply_mirror(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto records = octets_of(info, 0, "applyMirror");
    if (!records) return env.Undefined();
    const auto generation = integer_of(info, 1, 0, 255, "applyMirror", "generation");
    if (!generation) return env.Undefined();
    // Of the smallest record, as many as there can be.
    std::vector<uint32_t> sequences(records->bytes / sizeof(wire::MirrorState<4>) + 1);
    RefusedRecords refused{sequences.data(), 0};
    const Applied applied =
        engine_->apply_mirror(records->data, records->bytes, static_cast<uint8_t>(*generation), &refused);
    Napi::Object counts = Napi::Object::New(env);
    counts.Set("applied", applied.applied);
    counts.Set("stale", applied.stale);
    counts.Set("refusedFull", applied.refused_full);
    counts.Set("unknown", applied.unknown);
    counts.Set("malformed", applied.malformed);
    Napi::Uint32Array named = Napi::Uint32Array::New(env, refused.count);
    std::copy_n(sequences.data(), refused.count, named.Data());
    counts.Set("refused", named);
    return counts;
  }

  Napi::Value drop_unannounced(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto generation = integer_of(info, 0, 0, 255, "dropUnannounced", "generation");
    if (!generation) return env.Undefined();
    const auto servers = servers_of(info, 2, *engine_, "dropUnannounced");
    if (!servers) return env.Undefined();
    uint32_t closed = 0;
    const bool done =
        engine_->drop_unannounced(static_cast<uint8_t>(*generation), info[1].ToBoolean().Value(), &closed, &*servers);
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, done);
    pair.Set(1u, closed);
    return pair;
  }

  // ---- reading

  void read_counters(const Napi::CallbackInfo& info) {
    const auto into = words_of(info, 0, "readCounters");
    if (!into) return;
    if (into->count != kDrops + kCounts) {
      return throw_range_error(info.Env(), "readCounters: " + std::to_string(into->count) + " elements; there are " +
                                               std::to_string(kDrops + kCounts) + " counters");
    }
    for (size_t i = 0; i < into->count; i++) into->data[i] = engine_->counter(i);
  }

  Napi::Value table_counts(const Napi::CallbackInfo& info) {
    const ConnTable& table = engine_->table();
    Napi::Object counts = Napi::Object::New(info.Env());
    counts.Set("capacity", static_cast<double>(table.slots()));
    counts.Set("used", static_cast<double>(table.used()));
    counts.Set("waiting", static_cast<double>(table.waiting()));
    counts.Set("bytes", static_cast<double>(table.bytes()));
    return counts;
  }

  Napi::Value virtual_server_counts(const Napi::CallbackInfo& info) {
    const std::vector<ServerView> servers = engine_->servers();
    Napi::Array rows = Napi::Array::New(info.Env(), servers.size());
    for (uint32_t i = 0; i < servers.size(); i++) {
      const ServerView& server = servers[i];
      Napi::Object row = Napi::Object::New(info.Env());
      row.Set("name", server.name);
      row.Set("connections", server.connections);
      row.Set("opened", static_cast<double>(server.opened));
      row.Set("packetsIn", static_cast<double>(server.packets_in));
      row.Set("bytesIn", static_cast<double>(server.bytes_in));
      row.Set("packetsOut", static_cast<double>(server.packets_out));
      row.Set("bytesOut", static_cast<double>(server.bytes_out));
      Napi::Object commit = Napi::Object::New(info.Env());
      commit.Set("held", static_cast<double>(server.held));
      commit.Set("released", static_cast<double>(server.released));
      commit.Set("timedOut", static_cast<double>(server.timed_out));
      commit.Set("refused", static_cast<double>(server.refused));
      commit.Set("beyond", static_cast<double>(server.beyond));
      commit.Set("noPeer", static_cast<double>(server.no_peer));
      commit.Set("unprotected", static_cast<double>(server.unprotected));
      row.Set("commit", commit);
      rows.Set(i, row);
    }
    return rows;
  }

  Napi::Value commit_latency(const Napi::CallbackInfo& info) {
    const std::array<uint64_t, kLatencyBuckets> buckets = engine_->commit_latency();
    Napi::Array counts = Napi::Array::New(info.Env(), buckets.size());
    for (uint32_t i = 0; i < buckets.size(); i++) counts.Set(i, static_cast<double>(buckets[i]));
    return counts;
  }

  Napi::Value member_counts(const Napi::CallbackInfo& info) {
    const std::vector<MemberView> members = engine_->members();
    Napi::Array rows = Napi::Array::New(info.Env(), members.size());
    for (uint32_t i = 0; i < members.size(); i++) {
      Napi::Object row = Napi::Object::New(info.Env());
      row.Set("address", members[i].address);
      row.Set("port", static_cast<uint32_t>(members[i].port));
      row.Set("connections", members[i].connections);
      row.Set("opened", static_cast<double>(members[i].opened));
      row.Set("limited", static_cast<double>(members[i].limited));
      row.Set("persisted", static_cast<double>(members[i].persisted));
      row.Set("share", members[i].share);
      rows.Set(i, row);
    }
    return rows;
  }

  Napi::Value connections(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto from = integer_of(info, 0, 0, UINT32_MAX, "connections", "cursor");
    if (!from) return env.Undefined();
    const auto limit = integer_of(info, 1, 1, 65536, "connections", "limit");
    if (!limit) return env.Undefined();
    ConnectionFilter filter;
    if (info[2].IsString()) filter.virtual_server = info[2].As<Napi::String>().Utf8Value();
    ObjectReader reader;
    filter.client = end_filter(&reader, info[3], "client");
    filter.member = end_filter(&reader, info[4], "member");
    if (!reader.ok()) {
      throw_type_error(env, "connections: " + reader.fault());
      return env.Undefined();
    }
    size_t cursor = static_cast<size_t>(*from);
    std::vector<ConnectionView> views;
    const bool more = engine_->connections(&cursor, static_cast<size_t>(*limit), filter, &views);
    Napi::Array rows = Napi::Array::New(env, views.size());
    for (uint32_t i = 0; i < views.size(); i++) rows.Set(i, connection_row(env, views[i]));
    Napi::Object page = Napi::Object::New(env);
    page.Set("rows", rows);
    page.Set("next", more ? Napi::Value(Napi::Number::New(env, static_cast<double>(cursor))) : env.Null());
    return page;
  }

  static EndFilter end_filter(ObjectReader* reader, const Napi::Value& value, const std::string& path) {
    if (!value.IsObject()) return {};
    const Napi::Object object = value.As<Napi::Object>();
    return {reader->address(object, "address", path),
            static_cast<uint16_t>(reader->integer(object, "port", path, 0, UINT16_MAX))};
  }

  static Napi::Object connection_row(Napi::Env env, const ConnectionView& view) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("id", view.id);
    row.Set("virtualServer", view.virtual_server);
    row.Set("protocol", view.protocol);
    row.Set("client", view.client);
    row.Set("virtual", view.virtual_address);
    row.Set("member", view.member);
    row.Set("snat", view.snat);
    row.Set("state", view.state);
    row.Set("idleS", view.idle_s);
    row.Set("fromPeer", view.from_peer);
    row.Set("unprotected", view.unprotected);
    row.Set("mirrored", view.mirrored);
    row.Set("lastHop", view.last_hop);
    row.Set("forwarding", view.forwarding);
    return row;
  }

  // ---- capture

  Napi::Value start_capture(const Napi::CallbackInfo& info) { return tandem::start_capture(info, *engine_); }
  Napi::Value take_capture(const Napi::CallbackInfo& info) { return tandem::take_capture(info, *engine_); }
  Napi::Value capture_counts(const Napi::CallbackInfo& info) { return tandem::capture_counts(info, *engine_); }
  void stop_capture(const Napi::CallbackInfo&) { engine_->stop_capture(); }

  // ---- memory

  Napi::Value replay(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto input = octets_of(info, 0, "replay");
    if (!input) return env.Undefined();
    const auto output = octets_of(info, 1, "replay");
    if (!output) return env.Undefined();
    if (engine_->options().live) {
      throw_type_error(env, "replay: this datapath is of kind packet; replay() needs kind memory");
      return env.Undefined();
    }
    const auto inspected = MemoryDevice::inspect(input->data, input->bytes, engine_->options().devices.size());
    if (inspected.fault != MemoryDevice::Fault::kNone) {
      throw_range_error(env, "replay: frame " + std::to_string(inspected.frames) + " " + fault_text(inspected.fault));
      return env.Undefined();
    }
    const size_t needed = input->bytes + inspected.frames * MemoryDevice::kGrowthMax +
                          engine_->fragments().held() * (MemoryDevice::kGrowthMax + Fragments::kHeldBytesMax) +
                          engine_->held() * (MemoryDevice::kGrowthMax + HoldQueue::kFrameBytes);
    if (output->bytes < needed) {
      throw_range_error(env, "replay: the output has " + std::to_string(output->bytes) + " bytes; " +
                                 std::to_string(inspected.frames) + " frames may need " + std::to_string(needed));
      return env.Undefined();
    }
    return Napi::Number::New(env, static_cast<double>(engine_->replay(input->data, input->bytes, output->data)));
  }

  static std::string fault_text(MemoryDevice::Fault fault) {
    switch (fault) {
      case MemoryDevice::Fault::kHeadCut:
        return "has less than its 16-byte head";
      case MemoryDevice::Fault::kFrameCut:
        return "is cut: its head says more bytes than there are";
      case MemoryDevice::Fault::kFrameTooLong:
        return "is longer than " + std::to_string(kFrameBytesMax) + " bytes";
      case MemoryDevice::Fault::kNoSuchDevice:
        return "names a device that this datapath does not have";
      case MemoryDevice::Fault::kNone:
        break;
    }
    return {};
  }

  SharedState* shared_ = nullptr;
  Napi::ObjectReference pools_;  // of the policy in force
  std::unique_ptr<Engine> engine_ = std::make_unique<Engine>();
  Pending pending_;
  Napi::FunctionReference on_pending_;
  bool open_ = false;
};

// On the JavaScript thread; without an environment when the process is ending.
void wake_datapath(Napi::Env env, Napi::Function, Datapath* datapath, void*) {
  if (env != nullptr) datapath->mirror_pending();
}

}  // namespace

void export_datapath(Napi::Env env, Napi::Object exports) { Datapath::define(env, exports); }

}  // namespace tandem
