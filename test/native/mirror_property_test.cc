// The mirror under random operations: two tables that must agree in the end, records that are no records, and
// workers that change connections while they are taken.
#include <algorithm>
#include <array>
#include <map>
#include <thread>

#include "mirror_unit.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr uint32_t kNumbers = 400;

NewConnection fresh_of(uint32_t number) { return numbered(number, number % 3 == 0 ? 6 : 4); }

// What the peer must know of each connection: everything a record carries but term and sequence.
struct Known {
  TcpState state;
  uint16_t incarnation, snat_port, endpoint;
  uint64_t last_hop;
  friend bool operator==(const Known&, const Known&) = default;
};

std::map<uint32_t, Known> known_by(MirrorUnit& unit) {
  std::map<uint32_t, Known> known;
  for (uint32_t number = 0; number < kNumbers; ++number) {
    const Connection* connection = unit.find(fresh_of(number));
    if (connection == nullptr) continue;
    // Of one that was half-open all its life the peer is told nothing.
    if (connection->state() < TcpState::kEstablished) continue;
    known[number] = {connection->state(), connection->incarnation.load(), connection->snat_port.host(),
                     connection->endpoint, connection->last_hop.load()};
  }
  return known;
}

// One random thing that happens to one random connection of the active unit.
void change_something(MirrorUnit& unit, std::mt19937_64& random) {
  NewConnection fresh = fresh_of(static_cast<uint32_t>(random() % kNumbers));
  Connection* connection = unit.find(fresh);
  switch (random() % 6) {
    case 0:
      if (connection == nullptr) break;
      unit.close(*connection);
      break;
    case 1:  // a new SYN on a closing tuple, or any other open
      if (connection != nullptr) {
        fresh.incarnation = static_cast<uint16_t>(connection->incarnation.load() + 1);
        unit.close(*connection);
      }
      [[fallthrough]];
    case 2:
      fresh.snat_port = static_cast<uint16_t>(1024 + random() % 64000);
      fresh.member[fresh.family == 4 ? 3 : 15] = static_cast<uint8_t>(3 + random() % 7);
      fresh.state = random() % 4 ? TcpState::kEstablished : TcpState::kSynReceived;
      if (Connection* opened = unit.open(fresh)) unit.mark(*opened);
      break;
    case 3:
      if (connection == nullptr) break;
      connection->last_hop = random() & 0xfff0'ffff'ffff'ffff;
      unit.mark(*connection);
      break;
    default:
      if (connection == nullptr) break;
      unit.set_state(*connection, static_cast<TcpState>(random() % 5 + 2));
  }
}

}  // namespace

TEST(mirror_tables_agree_after_any_sequence_of_changes) {
  auto random = random_engine();
  MirrorUnit active(1024), standby(1024, 1, Role::kStandby);
  std::vector<std::vector<uint8_t>> old;
  uint8_t generation = 1;
  for (int step = 0; step < 20'000; ++step) {
    change_something(active, random);
    if (random() % 16 == 0) {
      const std::vector<uint8_t> batch = active.take(100 + random() % 2000);
      CHECK(!standby.apply(batch, generation).malformed);
      if (old.size() < 500) old.push_back(batch);
    }
    if (random() % 2000 == 0) {  // the channel is lost for a while; then a bulk
      active.runtime->mirror_wanted = false;
      for (int lost = 0; lost < 50; ++lost) change_something(active, random);
      active.runtime->mirror_wanted = true;
      active.source.start_bulk();
      ++generation;
      while (active.source.has_pending()) {
        change_something(active, random);
        CHECK(!standby.apply(active.take(300), generation).malformed);
      }
      standby.drop_unannounced(generation);
    }
    active.quiesce();
    standby.quiesce();
  }
  // A half-open connection can die of a RST: it was never told, and the peer does not have it.
  for (uint32_t number = 0; number < kNumbers; ++number) {
    Connection* connection = active.find(fresh_of(number));
    if (connection != nullptr && !(connection->control & (Control::kAnnounced | Control::kPendingMask))) {
      active.close(*connection);
    }
  }
  while (active.source.has_pending()) standby.apply(active.take(), generation);
  CHECK(known_by(active) == known_by(standby));
  CHECK(!known_by(active).empty());
  CHECK_EQ(active.table.waiting(), 0u);

  // Old batches in any order change no slot that is newer. (A connection that is gone may come back by one: the
  // channel delivers in order, so none arrives behind its own close.)
  const std::map<uint32_t, Known> before = known_by(standby);
  std::shuffle(old.begin(), old.end(), random);
  for (const std::vector<uint8_t>& batch : old) standby.apply(batch, generation);
  const std::map<uint32_t, Known> after = known_by(standby);
  for (const auto& [number, known] : before) {
    const auto found = after.find(number);
    CHECK(found != after.end() && found->second == known);
  }
}

