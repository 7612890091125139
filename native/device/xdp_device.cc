// From ring to ring.
#include "xdp_device.h"

#include <linux/if_ether.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "finish_checksum.h"

namespace tandem {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr size_t kTagBytes = 4;

}  // namespace

XdpDevice::~XdpDevice() {
  if (poll_ >= 0) ::close(poll_);
}

SystemError XdpDevice::add_queue(uint32_t queue, XdpSocket::Copy copy, XdpSocket::Depth depth, const XdpSocket* first) {
  auto socket = std::make_unique<XdpSocket>();
  SystemError error = socket->open(options_.interface->index(), queue, copy, depth, memory_.get(), first);
  if (error.failed()) return {error.code, options_.interface->name() + ": " + error.message};
  if (options_.busy_poll) socket->prefer_busy_poll();  // without it the worker asks the driver less eagerly
  queues_.push_back(queue);
  sockets_.push_back(std::move(socket));
  return {};
}

SystemError XdpDevice::finish() {
  mld_seen_ = options_.program->mld_queries();
  if (sockets_.size() > 1) {
    poll_ = epoll_create1(EPOLL_CLOEXEC);
    if (poll_ < 0) return system_error("epoll of " + options_.interface->name(), "");
  }
  for (size_t i = 0; i < sockets_.size(); i++) {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    if (poll_ >= 0 && epoll_ctl(poll_, EPOLL_CTL_ADD, sockets_[i]->descriptor(), &wanted) != 0) {
      return system_error("epoll of " + options_.interface->name(), "");
    }
    SystemError error = options_.program->set_socket(queues_[i], sockets_[i]->descriptor());
    if (error.failed()) return error;
  }
  if (options_.bursts) bursts_.open(options_.interface->index());  // without it the sockets send
  return {};
}

size_t XdpDevice::receive(Frame* frames, size_t limit) {
  if (options_.mld_queries != nullptr) note_mld_queries();
  for (const auto& socket : sockets_) {
    socket->reap();
    // What an earlier flush() could not hand over.
    if (!gone_ && socket->transmission_waits()) gone_ = !socket->flush();
    socket->refill();
  }
  size_t count = 0;
  for (size_t i = 0; i < sockets_.size() && count < limit; i++) {
    take_from((turn_ + i) % sockets_.size(), frames, limit, &count);
  }
  turn_ = (turn_ + 1) % sockets_.size();  // a busy queue does not starve the others
  return count;
}

void XdpDevice::take_from(size_t queue, Frame* frames, size_t limit, size_t* count) {
  XdpSocket& socket = *sockets_[queue];
  XdpConsumer<xdp_desc>& ring = socket.received();
  const size_t frame_bytes_max = XdpMemory::frame_bytes_max(memory_->chunk_bytes());
  const size_t begin = *count;
  bool read = false;
  while (*count < limit && received_count_ < kBurst && ring.available() > 0) {
    const xdp_desc& entry = ring.next();
    read = true;
    socket.note_received();
    const uint64_t chunk = memory_->chunk_of(entry.addr);
    if (entry.len > frame_bytes_max) {  // longer than the MTU allows, and no tailroom behind it
      memory_->give(chunk);
      too_long_++;
      continue;
    }
    memory_->hold(chunk, static_cast<int>(queue));
    received_[received_count_++] = chunk;
    Frame& frame = frames[(*count)++];
    frame = {memory_->start() + entry.addr, entry.len, options_.number, false, 0};
    __builtin_prefetch(frame.data);
  }
  if (read) ring.release();
  if (!options_.unfinished) return;
  for (size_t i = begin; i < *count; i++) frames[i].checksum_partial = has_partial_checksum(frames[i]);
}

bool XdpDevice::transmit(const Frame& frame, Drop* why) {
  if (gone_) {
    *why = Drop::kDeviceGone;
    return false;
  }
  const bool tagged = frame.data[12] == ETH_P_8021Q >> 8 && frame.data[13] == (ETH_P_8021Q & 0xff);
  if (frame.segment_bytes != 0 || frame.bytes > options_.interface->mtu() + kEthernetBytes + (tagged ? kTagBytes : 0) ||
      (frame.checksum_partial && !finish_checksum(frame))) {
    *why = Drop::kOversized;
    return false;
  }
  if (!bursts_.is_open()) return send(frame, why);
  if (queued_count_ == kBurst) refused_ += flush_queued();
  queued_[queued_count_++] = frame;
  return true;
}

