// KEY=VALUE words, and how a program of the wire benchmark ends when something is wrong.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>

namespace wire {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what.c_str(), std::strerror(errno));
  std::_Exit(1);
}

class Options {
 public:
  explicit Options(const std::string& line) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const size_t equals = word.find('=');
      if (equals != std::string::npos) values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }

  const std::string& text(const std::string& name) const {
    const auto at = values_.find(name);
    if (at != values_.end()) return at->second;
    errno = EINVAL;
    fail("needs " + name + "=");
  }
  double number(const std::string& name) const { return std::stod(text(name)); }
  uint32_t count(const std::string& name) const { return static_cast<uint32_t>(std::stoul(text(name))); }
  bool is(const std::string& name) const { return text(name) == "yes"; }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace wire
