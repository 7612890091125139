// What a SYN flood leaves of the goodput: data of established connections and handshakes that are meant, offered to one
// worker at a fixed rate, without a flood and beside one of spoofed SYNs, in turns. One thread, devices aside.
//
//   flood [--rounds N] [--factors N,N...] [--established N] [--connections N] [--ticks N] [--unbounded]
//
// Prints one JSON object: for each factor, one figure per round of
//   data        data packets forwarded ÷ offered; 1: all
//   handshakes  handshakes of which all three packets were forwarded ÷ begun
//   ns          time for each frame that is meant, the flood's not counted; median over the ticks
//   flood_ns    time for each frame of the flood; the same
//
// Time is simulated, so that every run is offered the same: in each tick of 1 ms kHandshakes clients send a SYN, those
// of a tick ago are answered by their member, those of kRoundTrip ago send the last ACK, and kSegments packets of
// established connections go either way. A flood of factor k sends k spoofed SYNs for each that is meant, every time
// from another client, and the members answer these, too. Half-open connections are bounded at a quarter of the table,
// as the product's are; with --unbounded they are not.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "traffic.h"

namespace tandem::bench {
namespace {

constexpr size_t kHandshakes = 20, kSegments = 200;  // each tick: 20,000 and 200,000 each second
constexpr size_t kRoundTrip = 100;                   // ticks, of a client
constexpr uint32_t kFloodClients = 1 << 21;          // then from the first again, which has long made way

struct Options {
  size_t rounds = 5;
  std::vector<size_t> factors = {0, 1, 10, 100};
  size_t established = 100'000;
  size_t connections = 1'000'000;
  size_t ticks = 500;
  bool unbounded = false;
};

struct Figures {
  double data, handshakes, ns, flood_ns;
};

uint64_t clock_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecond + static_cast<uint64_t>(now.tv_nsec);
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "flood: %s\n", what);
  std::exit(1);
}

// Frames of one kind and what became of them.
struct Flow {
  size_t offered = 0, forwarded = 0;
  double share() const { return offered == 0 ? 1 : static_cast<double>(forwarded) / static_cast<double>(offered); }
};

// Time per frame, tick by tick. The median of the ticks: one in which the thread lost its core does not count.
class Stopwatch {
 public:
  void add(uint64_t time, size_t frames) {
    time_ += time;
    frames_ += frames;
  }
  void end_tick() {
    if (frames_ > 0) ticks_.push_back(static_cast<double>(time_) / static_cast<double>(frames_));
    time_ = frames_ = 0;
  }
  double median() {
    if (ticks_.empty()) return 0;
    const auto middle = ticks_.begin() + static_cast<ptrdiff_t>(ticks_.size() / 2);
    std::nth_element(ticks_.begin(), middle, ticks_.end());
    return *middle;
  }

 private:
  uint64_t time_ = 0, frames_ = 0;
  std::vector<double> ticks_;
};

