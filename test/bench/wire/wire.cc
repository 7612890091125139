// One measurement over veth: generator -> unit -> sink, for some seconds. Prints one JSON object.
//
//   wire OBJECT KEY=VALUE...    keys: see Options; namespaces and devices are made by the caller
//
// The generator is BPF_PROG_TEST_RUN with live frames: it redirects frames it writes itself into its veth, so it costs
// far less than what it feeds. It runs on the first core, and so does whatever the kernel does with the frames.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "shared.h"

namespace {

using Options = std::map<std::string, std::string>;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "wire: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

const std::string& option(const Options& options, const std::string& name) {
  const auto at = options.find(name);
  if (at == options.end()) {
    errno = EINVAL;
    fail("needs " + name + "=");
  }
  return at->second;
}

void enter(const std::string& name) {
  const int descriptor = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || setns(descriptor, CLONE_NEWNET) != 0) fail("namespace " + name);
  close(descriptor);
}

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

uint32_t sum16(const uint8_t* octets, size_t count) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < count; i += 2) {
    uint16_t word;
    std::memcpy(&word, octets + i, 2);
    sum += word;
  }
  return sum;
}

void put16(uint8_t* to, size_t value) {
  to[0] = static_cast<uint8_t>(value >> 8);
  to[1] = static_cast<uint8_t>(value);
}

void put_mac(uint8_t* to, const std::string& text) {
  unsigned octets[6] = {};
  std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", octets, octets + 1, octets + 2, octets + 3, octets + 4, octets + 5);
  for (size_t i = 0; i < 6; ++i) to[i] = static_cast<uint8_t>(octets[i]);
}

// UDP over IPv4, payload all zeros.
void describe_frame(const Options& options, size_t bytes, wire_shared* shared) {
  uint8_t* frame = shared->headers;
  put_mac(frame, option(options, "to"));
  put_mac(frame + 6, option(options, "from"));
  put16(frame + 12, 0x0800);
  uint8_t* ip = frame + 14;
  ip[0] = 0x45;
  put16(ip + 2, bytes - 14);
  put16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = 17;
  if (inet_pton(AF_INET, option(options, "address").c_str(), ip + 16) != 1) fail("address=");
  uint8_t* udp = ip + 20;
  put16(udp + 2, 80);
  put16(udp + 4, bytes - 34);
  shared->network_sum = sum16(ip, 20);
  shared->transport_sum = sum16(ip + 12, 8) + sum16(udp, 8) + htons(17) + htons(static_cast<uint16_t>(bytes - 34));
}

struct Loaded {
  bpf_object* object;
  wire_shared* shared;

  int program(const char* name) const {
    const bpf_program* found = bpf_object__find_program_by_name(object, name);
    if (found == nullptr) fail(std::string("program ") + name);
    return bpf_program__fd(found);
  }
};

Loaded load(const char* path) {
  rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  bpf_object* object = bpf_object__open_file(path, nullptr);
  if (object == nullptr || bpf_object__load(object) != 0) fail(path);
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__value_size(map) < sizeof(wire_shared)) continue;
    void* memory = mmap(nullptr, bpf_map__value_size(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (memory != MAP_FAILED) return {object, static_cast<wire_shared*>(memory)};
  }
  fail("the programs' memory was not found");
}

