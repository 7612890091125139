// What a packet costs in the engine, devices aside: 64-byte TCP data packets with NAT and SNAT through
// forward_burst(), both directions mixed at random, the connection picked at random: parse, find, TCP state,
// counters, rewrite. One thread. Also what opening, closing and sweeping costs.
//
//   engine [--sizes N,N...] [--rounds N] [--packets N] [--opened N] [--wait]
//
// One JSON object per line and measurement. Sizes take turns within a round. With --wait each round begins when a
// line arrives on standard input, so that two builds can be measured in turns too.
//
// The clock runs while forward_burst() does and not while the generator writes frames; its two readings per burst
// are in the figure (see clock_ns). A figure is the median over chunks of kChunk bursts, so that a chunk in which
// the thread lost its core does not count.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "traffic.h"

namespace tandem::bench {
namespace {

constexpr size_t kChunk = 128;

struct Options {
  std::vector<size_t> sizes = {1'000, 1'000'000, 10'000'000};
  size_t rounds = 7;
  size_t packets = 2'000'000;  // per size and round
  size_t opened = 500'000;     // connections opened and closed per round; 0: that is not measured
  bool wait = false;
};

uint64_t clock_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

// Time per unit of work, by chunks.
class Stopwatch {
 public:
  template <typename Work>
  void measure(size_t units, Work&& work) {
    const uint64_t start = clock_now();
    work();
    time_ += clock_now() - start;
    units_ += units;
    if (++measured_ % kChunk == 0) close_chunk();
  }

  // Median over the chunks, in nanoseconds per unit.
  double median() {
    if (chunks_.empty()) close_chunk();
    const auto middle = chunks_.begin() + static_cast<ptrdiff_t>(chunks_.size() / 2);
    std::nth_element(chunks_.begin(), middle, chunks_.end());
    return *middle;
  }

 private:
  void close_chunk() {
    if (units_ > 0) chunks_.push_back(static_cast<double>(time_) / static_cast<double>(units_));
    time_ = units_ = 0;
  }

  uint64_t time_ = 0, units_ = 0;
  size_t measured_ = 0;
  std::vector<double> chunks_;
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "engine: %s\n", what);
  std::exit(1);
}

// A unit with its network, and connections of which the first `open` are established.
class Bench {
 public:
  explicit Bench(size_t connections)
      : size_(connections),
        // A little room: what was just closed is free again only some bursts later.
        unit_(policy_for(connections), connections + connections / 64 + 4096),
        traffic_(connections) {
    if (!unit_.ready) fail("no memory for the connection table");
  }

  size_t size() const { return size_; }

  void establish() {
    Stopwatch unused;
    open_all(&unused);
    for (uint32_t first = 0; first < size_; first += kBurst) {
      const size_t count = std::min(kBurst, size_ - first);
      for (size_t i = 0; i < count; ++i) traffic_.from_member(i, first + static_cast<uint32_t>(i), kSynAck);
      forward(count, &unused);
      for (size_t i = 0; i < count; ++i) traffic_.from_client(i, first + static_cast<uint32_t>(i), wire::kAck);
      forward(count, &unused);
    }
  }

  // SYNs of new connections, one after the other.
  void open_all(Stopwatch* watch) {
    for (uint32_t first = 0; first < size_; first += kBurst) {
      const size_t count = std::min(kBurst, size_ - first);
      for (size_t i = 0; i < count; ++i) traffic_.from_client(i, first + static_cast<uint32_t>(i), wire::kSyn);
      watch->measure(count, [&] { burst(count); });
      for (size_t i = 0; i < count; ++i) traffic_.learn(i, first + static_cast<uint32_t>(i));
      check(count);
      traffic_.next_burst();
    }
  }

  // Lets all of them expire.
  void close_all(Stopwatch* watch) {
    unit_.now += 100'000 * kSecond;
    sweep_all(watch);
    if (unit_.table.used() != 0) fail("connections were left after their idle timeout");
  }

  // A lap over the table, a busy worker's share at a time.
  void sweep_all(Stopwatch* watch) {
    const ForwardContext context = unit_.context();
    SweepCursor cursor;
    for (size_t swept = 0; swept < size_; swept += kShare) {
      watch->measure(kShare, [&] { sweep(context, &cursor, kShare); });
      unit_.table.quiesce(0);
    }
  }

  void data(size_t packets, Stopwatch* watch) {
    std::array<uint32_t, kBurst> picked;
    for (size_t sent = 0; sent < packets; sent += kBurst) {
      for (uint32_t& connection : picked) {
        connection = chance_.below(static_cast<uint32_t>(size_));
        traffic_.prefetch(connection);
      }
      uint64_t directions = chance_.next();
      for (size_t i = 0; i < kBurst; ++i, directions >>= 1) {
        if ((directions & 1) != 0) {
          traffic_.from_client(i, picked[i], kData);
        } else {
          traffic_.from_member(i, picked[i], kData);
        }
      }
      forward(kBurst, watch);
    }
  }

