// What a change of the policy costs: 1,000 virtual servers, each with a Maglev pool of its own, one member changed.
//
//   policy_swap [--servers N] [--members N] [--rounds N]     (members of each pool; default 1000, 10, 20)
//
// Prints one JSON object per round and row: {"round":0,"what":"seal_one_changed","us":1234.5}
//   seal_first        tables and indexes of a policy with nothing before it: the JavaScript thread
//   seal_one_changed  the same with one member down and all else as before: the JavaScript thread
//   swap              one store, and the wait until no worker reads the old policy, freed: the JavaScript thread
//   worker_quiet      enter() and leave() around an empty burst, 99.9 % of them faster: a worker
//   worker_swapping   the same while policies are swapped as fast as they go
// What a worker does not feel is the first two; reading the description from JavaScript is not in them.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "../../../native/policy_slot.h"
#include "../../native/policies.h"

namespace tandem::bench {
namespace {

using namespace tandem::test;

double now_us() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

std::string dotted(const char* network, size_t number) {
  return network + std::to_string(number / 250) + "." + std::to_string(number % 250 + 1);
}

// Of pool 0 one member is down if `changed`.
std::unique_ptr<Policy> policy_of(size_t servers, size_t members, bool changed) {
  auto policy = std::make_unique<Policy>();
  PolicyGroup group = {};
  group.vrid[kClientDevice] = group.vrid[kServerDevice] = kVrid;
  policy->groups.push_back(group);
  add_address(*policy, "10.9.0.1", 1 << kServerDevice);
  const std::vector<SnatAddress> snat = {{policy_address("10.9.0.1"), 0}};
  for (size_t i = 0; i < servers; ++i) {
    std::vector<Member> made;
    for (size_t k = 0; k < members; ++k) {
      const size_t number = (i * members + k) % kMembersMax;
      made.push_back(member(dotted("10.2.", number), 8080, static_cast<uint16_t>(number)));
    }
    made[0].up = !changed || i > 0;
    policy->pools.push_back(pool(Scheduler::kMaglev, std::move(made)));
    policy->pools.back()->name = "pool" + std::to_string(i);
    const std::string address = dotted("10.1.", i);
    add_address(*policy, address, 1 << kClientDevice);
    add_server(*policy, address, 80, 6, static_cast<uint16_t>(i), snat);
  }
  return policy;
}

void report(size_t round, const char* what, double us) {
  std::printf("{\"round\":%zu,\"what\":\"%s\",\"us\":%.2f}\n", round, what, us);
}

// The slowest but one in a thousand.
double late(std::vector<double>& times) {
  const auto at = times.begin() + static_cast<std::ptrdiff_t>(times.size() * 999 / 1000);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

double enter_and_leave(PolicySlot& slot, const std::atomic<bool>& stop, size_t least) {
  std::vector<double> times;
  times.reserve(1 << 20);
  while ((!stop.load() || times.size() < least) && times.size() < (1 << 20)) {
    const double began = now_us();
    const Policy* policy = slot.enter(0);
    if (policy->groups.empty()) std::abort();
    slot.leave(0);
    times.push_back(now_us() - began);
  }
  return late(times);
}

void round_of(size_t round, size_t servers, size_t members) {
  auto first = policy_of(servers, members, false);
  double began = now_us();
  if (!first->seal().empty()) std::abort();
  report(round, "seal_first", now_us() - began);

  constexpr size_t kSwaps = 20;
  std::vector<std::unique_ptr<Policy>> next;
  std::vector<double> seals, swaps;
  const Policy* before = first.get();
  for (size_t i = 0; i < kSwaps; ++i) {
    next.push_back(policy_of(servers, members, i % 2 == 0));
    began = now_us();
    if (!next.back()->seal(before).empty()) std::abort();
    seals.push_back(now_us() - began);
    before = next.back().get();
  }
  std::sort(seals.begin(), seals.end());
  report(round, "seal_one_changed", seals[seals.size() / 2]);

  PolicySlot slot;
  slot.swap(std::move(first));
  std::atomic<bool> stop{true};
  report(round, "worker_quiet", enter_and_leave(slot, stop, 100'000));
  stop = false;
  double swapping = 0;
  std::thread worker([&] { swapping = enter_and_leave(slot, stop, 1000); });
  for (auto& policy : next) {
    began = now_us();
    slot.swap(std::move(policy));
    swaps.push_back(now_us() - began);
  }
  stop = true;
  worker.join();
  std::sort(swaps.begin(), swaps.end());
  report(round, "swap", swaps[swaps.size() / 2]);
  report(round, "worker_swapping", swapping);
}

}  // namespace
}  // namespace tandem::bench

int main(int count, char** arguments) {
  size_t servers = 1000, members = 10, rounds = 20;
  for (int i = 1; i + 1 < count; i += 2) {
    size_t* const option = std::strcmp(arguments[i], "--servers") == 0   ? &servers
                           : std::strcmp(arguments[i], "--members") == 0 ? &members
                           : std::strcmp(arguments[i], "--rounds") == 0  ? &rounds
                                                                         : nullptr;
    if (option == nullptr) {
      std::fputs("policy_swap: the options are --servers, --members and --rounds\n", stderr);
      return 1;
    }
    *option = std::strtoull(arguments[i + 1], nullptr, 10);
  }
  for (size_t round = 0; round < rounds; ++round) tandem::bench::round_of(round, servers, members);
  return 0;
}
