#include "snat_ports.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#include "limits.h"
#include "spin_lock.h"

namespace tandem {
namespace {

constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kPorts = (65536 - kFirstPort) / 2;  // of one unit
// Steps through all of a half's ports: prime to kPorts = 2^9 * 3^2 * 7.
constexpr uint32_t kStride = 12'289;
constexpr Deciseconds kTimeWait = 600;
// Ports that next_in_use() looks at, at most.
constexpr uint32_t kLooksMax = 64;

// The ports of one (SNAT address, endpoint). Lies in zeroed memory of its own, of which only what is used is
// ever touched. Ports are counted 0..kPorts-1 within the unit's half.
struct Queue {
  SpinLock lock;
  uint32_t start;         // the first port given
  uint32_t never_given;   // how many ports of the first lap are to come
  uint32_t learnt_ahead;  // of these, how many are passed over: in use already, or freed
  uint32_t looked_at;     // of next_in_use(): how many of a lap
  uint32_t first, count;  // of the ring of freed ports
  uint32_t first_unrested, count_unrested;
  uint64_t in_use[(kPorts + 63) / 64];
  uint64_t learnt[(kPorts + 63) / 64];  // not given by the first lap, and not yet passed over by it
  uint16_t freed[kPorts];
  Deciseconds freed_at[kPorts];
  uint16_t unrested[kPorts];  // the ring of those that need no rest
};
static_assert(sizeof(Queue) <= 268 * 1024);

bool is_used(const Queue& queue, uint32_t index) { return queue.in_use[index / 64] >> index % 64 & 1; }
void flip_used(Queue& queue, uint32_t index) { queue.in_use[index / 64] ^= uint64_t{1} << index % 64; }

bool is_learnt(const Queue& queue, uint32_t index) { return queue.learnt[index / 64] >> index % 64 & 1; }
void flip_learnt(Queue& queue, uint32_t index) { queue.learnt[index / 64] ^= uint64_t{1} << index % 64; }

// The n-th port that is given for the first time.
uint32_t nth(const Queue& queue, uint32_t n) {
  return static_cast<uint32_t>((queue.start + uint64_t{n} * kStride) % kPorts);
}

// Its inverse: kStride times this is 1 modulo kPorts.
constexpr uint32_t stride_inverse() {
  uint32_t inverse = 1;
  while (uint64_t{inverse} * kStride % kPorts != 1) ++inverse;
  return inverse;
}
uint32_t place_of(const Queue& queue, uint32_t index) {
  static constexpr uint32_t kInverse = stride_inverse();
  return static_cast<uint32_t>(uint64_t{index + kPorts - queue.start} * kInverse % kPorts);
}

uint16_t pop(const uint16_t* ring, uint32_t* first, uint32_t* count) {
  const uint16_t index = ring[*first];
  *first = (*first + 1) % kPorts;
  --*count;
  return index;
}

}  // namespace

struct SnatPorts::Impl {
  using Queues = std::array<std::atomic<Queue*>, kMembersMax>;

  struct Address {
    uint8_t family;
    uint8_t octets[16];
  };

  Queue* queue(uint16_t address, uint16_t endpoint) const {
    if (address >= kAddressesMax || endpoint >= kMembersMax) return nullptr;
    const Queues* queues = by_address[address].load(std::memory_order_acquire);
    return queues == nullptr ? nullptr : (*queues)[endpoint].load(std::memory_order_acquire);
  }

  uint16_t port_of(uint32_t index) const { return static_cast<uint16_t>(kFirstPort + index * 2 + unit); }

