// Which kind of device serves the interfaces, probed at start, and the devices themselves.
//
//   auto    XDP in every driver, else XDP by the stack where that is whole, else AF_PACKET for all
//   xdp     the same without AF_PACKET: start fails with the reason
//   packet  AF_PACKET
//
// All interfaces of a unit get the same kind: AF_PACKET receives joined frames (GRO, TSO) that AF_XDP cannot send.
// JavaScript thread. What it makes is the workers', what it keeps outlives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"
#include "device/interface_settings.h"
#include "device/packet_device.h"
#include "device/packet_interface.h"
#include "device/xdp_device.h"
#include "device/xdp_program.h"
#include "policy.h"
#include "shared_state.h"
#include "system_error.h"
#include "worker.h"

namespace tandem {

enum class DeviceKind : uint8_t { kAuto, kXdp, kPacket };

// What one interface got, as the operator is told.
struct DeviceChoice {
  std::string device;  // the config's link
  const char* mode;    // "xdp-native-zero-copy", "xdp-native", "xdp-generic", "packet"
  std::string reason;
};

class EngineDevices {
 public:
  struct Interface {
    std::string name;       // the config's link
    std::string interface;  // Linux's
    std::string place;      // where the config names it, for errors
  };
  struct Options {
    std::vector<Interface> interfaces;
    DeviceKind kind;
    Wait wait;
    size_t workers;
    SharedState* shared;
  };

  EngineDevices() = default;
  EngineDevices(const EngineDevices&) = delete;
  EngineDevices& operator=(const EngineDevices&) = delete;
  ~EngineDevices() { close(); }

  // Opens all devices of all workers; what is Tandem's by `policy` flows into them.
  SystemError open(const Options& options, const Policy& policy);
  bool is_open() const { return !interfaces_.empty(); }
  // After the workers have ended.
  void close();

  // Workers that have something to do, at most those wished: with XDP, a queue of every interface each.
  size_t workers() const { return by_worker_.size(); }
  // The devices of one worker, in the order of Options::interfaces. Once each.
  std::vector<std::unique_ptr<Device>> take(size_t worker) { return std::move(by_worker_[worker]); }
  // How workers are to wait: busy polling needs XDP.
  Wait wait() const { return xdp_.empty() && wait_ == Wait::kBusyPoll ? Wait::kPoll : wait_; }
  const std::vector<DeviceChoice>& choices() const { return choices_; }
  MacAddress mac(size_t device) const { return interfaces_[device]->mac(); }

  // What the devices receive, by a policy that is about to be in force.
  SystemError receive_for(const Policy& policy);

 private:
  // One interface that XDP runs on.
  struct Xdp {
    InterfaceSettings settings;
    XdpProgram program;
    const char* mode = "";
    std::string reason;
  };

  SystemError open_xdp(const Options& options);
  SystemError attach(const Interface& wanted, size_t device, bool whole_only);
  SystemError open_sockets(const Options& options, size_t workers, XdpSocket::Copy copy, XdpSocket::Depth depth);
  SystemError open_memory(const Options& options, size_t workers, XdpSocket::Copy copy);
  SystemError open_packet(const Options& options, const std::string& reason);
  void close_xdp();

  std::vector<std::unique_ptr<PacketInterface>> interfaces_;
  std::vector<std::unique_ptr<Xdp>> xdp_;
  std::vector<std::vector<std::unique_ptr<Device>>> by_worker_;
  std::vector<DeviceChoice> choices_;
  Wait wait_ = Wait::kPoll;
};

}  // namespace tandem