  // A standby that holds the connections becomes active: from then to its first burst forwarded, in nanoseconds.
  double take_over() {
    std::array<uint64_t, kTakeovers> took;
    for (uint64_t& each : took) {
      unit_.become(Role::kStandby);
      random_client_burst();
      burst(kBurst);
      for (const Verdict& verdict : verdicts_) {
        if (verdict.kind == Verdict::Kind::kForward) fail("a standby forwarded");
      }
      traffic_.next_burst();
      random_client_burst();
      const uint64_t start = clock_now();
      unit_.become(Role::kActive);
      burst(kBurst);
      each = clock_now() - start;
      check(kBurst);
      traffic_.next_burst();
    }
    const auto middle = took.begin() + kTakeovers / 2;
    std::nth_element(took.begin(), middle, took.end());
    return static_cast<double>(*middle);
  }

  double bytes_per_connection() const {
    return static_cast<double>(unit_.table.bytes()) / static_cast<double>(unit_.table.slots());
  }

 private:
  static constexpr size_t kShare = 64;
  static constexpr size_t kTakeovers = 101;

  void random_client_burst() {
    for (size_t i = 0; i < kBurst; ++i) traffic_.from_client(i, chance_.below(static_cast<uint32_t>(size_)), kData);
  }

  void burst(size_t count) {
    forward_burst(unit_.context(), traffic_.frames(), count, verdicts_.data());
    unit_.table.quiesce(0);
  }

  void forward(size_t count, Stopwatch* watch) {
    watch->measure(count, [&] { burst(count); });
    check(count);
    traffic_.next_burst();
  }

  // A benchmark that loses packets measures something else.
  void check(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      if (verdicts_[i].kind != Verdict::Kind::kForward) fail("a frame was not forwarded");
    }
  }

  size_t size_;
  test::Unit unit_;
  Traffic traffic_;
  Chance chance_;
  std::array<Verdict, kBurst> verdicts_;
};

// What two readings of the clock add to a packet.
double clock_ns_per_packet() {
  Stopwatch watch;
  for (size_t i = 0; i < 100 * kChunk; ++i) watch.measure(kBurst, [] {});
  return watch.median();
}

void report(size_t round, const char* what, size_t connections, double ns) {
  std::printf("{\"round\":%zu,\"what\":\"%s\",\"connections\":%zu,\"ns\":%.2f}\n", round, what, connections, ns);
  std::fflush(stdout);
}

void measure_opening(size_t round, Bench* bench) {
  Stopwatch open, close;
  bench->open_all(&open);
  report(round, "open", bench->size(), open.median());
  bench->close_all(&close);
  report(round, "expire", bench->size(), close.median());
}

void run(const Options& options) {
  std::vector<std::unique_ptr<Bench>> benches;
  for (const size_t size : options.sizes) {
    benches.push_back(std::make_unique<Bench>(size));
    benches.back()->establish();
    std::printf("{\"what\":\"memory\",\"connections\":%zu,\"bytes\":%.1f}\n", size,
                benches.back()->bytes_per_connection());
  }
  std::unique_ptr<Bench> opening;
  if (options.opened > 0) opening = std::make_unique<Bench>(options.opened);
  std::printf("{\"what\":\"ready\",\"clock_ns\":%.2f}\n", clock_ns_per_packet());
  std::fflush(stdout);

  for (size_t round = 0; round < options.rounds; ++round) {
    if (options.wait && std::getchar() == EOF) return;
    for (const auto& bench : benches) {
      Stopwatch data, sweep;
      bench->data(options.packets, &data);
      report(round, "packet", bench->size(), data.median());
      bench->sweep_all(&sweep);
      report(round, "sweep", bench->size(), sweep.median());
      report(round, "takeover", bench->size(), bench->take_over());
    }
    if (opening != nullptr) measure_opening(round, opening.get());
    if (options.wait) std::puts("{\"what\":\"round\"}");
    std::fflush(stdout);
  }
}

size_t number(const char* text) {
  char* end;
  const unsigned long long value = std::strtoull(text, &end, 10);
  if (end == text || (*end != '\0' && *end != ',')) fail("a number was expected");
  return value;
}

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--wait") {
      options.wait = true;
      continue;
    }
    if (++i == count) fail("an option lacks its value");
    const char* value = arguments[i];
    if (name == "--rounds") {
      options.rounds = number(value);
    } else if (name == "--packets") {
      options.packets = number(value);
    } else if (name == "--opened") {
      options.opened = number(value);
    } else if (name == "--sizes") {
      options.sizes.clear();
      for (const char* at = value; at != nullptr; at = std::strchr(at, ',') ? std::strchr(at, ',') + 1 : nullptr) {
        options.sizes.push_back(number(at));
      }
    } else {
      fail("the options are --sizes, --rounds, --packets, --opened and --wait");
    }
  }
  return options;
}

}  // namespace
}  // namespace tandem::bench

int main(int count, char** arguments) {
  tandem::bench::run(tandem::bench::parse(count, arguments));
  return 0;
}
