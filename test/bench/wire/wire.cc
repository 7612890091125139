// Both far ends of one unit, over veth: generator -> unit -> sink, and back. Lives as long as the unit is measured.
//
//   wire OBJECT KEY=VALUE...    namespaces, MAC and IP addresses; see set_up()
//
// Each line on standard input is one measurement, KEY=VALUE words again (see measure()); each answer one JSON object.
// Ends with its input.
//
// The generator is BPF_PROG_TEST_RUN with live frames: it redirects frames it writes itself into its veth, so it costs
// far less than what it feeds. With `window` frames under way it waits, so that a unit on the same core is not robbed
// of it by frames that nobody will take; what does not come through for 2 ms is written off. With `rate` it makes so
// many frames per second, a share of them each 100 us. After `frames` of them it stops.
//
// With `slice`, `port` and `other-port` take turns of so many seconds, so that what comes and goes on the machine
// meets both alike. Between turns everything under way arrives, and each turn's frames and time are put to its side's
// account.
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <iostream>
#include <thread>
#include <vector>

#include "attached.h"
#include "template.h"

namespace wire {
namespace {

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("core " + std::to_string(core));
}

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void wait_until(double time) {
  for (double left = time - now(); left > 0; left = time - now()) {
    usleep(static_cast<useconds_t>(std::min(left, 0.05) * 1e6) + 1);
  }
}

struct Counted {
  uint64_t generated = 0, opened = 0, received = 0, established = 0, probes = 0;
};

Counted count(const wire_shared& shared) {
  Counted sum;
  sum.generated = __atomic_load_n(&shared.generated, __ATOMIC_RELAXED);
  sum.opened = __atomic_load_n(&shared.opened, __ATOMIC_RELAXED);
  for (const wire_cpu& cpu : shared.cpus) {
    sum.received += __atomic_load_n(&cpu.received, __ATOMIC_RELAXED);
    sum.established += __atomic_load_n(&cpu.established, __ATOMIC_RELAXED);
    sum.probes += __atomic_load_n(&cpu.probes, __ATOMIC_RELAXED);
  }
  return sum;
}

// Ranks are drawn by Zipf's law with exponent 1 from a million: P(rank) ~ 1 / rank. A rank is scattered by the same odd
// factor as uniform connections are.
void draw_picks(wire_shared* shared) {
  std::vector<double> below(WIRE_PICKS);
  double sum = 0;
  for (size_t rank = 0; rank < WIRE_PICKS; ++rank) below[rank] = sum += 1.0 / static_cast<double>(rank + 1);
  uint64_t state = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < WIRE_PICKS; ++i) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    const double drawn = static_cast<double>((state * 0x2545f4914f6cdd1d) >> 11) * 0x1p-53 * sum;
    const auto rank = std::lower_bound(below.begin(), below.end(), drawn) - below.begin();
    shared->picks[i] = static_cast<uint32_t>(rank) * 0x9e3779b1u;
  }
}

// One port's turns together.
struct Side {
  uint64_t received = 0;
  double seconds = 0;
};
using Sides = std::array<Side, 2>;

class Generator {
 public:
  Generator(const Options& options, const std::string& name_space, int program, size_t bytes, wire_shared* shared,
            Sides* sides)
      : shared_(shared),
        sides_(sides),
        program_(program),
        frame_(bytes),
        rate_(options.number("rate")),
        window_(options.count("window")),
        slice_(options.number("slice")),
        left_(options.count("frames") == 0 ? UINT64_MAX : options.count("frames")),
        thread_([this, name_space] { run(name_space); }) {}
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;
  ~Generator() {
    __atomic_store_n(&shared_->stopping, 1, __ATOMIC_RELAXED);
    thread_.join();
  }
  // Until all frames are made, where their number is given.
  void wait() const {
    while (limited_ && !__atomic_load_n(&done_, __ATOMIC_ACQUIRE)) usleep(1000);
  }

 private:
  static constexpr double kTick = 100e-6;
  static constexpr double kWrittenOffAfter = 2e-3;
  static constexpr uint32_t kBatch = 64;

  void run(const std::string& name_space) {
    enter(name_space);
    pin(0);
    prctl(PR_SET_TIMERSLACK, 1);
    turned_ = count(*shared_);
    lost_ = turned_.generated - turned_.received;
    turned_at_ = now();
    if (rate_ > 0) {
      keep_pace();
    } else {
      while (going()) {
        if (slice_ > 0 && now() >= turned_at_ + slice_) turn();
        if (window_ > 0) wait_for_room(window_ / 4);
        make(window_ == 0 ? 1 << 14 : std::max(kBatch, window_ / 4));
      }
    }
    __atomic_store_n(&done_, true, __ATOMIC_RELEASE);
  }

