// The program's text, and its runs.
#include "burst_sender.h"

#include <linux/pkt_cls.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "bpf_assembler.h"
#include "bpf_call.h"

namespace tandem {

struct BurstSender::Shared {
  uint32_t count;
  uint32_t refused;
  uint16_t ethertype;  // of this run, as in memory
  struct Entry {
    uint16_t bytes;  // 0: sent already
    uint16_t ethertype;
  } entries[kBurst];
  alignas(64) uint8_t frames[kBurst][kFrameBytesMax];
};

namespace {

using Asm = BpfAssembler;
using enum BpfAssembler::Register;
using enum BpfAssembler::Size;
using enum BpfAssembler::Condition;

constexpr const char* kNeeds = "it needs CAP_BPF and CAP_NET_ADMIN";
constexpr int32_t kFrameShift = 11;
static_assert(size_t{1} << kFrameShift == BurstSender::kFrameBytesMax);
constexpr int16_t kPacketBytes = 0;  // in struct __sk_buff

struct Layout {
  int16_t count, refused, ethertype, entries, entry_bytes, entry_ethertype;
  int32_t frames;
};

// Throughout: r6 the packet, r7 the frame's number, r8 the shared memory, r9 the frame's entry, then its length.
std::vector<bpf_insn> assemble(int map, int interface_index, const Layout& at) {
  Asm a;
  const Asm::Label next = a.label(), frame = a.label(), long_enough = a.label(), as_long = a.label(),
                   refused = a.label(), skip = a.label(), done = a.label();
  a.move(r6, r1);
  a.load_map_value(r8, map);
  a.move(r7, 0);

  a.place(next);
  a.load(kWord, r1, r8, at.count);
  a.jump_if(r1, kGreater, r7, frame);
  a.jump(done);
  a.place(frame);
  a.jump_if(r7, kGreater, kBurst - 1, done);  // for the verifier

  a.move(r9, r7);
  a.shift_left(r9, 2);
  a.plus(r9, r8);
  a.load(kHalf, r1, r9, static_cast<int16_t>(at.entries + at.entry_ethertype));
  a.load(kHalf, r2, r8, at.ethertype);
  a.jump_if(r1, kNotEqual, r2, skip);
  a.load(kHalf, r9, r9, static_cast<int16_t>(at.entries + at.entry_bytes));
  a.jump_if(r9, kGreater, 13, long_enough);
  a.jump(skip);
  a.place(long_enough);
  a.jump_if(r9, kGreater, BurstSender::kFrameBytesMax, skip);

  a.load(kWord, r1, r6, kPacketBytes);
  a.jump_if(r1, kEqual, r9, as_long);
  a.move(r1, r6);
  a.move(r2, r9);
  a.move(r3, 0);
  a.call(BPF_FUNC_skb_change_tail);
  a.jump_if(r0, kNotEqual, 0, refused);
  a.place(as_long);
  a.move(r1, r6);
  a.move(r2, 0);
  a.move(r3, r7);
  a.shift_left(r3, kFrameShift);
  a.plus(r3, r8);
  a.plus(r3, at.frames);
  a.move(r4, r9);
  a.move(r5, 0);
  a.call(BPF_FUNC_skb_store_bytes);
  a.jump_if(r0, kNotEqual, 0, refused);
  a.move(r1, r6);
  a.move(r2, interface_index);
  a.move(r3, 0);
  a.call(BPF_FUNC_clone_redirect);
  a.jump_if(r0, kEqual, 0, skip);  // NET_XMIT_CN, too, means that a frame was lost
  a.place(refused);
  a.move(r1, 1);
  a.atomic_add(kWord, r8, at.refused, r1);
  a.place(skip);
  a.plus(r7, 1);
  a.jump(next);

  a.place(done);
  a.move(r0, TC_ACT_SHOT);  // the packet itself was never meant for anybody
  a.exit();
  return a.finish();
}

}  // namespace

SystemError BurstSender::open(int interface_index) {
  close();
  map_ = make_bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(Shared), 1, BPF_F_MMAPABLE);
  if (map_ < 0) return system_error("memory for sending bursts", kNeeds);
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, map_, 0);
  if (memory == MAP_FAILED) return system_error("mapping the memory for sending bursts", kNeeds);
  shared_ = static_cast<Shared*>(memory);

  static_assert(sizeof(Shared::Entry) == 4, "the program shifts by two");
  const Layout layout = {offsetof(Shared, count),   offsetof(Shared, refused),      offsetof(Shared, ethertype),
                         offsetof(Shared, entries), offsetof(Shared::Entry, bytes), offsetof(Shared::Entry, ethertype),
                         offsetof(Shared, frames)};
  std::string reasons;
  const std::vector<bpf_insn> text = assemble(map_, interface_index, layout);
  program_ = load_bpf_program(text, BPF_PROG_TYPE_SCHED_CLS, 0, &reasons);
  if (program_ >= 0) return {};
  SystemError error = system_error("program for sending bursts", reasons.empty() ? kNeeds : reasons);
  close();
  return error;
}

void BurstSender::close() {
  if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
  shared_ = nullptr;
  for (int* fd : {&program_, &map_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
  count_ = 0;
  mixed_ = false;
}

void BurstSender::add(const void* frame, size_t bytes) {
  Shared::Entry& entry = shared_->entries[count_];
  entry.bytes = static_cast<uint16_t>(bytes);
  std::memcpy(&entry.ethertype, static_cast<const uint8_t*>(frame) + 12, sizeof entry.ethertype);
  std::memcpy(shared_->frames[count_], frame, bytes);
  mixed_ = mixed_ || entry.ethertype != shared_->entries[0].ethertype;
  count_++;
}

size_t BurstSender::flush() {
  if (count_ == 0) return 0;
  shared_->count = static_cast<uint32_t>(count_);
  size_t refused = run_from(0);
  if (mixed_) {
    for (size_t i = 1; i < count_; i++) {
      if (shared_->entries[i].bytes != 0) refused += run_from(i);
    }
  }
  count_ = 0;
  mixed_ = false;
  return refused;
}

// Sends the frames that have the Ethertype of the first, from it on. Returns how many of them were refused.
size_t BurstSender::run_from(size_t first) {
  const uint16_t ethertype = shared_->entries[first].ethertype;
  shared_->ethertype = ethertype;
  shared_->refused = 0;
  bpf_attr attributes{};
  attributes.test.prog_fd = static_cast<uint32_t>(program_);
  // Becomes the packet: its Ethertype is what counts, its length spares the first frame a change.
  attributes.test.data_in = bpf_address(shared_->frames[first]);
  attributes.test.data_size_in = shared_->entries[first].bytes;
  attributes.test.repeat = 1;
  const bool ran = bpf_call(BPF_PROG_TEST_RUN, &attributes) == 0;
  if (!mixed_) return ran ? std::atomic_ref(shared_->refused).load(std::memory_order_relaxed) : count_;
  size_t of_run = 0;
  for (size_t i = first; i < count_; i++) {
    if (shared_->entries[i].ethertype != ethertype || shared_->entries[i].bytes == 0) continue;
    shared_->entries[i].bytes = 0;
    of_run++;
  }
  return ran ? std::atomic_ref(shared_->refused).load(std::memory_order_relaxed) : of_run;
}

}  // namespace tandem
