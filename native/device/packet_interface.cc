// Interface facts through ioctl(2), memberships through a packet socket (packet(7)).
#include "packet_interface.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tandem {
namespace {

bool same(const MacAddress& a, const MacAddress& b) { return std::memcmp(a.octets, b.octets, 6) == 0; }

bool contains(const std::vector<MacAddress>& set, const MacAddress& mac) {
  return std::any_of(set.begin(), set.end(), [&](const MacAddress& other) { return same(other, mac); });
}

bool change_membership(int socket, int index, int option, const MacAddress& mac) {
  packet_mreq request{};
  request.mr_ifindex = index;
  request.mr_type = (mac.octets[0] & 1) != 0 ? PACKET_MR_MULTICAST : PACKET_MR_UNICAST;
  request.mr_alen = 6;
  std::memcpy(request.mr_address, mac.octets, 6);
  return setsockopt(socket, SOL_PACKET, option, &request, sizeof request) == 0;
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  return request;
}

}  // namespace

int open_packet_socket(const std::string& interface, int index, SystemError* error) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    *error = system_error("AF_PACKET socket on " + interface);
    return -1;
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = index;
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    *error = system_error("binding an AF_PACKET socket to " + interface);
    ::close(fd);
    return -1;
  }
  return fd;
}

SystemError PacketInterface::open(const std::string& name, const std::string& place) {
  close();
  const std::string advice = place.empty() ? "" : "the config names it at " + place;
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return request_error("\"" + name + "\" is no interface name (1 to 15 characters)" +
                         (advice.empty() ? "" : "; " + advice));
  }
  name_ = name;
  index_ = static_cast<int>(if_nametoindex(name.c_str()));
  if (index_ == 0) return system_error("interface " + name + " in this network namespace", advice);

  SystemError error;
  socket_ = open_packet_socket(name, index_, &error);
  if (socket_ < 0) return error;
  ifreq request = request_for(name);
  if (ioctl(socket_, SIOCGIFHWADDR, &request) != 0) return system_error("hardware address of " + name, advice);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return request_error(name + " is no Ethernet interface; " + advice);
  std::memcpy(mac_.octets, request.ifr_hwaddr.sa_data, 6);
  refresh_mtu();
  return {};
}

void PacketInterface::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  joined_.clear();  // memberships end with their socket
}

void PacketInterface::refresh_mtu() {
  ifreq request = request_for(name_);
  if (socket_ >= 0 && ioctl(socket_, SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0) {
    mtu_.store(static_cast<uint32_t>(request.ifr_mtu), std::memory_order_relaxed);
  }
}

SystemError PacketInterface::join(const std::vector<MacAddress>& wanted) {
  for (const MacAddress& mac : wanted) {
    if (contains(joined_, mac)) continue;
    if (!change_membership(socket_, index_, PACKET_ADD_MEMBERSHIP, mac)) {
      return system_error("receiving a virtual MAC address on " + name_);
    }
    joined_.push_back(mac);
  }
  std::erase_if(joined_, [&](const MacAddress& mac) {
    return !contains(wanted, mac) && change_membership(socket_, index_, PACKET_DROP_MEMBERSHIP, mac);
  });
  return {};
}

}  // namespace tandem