  bool going() const { return left_ > 0 && __atomic_load_n(&shared_->stopping, __ATOMIC_RELAXED) == 0; }

  void keep_pace() {
    double due = now(), owed = 0;
    while (going()) {
      owed += rate_ * kTick;
      const uint32_t frames = static_cast<uint32_t>(owed);
      if (frames > 0) make(frames);
      owed -= frames;
      due += kTick;
      // Late by much: what was not made in time is not made.
      if (now() > due + 10 * kTick) due = now();
      wait_until(due);
    }
  }

  // The first turn of each side warms up.
  void turn() {
    wait_for_room(window_);
    const Counted counted = count(*shared_);
    const double at = now();
    if (turns_++ >= sides_->size()) {
      Side& side = (*sides_)[shared_->side];
      side.received += counted.received - turned_.received;
      side.seconds += at - turned_at_;
    }
    turned_ = counted;
    turned_at_ = at;
    shared_->side ^= 1;
  }

  void wait_for_room(uint32_t room) {
    uint64_t seen = 0;
    double since = now();
    for (;;) {
      const Counted counted = count(*shared_);
      if (counted.generated - counted.received - lost_ + room <= window_ || !going()) return;
      if (counted.received != seen) {
        seen = counted.received;
        since = now();
      } else if (now() - since > kWrittenOffAfter) {
        lost_ = counted.generated - counted.received;
        return;
      }
      usleep(20);
    }
  }

  void make(uint32_t wanted) {
    const uint32_t frames = static_cast<uint32_t>(std::min<uint64_t>(wanted, left_));
    left_ -= frames;
    // xdp_md as the kernel reads it: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    uint32_t context[6] = {0, static_cast<uint32_t>(frame_.size()), 0, 0, 0, 0};
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame_.data(), .data_size_in = static_cast<uint32_t>(frame_.size()),
                .ctx_in = context, .ctx_size_in = sizeof context, .repeat = static_cast<int>(frames),
                .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = kBatch);
    if (bpf_prog_test_run_opts(program_, &run) != 0 && errno != EINTR && errno != EAGAIN) fail("generator");
  }

  wire_shared* shared_;
  Sides* sides_;
  int program_;
  std::vector<uint8_t> frame_;
  double rate_;
  uint32_t window_;
  double slice_;
  Counted turned_;
  double turned_at_ = 0;
  size_t turns_ = 0;
  uint64_t left_, lost_ = 0;
  bool limited_ = left_ != UINT64_MAX, done_ = false;
  std::thread thread_;
};

// In nanoseconds, of what came back since round_trips was cleared.
double round_trip_at(const wire_shared& shared, double share) {
  uint64_t all = 0, below = 0;
  for (const uint32_t& bucket : shared.round_trips) all += bucket;
  for (size_t i = 0; i < WIRE_BUCKETS; ++i) {
    below += shared.round_trips[i];
    if (all > 0 && static_cast<double>(below) >= share * static_cast<double>(all)) {
      return (static_cast<double>(i) + 0.5) * WIRE_BUCKET_NS;
    }
  }
  return 0;
}

constexpr double kPatience = 20;

class Wire {
 public:
  Wire(const std::string& object, const Options& options)
      : options_(options), loaded_(load(object, options.text("forward") == "hash")), shared_(*loaded_.shared) {}

  void set_up() {
    const std::string generator = options_.text("generator"), unit = options_.text("unit"),
                      sink = options_.text("sink"), forward = options_.text("forward");
    shared_.generator_ifindex = index_of(generator, "out");
    // Attached somewhere, or each test run waits for the dispatcher to be made anew.
    attach_xdp(generator, "idle", loaded_.program("generate"));
    attach_tc(generator, "out", loaded_.program("back"));
    attach_tc(sink, "in", loaded_.program("sink"));
    shared_.virtual_address = address_of(options_.text("address"));
    shared_.member_address = address_of(options_.text("member"));
    shared_.members = options_.count("members");
    put_mac(shared_.member_macs, options_.text("sink-mac"));
    put_mac(shared_.member_macs + 6, options_.text("server-mac"));
    put_mac(shared_.generator_macs, options_.text("from"));
    put_mac(shared_.generator_macs + 6, options_.text("client-mac"));
    draw_picks(&shared_);
    if (forward == "none") return;
    shared_.client_ifindex = index_of(unit, "client");
    shared_.server_ifindex = index_of(unit, "server");
    attach_xdp(unit, "client", loaded_.program(forward));
    attach_xdp(unit, "server", loaded_.program(forward + "_back"));
  }

