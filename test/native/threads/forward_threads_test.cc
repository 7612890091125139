// Several workers on one table: each forwards packets of the same few connections, both directions on any worker, and
// sweeps; the JavaScript thread meanwhile swaps policies, takes and applies mirror records, hands the group over and
// back, and reads. At the end the books must balance. Its worth is under the thread sanitizer, with the seams open.
#include <algorithm>
#include <map>
#include <thread>
#include <tuple>

#include "../../../native/commit.h"
#include "../../../native/connection_close.h"
#include "../../../native/policy_slot.h"
#include "../rows.h"

namespace tandem::test {
namespace {

constexpr size_t kWorkers = 4;
constexpr Participant kScript = kWorkers;  // the JavaScript thread
constexpr size_t kSlots = 512, kHalfOpenBound = 64;
constexpr uint32_t kClients = 96;
constexpr int kBursts = 6000;  // of each worker
constexpr size_t kPortsOfUnit = (65536 - 1024) / 2;

using Random = std::mt19937_64;

enum Kind : uint32_t { kTcp4, kPlain4, kTcp6, kUdp4, kKinds };

// Who a client is, and how its packets look on either side.
struct Client {
  Kind kind;
  std::vector<Bytes> sends;    // by what its flags are
  std::vector<Bytes> answers;  // its member's, without the right member and port
};

constexpr uint8_t kClientFlags[] = {kSyn, kAck, kAck | 8, kFin | kAck, kRst, kSyn | kAck};
constexpr uint8_t kMemberFlags[] = {kSyn | kAck, kAck, kAck | 8, kFin | kAck, kRst};

Client client(uint32_t number) {
  const auto kind = static_cast<Kind>(number % kKinds);
  const auto port = static_cast<uint16_t>(10'000 + number);
  const std::string host = std::to_string(2 + number % 200);
  Client made{kind, {}, {}};
  if (kind == kUdp4) {
    const Ip to = {.source = "192.0.2." + host, .destination = "10.1.0.100"};
    made.sends = {udp_frame(kFromClient, to, {.source_port = port, .destination_port = 53, .payload = "who is it?"})};
    Ip part = to;
    part.identification = static_cast<uint16_t>(number);
    for (const uint16_t where : {uint16_t{0x2000}, uint16_t{0x0002}}) {
      part.flags_fragment = where;
      made.sends.push_back(
          udp_frame(kFromClient, part, {.source_port = port, .destination_port = 53, .payload = "01234567"}));
    }
    made.answers = {udp_frame({kVirtualMac4, kMemberMac[0]}, {.source = "10.2.0.11", .destination = "10.2.0.1"},
                              {.source_port = 53, .destination_port = 1, .payload = "it is me"})};
    return made;
  }
  const bool v6 = kind == kTcp6;
  const std::string source = v6 ? "2001:db8::" + host : "192.0.2." + host;
  const std::string server = v6 ? "fd01::100" : kind == kPlain4 ? "10.1.0.101" : "10.1.0.100";
  for (const uint8_t flags : kClientFlags) {
    made.sends.push_back(tcp_frame(v6 ? kFromClient6 : kFromClient, {.source = source, .destination = server},
                                   {.source_port = port, .destination_port = 80, .flags = flags, .payload = "six"}));
  }
  for (const uint8_t flags : kMemberFlags) {
    const Ip back = {.source = v6 ? "fd02::11" : "10.2.0.11",
                     .destination = v6                ? "fd02::1"
                                    : kind == kPlain4 ? source
                                                      : std::string("10.2.0.1")};
    made.answers.push_back(tcp_frame({v6 ? kVirtualMac6 : kVirtualMac4, kMemberMac[0]}, back,
                                     {.source_port = 8080, .destination_port = port, .flags = flags}));
  }
  return made;
}

// Frames in memory laid out as a device's.
struct Buffers {
  static constexpr size_t kBytes = 256;
  std::array<std::array<uint8_t, kBytes>, kBurst> memory;
  std::array<Frame, kBurst> frames;
  std::array<Verdict, kBurst> verdicts;

  uint8_t* put(size_t at, const Bytes& frame, uint8_t device) {
    uint8_t* data = memory[at].data() + kFrameHeadroom;
    std::copy(frame.begin(), frame.end(), data);
    frames[at] = {data, static_cast<uint32_t>(frame.size()), device, false, 0};
    return data;
  }
};

MirrorRule random_rule(Random& random) {
  MirrorRule rule = {static_cast<MirrorMode>(random() % 3), random() % 2 == 0, 50};
  if (random() % 4 == 0) rule.after_age = 5;
  if (random() % 4 == 0) rule.after_steps = 2;
  return rule;
}

class World {
 public:
  World() : runtime(std::make_unique<Runtime>()), shared(std::make_unique<SharedState>()) {
    Random random(seed());
    for (uint32_t number = 0; number < kClients; ++number) clients.push_back(client(number));
    ports.start(0);
    ready = table.reserve({kSlots, kWorkers + 1}) && fragments.reserve() &&
            runtime->half_open.reserve(kHalfOpenBound, kWorkers) && runtime->client_limits.reserve() &&
            persistence.reserve(1024);
    for (size_t worker = 0; worker < kWorkers; ++worker)
      runtime->traffic[worker] = std::make_unique<std::array<Traffic, kVirtualServersMax>>();
    source.start(&table, runtime.get(), shared.get(), kWorkers);
    sink.start(&table, runtime.get(), shared.get(), &ports, kScript);
    MirrorDictionary same;
    for (size_t id = 0; id < same.virtual_servers.size(); ++id) same.virtual_servers[id] = static_cast<uint16_t>(id);
    for (size_t device = 0; device < same.devices.size(); ++device) same.devices[device] = static_cast<uint8_t>(device);
    sink.set_dictionary(same);
    for (uint16_t server = 0; server < 4; ++server) {
      VirtualServerState& state = runtime->virtual_servers[server];
      state.half_open = 20;
      state.established = 200;
      state.half_closed = 60;
      state.closing = 20;
      state.udp = 40;
      state.mirror = random_rule(random);
    }
    runtime->mirror_wanted = runtime->commit_wanted = true;
    for (HoldQueue& queue : held) ready = ready && queue.reserve();
    for (size_t device = 0; device < 2; ++device)
      std::memcpy(macs[device].octets, mac(kOwnMac[device]).data(), sizeof macs[device].octets);
    swap_policy(random);
    become(Role::kActive);
  }

  // Another policy for the same virtual servers: a member may be down, the scheduler another.
  void swap_policy(Random& random) {
    auto policy = two_sided_policy();
    constexpr Scheduler kSchedulers[] = {Scheduler::kRoundRobin, Scheduler::kLeastConnections, Scheduler::kSourceHash};
    policy->pools[0]->scheduler = kSchedulers[random() % 3];
    policy->pools[0]->members[random() % 2].up = random() % 4 != 0;
    policy->virtual_servers[0].unknown = random() % 8 == 0 ? Unknown::kAdopt : Unknown::kDrop;
    policy->virtual_servers[0].persistence =
        random() % 2 == 0 ? SourcePersistence{} : SourcePersistence{.timeout = 100, .prefix4 = 32, .prefix6 = 64};
    policy->pools[0]->on_member_down = random() % 2 == 0 ? OnMemberDown::kKeep : OnMemberDown::kReselect;
    policy->pools[0]->members[random() % 2].down = random() % 4 == 0;
    policy->virtual_servers[3].new_per_client = random() % 2 == 0 ? ClientRate{} : ClientRate::of(50, 10);
    for (VirtualServer& server : policy->virtual_servers) {
      for (SnatAddress& snat : server.snat_addresses)
        snat.index = static_cast<uint16_t>(ports.add_address(snat.address.family, snat.address.octets));
    }
    ready = ready && policy->seal().empty();
    for (const VirtualServer& server : policy->virtual_servers) {
      const Pool& pool = *policy->pools[server.pool];
      for (size_t i = 0; i < pool.members.size(); ++i) {
        for (const SnatAddress& snat : server.snat_by_member[i]) ports.prepare(snat.index, pool.members[i].endpoint);
        runtime->endpoints[pool.members[i].endpoint].next_hop = hop(kMemberMac[i % 2], kServerDevice);
      }
    }
    policy->mark_down_members(runtime.get());
    slot.swap(std::move(policy));
    sink.set_members(slot.current());
  }

  void become(Role role) {
    shared->groups[0].term.fetch_add(1);
    shared->groups[0].activated = now.load();
    shared->groups[0].lease = ~uint64_t{0};
    shared->groups[0].role = static_cast<uint32_t>(role);
  }

  ForwardContext context(size_t worker) {
    return {nullptr,      &table,       runtime.get(),     &ports,
            &source,      shared.get(), &counters[worker], runtime->traffic[worker].get(),
            macs.data(),  worker,       now.load(),        &fragments,
            &persistence, &held[worker]};
  }

  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<SharedState> shared;
  ConnTable table;
  SnatPorts ports;
  Fragments fragments;
  Persistence persistence;
  std::array<HoldQueue, kWorkers> held;
  MirrorSource source;
  MirrorSink sink;
  PolicySlot slot;
  std::array<Counters, kWorkers> counters;
  std::array<MacAddress, kDevicesMax> macs{};
  std::vector<Client> clients;
  // Where each client's member expects it: octet of the member << 16 | SNAT port, as last seen by any worker.
  std::array<std::atomic<uint32_t>, kClients> server_side{};
  std::atomic<Nanos> now{1000 * kSecond};
  std::atomic<size_t> running{kWorkers};
  std::atomic<uint64_t> wrong{0};
  bool ready = false;
};

// ---- a worker

void fill_burst(World& world, Random& random, Buffers& buffers, size_t count, std::array<uint32_t, kBurst>* of) {
  for (size_t i = 0; i < count; ++i) {
    const auto number = static_cast<uint32_t>(random() % kClients);
    const Client& client = world.clients[number];
    const uint32_t seen = world.server_side[number].load(std::memory_order_relaxed);
    (*of)[i] = number;
    if (random() % 2 == 0 || seen == 0) {
      // SYNs and ACKs more often than what ends a connection.
      const size_t which = std::min(random() % client.sends.size(), random() % client.sends.size());
      buffers.put(i, client.sends[which], kClientDevice);
      continue;
    }
    const size_t which = std::min(random() % client.answers.size(), random() % client.answers.size());
    uint8_t* data = buffers.put(i, client.answers[which], kServerDevice);
    const size_t transport = client.kind == kTcp6 ? 54 : 34;
    if (client.kind == kTcp4 || client.kind == kPlain4) {
      data[29] = static_cast<uint8_t>(seen >> 16);
      Bytes header(data + 14, data + 34);
      header[10] = header[11] = 0;
      const auto sum = static_cast<uint16_t>(~reference_sum(header));
      data[24] = static_cast<uint8_t>(sum >> 8);
      data[25] = static_cast<uint8_t>(sum);
    }
    data[transport + 2] = static_cast<uint8_t>(seen >> 8);
    data[transport + 3] = static_cast<uint8_t>(seen);
  }
}

// What went to a member tells where its answers are expected; nothing goes to where nobody is.
void learn(World& world, const Buffers& buffers, size_t count, const std::array<uint32_t, kBurst>& of) {
  for (size_t i = 0; i < count; ++i) {
    if (buffers.verdicts[i].kind != kForward || buffers.verdicts[i].device != kServerDevice) continue;
    const uint8_t* data = buffers.frames[i].data;
    const bool v6 = world.clients[of[i]].kind == kTcp6;
    if (!v6 && (data[20] << 8 & 0x1fff) != 0) continue;
    if (!v6 && (data[21] != 0 || (data[20] & 0x1f) != 0)) continue;  // a later fragment has no ports
    const size_t transport = v6 ? 54 : 34;
    const uint32_t port = static_cast<uint32_t>(data[transport] << 8 | data[transport + 1]);
    const uint8_t member = v6 ? 0x11 : data[33];
    if (member != 11 && member != 12 && !v6) world.wrong.fetch_add(1);
    world.server_side[of[i]].store(uint32_t{member} << 16 | port, std::memory_order_relaxed);
  }
}

void work(World& world, size_t worker) {
  Random random(seed() + 1 + worker);
  auto buffers = std::make_unique<Buffers>();
  std::array<uint32_t, kBurst> of{};
  std::array<Fragments::Released, kBurst> released;
  SweepCursor cursor{0, worker, kWorkers};
  world.table.online(worker);
  for (int burst = 0; burst < kBursts; ++burst) {
    ForwardContext context = world.context(worker);
    context.policy = world.slot.enter(worker);
    const size_t count = 1 + random() % 16;
    fill_burst(world, random, *buffers, count, &of);
    forward_burst(context, buffers->frames.data(), count, buffers->verdicts.data());
    learn(world, *buffers, count, of);
    while (const size_t late = world.fragments.take_released(worker, released.data(), kBurst)) {
      forward_released(context, released.data(), late, buffers->frames.data(), buffers->verdicts.data());
      world.fragments.free_released(worker);
    }
    std::array<Frame, kBurst> late_frames;
    std::array<Verdict, kBurst> late_verdicts;
    while (const size_t held = take_held(context, late_frames.data())) {
      forward_held(context, late_frames.data(), held, late_verdicts.data());
      context.held->free_taken();
    }
    if (random() % 4 == 0) sweep(context, &cursor, 1 + random() % 32);
    world.slot.leave(worker);
    world.table.quiesce(worker);
    world.source.take_wakeup();
    if (random() % 64 == 0) {
      world.table.offline(worker);
      std::this_thread::yield();
      world.table.online(worker);
    }
  }
  world.table.offline(worker);
  world.running.fetch_sub(1);
}

// ---- the JavaScript thread, and the peer that it speaks for

// Records of a peer's connections, to virtual server 0 by ports of the peer's half.
struct Peer {
  explicit Peer(uint64_t term) : runtime(std::make_unique<Runtime>()), shared(std::make_unique<SharedState>()) {
    table.reserve({kSlots, 1});
    source.start(&table, runtime.get(), shared.get(), 0);
    runtime->mirror_wanted = true;
    runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
    shared->groups[0].role = static_cast<uint32_t>(Role::kActive);
    shared->groups[0].term = static_cast<uint32_t>(term);
    ports.start(1);
  }

  Bytes records(Random& random) {
    const TableVisit visit(table, 0);
    for (int change = 0; change < 20; ++change) {
      NewConnection fresh{};
      fresh.family = 4;
      fresh.protocol = IPPROTO_TCP;
      const auto number = static_cast<uint32_t>(random() % kClients / kKinds * kKinds);
      const auto put = [](uint8_t* into, const std::string& text) { std::copy_n(address(text).begin(), 4, into); };
      put(fresh.client, "192.0.2." + std::to_string(2 + number % 200));
      put(fresh.virtual_address, "10.1.0.100");
      put(fresh.member, random() % 2 ? "10.2.0.11" : "10.2.0.12");
      put(fresh.snat, "10.2.0.1");
      fresh.client_port = static_cast<uint16_t>(10'000 + number);
      fresh.virtual_port = 80;
      fresh.member_port = 8080;
      fresh.snat_port = static_cast<uint16_t>(1025 + 2 * number);
      fresh.state = TcpState::kEstablished;
      const ConnectionBooks books{&table, runtime.get(), &ports, &source};
      Connection* connection = nullptr;
      if (open_connection(books, 0, fresh, kSecond, &connection) == OpenStatus::kOpened) {
        source.mark(0, *connection);
      } else if (Connection* known = table.at(random() % kSlots); known != nullptr) {
        close_connection(books, 0, *known, kSecond);
      }
    }
    Bytes batch(1 << 13);
    size_t count = 0;
    batch.resize(source.take(0, batch.data(), batch.size(), &count));
    return batch;
  }

  ConnTable table;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<SharedState> shared;
  SnatPorts ports;
  MirrorSource source;
};

void read_everything(World& world, std::vector<uint64_t>* before) {
  const TableVisit visit(world.table, kScript);
  std::vector<uint64_t> sums(kCounts);
  for (const Counters& counters : world.counters) {
    for (size_t i = 0; i < kCounts; ++i) sums[i] += counters.counts[i].load(std::memory_order_relaxed);
  }
  for (size_t i = 0; i < before->size(); ++i) world.wrong.fetch_add(sums[i] < (*before)[i]);
  *before = sums;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const Connection* connection = world.table.at(slot);
    if (connection == nullptr) continue;
    // As connections are listed: what was found stays what it was.
    const FlowKey client = world.table.flow(*connection, Direction::kFromClient);
    if (client.words[4] >> 40 != connection->family) world.wrong.fetch_add(1);
    connection->last_hop.load(std::memory_order_relaxed);
  }
}

void script(World& world) {
  Random random(seed() + 100);
  uint64_t term = 2;
  auto peer = std::make_unique<Peer>(term);
  std::vector<uint64_t> counts;
  Bytes batch(1 << 12);
  uint8_t generation = 1;
  for (bool active = true; world.running.load() > 0;) {
    world.now.fetch_add(random() % (kSecond / 4));
    size_t records = 0;
    switch (random() % 12) {
      case 0:
        world.swap_policy(random);
        break;
      case 1:
        active = !active;
        world.become(active ? Role::kActive : random() % 2 ? Role::kStandby : Role::kHandingOver);
        if (!active) peer = std::make_unique<Peer>(term = world.shared->groups[0].term + 1);
        break;
      case 2:
        world.source.start_bulk();
        break;
      case 3:
        world.source.forget_confirmed();
        world.runtime->mirror_wanted = random() % 4 != 0;
        world.runtime->commit_wanted = world.runtime->mirror_wanted && random() % 4 != 0;
        break;
      case 10:
        world.runtime->virtual_servers[random() % 4].mirror = random_rule(random);
        world.source.tell_news();
        break;
      case 11: {
        const auto last = static_cast<uint32_t>(world.source.last_sequence() - random() % 3);
        world.source.refuse(&last, 1);
        break;
      }
      case 4:
        read_everything(world, &counts);
        break;
      case 5:
        world.source.arm();
        break;
      case 6:
        if (!active) {
          size_t cursor = 0;
          uint32_t closed = 0;
          world.sink.drop_unannounced(++generation, &cursor, 64, &closed);
        }
        break;
      default:
        world.source.take(kScript, batch.data(), batch.size(), &records);
        world.source.confirm(world.source.last_sequence());
        for (const HoldQueue& queue : world.held) queue.waits();
        if (active) break;
        const Bytes told = peer->records(random);
        world.sink.apply(told.data(), told.size(), generation, world.now.load());
        break;
    }
    if (!active && random() % 4 == 0) {
      active = true;
      world.become(Role::kActive);
    }
  }
}

// ---- the books

struct Books {
  size_t open = 0, half_open = 0;
  std::map<uint16_t, uint32_t> of_server, of_endpoint, unprotected;
  std::map<std::pair<int, uint16_t>, size_t> ports;  // of our half, by (SNAT address, endpoint)
};

Found find_flow(World& world, const Connection& connection, Direction direction) {
  const FlowKey flow = world.table.flow(connection, direction);
  return world.table.find(flow, world.table.hash(flow));
}

Books audit(World& world) {
  Books books;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    Connection* connection = world.table.at(slot);
    if (connection == nullptr || (connection->control & Control::kDead) != 0) continue;
    ++books.open;
    books.half_open += is_half_open(connection->state());
    ++books.of_server[connection->virtual_server];
    ++books.of_endpoint[connection->endpoint];
    books.unprotected[connection->virtual_server] += (connection->control & Control::kUnprotected) != 0;
    for (const Direction direction : {Direction::kFromClient, Direction::kFromServer}) {
      const Found found = find_flow(world, *connection, direction);
      CHECK_EQ(found.connection, connection);
      CHECK_EQ(found.direction, direction);
    }
    if ((connection->control & Control::kNoSnat) != 0 || !world.ports.ours(connection->snat_port.host())) continue;
    const auto* snat = connection->family == 6 ? world.table.ipv6(*connection).snat
                                               : reinterpret_cast<const uint8_t*>(&connection->snat);
    ++books.ports[{world.ports.find_address(connection->family, snat), connection->endpoint}];
  }
  return books;
}

void check_books(World& world) {
  const Books books = audit(world);
  CHECK_EQ(world.table.used(), books.open);
  CHECK(books.half_open <= kHalfOpenBound);
  for (uint16_t id = 0; id < 4; ++id) {
    const auto in = [id](const std::map<uint16_t, uint32_t>& counts) {
      const auto at = counts.find(id);
      return at == counts.end() ? 0u : at->second;
    };
    CHECK_EQ(world.runtime->virtual_servers[id].connections.load(), in(books.of_server));
    CHECK_EQ(world.runtime->virtual_servers[id].commit.unprotected.load(), in(books.unprotected));
    CHECK_EQ(world.runtime->endpoints[id].connections.load(), in(books.of_endpoint));
  }
  for (uint16_t address = 0; address < 2; ++address) {
    for (uint16_t endpoint = 0; endpoint < 4; ++endpoint) {
      const size_t free = world.ports.free(address, endpoint);
      const auto used = books.ports.find({address, endpoint});
      if (free == 0 && used == books.ports.end()) continue;  // never prepared
      CHECK_EQ(free + (used == books.ports.end() ? 0 : used->second), kPortsOfUnit);
    }
  }
}

TEST(workers_on_one_table_keep_its_books) {
  auto world = std::make_unique<World>();
  REQUIRE(world->ready);
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < kWorkers; ++worker) threads.emplace_back([&, worker] { work(*world, worker); });
  script(*world);
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(world->wrong.load(), 0u);
  uint64_t opened = 0, evicted = 0;
  for (const Counters& counters : world->counters) {
    opened += counters.counts[static_cast<size_t>(Count::kOpened)];
    evicted += counters.counts[static_cast<size_t>(Count::kHalfOpenEvicted)];
  }
  CHECK(opened > 100);
  CHECK(evicted > 0);
  for (Participant who = 0; who <= kScript; ++who) world->table.online(who);
  check_books(*world);

  // All of them end, the peer is told, and nothing is left.
  world->runtime->mirror_wanted = true;
  world->become(Role::kActive);
  world->now.fetch_add(3600 * kSecond);
  ForwardContext context = world->context(0);
  context.policy = world->slot.enter(0);
  Bytes batch(1 << 16);
  for (size_t lap = 0; lap < 2 * Fragments::kShards; ++lap) {  // a shard of fragments is looked at in each
    SweepCursor cursor;
    size_t records = 0;
    sweep(context, &cursor, kSlots);
    for (int i = 0; i < 4; ++i) world->source.take(kScript, batch.data(), batch.size(), &records);
    for (Participant who = 0; who <= kScript; ++who) world->table.quiesce(who);
  }
  world->slot.leave(0);
  CHECK_EQ(world->table.used(), 0u);
  CHECK_EQ(world->table.waiting(), 0u);
  CHECK_EQ(world->fragments.packets(), 0u);
  check_books(*world);
}

}  // namespace
}  // namespace tandem::test
