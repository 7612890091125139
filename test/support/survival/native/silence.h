// The longest time between two arrivals since a mark.
#pragma once

#include <cstdint>

namespace survival {

class Silence {
 public:
  void arrived(int64_t at_ns) {
    if (last_ns_ != 0 && at_ns - last_ns_ > longest_ns_) {
      longest_ns_ = at_ns - last_ns_;
      from_ns_ = last_ns_;
    }
    last_ns_ = at_ns;
  }
  void mark() { longest_ns_ = from_ns_ = 0; }
  void forget() { *this = {}; }
  double longest_ms() const { return static_cast<double>(longest_ns_) / 1e6; }
  // When it began, on CLOCK_MONOTONIC; 0: nothing has arrived since the mark.
  int64_t from_ns() const { return from_ns_; }

 private:
  int64_t last_ns_ = 0, longest_ns_ = 0, from_ns_ = 0;
};

}  // namespace survival
