// AF_PACKET rings and sends. The ring's bound: kRingBytes per worker and interface, a slot for each frame; when the
// worker holds or has not read all of them, the kernel drops and counts (take_dropped()).
#include "packet_device.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace tandem {
namespace {

// With slots of 2 KiB 16,384 frames: at 64,000 frames per second a worker may be kept from its core for 256 ms before
// frames are dropped.
constexpr size_t kRingBytes = 32 * 1024 * 1024;
constexpr size_t kBlockBytes = 128 * 1024;  // what the kernel allocates at a time
constexpr size_t kSlotBytesMin = 2048;
// What stands in a slot before the frame: its head, an address, the headroom and the vnet header, at most.
constexpr size_t kSlotHeadBytes = 192;
constexpr int kSocketBufferBytes = 8 * 1024 * 1024;
// Frames that do not fit a slot wait in the socket: some hundred joined ones.
constexpr int kLongBytesMax = 32 * 1024 * 1024;
constexpr size_t kEthernetBytes = 14;
constexpr size_t kTagBytes = 4;

template <typename T>
bool set_option(int fd, int level, int option, const T& value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

// Accepts what can concern Tandem, by destination: groups and broadcast (the group bit), and virtual
// MAC addresses (00-00-5E-00-01-xx, 00-00-5E-00-02-xx, RFC 9568 section 7.3).
const sock_filter kFilter[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x01, 5, 0),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x00005e00, 0, 4),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x01, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

// The status word is how a slot's ownership passes between the kernel and us: acquire after it, release before it.
std::atomic_ref<uint32_t> status_of(tpacket2_hdr* head) { return std::atomic_ref<uint32_t>(head->tp_status); }

void close_socket(int* fd) {
  if (*fd >= 0) ::close(*fd);
  *fd = -1;
}

}  // namespace

PacketDevice::~PacketDevice() {
  if (ring_ != nullptr) munmap(ring_, kRingBytes);
  close_socket(&receiver_);
  close_socket(&plain_);
  close_socket(&joined_);
}

SystemError PacketDevice::open(PacketInterface* interface, uint8_t number, Fanout* fanout, bool bursts) {
  interface_ = interface;
  number_ = number;
  spare_ = std::make_unique_for_overwrite<uint8_t[]>(kSpareBytes * kBurst);
  if (SystemError error = open_senders(); error.failed()) return error;
  if (bursts) bursts_.open(interface->index());  // without it the sockets send
  return open_receiver(fanout);
}

