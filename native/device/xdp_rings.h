// The rings of an AF_XDP socket: one side of each is the kernel's. Four verbs: room and next, then submit, where the
// worker writes; available and next, then release, where it reads. One thread.
//
// An index counts forever and is masked when it names a place. Read Documentation/networking/af_xdp.rst first.
#pragma once

#include <linux/if_xdp.h>
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tandem {

namespace xdp_ring {

inline uint32_t acquire(uint32_t* index) { return std::atomic_ref<uint32_t>(*index).load(std::memory_order_acquire); }
inline void release(uint32_t* index, uint32_t value) {
  std::atomic_ref<uint32_t>(*index).store(value, std::memory_order_release);
}

}  // namespace xdp_ring

// What both kinds have: the mapping and where its fields are.
template <typename Entry>
class XdpRing {
 public:
  XdpRing() = default;
  XdpRing(const XdpRing&) = delete;
  XdpRing& operator=(const XdpRing&) = delete;
  ~XdpRing() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
  }

  // `size` is the power of two that the socket was told. False: errno says why.
  bool map(int socket, uint64_t page, const xdp_ring_offset& offsets, uint32_t size) {
    bytes_ = offsets.desc + size * sizeof(Entry);
    void* memory =
        mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket, static_cast<off_t>(page));
    if (memory == MAP_FAILED) return false;
    memory_ = memory;
    auto* const start = static_cast<uint8_t*>(memory);
    producer_ = reinterpret_cast<uint32_t*>(start + offsets.producer);
    consumer_ = reinterpret_cast<uint32_t*>(start + offsets.consumer);
    flags_ = reinterpret_cast<uint32_t*>(start + offsets.flags);
    entries_ = reinterpret_cast<Entry*>(start + offsets.desc);
    size_ = size;
    return true;
  }

  // The kernel sleeps on this ring and wants a system call.
  bool needs_wakeup() const {
    return (std::atomic_ref<uint32_t>(*flags_).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
  }

 protected:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  uint32_t* producer_ = nullptr;
  uint32_t* consumer_ = nullptr;
  uint32_t* flags_ = nullptr;
  Entry* entries_ = nullptr;
  uint32_t size_ = 0;
  uint32_t mine_ = 0;    // our index, ahead of what the kernel has been shown
  uint32_t theirs_ = 0;  // the kernel's, as last read
};

template <typename Entry>
class XdpProducer : public XdpRing<Entry> {
  using Ring = XdpRing<Entry>;

 public:
  // Entries that next() may be called for. Asks the kernel only when it knows of none.
  uint32_t room() {
    if (this->mine_ - this->theirs_ == this->size_) this->theirs_ = xdp_ring::acquire(Ring::consumer_);
    return this->size_ - (this->mine_ - this->theirs_);
  }
  Entry& next() { return this->entries_[this->mine_++ & (this->size_ - 1)]; }
  // Entries since the last submit(). The kernel sees them after it.
  uint32_t queued() const { return this->mine_ - submitted_; }
  void submit() {
    if (queued() == 0) return;
    submitted_ = this->mine_;
    xdp_ring::release(Ring::producer_, submitted_);
  }
  // Submitted and not taken by the kernel yet.
  uint32_t waiting() {
    this->theirs_ = xdp_ring::acquire(Ring::consumer_);
    return submitted_ - this->theirs_;
  }

 private:
  uint32_t submitted_ = 0;
};

template <typename Entry>
class XdpConsumer : public XdpRing<Entry> {
  using Ring = XdpRing<Entry>;

 public:
  // Entries that next() may be called for.
  uint32_t available() {
    if (this->mine_ == this->theirs_) this->theirs_ = xdp_ring::acquire(Ring::producer_);
    return this->theirs_ - this->mine_;
  }
  const Entry& next() { return this->entries_[this->mine_++ & (this->size_ - 1)]; }
  // Gives the places of what was read back.
  void release() { xdp_ring::release(Ring::consumer_, this->mine_); }
};

}  // namespace tandem
