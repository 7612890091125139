// Probing, in the order of preference, and filling in what the policy names.
#include "engine_devices.h"

#include <algorithm>
#include <set>

namespace tandem {
namespace {

// Chunks per socket wished: half a millisecond of the smallest frames at full speed is in flight. Halved until they may
// be locked (8 MiB per user unless the limit is raised); below the least, a burst would be lost.
constexpr XdpSocket::Depth kDepthWished = {2048, 2048};
constexpr XdpSocket::Depth kDepthLeast = {512, 256};
constexpr size_t kEthernetBytes = 14;
constexpr size_t kTagsBytes = 8;  // two tags

// 33-33-FF and the low 24 bits of the address: where neighbour solicitations for it are sent (RFC 4291
// section 2.7.1, RFC 2464 section 7).
MacAddress solicited_node_mac(const Address& address) {
  return {{0x33, 0x33, 0xff, address.octets[13], address.octets[14], address.octets[15]}};
}

constexpr MacAddress kAllNodesMac = {{0x33, 0x33, 0, 0, 0, 1}};

bool answered_on(const OwnedAddress& owned, size_t device) { return (owned.devices >> device & 1) != 0; }

// What one device receives beside its own MAC address.
std::vector<MacAddress> wanted_macs(const Policy& policy, size_t device) {
  std::vector<MacAddress> wanted;
  for (const PolicyGroup& group : policy.groups) {
    if (group.vrid[device] == 0) continue;
    wanted.push_back(virtual_mac(4, group.vrid[device]));
    wanted.push_back(virtual_mac(6, group.vrid[device]));
  }
  for (const OwnedAddress& owned : policy.addresses) {
    if (owned.address.family == 6 && answered_on(owned, device)) wanted.push_back(solicited_node_mac(owned.address));
  }
  wanted.push_back(kAllNodesMac);  // MLD queries
  return wanted;
}

std::set<XdpProgram::VirtualMac> wanted_virtual_macs(const Policy& policy, size_t device) {
  std::set<XdpProgram::VirtualMac> wanted;
  for (const PolicyGroup& group : policy.groups) {
    if (group.vrid[device] == 0) continue;
    wanted.insert({4, group.vrid[device]});
    wanted.insert({6, group.vrid[device]});
  }
  return wanted;
}

// Every owned address, on whatever device it is answered: what is asked on another one is refused by name.
std::set<XdpProgram::AddressKey> wanted_addresses(const Policy& policy) {
  std::set<XdpProgram::AddressKey> wanted;
  for (const OwnedAddress& owned : policy.addresses) {
    XdpProgram::AddressKey key{};
    if (owned.address.family == 4) {
      key[10] = key[11] = 0xff;
      std::copy_n(owned.address.octets, 4, key.begin() + 12);
    } else {
      std::copy_n(owned.address.octets, 16, key.begin());
    }
    wanted.insert(key);
  }
  return wanted;
}

constexpr XdpSocket::Depth halved(XdpSocket::Depth depth) { return {depth.receive / 2, depth.transmit / 2}; }

}  // namespace

SystemError EngineDevices::open(const Options& options, const Policy& policy) {
  close();
  wait_ = options.wait;
  SystemError error;
  for (const Interface& wanted : options.interfaces) {
    interfaces_.push_back(std::make_unique<PacketInterface>());
    error = interfaces_.back()->open(wanted.interface, wanted.place);
    if (error.failed()) break;
  }
  std::string why_packet = "datapath.device is packet";
  bool packet = options.kind == DeviceKind::kPacket;
  if (!error.failed() && !packet) {
    error = open_xdp(options);
    if (error.failed() && options.kind == DeviceKind::kAuto) {
      packet = true;
      why_packet = "no XDP: " + error.message;
      error = {};
      close_xdp();
    }
  }
  if (!error.failed() && packet) error = open_packet(options, why_packet);
  if (!error.failed()) error = receive_for(policy);
  if (error.failed()) close();
  return error;
}

void EngineDevices::close() {
  close_xdp();
  choices_.clear();
  interfaces_.clear();
}

void EngineDevices::close_xdp() {
  by_worker_.clear();
  xdp_.clear();  // detaches the programs, puts settings back
}

// ---- XDP

SystemError EngineDevices::open_xdp(const Options& options) {
  size_t queues = XdpProgram::kQueuesMax;
  bool generic = false;
  for (size_t device = 0; device < interfaces_.size(); device++) {
    const Interface& wanted = options.interfaces[device];
    SystemError error = attach(wanted, device, options.kind == DeviceKind::kAuto);
    if (error.failed()) return {error.code, wanted.interface + ": " + error.message};
    const Xdp& xdp = *xdp_.back();
    queues = std::min(queues, xdp.settings.queues());
    generic = generic || std::string(xdp.mode) == "xdp-generic";
  }
  const size_t workers = std::min(options.workers, queues);

  // Without copying first, where a driver may do it; one that cannot says so for all, for they share memory.
  SystemError refused;
  if (!generic) {
    refused = open_memory(options, workers, XdpSocket::Copy::kNever);
    if (!refused.failed()) {
      for (const auto& xdp : xdp_) xdp->mode = "xdp-native-zero-copy";
    }
  }
  if (generic || refused.failed()) {
    SystemError error = open_memory(options, workers, XdpSocket::Copy::kAlways);
    if (error.failed()) return error;
    for (const auto& xdp : xdp_) {
      if (refused.failed()) xdp->reason += ", no zero copy: " + refused.code;
    }
  }
  for (size_t device = 0; device < xdp_.size(); device++) {
    if (static_cast<XdpDevice&>(*by_worker_.front()[device]).sends_bursts()) xdp_[device]->reason += ", sends bursts";
    choices_.push_back({options.interfaces[device].name, xdp_[device]->mode, xdp_[device]->reason});
  }
  return {};
}

// Native, then generic. `whole_only`: not generic where it would lose frames.
SystemError EngineDevices::attach(const Interface& wanted, size_t device, bool whole_only) {
  auto xdp = std::make_unique<Xdp>();
  xdp->settings.open(wanted.interface);
  const size_t frame_bytes = interfaces_[device]->mtu() + kEthernetBytes + kTagsBytes;
  if (XdpMemory::chunk_for(frame_bytes) == 0) {
    const size_t longest = XdpMemory::frame_bytes_max(XdpMemory::kChunkBytesMax) - kEthernetBytes - kTagsBytes;
    return request_error("an MTU of " + std::to_string(interfaces_[device]->mtu()) +
                         " is too long for AF_XDP (at most " + std::to_string(longest) +
                         "): lower it, or datapath.device: packet");
  }
  if (SystemError error = xdp->program.open(); error.failed()) return error;

  const std::string& driver = xdp->settings.driver();
  xdp->reason =
      "driver " + (driver.empty() ? "unknown" : driver) + ", queues " + std::to_string(xdp->settings.queues());
  xdp->mode = "xdp-native";
  const int index = interfaces_[device]->index();
  SystemError error = xdp->program.attach(index, XdpProgram::Mode::kNative);
  if (error.failed()) {
    if (error.code == "EPERM" || error.code == "EBUSY") return error;
    // Generic XDP gets the joined frames of senders on this host as they are, longer than a chunk.
    if (whole_only && xdp->settings.receives_unfinished()) return error;
    xdp->mode = "xdp-generic";
    xdp->reason += ", " + error.message;
    error = xdp->program.attach(index, XdpProgram::Mode::kGeneric);
    if (error.failed()) return error;
  }
  if (!xdp->settings.keep_tags())
    xdp->reason += ", VLAN tags are lost (ethtool -K " + wanted.interface + " rxvlan off)";
  if (wait_ == Wait::kBusyPoll && !xdp->settings.defer_interrupts()) {
    xdp->reason += ", interrupts cannot be deferred for busy polling";
  }
  xdp_.push_back(std::move(xdp));
  return {};
}

SystemError EngineDevices::open_memory(const Options& options, size_t workers, XdpSocket::Copy copy) {
  SystemError error;
  for (XdpSocket::Depth depth = kDepthWished; depth.receive >= kDepthLeast.receive; depth = halved(depth)) {
    error = open_sockets(options, workers, copy, depth);
    if (!error.failed()) {
      if (depth.receive == kDepthWished.receive) return {};
      for (const auto& xdp : xdp_) {
        xdp->reason += ", rings of " + std::to_string(depth.receive) + " for want of lockable memory";
      }
      return {};
    }
    by_worker_.clear();
    if (error.code != "ENOBUFS" && error.code != "ENOMEM") return error;
  }
  return error;
}

SystemError EngineDevices::open_sockets(const Options& options, size_t workers, XdpSocket::Copy copy,
                                        XdpSocket::Depth depth) {
  size_t frame_bytes = 0;
  for (const auto& each : interfaces_)
    frame_bytes = std::max<size_t>(frame_bytes, each->mtu() + kEthernetBytes + kTagsBytes);

  for (size_t worker = 0; worker < workers; worker++) {
    size_t sockets = 0;
    for (const auto& xdp : xdp_) {
      sockets += (std::min(xdp->settings.queues(), XdpProgram::kQueuesMax) + workers - 1 - worker) / workers;
    }
    auto memory = std::make_shared<XdpMemory>();
    const size_t chunks = sockets * (depth.receive + depth.transmit);
    if (SystemError error = memory->reserve(chunks, XdpMemory::chunk_for(frame_bytes)); error.failed()) return error;

    by_worker_.emplace_back();
    const XdpSocket* first = nullptr;
    for (size_t device = 0; device < xdp_.size(); device++) {
      Xdp& xdp = *xdp_[device];
      XdpDevice::Options wanted{interfaces_[device].get(),
                                &xdp.program,
                                static_cast<uint8_t>(device),
                                xdp.settings.receives_unfinished(),
                                worker == 0 ? &options.shared->devices[device].mld_queries : nullptr,
                                wait_ == Wait::kBusyPoll,
                                copy == XdpSocket::Copy::kAlways && xdp.settings.delivers_at_once()};
      auto made = std::make_unique<XdpDevice>(wanted, memory);
      const size_t queues = std::min(xdp.settings.queues(), XdpProgram::kQueuesMax);
      for (size_t queue = worker; queue < queues; queue += workers) {
        if (SystemError error = made->add_queue(static_cast<uint32_t>(queue), copy, depth, first); error.failed()) {
          return error;
        }
        if (first == nullptr) first = made->first_socket();
      }
      if (SystemError error = made->finish(); error.failed()) return error;
      by_worker_.back().push_back(std::move(made));
    }
  }
  return {};
}

// ---- AF_PACKET

SystemError EngineDevices::open_packet(const Options& options, const std::string& reason) {
  std::vector<PacketDevice::Fanout> fanouts(interfaces_.size(), {options.workers > 1, -1});
  std::vector<bool> bursts;
  for (const Interface& each : options.interfaces) {
    InterfaceSettings settings;
    settings.open(each.interface);
    bursts.push_back(settings.delivers_at_once());
  }
  for (size_t worker = 0; worker < options.workers; worker++) {
    by_worker_.emplace_back();
    for (size_t device = 0; device < interfaces_.size(); device++) {
      auto made = std::make_unique<PacketDevice>();
      SystemError error =
          made->open(interfaces_[device].get(), static_cast<uint8_t>(device), &fanouts[device], bursts[device]);
      if (error.failed()) return error;
      by_worker_.back().push_back(std::move(made));
    }
  }
  for (size_t device = 0; device < interfaces_.size(); device++) {
    const bool sends = static_cast<PacketDevice&>(*by_worker_.front()[device]).sends_bursts();
    choices_.push_back({options.interfaces[device].name, "packet", reason + (sends ? ", sends bursts" : "")});
  }
  return {};
}

// ---- policy

SystemError EngineDevices::receive_for(const Policy& policy) {
  for (size_t device = 0; device < interfaces_.size(); device++) {
    if (SystemError error = interfaces_[device]->join(wanted_macs(policy, device)); error.failed()) return error;
    if (xdp_.empty()) continue;
    XdpProgram& program = xdp_[device]->program;
    if (SystemError error = program.set_addresses(wanted_addresses(policy)); error.failed()) return error;
    if (SystemError error = program.set_virtual_macs(wanted_virtual_macs(policy, device)); error.failed()) return error;
  }
  return {};
}

}  // namespace tandem
