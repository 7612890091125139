// bpf(2) as the devices use it: maps, programs, links, test runs. Knows no program.
//
// Every function returns what bpf(2) does: a file descriptor or 0, or -1 and errno.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem {

long bpf_call(int command, bpf_attr* attributes);

inline uint64_t bpf_address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

int make_bpf_map(bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes, size_t entries, uint32_t flags);

// `reasons`: what the verifier says about a program that it refuses; empty when the process lacks the capabilities.
int load_bpf_program(const std::vector<bpf_insn>& text, bpf_prog_type type, uint32_t attach_type, std::string* reasons);

}  // namespace tandem
