// What holds for every scheduler: limits, slow start, priorities; and what a policy takes over from the one before.
#include <algorithm>
#include <map>
#include <memory>
#include <thread>

#include "../../native/schedule_tables.h"
#include "../../native/scheduler.h"
#include "policies.h"
#include "test.h"

namespace tandem::test {
namespace {

constexpr Scheduler kAll[] = {Scheduler::kRoundRobin,       Scheduler::kWeightedRoundRobin,
                              Scheduler::kLeastConnections, Scheduler::kWeightedLeastConnections,
                              Scheduler::kMaglev,           Scheduler::kSourceHash};
constexpr Nanos kNow = 1000 * kSecond;

std::vector<Member> members(size_t count) {
  std::vector<Member> made;
  for (size_t i = 0; i < count; ++i) {
    made.push_back(
        member("10.2." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1), 80, static_cast<uint16_t>(i)));
  }
  return made;
}

// As mixed as hashes of clients are.
uint64_t hash_of(uint64_t number) {
  number = (number + 1) * 0x9e3779b97f4a7c15;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  return number ^ number >> 31;
}

std::map<int, int> shares(const Pool& pool, Runtime& runtime, int clients, Nanos now) {
  std::map<int, int> share;
  for (int i = 0; i < clients; ++i) share[schedule(pool, runtime, hash_of(static_cast<uint64_t>(i)), now).member]++;
  return share;
}

// ---- limits

TEST(no_scheduler_gives_a_member_more_than_its_limit_and_all_full_is_said) {
  for (const Scheduler scheduler : kAll) {
    const auto runtime = std::make_unique<Runtime>();
    const auto limited = pool(scheduler, members(4));
    const uint32_t limits[] = {5, 1, 7, 3};
    for (size_t i = 0; i < 4; ++i) limited->members[i].connections_max = limits[i];
    prepare_schedule(*limited);
    for (int i = 0; i < 16; ++i)
      CHECK(schedule(*limited, *runtime, hash_of(static_cast<uint64_t>(i)), kNow).member >= 0);
    for (size_t i = 0; i < 4; ++i) CHECK_EQ(runtime->endpoints[i].connections.load(), limits[i]);
    const Choice none = schedule(*limited, *runtime, hash_of(99), kNow);
    CHECK_EQ(none.member, -1);
    CHECK(none.full);
    runtime->endpoints[2].release();
    CHECK_EQ(schedule(*limited, *runtime, hash_of(99), kNow).member, 2);
  }
}

TEST(the_last_room_of_a_large_pool_is_found) {
  for (const Scheduler scheduler : kAll) {
    const auto runtime = std::make_unique<Runtime>();
    const auto large = pool(scheduler, members(700));
    for (Member& member : large->members) {
      member.connections_max = 1;
      runtime->endpoints[member.endpoint].connections = 1;
    }
    prepare_schedule(*large);
    runtime->endpoints[613].connections = 0;
    CHECK_EQ(schedule(*large, *runtime, hash_of(1), kNow).member, 613);
    CHECK(schedule(*large, *runtime, hash_of(1), kNow).full);
  }
}

TEST(at_a_limit_a_hash_scheduler_gives_a_client_the_same_next_member_every_time) {
  const auto runtime = std::make_unique<Runtime>();
  const auto limited = pool(Scheduler::kMaglev, members(5));
  limited->members[2].connections_max = 1;
  runtime->endpoints[2].connections = 1;
  prepare_schedule(*limited);
  for (uint64_t client = 0; client < 500; ++client) {
    const int chosen = schedule(*limited, *runtime, hash_of(client), kNow).member;
    CHECK(chosen != 2);
    CHECK_EQ(schedule(*limited, *runtime, hash_of(client), kNow).member, chosen);
  }
  CHECK(runtime->endpoints[2].limited.load() > 100);
}

TEST(several_threads_together_never_pass_a_limit_and_leave_no_room) {
  for (const Scheduler scheduler : kAll) {
    const auto runtime = std::make_unique<Runtime>();
    const auto limited = pool(scheduler, members(3));
    for (Member& member : limited->members) member.connections_max = 1000;
    prepare_schedule(*limited);
    std::atomic<int> given{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (uint64_t thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (uint64_t i = 0; i < 2000; ++i) {
          const Choice choice = schedule(*limited, *runtime, hash_of(thread << 32 | i), kNow);
          if (choice.member < 0) continue;
          const size_t at = static_cast<size_t>(choice.member);
          if (runtime->endpoints[at].connections.load() > 1000) over = true;
          // A fifth ends at once.
          if (i % 5 == 0) {
            runtime->endpoints[at].release();
          } else {
            ++given;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(!over);
    CHECK_EQ(given.load(), 3000);
  }
}

TEST(of_threads_that_want_the_one_place_of_a_member_one_gets_it) {
  Endpoint endpoint;
  std::atomic<int> inside{0}, waiting{4};
  std::atomic<bool> shared{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      // Together, or the first has ended before the last begins.
      for (--waiting; waiting.load() > 0;) std::this_thread::yield();
      for (int i = 0; i < 500'000; ++i) {
        if (!endpoint.reserve(1)) continue;
        if (inside.fetch_add(1) != 0) shared = true;
        inside.fetch_sub(1);
        endpoint.release();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(!shared);
  CHECK_EQ(endpoint.connections.load(), 0u);
}

// ---- slow start

TEST(slow_start_gives_a_share_that_grows_linearly_with_every_scheduler) {
  for (const Scheduler scheduler : kAll) {
    const auto before = pool(scheduler, members(4));
    before->members[1].up = false;
    prepare_schedule(*before);
    const auto after = pool(scheduler, members(4));
    after->slow_start = 100 * kSecond;
    prepare_schedule(*after, before.get(), kNow);
    double last = -1;
    for (const uint64_t elapsed : {0u, 25u, 50u, 75u, 100u}) {
      const auto runtime = std::make_unique<Runtime>();
      auto share = shares(*after, *runtime, 8000, kNow + elapsed * kSecond);
      // Of what the others get: with shares f and 1 of three others, f / (3 + f), or f / 4 where f is taken of its
      // turn.
      const double got = share[1] / 8000.0, f = static_cast<double>(elapsed) / 100;
      CHECK(got > last);
      CHECK(got > f / 4 - 0.02 && got < f / (3 + f) + 0.02);
      last = got;
    }
  }
}

TEST(slow_start_with_least_connections_fills_a_member_by_and_by) {
  const auto runtime = std::make_unique<Runtime>();
  const auto before = pool(Scheduler::kLeastConnections, members(2));
  before->members[1].up = false;
  prepare_schedule(*before);
  const auto after = pool(Scheduler::kLeastConnections, members(2));
  after->slow_start = 100 * kSecond;
  prepare_schedule(*after, before.get(), kNow);
  runtime->endpoints[0].connections = 1000;
  // Without slow start the next 1000 would all be its.
  auto share = shares(*after, *runtime, 1000, kNow + 10 * kSecond);
  CHECK(share[1] > 150 && share[1] < 210);
}

TEST(who_slow_start_has_given_a_client_to_keeps_it) {
  const auto before = pool(Scheduler::kMaglev, members(4));
  before->members[1].up = false;
  prepare_schedule(*before);
  const auto after = pool(Scheduler::kMaglev, members(4));
  after->slow_start = 100 * kSecond;
  prepare_schedule(*after, before.get(), kNow);
  const auto runtime = std::make_unique<Runtime>();
  for (uint64_t client = 0; client < 300; ++client) {
    bool given = false;
    for (uint64_t second = 0; second <= 100; second += 5) {
      const bool now = schedule(*after, *runtime, hash_of(client), kNow + second * kSecond).member == 1;
      CHECK(now || !given);
      given = now;
    }
  }
}

TEST(a_pool_whose_members_all_come_up_at_once_serves_evenly_and_at_once) {
  for (const Scheduler scheduler : kAll) {
    const auto before = pool(scheduler, members(4));
    for (Member& member : before->members) member.up = false;
    prepare_schedule(*before);
    const auto after = pool(scheduler, members(4));
    after->slow_start = 100 * kSecond;
    prepare_schedule(*after, before.get(), kNow);
    const auto runtime = std::make_unique<Runtime>();
    auto share = shares(*after, *runtime, 4000, kNow + kSecond);
    for (int i = 0; i < 4; ++i) CHECK(share[i] > 900 && share[i] < 1100);
  }
}

TEST(a_slow_start_goes_on_over_other_changes_and_ends) {
  const auto first = pool(Scheduler::kRoundRobin, members(2));
  prepare_schedule(*first, nullptr, kNow);
  const auto with = [](size_t count) {
    auto made = pool(Scheduler::kRoundRobin, members(count));
    made->slow_start = 100 * kSecond;
    return made;
  };
  const auto added = with(3), other = with(4), late = with(4);
  prepare_schedule(*added, first.get(), kNow);
  CHECK_EQ(added->members[0].ramp_from, 0u);
  CHECK_EQ(added->members[2].ramp_from, kNow);
  prepare_schedule(*other, added.get(), kNow + 40 * kSecond);
  CHECK_EQ(other->members[2].ramp_from, kNow);
  CHECK_EQ(other->members[3].ramp_from, kNow + 40 * kSecond);
  CHECK_EQ(share_of(*other, other->members[2], kNow + 50 * kSecond), kWholeShare / 2);
  prepare_schedule(*late, other.get(), kNow + 120 * kSecond);
  CHECK_EQ(late->members[2].ramp_from, 0u);
  // Nothing came before: a daemon that starts, or a pool that is new, has nobody to shield.
  const auto fresh = with(3);
  prepare_schedule(*fresh, nullptr, kNow);
  for (const Member& member : fresh->members) CHECK_EQ(member.ramp_from, 0u);
}

// ---- priorities

TEST(priorities_below_serve_only_while_those_above_are_too_few) {
  const auto ranked = [](std::vector<bool> up, uint16_t active_min) {
    auto made = pool(Scheduler::kRoundRobin, members(6));
    const uint16_t priorities[] = {5, 10, 10, 5, 1, 1};
    for (size_t i = 0; i < 6; ++i) {
      made->members[i].priority = priorities[i];
      made->members[i].up = up[i];
    }
    made->active_min = active_min;
    prepare_schedule(*made);
    return made;
  };
  using Indices = std::vector<uint16_t>;
  CHECK(ranked({1, 1, 1, 1, 1, 1}, 1)->available == Indices({1, 2}));
  CHECK(ranked({1, 1, 1, 1, 1, 1}, 1)->spare == Indices({0, 3, 4, 5}));
  CHECK(ranked({1, 0, 1, 1, 1, 1}, 1)->available == Indices({2}));
  CHECK(ranked({1, 0, 1, 1, 1, 1}, 2)->available == Indices({0, 2, 3}));
  CHECK(ranked({1, 0, 0, 1, 1, 1}, 1)->available == Indices({0, 3}));
  CHECK(ranked({0, 0, 0, 0, 1, 1}, 1)->available == Indices({4, 5}));
  CHECK(ranked({1, 1, 1, 1, 1, 1}, 6)->available == Indices({0, 1, 2, 3, 4, 5}));
  CHECK(ranked({0, 0, 0, 0, 0, 0}, 1)->available.empty());
}

TEST(spare_members_take_what_does_not_fit_priority_by_priority) {
  for (const Scheduler scheduler : kAll) {
    const auto runtime = std::make_unique<Runtime>();
    const auto ranked = pool(scheduler, members(4));
    for (size_t i = 0; i < 4; ++i) {
      ranked->members[i].priority = static_cast<uint16_t>(i < 2 ? i : 2);
      ranked->members[i].connections_max = 10;
    }
    prepare_schedule(*ranked);
    CHECK_EQ((shares(*ranked, *runtime, 20, kNow)), (std::map<int, int>{{2, 10}, {3, 10}}));
    CHECK_EQ((shares(*ranked, *runtime, 10, kNow)), (std::map<int, int>{{1, 10}}));
    CHECK_EQ((shares(*ranked, *runtime, 11, kNow)), (std::map<int, int>{{0, 10}, {-1, 1}}));
  }
}

// ---- promises of the schedulers, over random pools

TEST(shares_are_the_weights_to_two_percent) {
  auto random = random_engine();
  for (int round = 0; round < 20; ++round) {
    const size_t count = 2 + random() % 18;
    for (const Scheduler scheduler :
         {Scheduler::kWeightedRoundRobin, Scheduler::kMaglev, Scheduler::kWeightedLeastConnections}) {
      const auto runtime = std::make_unique<Runtime>();
      const auto weighted = pool(scheduler, members(count));
      double sum = 0;
      for (Member& member : weighted->members) {
        member.weight = static_cast<uint16_t>(1 + random() % 256);
        sum += member.weight;
      }
      prepare_schedule(*weighted);
      // Maglev's share is that of the table: how clients spread over it is chance.
      std::map<int, int> share;
      const bool table = scheduler == Scheduler::kMaglev;
      if (table) {
        for (const uint16_t member : *weighted->wheel) share[member]++;
      } else {
        share = shares(*weighted, *runtime, 20'000, kNow);
      }
      const double total = table ? static_cast<double>(weighted->wheel->size()) : 20'000;
      for (size_t i = 0; i < count; ++i) {
        const double wanted = weighted->members[i].weight / sum, got = share[static_cast<int>(i)] / total;
        CHECK(got > wanted - 0.02 && got < wanted + 0.02);
      }
    }
  }
}

TEST(maglev_moves_the_clients_of_a_lost_member_and_few_others) {
  auto random = random_engine();
  for (int round = 0; round < 12; ++round) {
    const size_t count = 2 + random() % 60, lost = random() % count;
    const auto before = pool(Scheduler::kMaglev, members(count)), after = pool(Scheduler::kMaglev, members(count));
    for (size_t i = 0; i < count; ++i)
      before->members[i].weight = after->members[i].weight = static_cast<uint16_t>(1 + random() % 4);
    after->members[lost].up = false;
    prepare_schedule(*before);
    prepare_schedule(*after);
    size_t its = 0, moved = 0;
    for (size_t i = 0; i < before->wheel->size(); ++i) {
      const uint16_t was = before->wheel->at(i), is = after->wheel->at(i);
      if (was == lost) its++;
      if (was != is) moved++;
      CHECK(is != lost);
    }
    CHECK(moved >= its);
    CHECK(moved < its + before->wheel->size() * 6 / 100);
  }
}

// ---- from one policy to the next

TEST(a_wheel_that_comes_out_the_same_is_shared) {
  for (const Scheduler scheduler : {Scheduler::kMaglev, Scheduler::kSourceHash, Scheduler::kWeightedRoundRobin}) {
    const auto before = pool(scheduler, members(8));
    prepare_schedule(*before);
    const auto made = [&](auto change) {
      auto after = pool(scheduler, members(8));
      change(*after);
      prepare_schedule(*after, before.get(), kNow);
      const auto alone = pool(scheduler, members(8));
      change(*alone);
      prepare_schedule(*alone);
      // Shared or not, it is what it would be.
      CHECK(*after->wheel == *alone->wheel);
      return after->wheel == before->wheel;
    };
    CHECK(made([](Pool&) {}));
    CHECK(made([](Pool& pool) { pool.members[3].connections_max = 7; }));
    CHECK(!made([](Pool& pool) { pool.members[3].up = false; }));
    CHECK(!made([](Pool& pool) { pool.members[3].weight = 2; }));
    CHECK(!made([](Pool& pool) { pool.members[3].port = 81; }));
    CHECK(!made([](Pool& pool) { pool.members.pop_back(); }));
    CHECK(!made([](Pool& pool) { std::swap(pool.members[0], pool.members[1]); }));
    CHECK(!made([](Pool& pool) {
      pool.scheduler = pool.scheduler == Scheduler::kMaglev ? Scheduler::kWeightedRoundRobin : Scheduler::kMaglev;
    }) || scheduler == Scheduler::kSourceHash);
  }
}

TEST(turns_go_on_where_they_were) {
  const auto runtime = std::make_unique<Runtime>();
  const auto before = pool(Scheduler::kRoundRobin, members(3));
  prepare_schedule(*before);
  CHECK_EQ(schedule(*before, *runtime, 0, kNow).member, 0);
  const auto after = pool(Scheduler::kRoundRobin, members(3));
  prepare_schedule(*after, before.get(), kNow);
  CHECK_EQ(schedule(*after, *runtime, 0, kNow).member, 1);
}

}  // namespace
}  // namespace tandem::test
