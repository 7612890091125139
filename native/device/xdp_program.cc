// The program's text, and bpf(2) around it.
#include "xdp_program.h"

#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "bpf_assembler.h"
#include "bpf_call.h"

namespace tandem {
namespace {

using Asm = BpfAssembler;
using enum BpfAssembler::Register;
using enum BpfAssembler::Size;
using enum BpfAssembler::Condition;

// ---- the program

// Where things stand in a frame, from the Ethernet header, or from where it would stand if there were no tags.
constexpr int16_t kDestination = 0, kSource = 6, kEthertype = 12;
constexpr int16_t kEthernetBytes = 14, kTagBytes = 4;
constexpr int16_t kArpOperation = kEthernetBytes + 6, kArpTarget = kEthernetBytes + 24;
constexpr int16_t kArpBytes = kEthernetBytes + 28;
constexpr int16_t kNextHeader = kEthernetBytes + 6, kHopLimit = kEthernetBytes + 7;
constexpr int16_t kBehindIpv6 = kEthernetBytes + 40;
constexpr int16_t kOptionsBytes = 8;  // a hop-by-hop header with nothing but the router alert of MLD
constexpr int16_t kSolicitedTarget = kBehindIpv6 + 8;
constexpr int16_t kSolicitationBytes = kBehindIpv6 + 24;
// struct xdp_md
constexpr int16_t kContextData = 0, kContextEnd = 4, kContextQueue = 16;

constexpr int32_t kIcmpv6 = 58, kHopByHop = 0, kMldQuery = 130, kSolicitation = 135;

// A number of a header as load() reads it.
constexpr int32_t in_memory_order(uint16_t value) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(value) : value;
}
constexpr int32_t in_memory_order(uint32_t value) {
  return static_cast<int32_t>(std::endian::native == std::endian::little ? __builtin_bswap32(value) : value);
}

// Throughout: r6 the context, r7 the frame, r8 its end, r9 the frame as if its tags were not there.

// Goes to `ours` if the MAC address at `offset` of the frame is one of our virtual MACs, else on. RFC 9568 section 7.3.
void find_virtual_mac(Asm& a, int16_t offset, int virtual_macs, Asm::Label ours) {
  const Asm::Label not_ours = a.label();
  a.load(kWord, r1, r7, offset);  // 00-00-5E-00 ...
  a.jump_if(r1, kNotEqual, in_memory_order(uint32_t{0x00005e00}), not_ours);
  a.load(kByte, r1, r7, static_cast<int16_t>(offset + 4));  // ... 01 for IPv4 or 02 for IPv6 ...
  a.plus(r1, -1);                                           // as 0 or 1,
  a.jump_if(r1, kGreater, 1, not_ours);                     // and nothing else,
  a.shift_left(r1, 8);                                      // times 256,
  a.load(kByte, r2, r7, static_cast<int16_t>(offset + 5));  // ... the VRID:
  a.plus(r1, r2);                                           // the place in the array,
  a.store(kWord, r10, -4, r1);                              // which a key is, on the stack
  a.load_map(r1, virtual_macs);
  a.move(r2, r10);
  a.plus(r2, -4);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_if_null(r0, not_ours);  // never, but the verifier wants it
  a.load(kWord, r1, r0, 0);
  a.jump_if(r1, kNotEqual, 0, ours);
  a.place(not_ours);
}

// Goes to `ours` if the key at the stack's end is one of our addresses, else on.
void find_address(Asm& a, int addresses, Asm::Label ours) {
  a.load_map(r1, addresses);
  a.move(r2, r10);
  a.plus(r2, -16);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_unless_null(r0, ours);
}

// Goes to `pass` unless `bytes` octets from `base` on are in the frame.
void need(Asm& a, Asm::Register base, int16_t bytes, Asm::Label pass) {
  a.move(r1, base);
  a.plus(r1, bytes);
  a.jump_if(r1, kGreater, r8, pass);
}

std::vector<bpf_insn> assemble(int sockets, int virtual_macs, int addresses, int counts) {
  Asm a;
  const Asm::Label pass = a.label(), redirect = a.label(), arp = a.label(), icmpv6 = a.label(), mld = a.label(),
                   untagged = a.label();

  a.move(r6, r1);
  a.load(kWord, r7, r6, kContextData);
  a.load(kWord, r8, r6, kContextEnd);
  need(a, r7, kEthernetBytes, pass);

  // Who it is from and for. What goes to a host and not to a virtual MAC is the kernel's: most frames end here.
  find_virtual_mac(a, kSource, virtual_macs, pass);
  find_virtual_mac(a, kDestination, virtual_macs, redirect);
  a.load(kByte, r1, r7, kDestination);
  a.mask(r1, 1);
  a.jump_if(r1, kEqual, 0, pass);  // the group bit: broadcast and multicast

  // Behind at most two tags, 802.1Q or 802.1ad.
  a.move(r9, r7);
  for (int tag = 0; tag < 2; tag++) {
    const Asm::Label tagged = a.label();
    a.load(kHalf, r1, r9, kEthertype);
    a.jump_if(r1, kEqual, in_memory_order(uint16_t{0x8100}), tagged);
    a.jump_if(r1, kNotEqual, in_memory_order(uint16_t{0x88a8}), untagged);
    a.place(tagged);
    a.plus(r9, kTagBytes);
    need(a, r9, kEthernetBytes, pass);
  }
  a.place(untagged);
  a.load(kHalf, r2, r9, kEthertype);
  a.jump_if(r2, kEqual, in_memory_order(uint16_t{0x0806}), arp);
  a.jump_if(r2, kNotEqual, in_memory_order(uint16_t{0x86dd}), pass);

  // IPv6. A solicitation follows the header at once; a query has a router alert between (RFC 3810 section 5).
  need(a, r9, kSolicitationBytes, pass);  // a query with its router alert is longer
  a.load(kByte, r2, r9, kNextHeader);
  a.jump_if(r2, kEqual, kIcmpv6, icmpv6);
  a.jump_if(r2, kNotEqual, kHopByHop, pass);
  a.load(kByte, r2, r9, kBehindIpv6);  // the next header behind the options
  a.jump_if(r2, kNotEqual, kIcmpv6, pass);
  a.load(kByte, r2, r9, kBehindIpv6 + 1);  // their length beyond 8 octets
  a.jump_if(r2, kNotEqual, 0, pass);
  a.load(kByte, r2, r9, kBehindIpv6 + kOptionsBytes);
  a.jump_if(r2, kEqual, kMldQuery, mld);
  a.jump(pass);

  a.place(icmpv6);
  a.load(kByte, r2, r9, kBehindIpv6);
  a.jump_if(r2, kEqual, kMldQuery, mld);
  a.jump_if(r2, kNotEqual, kSolicitation, pass);
  for (int16_t word = 0; word < 16; word += 4) {
    a.load(kWord, r1, r9, static_cast<int16_t>(kSolicitedTarget + word));
    a.store(kWord, r10, static_cast<int16_t>(word - 16), r1);
  }
  find_address(a, addresses, redirect);
  a.jump(pass);

  a.place(mld);
  a.load(kByte, r2, r9, kHopLimit);
  a.jump_if(r2, kNotEqual, 1, pass);  // RFC 3810 section 5.1.14: else it has come from elsewhere
  a.store(kWord, r10, -4, 0);         // key 0: the one count there is
  a.load_map(r1, counts);
  a.move(r2, r10);
  a.plus(r2, -4);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_if_null(r0, pass);
  a.move(r1, 1);
  a.atomic_add(kDouble, r0, 0, r1);
  a.jump(pass);

  a.place(arp);
  need(a, r9, kArpBytes, pass);
  a.load(kHalf, r1, r9, kArpOperation);
  a.jump_if(r1, kNotEqual, in_memory_order(uint16_t{1}), pass);  // requests
  a.store(kDouble, r10, -16, 0);                                 // ::ffff: and the four octets
  a.store(kWord, r10, -8, in_memory_order(uint32_t{0x0000ffff}));
  a.load(kWord, r1, r9, kArpTarget);
  a.store(kWord, r10, -4, r1);
  find_address(a, addresses, redirect);
  a.jump(pass);

  a.place(redirect);
  a.load_map(r1, sockets);
  a.load(kWord, r2, r6, kContextQueue);
  a.move(r3, XDP_PASS);  // when the queue has no socket
  a.call(BPF_FUNC_redirect_map);
  a.exit();

  a.place(pass);
  a.move(r0, XDP_PASS);
  a.exit();
  return a.finish();
}

// ---- bpf(2)

constexpr const char* kNeeds =
    "XDP needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW (AmbientCapabilities= in a systemd unit) and Linux 5.11 or "
    "newer; "
    "datapath.device: packet does without CAP_BPF";

bool put(int map, const void* key, const void* value) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = bpf_address(key);
  attributes.value = bpf_address(value);
  attributes.flags = BPF_ANY;
  return bpf_call(BPF_MAP_UPDATE_ELEM, &attributes) == 0;
}

