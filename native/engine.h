// The datapath as a whole: owns the connection table, ports, mirror, policy and workers, and answers the
// JavaScript thread. Knows no JavaScript; addon.cc does.
//
// Threads: everything here is called on the JavaScript thread. It takes part in the connection table as
// participant number `workers`, and touches what workers share only through the words that runtime.h,
// hazard_slot.h and shared_state.h name.
//
// The MAC addresses of the devices are read at start; a change of one while Tandem runs is not followed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capture.h"
#include "conn_table.h"
#include "counters.h"
#include "device/memory_device.h"
#include "device/packet_device.h"
#include "engine_devices.h"
#include "forward.h"
#include "hold_queue.h"
#include "id_registry.h"
#include "mirror.h"
#include "policy_slot.h"
#include "runtime.h"
#include "shared_state.h"
#include "snat_ports.h"
#include "system_error.h"
#include "worker.h"

namespace tandem {

struct EngineOptions {
  struct DeviceOptions {
    std::string name;       // the config's link
    std::string interface;  // Linux's
    MacAddress mac;         // memory only
    uint32_t mtu;           // memory only; kMtuNone: no bound
  };
  bool live;                            // false: memory
  DeviceKind kind = DeviceKind::kAuto;  // live only, and `wait`
  Wait wait = Wait::kPoll;
  std::vector<DeviceOptions> devices;
  size_t workers;
  size_t connections;
  size_t half_open = 0;  // 0: HalfOpen::bound_for(connections)
  uint8_t unit;
};

struct MirrorNames {
  std::vector<std::pair<uint16_t, std::string>> virtual_servers;  // id, name
  std::vector<std::string> devices;                               // by index
};

struct TakenRecords {
  size_t bytes;
  size_t records;
  uint32_t last_sequence;  // of the record encoded last
};

struct ConnectionView {
  std::string id;  // SLOT.INCARNATION, as captures have it
  std::string virtual_server;
  std::string protocol;  // "tcp", "udp", else its number
  std::string client, virtual_address, member, snat;
  const char* state;
  double idle_s;
  bool from_peer;
  bool unprotected;
  bool mirrored;  // it was told to the peer, or by the peer
  std::string last_hop;
  const char* forwarding;  // "nat", "dsr", "ipip", "gue"
};

// One end of a connection. Family 0: any; port 0: any of that address.
struct EndFilter {
  Address address{};
  uint16_t port = 0;
};

struct ConnectionFilter {
  std::string virtual_server;  // empty: any
  EndFilter client, member;
};

struct ServerView {
  std::string name;
  uint32_t connections;
  uint64_t opened, packets_in, bytes_in, packets_out, bytes_out;
  // As CommitCounts has them.
  uint64_t held, released, timed_out, refused, beyond, no_peer;
  uint32_t unprotected;
};

struct MemberView {
  std::string address;
  uint16_t port;
  uint32_t connections;
  uint64_t opened, limited, persisted;
  double share;  // of new connections that slow start gives it, the least of its pools; 1: all
};

class Engine {
 public:
  Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // Reserves all memory. `shared` outlives the engine.
  SystemError open(const EngineOptions& options, SharedState* shared);
  const EngineOptions& options() const { return options_; }

  // Opens the interfaces and starts the workers; nothing to do for `memory`.
  SystemError start();
  // After start(): what each interface got, and how many workers there are (fewer than wished when an interface has
  // fewer queues).
  const std::vector<DeviceChoice>& device_choices() const { return devices_.choices(); }
  size_t workers() const { return workers_.size(); }
  void stop();
  // Called by workers, from their threads. Before start().
  void set_wakeup(Wakeup wakeup) { wakeup_ = wakeup; }

  // ---- policy and what changes between two policies
  // Changes nothing when it fails.
  SystemError set_policy(PolicyDraft draft);
  const Policy& policy() const { return *policy_.current(); }
  // Of a member that no policy names: nothing happens.
  void set_next_hop(const Address& address, uint16_t port, NextHop hop);
  bool set_mirror(const std::string& virtual_server, MirrorRule rule);