  uint32_t unit = 0;
  First first = First::kRandom;
  std::array<std::atomic<Queues*>, kAddressesMax> by_address{};
  std::array<Address, kAddressesMax> addresses{};
  std::atomic<size_t> address_count{0};
};

SnatPorts::~SnatPorts() {
  if (impl_ == nullptr) return;
  for (auto& queues : impl_->by_address) {
    Impl::Queues* of_address = queues.load(std::memory_order_relaxed);
    if (of_address == nullptr) continue;
    for (auto& queue : *of_address) {
      if (Queue* memory = queue.load(std::memory_order_relaxed)) munmap(memory, sizeof(Queue));
    }
    delete of_address;
  }
  delete impl_;
}

void SnatPorts::start(uint8_t unit, First first) {
  impl_ = new Impl;
  impl_->unit = unit;
  impl_->first = first;
}

int SnatPorts::add_address(uint8_t family, const uint8_t* octets) {
  if (const int known = find_address(family, octets); known >= 0) return known;
  const size_t index = impl_->address_count.load(std::memory_order_relaxed);
  if (index == kAddressesMax) return -1;
  Impl::Address& address = impl_->addresses[index];
  address.family = family;
  std::memcpy(address.octets, octets, family == 4 ? 4 : 16);
  impl_->address_count.store(index + 1, std::memory_order_release);
  return static_cast<int>(index);
}

// There are few: as many as the operator wrote down, plus one floating address for each link and family.
int SnatPorts::find_address(uint8_t family, const uint8_t* octets) const {
  const size_t count = impl_->address_count.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    const Impl::Address& address = impl_->addresses[i];
    if (address.family == family && std::memcmp(address.octets, octets, family == 4 ? 4 : 16) == 0) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

bool SnatPorts::prepare(uint16_t address, uint16_t endpoint) {
  if (address >= kAddressesMax || endpoint >= kMembersMax) return false;
  if (impl_->queue(address, endpoint) != nullptr) return true;
  Impl::Queues* queues = impl_->by_address[address].load(std::memory_order_relaxed);
  if (queues == nullptr) {
    queues = new (std::nothrow) Impl::Queues{};
    if (queues == nullptr) return false;
    impl_->by_address[address].store(queues, std::memory_order_release);
  }
  void* memory = mmap(nullptr, sizeof(Queue), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  auto* queue = static_cast<Queue*>(memory);  // zeroed: a free lock, nothing given, nothing freed
  uint32_t random = 0;
  if (impl_->first == First::kRandom && getrandom(&random, sizeof random, GRND_NONBLOCK) < 0) random = 0;
  queue->start = random % kPorts;
  queue->never_given = kPorts;
  (*queues)[endpoint].store(queue, std::memory_order_release);
  return true;
}

SnatPorts::Allocation SnatPorts::allocate(uint16_t address, uint16_t endpoint, Nanos now) {
  Queue* queue = impl_->queue(address, endpoint);
  if (queue == nullptr) return {0, false};
  SpinGuard guard(queue->lock);
  uint32_t index = 0;
  bool early = false, fresh = false;
  while (!fresh && queue->never_given > 0) {
    index = nth(*queue, kPorts - queue->never_given--);
    fresh = !is_learnt(*queue, index);
    if (!fresh) {
      flip_learnt(*queue, index);
      --queue->learnt_ahead;
    }
  }
  if (!fresh) {
    // The oldest of all: if even this one is too young, no older one is left.
    const bool rested = queue->count > 0 && to_deciseconds(now) - queue->freed_at[queue->first] >= kTimeWait;
    if (!rested && queue->count_unrested > 0) {
      index = pop(queue->unrested, &queue->first_unrested, &queue->count_unrested);
    } else if (queue->count > 0) {
      early = !rested;
      index = pop(queue->freed, &queue->first, &queue->count);
    } else {
      return {0, false};
    }
  }
  flip_used(*queue, index);
  return {impl_->port_of(index), early};
}

void SnatPorts::learn(uint16_t address, uint16_t endpoint, uint16_t port) {
  Queue* queue = impl_->queue(address, endpoint);
  if (queue == nullptr || !ours(port)) return;
  const uint32_t index = (port - kFirstPort) / 2;
  SpinGuard guard(queue->lock);
  // Where in the first lap it stands: behind what was given, it is in use or freed, and known.
  const bool given = place_of(*queue, index) < kPorts - queue->never_given;
  if (given || is_used(*queue, index) || is_learnt(*queue, index)) return;
  flip_used(*queue, index);
  flip_learnt(*queue, index);
  ++queue->learnt_ahead;
}

void SnatPorts::release(uint16_t address, uint16_t endpoint, uint16_t port, Nanos now, Rest rest) {
  Queue* queue = impl_->queue(address, endpoint);
  if (queue == nullptr || !ours(port)) return;
  const uint32_t index = (port - kFirstPort) / 2;
  SpinGuard guard(queue->lock);
  if (!is_used(*queue, index)) return;
  flip_used(*queue, index);
  if (rest == Rest::kNone) {
    queue->unrested[(queue->first_unrested + queue->count_unrested++) % kPorts] = static_cast<uint16_t>(index);
    return;
  }
  const uint32_t last = (queue->first + queue->count++) % kPorts;
  queue->freed[last] = static_cast<uint16_t>(index);
  queue->freed_at[last] = to_deciseconds(now);
}

uint16_t SnatPorts::next_in_use(uint16_t address, uint16_t endpoint) {
  Queue* queue = impl_->queue(address, endpoint);
  if (queue == nullptr) return 0;
  SpinGuard guard(queue->lock);
  // Asked for when none is free, so the first one looked at is in use nearly always.
  for (uint32_t looked = 0; looked < kLooksMax; ++looked) {
    const uint32_t index = nth(*queue, queue->looked_at);
    queue->looked_at = (queue->looked_at + 1) % kPorts;
    if (is_used(*queue, index)) return impl_->port_of(index);
  }
  return 0;
}

size_t SnatPorts::free(uint16_t address, uint16_t endpoint) const {
  Queue* queue = impl_->queue(address, endpoint);
  if (queue == nullptr) return 0;
  SpinGuard guard(queue->lock);
  return queue->never_given - queue->learnt_ahead + queue->count + queue->count_unrested;
}

bool SnatPorts::ours(uint16_t port) const { return port >= kFirstPort && port % 2 == impl_->unit; }

}  // namespace tandem
