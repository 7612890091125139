// How many of something are due, for a rate that is kept on average: what a late caller owes is made up, up to 20 ms of
// it, a few at a time: a burst that overruns a queue on its way would be a loss of our own making.
#pragma once

#include <algorithm>
#include <cstdint>

namespace survival {

class Pace {
 public:
  void begin(double per_second, int64_t now_ns) {
    per_ns_ = per_second * 1e-9;
    from_ns_ = now_ns;
    owed_ = 0;
  }
  void end() { per_ns_ = 0; }
  bool runs() const { return per_ns_ > 0; }

  uint32_t due(int64_t now_ns) {
    owed_ = std::min(owed_ + per_ns_ * static_cast<double>(now_ns - from_ns_), std::max(1.0, per_ns_ * kCatchUpNs));
    from_ns_ = now_ns;
    const auto whole = std::min(static_cast<uint32_t>(owed_), kAtOnce);
    owed_ -= whole;
    return whole;
  }

 private:
  static constexpr double kCatchUpNs = 20e6;
  static constexpr uint32_t kAtOnce = 16;
  double per_ns_ = 0, owed_ = 0;
  int64_t from_ns_ = 0;
};

}  // namespace survival