SystemError PacketDevice::open_receiver(Fanout* fanout) {
  const std::string& name = interface_->name();
  SystemError error;
  receiver_ = open_packet_socket(name, interface_->index(), &error);
  if (receiver_ < 0) return error;

  const sock_fprog filter{static_cast<unsigned short>(std::size(kFilter)), const_cast<sock_filter*>(kFilter)};
  if (!set_option(receiver_, SOL_PACKET, PACKET_VERSION, int{TPACKET_V2}) ||
      !set_option(receiver_, SOL_PACKET, PACKET_VNET_HDR, 1) ||
      !set_option(receiver_, SOL_PACKET, PACKET_RESERVE, static_cast<unsigned>(kFrameHeadroom)) ||
      !set_option(receiver_, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1) ||
      !set_option(receiver_, SOL_PACKET, PACKET_COPY_THRESH, 1) ||
      !set_option(receiver_, SOL_SOCKET, SO_ATTACH_FILTER, filter)) {
    return system_error("setting up reception on " + name, "Linux 4.20 or newer is needed");
  }
  if (!set_option(receiver_, SOL_SOCKET, SO_RCVBUFFORCE, kLongBytesMax)) {
    set_option(receiver_, SOL_SOCKET, SO_RCVBUF, kLongBytesMax);
  }
  slot_bytes_ = kSlotBytesMin;
  const size_t wanted = kSlotHeadBytes + interface_->mtu() + kEthernetBytes + kTagBytes + kFrameTailroom;
  while (slot_bytes_ < wanted && slot_bytes_ < kBlockBytes) slot_bytes_ *= 2;
  slots_ = kRingBytes / slot_bytes_;
  tpacket_req request{};
  request.tp_block_size = kBlockBytes;
  request.tp_block_nr = kRingBytes / kBlockBytes;
  request.tp_frame_size = static_cast<unsigned>(slot_bytes_);
  request.tp_frame_nr = static_cast<unsigned>(slots_);
  if (!set_option(receiver_, SOL_PACKET, PACKET_RX_RING, request)) {
    return system_error("receive ring of " + std::to_string(kRingBytes >> 20) + " MiB on " + name, "");
  }
  void* memory = mmap(nullptr, kRingBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, receiver_, 0);
  if (memory == MAP_FAILED) return system_error("mapping the receive ring of " + name, "");
  ring_ = static_cast<uint8_t*>(memory);

  // Bound with a protocol last, so that nothing arrives before the ring and the filter are there.
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = interface_->index();
  if (bind(receiver_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("receiving on " + name, "");
  }
  if (!fanout->wanted) return {};
  const bool first = fanout->group < 0;
  const uint32_t type = PACKET_FANOUT_HASH | (first ? PACKET_FANOUT_FLAG_UNIQUEID : 0u);
  const uint32_t group = first ? 0 : static_cast<uint32_t>(fanout->group);
  if (!set_option(receiver_, SOL_PACKET, PACKET_FANOUT, group | type << 16)) {
    return system_error("sharing " + name + " among workers",
                        "the interface must be up at start; one worker needs no sharing");
  }
  if (first) {
    int made = 0;
    socklen_t bytes = sizeof made;
    if (getsockopt(receiver_, SOL_PACKET, PACKET_FANOUT, &made, &bytes) != 0) {
      return system_error("sharing " + name + " among workers", "");
    }
    fanout->group = made & 0xffff;
  }
  return {};
}

SystemError PacketDevice::open_senders() {
  for (int* fd : {&plain_, &joined_}) {
    SystemError error;
    *fd = open_packet_socket(interface_->name(), interface_->index(), &error);
    if (*fd < 0) return error;
    if (!set_option(*fd, SOL_PACKET, PACKET_VNET_HDR, 1))
      return system_error("PACKET_VNET_HDR on " + interface_->name(), "");
    // Beyond net.core.wmem_max needs CAP_NET_ADMIN; without it bursts of joined frames are refused earlier.
    if (!set_option(*fd, SOL_SOCKET, SO_SNDBUFFORCE, kSocketBufferBytes)) {
      set_option(*fd, SOL_SOCKET, SO_SNDBUF, kSocketBufferBytes);
    }
  }
  if (!set_option(plain_, SOL_PACKET, PACKET_QDISC_BYPASS, 1)) {
    return system_error("PACKET_QDISC_BYPASS on " + interface_->name(), "");
  }
  for (size_t i = 0; i < kBurst; i++) {
    pieces_[i][0] = {&headers_[i], sizeof(VnetHeader)};
    messages_[i] = mmsghdr{};
    messages_[i].msg_hdr.msg_iov = pieces_[i].data();
    messages_[i].msg_hdr.msg_iovlen = pieces_[i].size();
  }
  return {};
}

size_t PacketDevice::receive(Frame* frames, size_t limit) {
  size_t count = 0;
  while (count < limit && held_ < slots_) {
    tpacket2_hdr* const head = slot_at(slot_);
    const uint32_t status = status_of(head).load(std::memory_order_acquire);
    if ((status & TP_STATUS_USER) == 0) break;
    const size_t next = slot_ + 1 == slots_ ? 0 : slot_ + 1;
    __builtin_prefetch(slot_at(next));
    __builtin_prefetch(reinterpret_cast<uint8_t*>(slot_at(next)) + head->tp_mac);
    slot_ = next;
    held_++;
    if (read_frame(head, status, spare_.get() + spares_ * kSpareBytes + kFrameHeadroom, &frames[count])) count++;
  }
  return count;
}

// False: it was too long for its slot, and the kernel had no memory to keep it whole.
bool PacketDevice::read_frame(const tpacket2_hdr* head, uint32_t status, uint8_t* spare, Frame* frame) {
  VnetHeader vnet;
  uint8_t* const data = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(head)) + head->tp_mac;
  const size_t room = slot_bytes_ - head->tp_mac - kFrameTailroom;
  if ((status & TP_STATUS_COPY) != 0) {
    iovec pieces[] = {{&vnet, sizeof vnet}, {spare, kFrameBytesMax}};
    const ssize_t bytes = readv(receiver_, pieces, std::size(pieces));
    if (bytes < static_cast<ssize_t>(sizeof vnet + kEthernetBytes)) return lose();
    frame->data = spare;
    frame->bytes = static_cast<uint32_t>(static_cast<size_t>(bytes) - sizeof vnet);
    spares_++;
  } else {
    if (head->tp_len != head->tp_snaplen) return lose();
    std::memcpy(&vnet, data - sizeof vnet, sizeof vnet);
    frame->data = data;
    frame->bytes = head->tp_snaplen;
    if (frame->bytes > room) {  // the next slot begins where its tailroom would be
      std::memcpy(spare, data, frame->bytes);
      frame->data = spare;
      spares_++;
    }
  }
  frame->device = number_;
  frame->checksum_partial = (vnet.flags & VnetHeader::kNeedsChecksum) != 0;
  frame->segment_bytes = vnet.segment_kind == VnetHeader::kSegmentNone ? uint16_t{0} : vnet.segment_bytes;
  if ((status & TP_STATUS_VLAN_VALID) != 0 && frame->bytes >= kEthernetBytes) {
    put_tag(frame, (status & TP_STATUS_VLAN_TPID_VALID) != 0 ? head->tp_vlan_tpid : uint16_t{ETH_P_8021Q},
            head->tp_vlan_tci);
  }
  return true;
}

