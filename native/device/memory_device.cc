// Replay of frames out of one buffer and into another.
#include "memory_device.h"

#include <bit>
#include <cstring>

namespace tandem {
namespace {

static_assert(std::endian::native == std::endian::little, "the buffers are little endian, as their writer is");

struct InputHead {
  uint64_t time;
  uint16_t device;
  uint16_t reserved;
  uint32_t bytes;
};
static_assert(sizeof(InputHead) == MemoryDevice::kInputHeadBytes);

struct OutputHead {
  uint8_t verdict;
  uint8_t drop;
  uint16_t device;
  uint32_t bytes;
};
static_assert(sizeof(OutputHead) == MemoryDevice::kOutputHeadBytes);

constexpr size_t kBufferBytes = kFrameHeadroom + kFrameBytesMax + kFrameTailroom;

InputHead head_at(const uint8_t* input) {
  InputHead head;
  std::memcpy(&head, input, sizeof head);
  return head;
}

}  // namespace

MemoryDevice::MemoryDevice(MacAddress mac) : mac_(mac), buffers_(std::make_unique<uint8_t[]>(kBurst * kBufferBytes)) {}

MemoryDevice::Inspected MemoryDevice::inspect(const uint8_t* input, size_t bytes, size_t devices) {
  size_t frames = 0;
  for (size_t at = 0; at < bytes; frames++) {
    if (bytes - at < kInputHeadBytes) return {frames, Fault::kHeadCut};
    const InputHead head = head_at(input + at);
    at += kInputHeadBytes;
    if (head.bytes > kFrameBytesMax) return {frames, Fault::kFrameTooLong};
    if (head.bytes > bytes - at) return {frames, Fault::kFrameCut};
    if (head.device >= devices) return {frames, Fault::kNoSuchDevice};
    at += head.bytes;
  }
  return {frames, Fault::kNone};
}

void MemoryDevice::load(const uint8_t* input, size_t input_bytes, uint8_t* output) {
  input_ = input;
  input_end_ = input + input_bytes;
  output_begin_ = output_ = output;
}

size_t MemoryDevice::receive(Frame* frames, size_t limit) {
  size_t count = 0;
  while (count < limit && count < kBurst && input_ < input_end_) {
    const InputHead head = head_at(input_);
    if (count > 0 && head.time != time_) break;
    time_ = head.time;
    uint8_t* const data = buffers_.get() + count * kBufferBytes + kFrameHeadroom;
    std::memcpy(data, input_ + kInputHeadBytes, head.bytes);
    frames[count++] = {data, head.bytes, static_cast<uint8_t>(head.device), false, 0};
    input_ += kInputHeadBytes + head.bytes;
  }
  return count;
}

void MemoryDevice::report(const Frame* frames, const Verdict* verdicts, size_t count) {
  for (size_t i = 0; i < count; i++) report(frames[i], verdicts[i], 0, 0);
}

void MemoryDevice::report_released(const Frame* frames, const Verdict* verdicts, const uint8_t* arrived, size_t count) {
  for (size_t i = 0; i < count; i++) report(frames[i], verdicts[i], kReleased, arrived[i]);
}

void MemoryDevice::report(const Frame& frame, const Verdict& verdict, uint8_t released, uint8_t arrived) {
  const bool forwarded = verdict.kind == Verdict::Kind::kForward;
  const bool dropped = verdict.kind == Verdict::Kind::kDrop;
  const OutputHead head{static_cast<uint8_t>(static_cast<uint8_t>(verdict.kind) | released),
                        dropped ? static_cast<uint8_t>(verdict.drop) : uint8_t{0},
                        static_cast<uint16_t>((forwarded ? verdict.device : 0) | arrived << 8),
                        forwarded ? frame.bytes : 0};
  std::memcpy(output_, &head, sizeof head);
  output_ += sizeof head;
  if (!forwarded) return;
  std::memcpy(output_, frame.data, frame.bytes);
  output_ += frame.bytes;
}

}  // namespace tandem
