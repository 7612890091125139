// Makes and maps the memory of shared_state.h: a sealed memfd, so that neither side can shrink it under
// the other.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shared_state.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace tandem {
namespace {

SystemError map(int fd, SharedState** state) {
  void* memory = mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return system_error("mapping the shared state", "");
  *state = static_cast<SharedState*>(memory);
  return {};
}

}  // namespace

SystemError create_shared_state(int* fd, SharedState** state) {
  const int made = memfd_create("tandem-shared-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return system_error("memfd_create of the shared state", "");
  if (ftruncate(made, sizeof(SharedState)) != 0 ||
      fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    SystemError error = system_error("sizing the shared state", "");
    close(made);
    return error;
  }
  if (SystemError error = map(made, state); error.failed()) {
    close(made);
    return error;
  }
  // A new memfd is zero, which is every group on standby with no lease.
  (*state)->magic = SharedState::kMagic;
  (*state)->version = SharedState::kVersion;
  *fd = made;
  return {};
}

SystemError map_shared_state(int fd, SharedState** state) {
  const std::string where = "descriptor " + std::to_string(fd);
  struct stat status;
  if (fstat(fd, &status) != 0) return system_error(where, "the shared state is inherited through the child's stdio");
  if (status.st_size != static_cast<off_t>(sizeof(SharedState))) {
    return request_error(where + " holds " + std::to_string(status.st_size) + " bytes; a shared state has " +
                         std::to_string(sizeof(SharedState)) +
                         ": it was made by another version of Tandem or is no shared state");
  }
  SharedState* mapped = nullptr;
  if (SystemError error = map(fd, &mapped); error.failed()) return error;
  if (mapped->magic != SharedState::kMagic || mapped->version != SharedState::kVersion) {
    SystemError error =
        request_error(where + " is no shared state of version " + std::to_string(SharedState::kVersion) +
                      ": both processes must be of one version of Tandem");
    unmap_shared_state(mapped);
    return error;
  }
  *state = mapped;
  return {};
}

void unmap_shared_state(SharedState* state) {
  if (state != nullptr) munmap(state, sizeof(SharedState));
}

}  // namespace tandem