  // Frames for `settle` seconds, then for `seconds` or until all of `frames` are made; longer if nothing came through.
  void measure(const Options& options) {
    const size_t bytes = options.count("bytes") - 4;  // without the check sequence
    const bool tcp = options.text("protocol") == "tcp";
    prepare(options, bytes, tcp);
    const Counted first = count(shared_);
    Counted before, after;
    double took;
    Sides sides;
    {
      Generator generator(options, options_.text("generator"), loaded_.program("generate"), bytes, &shared_, &sides);
      wait_until(now() + options.number("settle"));
      std::memset(shared_.round_trips, 0, sizeof shared_.round_trips);
      before = count(shared_);
      const double start = now();
      wait_until(start + options.number("seconds"));
      generator.wait();
      while (options.count("frames") == 0 && !saw_all_kinds(before) && now() < start + kPatience) usleep(1000);
      after = count(shared_);
      took = now() - start;
    }
    const Counted last = come_to_rest();
    const auto rate = [took](uint64_t from, uint64_t to) { return static_cast<double>(to - from) / took; };
    std::printf(
        "{\"generated\":%.0f,\"received\":%.0f,\"established\":%.0f,\"establishedInAll\":%llu,\"openedInAll\":%llu,"
        "\"probes\":%llu,\"p50Ns\":%.0f,\"p99Ns\":%.0f,\"sides\":[",
        rate(before.generated, after.generated), rate(before.received, after.received),
        rate(before.established, after.established),
        static_cast<unsigned long long>(last.established - first.established),
        static_cast<unsigned long long>(last.opened - first.opened),
        static_cast<unsigned long long>(after.probes - before.probes), round_trip_at(shared_, 0.5),
        round_trip_at(shared_, 0.99));
    for (const Side& side : sides) {
      if (side.seconds == 0) continue;
      std::printf("%s%.0f", &side == sides.data() ? "" : ",", static_cast<double>(side.received) / side.seconds);
    }
    std::puts("]}");
    std::fflush(stdout);
  }

 private:
  // On a machine that others keep busy a short time may pass without a frame.
  bool saw_all_kinds(const Counted& before) const {
    const Counted at = count(shared_);
    return at.received > before.received && (shared_.probe_every == 0 || at.probes > before.probes) &&
           (shared_.open_every != 1 || at.established > before.established);
  }

  // What is under way arrives, as long as something does.
  Counted come_to_rest() const {
    Counted last = count(shared_);
    for (int tries = 0; tries < 50; ++tries) {
      usleep(20'000);
      const Counted next = count(shared_);
      const bool moved = next.received != last.received || next.established != last.established;
      last = next;
      if (!moved) break;
    }
    return last;
  }

  void prepare(const Options& options, size_t bytes, bool tcp) {
    const uint32_t address = address_of(options_.text("to-address"));
    const std::array<uint16_t, 2> ports = {static_cast<uint16_t>(options.count("port")),
                                           static_cast<uint16_t>(options.count("other-port"))};
    for (const size_t side : {0, 1}) {
      for (const bool opens : {false, true}) {
        describe(&shared_.templates[side][opens], options_.text("to"), options_.text("from"), address, ports[side], tcp,
                 opens, bytes);
      }
    }
    shared_.side = 0;
    shared_.connection_mask = options.count("connections") - 1;
    shared_.zipf = options.is("zipf");
    shared_.open_set = options.is("open-set");
    shared_.open_every = options.count("open-every");
    shared_.probe_every = options.count("probe-every");
    __atomic_store_n(&shared_.stopping, 0, __ATOMIC_RELEASE);
  }

  Options options_;
  Loaded loaded_;
  wire_shared& shared_;
};

}  // namespace
}  // namespace wire

int main(int count, char** arguments) {
  if (count < 2) wire::fail("wants the BPF object");
  std::string words;
  for (int i = 2; i < count; ++i) words += std::string(arguments[i]) + " ";
  wire::Wire wire(arguments[1], wire::Options(words));
  wire.set_up();
  std::puts("{}");
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) wire.measure(wire::Options(line));
  return 0;
}