void take_out(int map, const void* key) {
  bpf_attr attributes{};
  attributes.map_fd = static_cast<uint32_t>(map);
  attributes.key = bpf_address(key);
  bpf_call(BPF_MAP_DELETE_ELEM, &attributes);
}

void close_fd(int* fd) {
  if (*fd >= 0) ::close(*fd);
  *fd = -1;
}

uint32_t key_of(const XdpProgram::VirtualMac& mac) { return (mac.family == 4 ? 0u : 256u) + mac.vrid; }

constexpr size_t kCountsBytes = 4096;  // a mapped array takes whole pages

}  // namespace

SystemError XdpProgram::open() {
  close();
  SystemError error = make_maps();
  if (!error.failed()) error = load();
  if (error.failed()) close();
  return error;
}

SystemError XdpProgram::make_maps() {
  sockets_ = make_bpf_map(BPF_MAP_TYPE_XSKMAP, sizeof(uint32_t), sizeof(uint32_t), kQueuesMax, 0);
  if (sockets_ < 0) return system_error("BPF map of AF_XDP sockets", kNeeds);
  virtual_macs_ = make_bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(uint32_t), 512, 0);
  if (virtual_macs_ < 0) return system_error("BPF map of virtual MACs", kNeeds);
  addresses_ = make_bpf_map(BPF_MAP_TYPE_HASH, sizeof(AddressKey), sizeof(uint32_t), kAddressesMax, BPF_F_NO_PREALLOC);
  if (addresses_ < 0) return system_error("BPF map of addresses", kNeeds);
  counts_ = make_bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(uint64_t), 1, BPF_F_MMAPABLE);
  if (counts_ < 0) return system_error("BPF map of counts", kNeeds);
  void* seen = mmap(nullptr, kCountsBytes, PROT_READ, MAP_SHARED, counts_, 0);
  if (seen == MAP_FAILED) return system_error("mapping the XDP program's counts", kNeeds);
  seen_ = seen;
  return {};
}

