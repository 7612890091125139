// BPF programs of the wire benchmark: loading them, and attaching them to devices in other network namespaces.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "options.h"
#include "shared.h"

namespace wire {

inline void enter(const std::string& name) {
  const int descriptor = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || setns(descriptor, CLONE_NEWNET) != 0) fail("namespace " + name);
  close(descriptor);
}

inline uint32_t index_of(const std::string& name_space, const std::string& device) {
  enter(name_space);
  const uint32_t index = if_nametoindex(device.c_str());
  if (index == 0) fail("device " + device);
  return index;
}

struct Loaded {
  bpf_object* object;
  wire_shared* shared;

  int program(const std::string& name) const {
    const bpf_program* found = bpf_object__find_program_by_name(object, name.c_str());
    if (found == nullptr) fail("program " + name);
    return bpf_program__fd(found);
  }
};

// `with_flows`: the hash table gets its memory; without, it is as small as it can be.
inline Loaded load(const std::string& path, bool with_flows) {
  rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) fail(path);
  if (!with_flows) bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "flows"), 1);
  if (bpf_object__load(object) != 0) fail(path);
  bpf_map* map;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__value_size(map) < sizeof(wire_shared)) continue;
    void* memory = mmap(nullptr, bpf_map__value_size(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
    if (memory != MAP_FAILED) return {object, static_cast<wire_shared*>(memory)};
  }
  fail("the programs' memory was not found");
}

// Native XDP. What is attached goes with the device, which goes with its namespace.
inline void attach_xdp(const std::string& name_space, const std::string& device, int program) {
  const int index = static_cast<int>(index_of(name_space, device));
  if (bpf_xdp_attach(index, program, 4 /* XDP_FLAGS_DRV_MODE */, nullptr) != 0) fail("XDP on " + device);
}

inline void attach_tc(const std::string& name_space, const std::string& device, int program) {
  const int index = static_cast<int>(index_of(name_space, device));
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_INGRESS);
  LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = program, .handle = 1, .priority = 1);
  filter.flags = BPF_TC_F_REPLACE;
  bpf_tc_hook_create(&hook);
  if (bpf_tc_attach(&hook, &filter) != 0) fail("tc on " + device);
}

}  // namespace wire
