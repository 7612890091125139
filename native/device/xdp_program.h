// The XDP program of one interface: gives what is for Tandem to the AF_XDP sockets and leaves the rest to the kernel.
//
//   from one of our virtual MACs             kernel   (ours come back, or the peer's announcement)
//   to one of our virtual MACs               Tandem
//   ARP request for one of our addresses     Tandem
//   neighbour solicitation for one of them   Tandem
//   MLD query                                counted, then kernel: both want it, and XDP cannot clone
//   everything else                          kernel
//
// Up to two VLAN tags are looked behind. A queue without a socket leaves everything to the kernel. The kernel never
// misses what it loses this way: frames to a virtual MAC are another host's to it, and it has none of our addresses.
//
// The program is put together here, instruction by instruction, and attached by a link: it goes with the process,
// whatever ends it. Opened and filled on the JavaScript thread; mld_queries() may be asked by any thread. Read bpf(2)
// and Documentation/networking/af_xdp.rst first.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "../system_error.h"

namespace tandem {

class XdpProgram {
 public:
  enum class Mode : uint8_t {
    kNative,   // in the driver, before there is an skb
    kGeneric,  // by the stack, for drivers without XDP
  };
  // Sockets beyond this many queues are refused.
  static constexpr size_t kQueuesMax = 64;
  // Addresses answered for on one interface beyond this many are refused: one per virtual server, and floating ones.
  static constexpr size_t kAddressesMax = 8192;

  // IPv4 as IPv6 has it (RFC 4291 section 2.5.5.2), so that one table holds both.
  using AddressKey = std::array<uint8_t, 16>;
  struct VirtualMac {
    uint8_t family;  // 4 or 6
    uint8_t vrid;
    friend auto operator<=>(const VirtualMac&, const VirtualMac&) = default;
  };

  XdpProgram() = default;
  XdpProgram(const XdpProgram&) = delete;
  XdpProgram& operator=(const XdpProgram&) = delete;
  ~XdpProgram() { close(); }

  // Loads it. Linux 5.11; CAP_BPF and CAP_NET_ADMIN.
  SystemError open();
  // Runs it on an interface, once. EBUSY: the interface has an XDP program already.
  SystemError attach(int interface_index, Mode mode);
  // Frames of this queue go to this socket from now on.
  SystemError set_socket(uint32_t queue, int socket);
  void close();
  // The loaded program's, to try it on frames.
  int descriptor() const { return program_; }

  // Each makes its argument the whole set. What is new is added before what is gone is removed.
  SystemError set_virtual_macs(const std::set<VirtualMac>& wanted);
  SystemError set_addresses(const std::set<AddressKey>& wanted);

  // MLD queries passed since it was attached.
  uint64_t mld_queries() const;

 private:
  SystemError make_maps();
  SystemError load();

  int sockets_ = -1;       // XSKMAP: queue -> socket
  int virtual_macs_ = -1;  // array: 256 * (0: IPv4, 1: IPv6) + VRID -> 1 or 0
  int addresses_ = -1;     // hash: AddressKey -> 1
  int counts_ = -1;        // array: one count of MLD queries, mapped at seen_
  int program_ = -1;
  int link_ = -1;
  void* seen_ = nullptr;
  std::set<VirtualMac> have_macs_;
  std::set<AddressKey> have_addresses_;
};

}  // namespace tandem
