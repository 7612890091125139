// Sentences for failed system calls.
#include "system_error.h"

#include <cerrno>
#include <cstring>

namespace tandem {
namespace {

std::string name_of(int number) {
  const char* name = strerrorname_np(number);
  return name != nullptr ? name : "errno " + std::to_string(number);
}

}  // namespace

SystemError system_error(const std::string& what, const std::string& advice) {
  const int number = errno;
  std::string message = what + ": " + name_of(number) + " (" + strerrordesc_np(number) + ")";
  if (!advice.empty()) message += "; " + advice;
  return {name_of(number), std::move(message)};
}

SystemError system_error(const std::string& what) {
  switch (errno) {
    case EPERM:
    case EACCES:
      return system_error(
          what,
          "it needs CAP_NET_RAW (and CAP_NET_ADMIN for large socket buffers): run as root, or give an "
          "ordinary user both with AmbientCapabilities= in a systemd unit, or with setpriv --ambient-caps "
          "+net_raw,+net_admin --inh-caps +net_raw,+net_admin");
    default:
      return system_error(what, "");
  }
}

SystemError request_error(const std::string& message) { return {"EINVAL", message}; }

}  // namespace tandem