// Native XDP on a device while the object lives.
class Attached {
 public:
  Attached(const std::string& name_space, const std::string& device, int program)
      : name_space_(name_space), index_(index_of(name_space, device)) {
    if (bpf_xdp_attach(index_, program, 4 /* XDP_FLAGS_DRV_MODE */, nullptr) != 0) fail("XDP on " + device);
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() {
    enter(name_space_);
    bpf_xdp_detach(index_, 4, nullptr);
  }

  static int index_of(const std::string& name_space, const std::string& device) {
    enter(name_space);
    const int index = static_cast<int>(if_nametoindex(device.c_str()));
    if (index == 0) fail("device " + device);
    return index;
  }

 private:
  std::string name_space_;
  int index_;
};

struct Counted {
  uint64_t generated = 0, received = 0;
};

Counted count(const wire_shared& shared) {
  Counted sum;
  for (const wire_cpu& cpu : shared.cpus) {
    sum.generated += __atomic_load_n(&cpu.generated, __ATOMIC_RELAXED);
    sum.received += __atomic_load_n(&cpu.received, __ATOMIC_RELAXED);
  }
  return sum;
}

void generate(const Options& options, int program, size_t bytes, wire_shared* shared) {
  enter(option(options, "generator"));
  pin(0);
  std::vector<uint8_t> frame(bytes);
  std::memcpy(frame.data(), shared->headers, WIRE_HEADERS);
  // xdp_md as the kernel reads it: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
  uint32_t context[6] = {0, static_cast<uint32_t>(bytes), 0, 0, 0, 0};
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = static_cast<uint32_t>(bytes),
              .ctx_in = context, .ctx_size_in = sizeof context, .repeat = 1 << 16, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
              .batch_size = 64);
  while (__atomic_load_n(&shared->stopping, __ATOMIC_RELAXED) == 0) {
    if (bpf_prog_test_run_opts(program, &run) != 0 && errno != EINTR && errno != EAGAIN) fail("generator");
  }
}

void wait_until(double time) {
  while (now() < time) usleep(1000);
}

void run(const char* object, const Options& options) {
  const Loaded loaded = load(object);
  wire_shared& shared = *loaded.shared;
  const size_t bytes = std::stoul(option(options, "bytes")) - 4;  // without the check sequence
  const double seconds = std::stod(option(options, "seconds"));
  const uint64_t warm = std::stoull(option(options, "warm"));  // frames before the clock starts
  shared.connection_mask = static_cast<uint32_t>(std::stoul(option(options, "connections")) - 1);
  describe_frame(options, bytes, &shared);

  const std::string generator = option(options, "generator"), unit = option(options, "unit"),
                    sink = option(options, "sink");
  shared.generator_ifindex = static_cast<uint32_t>(Attached::index_of(generator, "out"));
  // Attached somewhere, or each test run waits for the dispatcher to be made anew.
  const Attached dispatched(generator, "idle", loaded.program("generate"));
  const bool redirects = option(options, "redirect") == "yes";
  std::vector<std::unique_ptr<Attached>> attached;
  if (redirects) {
    shared.redirect_ifindex = static_cast<uint32_t>(Attached::index_of(unit, "server"));
    if (inet_pton(AF_INET, option(options, "member").c_str(), &shared.redirect_address) != 1) fail("member=");
    put_mac(shared.redirect_macs, option(options, "member-mac"));
    put_mac(shared.redirect_macs + 6, option(options, "unit-mac"));
    attached.push_back(std::make_unique<Attached>(unit, "client", loaded.program("redirect")));
  }

  const int in = Attached::index_of(sink, "in");
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = in, .attach_point = BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = loaded.program("sink"), .handle = 1, .priority = 1);
  filter.flags = BPF_TC_F_REPLACE;
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });  // that the hook is there is no news
  bpf_tc_hook_create(&hook);
  if (bpf_tc_attach(&hook, &filter) != 0) fail("sink");

  std::thread feeding([&] { generate(options, loaded.program("generate"), bytes, &shared); });
  const double limit = now() + 20;
  while (count(shared).generated < warm && now() < limit) usleep(1000);
  wait_until(now() + 0.2);
  const Counted before = count(shared);
  const double start = now();
  wait_until(start + seconds);
  const Counted after = count(shared);
  const double took = now() - start;
  __atomic_store_n(&shared.stopping, 1, __ATOMIC_RELAXED);
  feeding.join();
  std::printf("{\"generated\":%.0f,\"received\":%.0f}\n",
              static_cast<double>(after.generated - before.generated) / took,
              static_cast<double>(after.received - before.received) / took);
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 2; i < count; ++i) {
    const std::string text = arguments[i];
    const size_t equals = text.find('=');
    if (equals != std::string::npos) options[text.substr(0, equals)] = text.substr(equals + 1);
  }
  if (count < 2) fail("wants the BPF object");
  run(arguments[1], options);
  return 0;
}
