// The connection table under several threads: random opens, lookups and closes of the same few connections.
// Its worth is under the thread sanitizer; what can be checked besides is checked.
#include <atomic>
#include <thread>
#include <vector>

#include "../../native/conn_table.h"
#include "connections.h"
#include "test.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr size_t kThreads = 4;
constexpr uint32_t kNumbers = 300;
constexpr size_t kSlots = 256;

struct Tally {
  std::atomic<uint64_t> opened{0}, closed{0}, wrong{0};
};

NewConnection fresh_of(uint32_t number) { return numbered(number, number % 4 == 0 ? 6 : 4); }

void churn(ConnTable& table, Participant who, uint64_t seed, Tally& tally) {
  std::mt19937_64 random(seed);
  table.online(who);
  for (int step = 0; step < 20'000; ++step) {
    const NewConnection fresh = fresh_of(static_cast<uint32_t>(random() % kNumbers));
    const FlowKey flow = random() % 2 ? from_client(fresh) : from_server(fresh);
    const Found found = find(table, flow);
    if (found.connection == nullptr) {
      Connection* opened = nullptr;
      if (table.open(who, fresh, kSecond, &opened) == OpenStatus::kOpened) ++tally.opened;
    } else {
      // What was found stays what it was until we quiesce, closed or not.
      if (random() % 2 && table.close(who, *found.connection)) ++tally.closed;
      if (table.flow(*found.connection, found.direction) != flow) ++tally.wrong;
      found.connection->last_seen.store(1, std::memory_order_relaxed);
    }
    if (random() % 8 == 0) table.quiesce(who);
    if (random() % 64 == 0) {
      table.offline(who);
      table.online(who);
    }
  }
  table.offline(who);
}

}  // namespace

TEST(table_under_threads_loses_and_doubles_nothing) {
  ConnTable table;
  REQUIRE(table.reserve({kSlots, kThreads}));
  Tally tally;
  std::vector<std::thread> threads;
  for (Participant who = 0; who < kThreads; ++who) {
    threads.emplace_back([&, who] { churn(table, who, seed() + who, tally); });
  }
  for (std::thread& thread : threads) thread.join();

  CHECK_EQ(tally.wrong.load(), 0u);
  CHECK(tally.opened.load() > 1000);
  CHECK_EQ(table.used(), tally.opened.load() - tally.closed.load());
  table.online(0);
  size_t found = 0;
  for (uint32_t number = 0; number < kNumbers; ++number) {
    const Found client = find(table, from_client(fresh_of(number)));
    CHECK_EQ(client.connection, find(table, from_server(fresh_of(number))).connection);
    if (client.connection == nullptr) continue;
    ++found;
    CHECK(table.close(0, *client.connection));
  }
  CHECK_EQ(found, tally.opened.load() - tally.closed.load());
  CHECK_EQ(table.used(), 0u);
  // Every slot has come back: a full table can be opened again, but for what lies in caches.
  for (int i = 0; i < 3; ++i) table.quiesce(0);
  size_t opened = 0;
  for (uint32_t number = 0; number < kSlots; ++number) {
    Connection* connection = nullptr;
    opened += table.open(0, fresh_of(number), kSecond, &connection) == OpenStatus::kOpened;
  }
  CHECK(opened >= kSlots * 3 / 4);
}

TEST(table_closes_a_connection_for_one_thread_only) {
  ConnTable table;
  REQUIRE(table.reserve({kSlots, kThreads}));
  table.online(0);
  for (int round = 0; round < 200; ++round) {
    Connection* connection = nullptr;
    REQUIRE(table.open(0, numbered(1), kSecond, &connection) == OpenStatus::kOpened);
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (Participant who = 1; who < kThreads; ++who) {
      threads.emplace_back([&, who] {
        TableVisit visit(table, who);
        winners += table.close(who, *connection);
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(winners.load(), 1);
    table.quiesce(0);
  }
}
