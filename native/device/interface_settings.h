// What AF_XDP wants to know of an interface, and the few settings it changes: put back when this object ends.
//
// After a SIGKILL they stay; each costs the host nothing but some speed. Read ethtool(8) first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem {

class InterfaceSettings {
 public:
  InterfaceSettings() = default;
  InterfaceSettings(const InterfaceSettings&) = delete;
  InterfaceSettings& operator=(const InterfaceSettings&) = delete;
  ~InterfaceSettings() { restore(); }

  // Before anything else. Never fails: what cannot be read has a cautious value.
  void open(const std::string& interface);

  // "veth"; empty when the kernel does not say.
  const std::string& driver() const { return driver_; }
  // Receive queues in use, at least 1.
  size_t queues() const { return queues_; }
  // Frames of senders on this same host arrive as those left them: unfinished checksums, and joined frames unless the
  // driver's native XDP forbids them.
  bool receives_unfinished() const;
  // What is sent is received by the far end before the sender's system call returns (veth): frame by frame, unless
  // it is sent as a burst (BurstSender).
  bool delivers_at_once() const { return driver_ == "veth"; }

  // A tag that the NIC takes out of a frame is lost to XDP. False: it could not be switched off.
  bool keep_tags();
  // The NIC's interrupts wait while the application polls (Documentation/networking/napi.rst). False: they do not.
  bool defer_interrupts();
  void restore();

 private:
  struct Changed {
    std::string file, before;
  };
  bool write_setting(const std::string& name, const std::string& value);

  std::string interface_;
  std::string driver_;
  size_t queues_ = 1;
  bool tags_taken_out_ = false;  // before we came
  bool tags_changed_ = false;
  std::vector<Changed> changed_;
};

}  // namespace tandem