SystemError XdpProgram::load() {
  const std::vector<bpf_insn> text = assemble(sockets_, virtual_macs_, addresses_, counts_);
  std::string reasons;
  program_ = load_bpf_program(text, BPF_PROG_TYPE_XDP, BPF_XDP, &reasons);
  if (program_ >= 0) return {};
  return system_error("loading the XDP program", reasons.empty() ? kNeeds : "the kernel's verifier says: " + reasons);
}

SystemError XdpProgram::attach(int interface_index, Mode mode) {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<uint32_t>(program_);
  attributes.link_create.target_ifindex = static_cast<uint32_t>(interface_index);
  attributes.link_create.attach_type = BPF_XDP;
  attributes.link_create.flags = mode == Mode::kNative ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
  link_ = static_cast<int>(bpf_call(BPF_LINK_CREATE, &attributes));
  if (link_ >= 0) return {};
  const std::string what = mode == Mode::kNative ? "native XDP" : "generic XDP";
  switch (errno) {
    case EPERM:
      return system_error(what, kNeeds);
    case EBUSY:
    case EEXIST:
      return system_error(what, "another XDP program is attached: ip -details link; ip link set dev IF xdp off");
    case ERANGE:
      return system_error(what, "the MTU, of a veth its peer's, is too long for the driver's XDP");
    case ENOSPC:
      return system_error(what, "too few receive queues: a veth needs as many as its peer has transmit queues");
    default:
      return system_error(what, "");
  }
}

SystemError XdpProgram::set_socket(uint32_t queue, int socket) {
  const uint32_t value = static_cast<uint32_t>(socket);
  if (queue < kQueuesMax && put(sockets_, &queue, &value)) return {};
  if (queue >= kQueuesMax) errno = E2BIG;
  return system_error("AF_XDP socket of queue " + std::to_string(queue),
                      "at most " + std::to_string(kQueuesMax) + " queues are used: ethtool -L IF combined N");
}

void XdpProgram::close() {
  close_fd(&link_);  // detaches
  close_fd(&program_);
  if (seen_ != nullptr) munmap(seen_, kCountsBytes);
  seen_ = nullptr;
  for (int* map : {&sockets_, &virtual_macs_, &addresses_, &counts_}) close_fd(map);
  have_macs_.clear();
  have_addresses_.clear();
}

SystemError XdpProgram::set_virtual_macs(const std::set<VirtualMac>& wanted) {
  for (const VirtualMac& mac : wanted) {
    const uint32_t key = key_of(mac), yes = 1;
    if (!put(virtual_macs_, &key, &yes)) return system_error("virtual MAC in the XDP program", "");
    have_macs_.insert(mac);
  }
  std::erase_if(have_macs_, [&](const VirtualMac& mac) {
    const uint32_t key = key_of(mac), no = 0;
    return !wanted.contains(mac) && put(virtual_macs_, &key, &no);
  });
  return {};
}

SystemError XdpProgram::set_addresses(const std::set<AddressKey>& wanted) {
  if (wanted.size() > kAddressesMax) {
    return request_error(std::to_string(wanted.size()) + " addresses on one link; the XDP program holds " +
                         std::to_string(kAddressesMax) + " (datapath.device: packet has no such bound)");
  }
  // Two whole sets may not fit at once; only then what is gone goes first.
  const auto remove_gone = [&] {
    std::erase_if(have_addresses_, [&](const AddressKey& address) {
      if (wanted.contains(address)) return false;
      take_out(addresses_, address.data());
      return true;
    });
  };
  if (have_addresses_.size() + wanted.size() > kAddressesMax) remove_gone();
  const uint32_t yes = 1;
  for (const AddressKey& address : wanted) {
    if (have_addresses_.contains(address)) continue;
    if (!put(addresses_, address.data(), &yes)) return system_error("address in the XDP program", "");
    have_addresses_.insert(address);
  }
  remove_gone();
  return {};
}

uint64_t XdpProgram::mld_queries() const {
  return std::atomic_ref<uint64_t>(*static_cast<uint64_t*>(seen_)).load(std::memory_order_relaxed);
}

}  // namespace tandem
