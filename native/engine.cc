// Starting, stopping, policies, replay. What only reads is in engine_view.cc.
#include "engine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "commit.h"

namespace tandem {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// Slots that one call of drop_unannounced() looks at: about a millisecond.
constexpr size_t kUnannouncedBudget = 65536;

}  // namespace

Engine::Engine() : runtime_(std::make_unique<Runtime>()), ids_(runtime_.get(), &ports_) {}

Engine::~Engine() { stop(); }

SystemError Engine::open(const EngineOptions& options, SharedState* shared) {
  options_ = options;
  shared_ = shared;
  if (!table_.reserve({options.connections, options.workers + 1})) {
    return system_error("memory for a connection table of " + std::to_string(options.connections) + " connections",
                        "lower datapath.connections");
  }
  const size_t half_open = options.half_open != 0 ? options.half_open : HalfOpen::bound_for(options.connections);
  if (!runtime_->half_open.reserve(half_open, options.workers))
    return system_error("memory for " + std::to_string(half_open) + " half-open connections",
                        "lower datapath.halfOpen");
  if (!runtime_->client_limits.reserve()) return system_error("memory for limits of clients", "");
  if (!fragments_.reserve()) return system_error("memory for packets in fragments", "");
  if (!persistence_.reserve()) return system_error("memory for persistence entries", "");
  ports_.start(options.unit, options.live ? SnatPorts::First::kRandom : SnatPorts::First::kLowest);
  for (size_t worker = 0; worker < options.workers; worker++) {
    runtime_->traffic[worker] = std::make_unique<std::array<Traffic, kVirtualServersMax>>();
    counters_.push_back(std::make_unique<Counters>());
    held_.push_back(std::make_unique<HoldQueue>());
    if (!held_.back()->reserve()) return system_error("memory for handshakes that wait for the peer", "");
  }
  digest_.start(&table_, runtime_.get(), shared);
  source_.start(&table_, runtime_.get(), shared, options.workers, &digest_);
  sink_.start(&table_, runtime_.get(), shared, &ports_, me(), &digest_);
  sink_.set_persistence(&persistence_);
  translate_mirror_names();

  auto nothing = std::make_unique<Policy>();
  if (std::string wrong = nothing->seal(); !wrong.empty()) return request_error(wrong);
  policy_.swap(std::move(nothing));
  sink_.set_members(policy_.current());

  if (options.live) return {};
  for (size_t device = 0; device < options.devices.size(); device++) {
    macs_[device] = options.devices[device].mac;
    runtime_->set_mtu(device, options.devices[device].mtu);
  }
  memory_ = std::make_unique<MemoryDevice>(macs_[0]);
  replay_pace_ = std::make_unique<SweepPace>(0, 1);
  return {};
}

// ---- workers

SystemError Engine::start() {
  if (!options_.live || !workers_.empty()) return {};
  SystemError error = open_devices();
  for (size_t worker = 0; worker < devices_.workers() && !error.failed(); worker++) error = start_worker(worker);
  if (error.failed()) stop();
  return error;
}

SystemError Engine::open_devices() {
  EngineDevices::Options wanted{{}, options_.kind, options_.wait, options_.workers, shared_};
  for (const EngineOptions::DeviceOptions& device : options_.devices) {
    wanted.interfaces.push_back(
        {device.name, device.interface,
         std::string("units.") + (options_.unit == 0 ? "a" : "b") + ".links." + device.name + ".interface"});
  }
  if (SystemError error = devices_.open(wanted, *policy_.current()); error.failed()) return error;
  for (size_t device = 0; device < options_.devices.size(); device++) macs_[device] = devices_.mac(device);
  return {};
}

SystemError Engine::start_worker(size_t worker) {
  workers_.push_back(std::make_unique<Worker>(context_for(worker), &policy_, &capture_, &wakeup_, devices_.workers()));
  return workers_.back()->start(devices_.take(worker), devices_.wait());
}

void Engine::stop() {
  workers_.clear();  // each stops and joins
  devices_.close();
}

ForwardContext Engine::context_for(size_t worker) {
  return {nullptr,
          &table_,
          runtime_.get(),
          &ports_,
          &source_,
          shared_,
          counters_[worker].get(),
          runtime_->traffic[worker].get(),
          macs_.data(),
          worker,
          0,
          &fragments_,
          &persistence_,
          held_[worker].get()};
}

// Workers' time: the clock's, or that of the frames replayed last.
Nanos Engine::now() const { return replayed_until_ != 0 ? replayed_until_ : boottime_now(); }

// ---- policy