// Connections by number: [0, established), then those whose handshake is measured, then the flood's.
class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        begun_(options.ticks * kHandshakes),
        unit_(policy_for(options.connections), options.connections),
        traffic_(options.established + begun_ + kFloodClients) {
    if (!unit_.ready) fail("no memory for the connection table");
    if (!options.unbounded && !unit_.runtime->half_open.reserve(HalfOpen::bound_for(options.connections), 1))
      fail("no memory for half-open connections");
    establish();
  }

  Figures run(size_t factor) {
    const auto first = static_cast<uint32_t>(options_.established);
    const auto first_of_flood = static_cast<uint32_t>(options_.established + begun_);
    std::vector<bool> alive(begun_, true);
    Flow data, handshake, flood;
    Stopwatch meant, spoofing;
    for (size_t tick = 0; tick < options_.ticks; ++tick) {
      // Some steps of handshakes: who sends, and how long ago its SYN was sent.
      const auto step = [&](size_t ago, uint8_t flags, bool from_client) {
        if (tick < ago) return;
        std::vector<uint32_t> numbers;
        for (size_t i = 0; i < kHandshakes; ++i) {
          const size_t number = (tick - ago) * kHandshakes + i;
          if (alive[number]) numbers.push_back(first + static_cast<uint32_t>(number));
        }
        send(numbers, flags, from_client, &handshake, &meant,
             [&](uint32_t number, bool forwarded) { alive[number - first] = forwarded; });
      };
      step(0, wire::kSyn, true);
      step(1, kSynAck, false);
      step(kRoundTrip, wire::kAck, true);

      for (const bool from_client : {true, false}) {
        std::vector<uint32_t> picked(kSegments / 2);
        for (uint32_t& number : picked) number = chance_.below(static_cast<uint32_t>(options_.established));
        send(picked, kData, from_client, &data, &meant, [](uint32_t, bool) {});
      }

      std::vector<uint32_t> answered;
      send(waiting_, kSynAck, false, &flood, &spoofing, [](uint32_t, bool) {});
      std::vector<uint32_t> spoofed(factor * kHandshakes);
      for (uint32_t& number : spoofed) number = first_of_flood + flooded_++ % kFloodClients;
      send(spoofed, wire::kSyn, true, &flood, &spoofing, [&](uint32_t number, bool forwarded) {
        if (forwarded) answered.push_back(number);
      });
      waiting_ = std::move(answered);

      meant.end_tick();
      spoofing.end_tick();
      unit_.now += kMillisecond;
      sweep(unit_.context(), &cursor_, options_.connections / 10'000 + 1);  // a lap in 10 s
      unit_.table.quiesce(0);
    }
    const size_t due = (options_.ticks - kRoundTrip) * kHandshakes;
    const auto done = static_cast<size_t>(std::count(alive.begin(), alive.begin() + static_cast<ptrdiff_t>(due), true));
    return {data.share(), static_cast<double>(done) / static_cast<double>(due), meant.median(), spoofing.median()};
  }

 private:
  template <typename Then>
  void send(const std::vector<uint32_t>& numbers, uint8_t flags, bool from_client, Flow* flow, Stopwatch* watch,
            Then&& then) {
    for (size_t at = 0; at < numbers.size(); at += kBurst) {
      const size_t count = std::min(kBurst, numbers.size() - at);
      for (size_t i = 0; i < count; ++i) {
        from_client ? traffic_.from_client(i, numbers[at + i], flags) : traffic_.from_member(i, numbers[at + i], flags);
      }
      const uint64_t start = clock_now();
      forward_burst(unit_.context(), traffic_.frames(), count, verdicts_.data());
      unit_.table.quiesce(0);
      watch->add(clock_now() - start, count);
      flow->offered += count;
      for (size_t i = 0; i < count; ++i) {
        const bool forwarded = verdicts_[i].kind == Verdict::Kind::kForward;
        flow->forwarded += forwarded;
        if (forwarded && flags == wire::kSyn) traffic_.learn(i, numbers[at + i]);
        then(numbers[at + i], forwarded);
      }
      traffic_.next_burst();
    }
  }

  void establish() {
    Flow unused;
    Stopwatch watch;
    for (uint32_t first = 0; first < options_.established; first += kBurst) {
      std::vector<uint32_t> numbers;
      for (uint32_t i = first; i < std::min<size_t>(first + kBurst, options_.established); ++i) numbers.push_back(i);
      send(numbers, wire::kSyn, true, &unused, &watch, [](uint32_t, bool) {});
      send(numbers, kSynAck, false, &unused, &watch, [](uint32_t, bool) {});
      send(numbers, wire::kAck, true, &unused, &watch, [](uint32_t, bool) {});
    }
    if (unused.forwarded != unused.offered) fail("a frame of a handshake without a flood was not forwarded");
  }

  const Options& options_;
  const size_t begun_;
  test::Unit unit_;
  Traffic traffic_;
  Chance chance_;
  std::array<Verdict, kBurst> verdicts_;
  std::vector<uint32_t> waiting_;  // the flood's SYNs of a tick ago
  uint32_t flooded_ = 0;
  SweepCursor cursor_;
};

void print(const char* name, const std::vector<Figures>& rounds, double Figures::*figure) {
  std::printf(",\"%s\":[", name);
  for (size_t i = 0; i < rounds.size(); ++i) std::printf("%s%.4f", i == 0 ? "" : ",", rounds[i].*figure);
  std::printf("]");
}

void run(const Options& options) {
  std::vector<std::vector<Figures>> figures(options.factors.size());
  for (size_t round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < options.factors.size(); ++i)
      figures[i].push_back(std::make_unique<Bench>(options)->run(options.factors[i]));
  }
  std::printf("{\"handshakes_per_s\":%zu,\"data_per_s\":%zu,\"connections\":%zu,\"established\":%zu,\"half_open\":%zu",
              kHandshakes * 1000, kSegments * 1000, options.connections, options.established,
              options.unbounded ? size_t{0} : HalfOpen::bound_for(options.connections));
  std::printf(",\"floods\":[");
  for (size_t i = 0; i < figures.size(); ++i) {
    std::printf("%s{\"factor\":%zu", i == 0 ? "" : ",", options.factors[i]);
    print("data", figures[i], &Figures::data);
    print("handshakes", figures[i], &Figures::handshakes);
    print("ns", figures[i], &Figures::ns);
    print("flood_ns", figures[i], &Figures::flood_ns);
    std::printf("}");
  }
  std::puts("]}");
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
    if (name == "--unbounded") {
      options.unbounded = true;
      continue;
    }
    if (++i == count) fail("an option lacks its value");
    const char* value = arguments[i];
    if (name == "--rounds") {
      options.rounds = number(value);
    } else if (name == "--established") {
      options.established = number(value);
    } else if (name == "--connections") {
      options.connections = number(value);
    } else if (name == "--ticks") {
      options.ticks = number(value);
    } else if (name == "--factors") {
      options.factors.clear();
      for (const char* at = value; at != nullptr; at = std::strchr(at, ',') ? std::strchr(at, ',') + 1 : nullptr)
        options.factors.push_back(number(at));
    } else {
      fail("the options are --rounds, --factors, --established, --connections, --ticks and --unbounded");
    }
  }
  if (options.ticks <= kRoundTrip || options.established == 0) fail("more ticks than a round trip, and a connection");
  return options;
}

}  // namespace
}  // namespace tandem::bench

int main(int count, char** arguments) {
  tandem::bench::run(tandem::bench::parse(count, arguments));
  return 0;
}
