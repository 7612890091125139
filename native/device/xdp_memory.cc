// Memory that the kernel pins for AF_XDP.
#include "xdp_memory.h"

#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <cerrno>

namespace tandem {
namespace {

constexpr size_t kHugePage = 2 * 1024 * 1024;

// What an earlier socket had locked is given back some time after it was closed.
constexpr int kTriesMax = 30;
constexpr timespec kPause = {0, 10'000'000};

// Pinned memory counts against RLIMIT_MEMLOCK of the user unless the process has CAP_IPC_LOCK. The soft limit may be
// raised by anybody. Returns the bytes that may be locked.
size_t raise_locked_memory() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_max;
}

}  // namespace

XdpMemory::~XdpMemory() {
  if (start_ != nullptr) munmap(start_, bytes());
}

SystemError XdpMemory::reserve(size_t chunks, size_t chunk_bytes) {
  const size_t bytes = chunks * chunk_bytes;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return system_error(std::to_string(bytes >> 10) + " KiB for AF_XDP frames", "");
  if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // fewer TLB misses, where the kernel has them
  start_ = static_cast<uint8_t*>(memory);
  chunks_ = chunks;
  chunk_bytes_ = chunk_bytes;
  free_.reserve(chunks);
  for (size_t chunk = chunks; chunk > 0; chunk--) free_.push_back((chunk - 1) * chunk_bytes);
  held_.assign(chunks, -1);
  return {};
}

SystemError XdpMemory::register_with(int socket) const {
  const size_t lockable = raise_locked_memory();
  xdp_umem_reg request{};
  request.addr = reinterpret_cast<uintptr_t>(start_);
  request.len = bytes();
  request.chunk_size = static_cast<uint32_t>(chunk_bytes_);
  for (int tries = 1;; tries++) {
    if (setsockopt(socket, SOL_XDP, XDP_UMEM_REG, &request, sizeof request) == 0) return {};
    if (errno != ENOBUFS || bytes() > lockable || tries == kTriesMax) break;
    nanosleep(&kPause, nullptr);
    errno = ENOBUFS;
  }
  const std::string what = "locking " + std::to_string(bytes() >> 10) + " KiB for AF_XDP frames";
  if (errno == ENOBUFS || errno == ENOMEM) {
    return system_error(what, "raise the limit of locked memory (LimitMEMLOCK=64M in a systemd unit, or ulimit -l)");
  }
  return system_error(what);
}

}  // namespace tandem
