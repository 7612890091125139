// One system call with many commands.
#include "bpf_call.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tandem {

long bpf_call(int command, bpf_attr* attributes) { return syscall(SYS_bpf, command, attributes, sizeof *attributes); }

int make_bpf_map(bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes, size_t entries, uint32_t flags) {
  bpf_attr attributes{};
  attributes.map_type = type;
  attributes.key_size = key_bytes;
  attributes.value_size = value_bytes;
  attributes.max_entries = static_cast<uint32_t>(entries);
  attributes.map_flags = flags;
  return static_cast<int>(bpf_call(BPF_MAP_CREATE, &attributes));
}

int load_bpf_program(const std::vector<bpf_insn>& text, bpf_prog_type type, uint32_t attach_type,
                     std::string* reasons) {
  const char license[] = "Apache-2.0";  // our programs call no helper that asks for the GPL
  bpf_attr attributes{};
  attributes.prog_type = type;
  attributes.insns = bpf_address(text.data());
  attributes.insn_cnt = static_cast<uint32_t>(text.size());
  attributes.license = bpf_address(license);
  attributes.expected_attach_type = attach_type;
  std::strncpy(attributes.prog_name, "tandem", sizeof attributes.prog_name - 1);
  reasons->clear();
  int program = static_cast<int>(bpf_call(BPF_PROG_LOAD, &attributes));
  if (program >= 0 || errno == EPERM) return program;
  // Once more, for the verifier's reasons.
  const int refused = errno;
  std::string log(64 * 1024, '\0');
  attributes.log_level = 1;
  attributes.log_size = static_cast<uint32_t>(log.size());
  attributes.log_buf = bpf_address(log.data());
  program = static_cast<int>(bpf_call(BPF_PROG_LOAD, &attributes));
  errno = refused;
  log.resize(std::strlen(log.data()));
  *reasons = log;
  return program;
}

}  // namespace tandem
