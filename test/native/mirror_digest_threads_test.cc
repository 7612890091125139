// Laps over tables of several sweeps, while workers open, change and close connections: no lap may find anything, and
// the units agree whenever a take has left nothing behind. A tuple stays with its worker, as the network card has it;
// one that moves while its close is pending may be told before it, which two comparisons in a row do not meet.
#include <atomic>
#include <thread>
#include <vector>

#include "mirror_unit.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr size_t kWorkers = 3;
constexpr uint32_t kNumbers = 90'000;  // of each worker 30,000: laps of three sweeps

}  // namespace

TEST(digest_laps_among_workers_raise_no_false_alarm) {
  constexpr int kSteps = 60'000;
  ConnTable table;
  REQUIRE(table.reserve({2 * kNumbers, kWorkers + 1}));
  const auto runtime = std::make_unique<Runtime>();
  const auto shared = std::make_unique<SharedState>();
  shared->groups[0].role = static_cast<uint32_t>(Role::kActive);
  SnatPorts ports;
  ports.start(0);
  MirrorDigest digest;
  digest.start(&table, runtime.get(), shared.get());
  MirrorSource source;
  source.start(&table, runtime.get(), shared.get(), kWorkers, &digest);
  runtime->mirror_wanted = true;
  runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
  runtime->endpoint_addresses[0].family = 4;  // the member of numbered()
  std::memcpy(runtime->endpoint_addresses[0].octets, numbered(0).member, 4);
  MirrorUnit standby(2 * kNumbers, 1, Role::kStandby);
  const ConnectionBooks books{&table, runtime.get(), &ports, &source};

  constexpr size_t kStepsPerTurn = 2000;
  std::atomic<size_t> running{kWorkers}, turns{0};
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < kWorkers; ++worker) {
    threads.emplace_back([&, worker] {
      std::mt19937_64 random(seed() + worker);
      size_t steps = 0;
      table.online(worker);
      const auto step = [&](uint32_t number) {
        // Not so far ahead that rings run full or closes are lost.
        while (++steps > kStepsPerTurn * (turns + 1)) {
          --steps;
          table.offline(worker);
          std::this_thread::yield();
          table.online(worker);
        }
        NewConnection fresh = numbered(number);
        Connection* connection = find(table, from_client(fresh)).connection;
        if (connection == nullptr) {
          if (open_connection(books, worker, fresh, kSecond, &connection) == OpenStatus::kOpened)
            source.mark(worker, *connection);
        } else if (random() % 2 == 0) {
          close_connection(books, worker, *connection, kSecond);
        } else {
          source.mark(worker, *connection);
        }
        table.quiesce(worker);
      };
      for (uint32_t number = 0; number < kNumbers / kWorkers; ++number)
        step(static_cast<uint32_t>(number * kWorkers + worker));
      for (int i = 0; i < kSteps; ++i)
        step(static_cast<uint32_t>(random() % (kNumbers / kWorkers) * kWorkers + worker));
      table.offline(worker);
      --running;
    });
  }
  std::vector<uint8_t> batch(1 << 22);
  size_t compared = 0;
  const auto turn = [&] {
    ++turns;
    size_t records = 0;
    const size_t bytes = source.take(kWorkers, batch.data(), batch.size(), &records);
    CHECK(!standby.sink.apply(batch.data(), bytes, 1, kSecond).malformed);
    standby.quiesce();
    {
      TableVisit visit(table, kWorkers);
      digest.sweep();
    }
    standby.digest.sweep();
    const bool emptied = batch.size() - bytes >= sizeof(wire::MirrorState<16>);
    if (!emptied || !digest.ready() || !standby.digest.ready()) return;
    ++compared;
    CHECK(digest.sum(MirrorDigest::Side::kTold, 0) == standby.heard());
  };
  while (running > 0) turn();
  for (std::thread& thread : threads) thread.join();
  while (source.has_pending()) turn();
  CHECK(table.slots_touched() > size_t{2} << 15);
  CHECK(compared > 10);
  CHECK(digest.sum(MirrorDigest::Side::kTold, 0).connections == standby.table.used());
  CHECK_EQ(source.deferrals(), 0u);
  CHECK_EQ(table.lost_closes(), 0u);
  CHECK_EQ(digest.corrections(), 0u);
  CHECK_EQ(standby.digest.corrections(), 0u);
}