TEST(mirror_roles_may_change_back_and_forth) {
  auto random = random_engine();
  MirrorUnit a(1024, 0, Role::kActive, 1), b(1024, 1, Role::kStandby, 1);
  MirrorUnit* active = &a;
  MirrorUnit* standby = &b;
  for (uint16_t term = 2; term < 40; ++term) {
    for (int step = 0; step < 200; ++step) {
      change_something(*active, random);
      if (step % 10 == 0) standby->apply(active->take());
      a.quiesce();
      b.quiesce();
    }
    while (active->source.has_pending()) standby->apply(active->take());
    standby->become(Role::kActive, term);
    active->become(Role::kStandby, term);
    std::swap(active, standby);
  }
  // Half-open ones and those of a RST that were never told stay where they were opened; a bulk settles the rest.
  active->source.start_bulk();
  while (active->source.has_pending()) standby->apply(active->take(), 9);
  standby->drop_unannounced(9);
  for (uint32_t number = 0; number < kNumbers; ++number) {
    const Connection* here = active->find(fresh_of(number));
    const Connection* there = standby->find(fresh_of(number));
    if (here == nullptr || !(here->control & Control::kAnnounced)) continue;
    CHECK(there != nullptr && there->state() == here->state() && there->snat_port == here->snat_port);
  }
}

TEST(mirror_bytes_that_are_no_records_apply_nothing) {
  auto random = random_engine();
  MirrorUnit active(64), standby(1024, 1, Role::kStandby);
  active.mark(*active.open(numbered(1)));
  active.mark(*active.open(numbered(2, 6)));
  const std::vector<uint8_t> good = active.take();

  for (size_t length = 0; length < good.size(); ++length) {
    MirrorUnit fresh(64, 1, Role::kStandby);
    const std::vector<uint8_t> cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(length));
    const Applied applied = fresh.apply(cut);
    const bool whole = length == 0 || length == sizeof(wire::MirrorState<4>);
    CHECK_EQ(applied.malformed, !whole);
    CHECK_EQ(applied.applied, length >= sizeof(wire::MirrorState<4>) ? 1u : 0u);
  }
  const auto refused = [&](size_t offset, uint8_t value) {
    std::vector<uint8_t> bad(good.begin(), good.begin() + sizeof(wire::MirrorState<4>));
    bad[offset] = value;
    const Applied applied = standby.apply(bad);
    CHECK(applied.malformed);
    CHECK_EQ(applied.applied, 0u);
  };
  refused(0, 0x34);        // kind
  refused(0, 0x15);        // family
  refused(1, 1);           // protocol
  refused(2, kTcpStates);  // state
  refused(3, kGroupsMax);  // group
  for (size_t i = 0; i < 20'000; ++i) {
    std::vector<uint8_t> noise = good;
    for (size_t flips = random() % 8 + 1; flips > 0; --flips) {
      noise[random() % noise.size()] = static_cast<uint8_t>(random());
    }
    noise.resize(random() % (noise.size() + 1));
    standby.apply(noise);
    standby.quiesce();
  }
  CHECK_EQ(standby.apply(good).malformed, false);
}

TEST(mirror_taken_while_workers_change_connections) {
  constexpr size_t kWorkers = 3;
  constexpr int kSteps = 15'000;
  ConnTable table;
  REQUIRE(table.reserve({4096, kWorkers + 1}));
  const auto runtime = std::make_unique<Runtime>();
  const auto shared = std::make_unique<SharedState>();
  shared->groups[0].role = static_cast<uint32_t>(Role::kActive);
  SnatPorts ports;
  ports.start(0);
  MirrorSource source;
  source.start(&table, runtime.get(), shared.get(), kWorkers);
  runtime->mirror_wanted = true;
  runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
  MirrorUnit standby(1024, 1, Role::kStandby);
  const ConnectionBooks books{&table, runtime.get(), &ports, &source};

  CHECK(source.arm());
  std::atomic<size_t> running{kWorkers}, wakeups{0};
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    threads.emplace_back([&, worker] {
      std::mt19937_64 random(seed() + worker);
      table.online(worker);
      for (int step = 0; step < kSteps; ++step) {
        const NewConnection fresh = fresh_of(static_cast<uint32_t>(random() % kNumbers));
        Connection* connection = find(table, from_client(fresh)).connection;
        if (connection == nullptr) {
          if (open_connection(books, worker, fresh, kSecond, &connection) == OpenStatus::kOpened) {
            source.mark(worker, *connection);
          }
        } else if (random() % 4 == 0) {
          close_connection(books, worker, *connection, kSecond);
        } else {
          connection->last_hop.store(random() & 0xfff0'ffff'ffff'ffff, std::memory_order_relaxed);
          source.mark(worker, *connection);
        }
        table.quiesce(worker);
        wakeups += source.take_wakeup();
      }
      table.offline(worker);
      --running;
    });
  }
  std::vector<uint8_t> batch(4096);
  uint8_t generation = 1;
  const auto take = [&] {
    size_t records = 0;
    const size_t bytes = source.take(kWorkers, batch.data(), batch.size(), &records);
    CHECK(!standby.sink.apply(batch.data(), bytes, generation, kSecond).malformed);
    standby.quiesce();
  };
  while (running > 0) {
    // Sleeps as the JavaScript thread does: until it is woken, if nothing is pending.
    const size_t before = wakeups;
    if (source.arm()) {
      while (wakeups == before && running > 0) std::this_thread::yield();
    }
    take();
  }
  for (std::thread& thread : threads) thread.join();
  while (source.has_pending()) take();
  CHECK(wakeups > 0);
  CHECK_EQ(table.waiting(), 0u);
  if (!source.lost_servers().empty()) {  // this thread slept while an eighth of the slots filled with closes
    ++generation;
    source.start_bulk();
    while (source.has_pending()) take();
    standby.drop_unannounced(generation);
  }
  table.online(kWorkers);
  for (uint32_t number = 0; number < kNumbers; ++number) {
    const Connection* here = find(table, from_client(fresh_of(number))).connection;
    const Connection* there = standby.find(fresh_of(number));
    CHECK_EQ(here == nullptr, there == nullptr);
    if (here == nullptr || there == nullptr) continue;
    CHECK_EQ(here->last_hop.load(), there->last_hop.load());
    CHECK_EQ(here->incarnation.load(), there->incarnation.load());
  }
}