// By a socket.
bool XdpDevice::send(const Frame& frame, Drop* why) {
  uint64_t address = 0;
  int queue = 0;
  if (!place(frame, &address, &queue)) {
    *why = frame.bytes > memory_->chunk_bytes() - XdpMemory::kHeadroom ? Drop::kOversized : Drop::kDeviceFull;
    return false;
  }
  sockets_[static_cast<size_t>(queue)]->transmit(address, frame.bytes);
  return true;
}

// Where the frame is to be sent from, and by which of our queues. A flow arrives on one queue and leaves by one, so its
// frames keep their order.
bool XdpDevice::place(const Frame& frame, uint64_t* address, int* queue) {
  if (memory_->contains(frame.data)) {
    *address = memory_->address(frame.data);
    const uint64_t chunk = memory_->chunk_of(*address);
    const int from = memory_->held_from(chunk);
    if (from >= 0) {
      *queue = from % static_cast<int>(sockets_.size());
      if (!sockets_[static_cast<size_t>(*queue)]->may_transmit()) return false;
      memory_->let_go(chunk);
      return true;
    }
  }
  // Memory of another owner, or a chunk that is on its way out already.
  *queue = 0;
  if (!sockets_[0]->may_transmit() || !memory_->any_free()) return false;
  if (frame.bytes > memory_->chunk_bytes() - XdpMemory::kHeadroom) return false;
  *address = memory_->take() + XdpMemory::kHeadroom;
  std::memcpy(memory_->start() + *address, frame.data, frame.bytes);
  return true;
}

size_t XdpDevice::flush() {
  if (!bursts_.is_open()) return flush_sockets();
  const size_t refused = refused_ + flush_queued();
  refused_ = 0;
  return refused;
}

// Few frames, and those behind others that wait for a socket, are sent by the sockets.
size_t XdpDevice::flush_queued() {
  if (queued_count_ == 0) return 0;
  const auto waits = [](const auto& socket) { return socket->transmission_waits(); };
  bool burst = queued_count_ >= BurstSender::kWorthwhile && std::none_of(sockets_.begin(), sockets_.end(), waits);
  for (size_t i = 0; i < queued_count_; i++) burst = burst && BurstSender::takes(queued_[i].bytes);
  size_t refused = 0;
  Drop why;
  for (size_t i = 0; i < queued_count_; i++) {
    if (burst) {
      bursts_.add(queued_[i].data, queued_[i].bytes);
    } else if (!send(queued_[i], &why)) {
      refused++;
    }
  }
  queued_count_ = 0;
  if (!burst) return refused + flush_sockets();
  refused = bursts_.flush();
  if (refused > 0 && !gone_) gone_ = sockets_.front()->is_gone();
  return refused;
}

size_t XdpDevice::flush_sockets() {
  for (const auto& socket : sockets_) {
    if (!gone_ && !socket->flush()) gone_ = true;
  }
  return 0;  // what the kernel does not take now waits in the ring
}

void XdpDevice::release() {
  for (size_t i = 0; i < received_count_; i++) {
    const uint64_t chunk = received_[i];
    if (memory_->held_from(chunk) < 0) continue;
    memory_->let_go(chunk);
    memory_->give(chunk);
  }
  received_count_ = 0;
  for (const auto& socket : sockets_) {
    socket->reap();
    socket->refill();
  }
}

bool XdpDevice::busy_poll() {
  if (!options_.busy_poll) return false;
  for (const auto& socket : sockets_) socket->busy_poll();
  return true;
}

void XdpDevice::note_mld_queries() {
  const uint64_t seen = options_.program->mld_queries();
  if (seen == mld_seen_) return;
  options_.mld_queries->fetch_add(seen - mld_seen_, std::memory_order_release);
  mld_seen_ = seen;
}

uint64_t XdpDevice::take_dropped() {
  uint64_t dropped = too_long_;
  too_long_ = 0;
  for (const auto& socket : sockets_) dropped += socket->take_dropped();
  return dropped;
}

}  // namespace tandem
