// SIOCETHTOOL and /sys/class/net.
#include "interface_settings.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace tandem {
namespace {

// Drivers whose frames may come from a sender on the same host, checksum left to a NIC that there is none of.
constexpr const char* kVirtualDrivers[] = {"veth", "tun", "virtio_net", "bridge", "macvlan", "vif"};

bool ethtool(const std::string& interface, void* request) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ifreq ask{};
  std::strncpy(ask.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  ask.ifr_data = static_cast<char*>(request);
  const bool done = ioctl(fd, SIOCETHTOOL, &ask) == 0;
  ::close(fd);
  return done;
}

std::string read_driver(const std::string& interface) {
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  return ethtool(interface, &info) ? info.driver : "";
}

size_t read_queues(const std::string& interface) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (ethtool(interface, &channels)) return std::max(1u, channels.combined_count + channels.rx_count);
  size_t queues = 0;
  const std::string folder = "/sys/class/net/" + interface + "/queues/rx-";
  while (access((folder + std::to_string(queues)).c_str(), F_OK) == 0) queues++;
  return std::max<size_t>(1, queues);
}

bool read_flags(const std::string& interface, uint32_t* flags) {
  ethtool_value value{};
  value.cmd = ETHTOOL_GFLAGS;
  if (!ethtool(interface, &value)) return false;
  *flags = value.data;
  return true;
}

bool write_flags(const std::string& interface, uint32_t flags) {
  ethtool_value value{};
  value.cmd = ETHTOOL_SFLAGS;
  value.data = flags;
  return ethtool(interface, &value);
}

bool set_taking_tags_out(const std::string& interface, bool on) {
  uint32_t flags = 0;
  if (!read_flags(interface, &flags)) return false;
  return write_flags(interface, on ? flags | ETH_FLAG_RXVLAN : flags & ~uint32_t{ETH_FLAG_RXVLAN});
}

std::string read_file(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  char text[64];
  const ssize_t bytes = read(fd, text, sizeof text);
  ::close(fd);
  return bytes > 0 ? std::string(text, static_cast<size_t>(bytes)) : "";
}

bool write_file(const std::string& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

}  // namespace

void InterfaceSettings::open(const std::string& interface) {
  interface_ = interface;
  driver_ = read_driver(interface);
  queues_ = read_queues(interface);
  uint32_t flags = 0;
  tags_taken_out_ = read_flags(interface, &flags) && (flags & ETH_FLAG_RXVLAN) != 0;
}

bool InterfaceSettings::receives_unfinished() const {
  return std::any_of(std::begin(kVirtualDrivers), std::end(kVirtualDrivers),
                     [&](const char* name) { return driver_ == name; });
}

bool InterfaceSettings::keep_tags() {
  if (!tags_taken_out_ || tags_changed_) return true;
  tags_changed_ = set_taking_tags_out(interface_, false);
  return tags_changed_;
}

bool InterfaceSettings::defer_interrupts() {
  // Twice empty before an interrupt is allowed again, and a look at least each 200 us without one.
  return write_setting("napi_defer_hard_irqs", "2\n") && write_setting("gro_flush_timeout", "200000\n");
}

bool InterfaceSettings::write_setting(const std::string& name, const std::string& value) {
  const std::string file = "/sys/class/net/" + interface_ + "/" + name;
  const std::string before = read_file(file);
  if (before.empty() || !write_file(file, value)) return false;
  changed_.push_back({file, before});
  return true;
}

void InterfaceSettings::restore() {
  if (tags_changed_) set_taking_tags_out(interface_, true);
  tags_changed_ = false;
  for (const Changed& each : changed_) write_file(each.file, each.before);
  changed_.clear();
}

}  // namespace tandem