// Ports of one SNAT address and member while the units take over from each other, are parted and are started again,
// with half of what is opened never told: no two connections that live anywhere have the same.
TEST(mirror_never_gives_a_snat_port_twice) {
  auto random = random_engine();
  constexpr uint16_t endpoint = 43;
  const auto make = [](uint8_t unit, Role role) {
    auto made = std::make_unique<MirrorUnit>(4096, unit, role);
    made->ports.add_address(4, numbered(0).snat);
    made->ports.prepare(0, endpoint);
    return made;
  };
  std::array<std::unique_ptr<MirrorUnit>, 2> units = {make(0, Role::kActive), make(1, Role::kStandby)};
  // By port: the client that has it.
  std::map<uint16_t, uint32_t> owners;
  std::map<uint32_t, uint16_t> ports_of;
  size_t active = 0, refused = 0;
  bool parted = false;
  uint32_t next = 1;
  const auto open_one = [&](MirrorUnit& unit) {
    for (int tries = 0; tries < 8; ++tries) {
      const SnatPorts::Allocation found = unit.ports.allocate(0, endpoint, kSecond);
      if (found.port == 0) return;
      NewConnection fresh = numbered(next);
      std::memcpy(fresh.snat, numbered(0).snat, sizeof fresh.snat);
      fresh.snat_port = found.port;
      Connection* opened = unit.open(fresh);
      if (opened == nullptr) {
        ++refused;  // the table has it: a port that was not learnt
        unit.ports.release(0, endpoint, found.port, kSecond);
        continue;
      }
      CHECK(!owners.contains(found.port));
      owners[found.port] = next;
      ports_of[next++] = found.port;
      if (random() % 2) unit.mark(*opened);
      return;
    }
  };
  const auto close_one = [&](MirrorUnit& unit) {
    if (ports_of.empty()) return;
    auto at = ports_of.lower_bound(static_cast<uint32_t>(random() % next));
    if (at == ports_of.end()) at = ports_of.begin();
    Connection* connection = unit.find(numbered(at->first));
    if (connection == nullptr) return;
    unit.close(*connection);
    owners.erase(at->second);
    ports_of.erase(at);
  };
  // What nobody holds any more has given its port back.
  const auto forget_lost = [&] {
    for (auto at = ports_of.begin(); at != ports_of.end();) {
      const bool held = units[0]->find(numbered(at->first)) || units[1]->find(numbered(at->first));
      if (!held) owners.erase(at->second);
      at = held ? std::next(at) : ports_of.erase(at);
    }
  };
  const auto sync = [&](size_t from) {
    while (units[from]->source.has_pending()) units[1 - from]->apply(units[from]->take());
  };
  const auto bulk = [&](size_t from, uint8_t generation) {
    units[from]->source.start_bulk();
    while (units[from]->source.has_pending()) units[1 - from]->apply(units[from]->take(), generation);
    units[1 - from]->drop_unannounced(generation);
    forget_lost();
  };
  uint8_t generation = 1;
  for (uint16_t term = 2; term < 60; ++term) {
    for (int step = 0; step < 60; ++step) {
      open_one(*units[active]);
      if (parted) open_one(*units[1 - active]);
      if (random() % 3 == 0) close_one(*units[active]);
      for (auto& unit : units) unit->quiesce();
    }
    if (!parted) sync(active);
    ++generation;
    switch (random() % 3) {
      case 0:  // takes over; the other one yields
        units[active]->become(Role::kStandby, term);
        active = 1 - active;
        units[active]->become(Role::kActive, term);
        bulk(active, generation);
        parted = false;
        break;
      case 1:  // both are active
        units[1 - active]->become(Role::kActive, term);
        units[active]->become(Role::kActive, term);
        parted = true;
        break;
      default:  // the one that stands by, or loses, is started again and gets a bulk
        units[1 - active] = make(static_cast<uint8_t>(1 - active), Role::kStandby);
        units[active]->become(Role::kActive, term);
        parted = false;
        bulk(active, generation);
    }
  }
  CHECK_EQ(refused, 0u);
  CHECK(owners.size() > 100);
}
