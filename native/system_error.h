// A system call that failed, as the operator is told: errno's name for programs, a sentence for people.
//
// Cold paths only: opening sockets, mapping memory. A packet's failure is a counter.
#pragma once

#include <string>

namespace tandem {

struct SystemError {
  std::string code;     // "EPERM"; empty when nothing failed
  std::string message;  // what, where, how to mend

  bool failed() const { return !message.empty(); }
};

// From errno, which the failed call has just set. `what` begins the sentence: "AF_PACKET socket on eth1".
SystemError system_error(const std::string& what);
// The same with advice that the caller knows better than errno.
SystemError system_error(const std::string& what, const std::string& advice);
// Nothing in errno: the request itself cannot be honoured.
SystemError request_error(const std::string& message);

}  // namespace tandem