  // ---- mirror
  // `confirms`: the peer says which records it has and which it refuses, so handshakes may wait for it.
  void set_mirror_wanted(bool on, bool confirms);
  TakenRecords take_mirror(uint8_t* into, size_t bytes, bool live_only);
  void confirm_mirror(uint32_t sequence);
  void refuse_mirror(const uint32_t* sequences, size_t count);
  MirrorSource& mirror() { return source_; }
  void set_mirror_names(MirrorNames names);
  MirrorNames mirror_names() const;
  Applied apply_mirror(const uint8_t* records, size_t bytes, uint8_t generation, RefusedRecords* refused);
  // A bounded part of the walk; `restart` begins it anew. True when it is complete. `only`: of these virtual servers.
  bool drop_unannounced(uint8_t generation, bool restart, uint32_t* closed, const ServerSet* only = nullptr);
  MirrorDigest& digest() { return digest_; }
  double sweep_digest();
  // Whether what the peer was told is in the order of the changes: not while some may wait for the workers' sweep.
  bool digest_in_order() const;

  // ---- reading
  uint64_t counter(size_t index) const;  // drops, then counts
  const ConnTable& table() const { return table_; }
  const Fragments& fragments() const { return fragments_; }
  size_t held() const;
  // Handshakes by how long their client was kept waiting for the peer; see hold_queue.h.
  std::array<uint64_t, kLatencyBuckets> commit_latency() const;
  std::vector<ServerView> servers() const;
  // kNone, or an empty name: there is none.
  uint16_t server_id(const std::string& name) const { return ids_.server(name); }
  std::string server_name(uint16_t id) const { return ids_.server_name(id); }
  std::vector<MemberView> members() const;
  // At most `limit` connections from slot *cursor on. Moves *cursor to where the next call goes on; false
  // at the end of the table.
  bool connections(size_t* cursor, size_t limit, const ConnectionFilter& filter, std::vector<ConnectionView>* rows);

  // ---- capture: one at a time
  // Takes the place of one that runs.
  SystemError start_capture(const CaptureFilter& filter);
  // nullptr: none runs.
  Capture* capture() { return capture_.current(); }
  void stop_capture();

  // ---- memory
  // Returns bytes written; both buffers as in memory_device.h, the input inspected before.
  size_t replay(const uint8_t* input, size_t bytes, uint8_t* output);

 private:
  ForwardContext context_for(size_t worker);
  void report_held(const ForwardContext& context, bool capturing);
  Nanos now() const;
  SystemError open_devices();
  SystemError start_worker(size_t worker);
  SystemError prepare_ports(const Policy& policy);
  void tell_holders();
  void wake_holders();
  void publish_states(const PolicyDraft& draft);
  void translate_mirror_names();
  Address client_of(const Connection& connection) const;
  ConnectionView view(const Connection& connection, Nanos now) const;
  Participant me() const { return options_.workers; }

  EngineOptions options_;
  SharedState* shared_ = nullptr;
  std::unique_ptr<Runtime> runtime_;
  IdRegistry ids_;
  ConnTable table_;
  SnatPorts ports_;
  Fragments fragments_;
  Persistence persistence_;
  MirrorDigest digest_;
  uint64_t deferrals_ = 0;
  Nanos deferred_at_ = 0;
  MirrorSource source_;
  MirrorSink sink_;
  PolicySlot policy_;
  CaptureSlot capture_;
  CaptureTap replay_tap_{&capture_, 0};
  Wakeup wakeup_;

  MirrorNames peer_names_;
  size_t unannounced_cursor_ = 0;

  std::vector<std::unique_ptr<Counters>> counters_;  // by worker
  std::vector<std::unique_ptr<HoldQueue>> held_;     // by worker
  std::array<MacAddress, kDevicesMax> macs_{};
  std::unique_ptr<MemoryDevice> memory_;
  std::unique_ptr<SweepPace> replay_pace_;
  Nanos replayed_until_ = 0;
  EngineDevices devices_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace tandem