SystemError Engine::set_policy(PolicyDraft draft) {
  if (std::string wrong = ids_.assign(&draft); !wrong.empty()) return request_error(wrong);
  if (std::string wrong = draft.policy->seal(policy_.current(), now()); !wrong.empty()) return request_error(wrong);
  if (SystemError error = prepare_ports(*draft.policy); error.failed()) return error;
  if (devices_.is_open()) {
    if (SystemError error = devices_.receive_for(*draft.policy); error.failed()) return error;
  }
  publish_states(draft);
  ids_.commit(draft);
  policy_.swap(std::move(draft.policy));
  source_.set_persistence(&persistence_, policy_.current());
  sink_.set_members(policy_.current());
  translate_mirror_names();
  tell_holders();
  return {};
}

// Every port that a worker may ask for has its memory before the worker sees the policy.
SystemError Engine::prepare_ports(const Policy& policy) {
  for (const VirtualServer& server : policy.virtual_servers) {
    const Pool& pool = *policy.pools[server.pool];
    for (size_t member = 0; member < server.snat_by_member.size(); member++) {
      for (const SnatAddress& snat : server.snat_by_member[member]) {
        if (ports_.prepare(snat.index, pool.members[member].endpoint)) continue;
        errno = ENOMEM;
        return system_error("SNAT ports of one address towards one member", "fewer SNAT addresses or members");
      }
    }
  }
  return {};
}

void Engine::publish_states(const PolicyDraft& draft) {
  draft.policy->mark_down_members(runtime_.get());
  for (size_t i = 0; i < draft.servers.size(); i++) {
    VirtualServerState& state = runtime_->virtual_servers[draft.policy->virtual_servers[i].id];
    const IdleTimeouts& timeouts = draft.servers[i].timeouts;
    state.half_open.store(timeouts.half_open, kRelaxed);
    state.established.store(timeouts.established, kRelaxed);
    state.half_closed.store(timeouts.half_closed, kRelaxed);
    state.closing.store(timeouts.closing, kRelaxed);
    state.udp.store(timeouts.udp, kRelaxed);
    state.other.store(timeouts.other, kRelaxed);
    state.mirror.store(draft.servers[i].mirror, kRelaxed);
    const VirtualServer& server = draft.policy->virtual_servers[i];
    if (!is_tunnel(server.forwarding)) continue;
    state.gue_port.store(server.gue_port, kRelaxed);
    state.tunnel.store(server.forwarding, kRelaxed);
  }
}

void Engine::set_next_hop(const Address& address, uint16_t port, NextHop hop) {
  const uint16_t id = ids_.endpoint(address, port);
  if (id != IdRegistry::kNone) runtime_->endpoints[id].next_hop.store(hop, kRelaxed);
}

bool Engine::set_mirror(const std::string& virtual_server, MirrorRule rule) {
  const uint16_t id = ids_.server(virtual_server);
  if (id == IdRegistry::kNone || !ids_.server_named(id)) return false;
  runtime_->virtual_servers[id].mirror.store(rule, kRelaxed);
  tell_holders();
  return true;
}

// ---- mirror

void Engine::set_mirror_wanted(bool on, bool confirms) {
  if (on) source_.forget_confirmed();
  runtime_->mirror_wanted.store(on, std::memory_order_release);
  runtime_->commit_wanted.store(on && confirms, std::memory_order_release);
}

TakenRecords Engine::take_mirror(uint8_t* into, size_t bytes, bool live_only) {
  const TableVisit visit(table_, me());
  size_t records = 0;
  const size_t taken = source_.take(me(), into, bytes, &records, live_only);
  return {taken, records, source_.last_sequence()};
}

void Engine::confirm_mirror(uint32_t sequence) {
  source_.confirm(sequence);
  wake_holders();
}

void Engine::refuse_mirror(const uint32_t* sequences, size_t count) {
  source_.refuse(sequences, count);
  wake_holders();
}

// A rule has changed: handshakes that are held may go.
void Engine::tell_holders() {
  source_.tell_news();
  wake_holders();
}

void Engine::wake_holders() {
  for (const auto& worker : workers_) worker->look_at_held();
}

void Engine::set_mirror_names(MirrorNames names) {
  peer_names_ = std::move(names);
  translate_mirror_names();
}

// The peer's numbers in ours; again with every policy, for a new virtual server may be one the peer knew.
void Engine::translate_mirror_names() {
  auto dictionary = std::make_unique<MirrorDictionary>();
  dictionary->virtual_servers.fill(MirrorDictionary::kNone);
  dictionary->devices.fill(0xff);
  for (const auto& [id, name] : peer_names_.virtual_servers) {
    const uint16_t ours = ids_.server(name);
    if (id < kVirtualServersMax && ours != IdRegistry::kNone && ids_.server_named(ours)) {
      dictionary->virtual_servers[id] = ours;
    }
  }
  for (size_t theirs = 0; theirs < peer_names_.devices.size() && theirs < kDevicesMax; theirs++) {
    for (size_t ours = 0; ours < options_.devices.size(); ours++) {
      if (options_.devices[ours].name == peer_names_.devices[theirs]) {
        dictionary->devices[theirs] = static_cast<uint8_t>(ours);
      }
    }
  }
  sink_.set_dictionary(*dictionary);
}