bool PacketDevice::lose() {
  lost_++;
  return false;
}

// The NIC or the kernel took the tag out of the bytes; it goes back between source and type.
void PacketDevice::put_tag(Frame* frame, uint16_t type, uint16_t tag) {
  frame->data -= kTagBytes;
  frame->bytes += kTagBytes;
  std::memmove(frame->data, frame->data + kTagBytes, 12);
  frame->data[12] = static_cast<uint8_t>(type >> 8);
  frame->data[13] = static_cast<uint8_t>(type);
  frame->data[14] = static_cast<uint8_t>(tag >> 8);
  frame->data[15] = static_cast<uint8_t>(tag);
}

void PacketDevice::release() {
  for (; held_ > 0; held_--) {
    const size_t slot = slot_ >= held_ ? slot_ - held_ : slot_ + slots_ - held_;
    status_of(slot_at(slot)).store(TP_STATUS_KERNEL, std::memory_order_release);
  }
  spares_ = 0;
}

bool PacketDevice::transmit(const Frame& frame, Drop* why) {
  if (queued_ == kBurst) {
    *why = Drop::kDeviceFull;
    return false;
  }
  const size_t longest = describe_offloads(frame, &headers_[queued_]);
  const bool tagged = frame.data[12] == ETH_P_8021Q >> 8 && frame.data[13] == (ETH_P_8021Q & 0xff);
  if (longest == 0 || longest > interface_->mtu() + kEthernetBytes + (tagged ? kTagBytes : 0)) {
    *why = Drop::kOversized;
    return false;
  }
  pieces_[queued_][1] = {frame.data, frame.bytes};
  queued_++;
  return true;
}

size_t PacketDevice::flush() {
  size_t refused = 0;
  for (size_t begin = 0; begin < queued_;) {
    const Way way = way_of(begin);
    size_t end = begin + 1;
    while (end < queued_ && way_of(end) == way) end++;
    refused += send_run(way, begin, end);
    begin = end;
  }
  queued_ = 0;
  return refused;
}

PacketDevice::Way PacketDevice::way_of(size_t queued) const {
  const VnetHeader& header = headers_[queued];
  if (header.segment_kind != VnetHeader::kSegmentNone) return Way::kJoined;
  const bool finished = (header.flags & VnetHeader::kNeedsChecksum) == 0;
  return finished && bursts_.is_open() && BurstSender::takes(pieces_[queued][1].iov_len) ? Way::kBurst : Way::kPlain;
}

size_t PacketDevice::send_run(Way way, size_t begin, size_t end) {
  if (way != Way::kBurst || end - begin < BurstSender::kWorthwhile) {
    return send_messages(way == Way::kJoined ? joined_ : plain_, begin, end);
  }
  for (size_t i = begin; i < end; i++) bursts_.add(pieces_[i][1].iov_base, pieces_[i][1].iov_len);
  return bursts_.flush();
}

// sendmmsg stops at the first frame that is refused: that one is lost, those behind it get their turn.
size_t PacketDevice::send_messages(int socket, size_t begin, size_t end) {
  size_t refused = 0;
  while (begin < end) {
    const int sent = sendmmsg(socket, &messages_[begin], static_cast<unsigned>(end - begin), MSG_DONTWAIT);
    if (sent > 0) {
      begin += static_cast<size_t>(sent);
    } else if (sent == 0 || errno != EINTR) {
      refused++;
      begin++;
    }
  }
  return refused;
}

void PacketDevice::maintain() {
  // A link that went down leaves ENETDOWN on its sockets; reading it once clears it, and the kernel
  // resumes by itself when the link is back.
  for (const int fd : {receiver_, plain_, joined_}) {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
  }
  interface_->refresh_mtu();
}

uint64_t PacketDevice::take_dropped() {
  uint64_t dropped = lost_;
  lost_ = 0;
  tpacket_stats statistics{};
  socklen_t bytes = sizeof statistics;
  if (getsockopt(receiver_, SOL_PACKET, PACKET_STATISTICS, &statistics, &bytes) == 0) dropped += statistics.tp_drops;
  return dropped;
}

}  // namespace tandem