MirrorNames Engine::mirror_names() const {
  MirrorNames names;
  for (const uint16_t id : ids_.server_ids()) names.virtual_servers.emplace_back(id, ids_.server_name(id));
  for (const auto& device : options_.devices) names.devices.push_back(device.name);
  return names;
}

Applied Engine::apply_mirror(const uint8_t* records, size_t bytes, uint8_t generation, RefusedRecords* refused) {
  const TableVisit visit(table_, me());
  return sink_.apply(records, bytes, generation, boottime_now(), refused);
}

double Engine::sweep_digest() {
  if (const uint64_t deferrals = source_.deferrals(); deferrals != deferrals_) {
    deferrals_ = deferrals;
    deferred_at_ = boottime_now();
  }
  const TableVisit visit(table_, me());
  return digest_.sweep();
}

bool Engine::digest_in_order() const {
  return deferred_at_ == 0 || (source_.deferrals() == deferrals_ && boottime_now() - deferred_at_ > 2 * kSweepLap);
}

bool Engine::drop_unannounced(uint8_t generation, bool restart, uint32_t* closed, const ServerSet* only) {
  const TableVisit visit(table_, me());
  if (restart) unannounced_cursor_ = 0;
  *closed = 0;
  return sink_.drop_unannounced(generation, &unannounced_cursor_, kUnannouncedBudget, closed, only);
}

// ---- memory

size_t Engine::replay(const uint8_t* input, size_t bytes, uint8_t* output) {
  std::array<Frame, kBurst> frames;
  std::array<Verdict, kBurst> verdicts;
  std::array<Fragments::Released, kBurst> released;
  ForwardContext context = context_for(0);
  context.policy = policy_.enter(0);
  const bool capturing = replay_tap_.enter();
  const TableVisit visit(table_, 0);
  memory_->load(input, bytes, output);
  context.now = now();
  report_held(context, capturing);
  while (const size_t count = memory_->receive(frames.data(), kBurst)) {
    context.now = memory_->time();
    replayed_until_ = context.now;
    if (capturing) replay_tap_.arrived(context, frames.data(), count);
    forward_burst(context, frames.data(), count, verdicts.data());
    if (capturing) replay_tap_.settle(context, frames.data(), verdicts.data(), count);
    memory_->report(frames.data(), verdicts.data(), count);
    while (const size_t late = fragments_.take_released(0, released.data(), kBurst)) {
      std::array<uint8_t, kBurst> arrived;
      for (size_t i = 0; i < late; i++) arrived[i] = released[i].frame.device;
      for (size_t i = 0; i < late; i++) frames[i] = released[i].frame;
      if (capturing) replay_tap_.arrived(context, frames.data(), late, true);
      forward_released(context, released.data(), late, frames.data(), verdicts.data());
      if (capturing) replay_tap_.settle(context, frames.data(), verdicts.data(), late);
      memory_->report_released(frames.data(), verdicts.data(), arrived.data(), late);
      fragments_.free_released(0);
    }
    report_held(context, capturing);
    const size_t due = replay_pace_->due(context.now, table_.slots_touched(), kSweepIdleMax);
    if (due > 0) sweep(context, replay_pace_->cursor(), due);
    table_.quiesce(0);
  }
  if (capturing) replay_tap_.leave();
  policy_.leave(0);
  if (source_.take_wakeup() && wakeup_.call != nullptr) wakeup_.call(wakeup_.argument);
  return memory_->written();
}

// Handshakes that waited for the peer.
void Engine::report_held(const ForwardContext& context, bool capturing) {
  std::array<Frame, kBurst> frames;
  std::array<Verdict, kBurst> verdicts;
  while (const size_t count = take_held(context, frames.data())) {
    std::array<uint8_t, kBurst> arrived;
    for (size_t i = 0; i < count; i++) arrived[i] = frames[i].device;
    if (capturing) replay_tap_.arrived(context, frames.data(), count, true);
    forward_held(context, frames.data(), count, verdicts.data());
    if (capturing) replay_tap_.settle(context, frames.data(), verdicts.data(), count);
    memory_->report_released(frames.data(), verdicts.data(), arrived.data(), count);
    context.held->free_taken();
  }
}

}  // namespace tandem
