// Frames from a buffer and back into one: replay of a capture, tests, benchmarks. No kernel, no clock.
//
//   input, little endian    | time u64 ns | device u16 | reserved u16 | bytes u32 | frame |  ...
//   output                  | verdict u8 | drop u8 | device u16 | bytes u32 | frame if forwarded |  ...
//
// Output stands in the order of the input, one entry per frame. Verdict: 0 forward, 1 punt, 2 drop, 3 hold. What became
// of frames that were held stands behind the burst that released them: 128 more, and the device that such a frame came
// from in the high octet of `device`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "../clock.h"
#include "../limits.h"
#include "device.h"

namespace tandem {

class MemoryDevice final : public Device {
 public:
  static constexpr size_t kInputHeadBytes = 16;
  static constexpr size_t kOutputHeadBytes = 8;
  // Room an output needs for a frame beyond what its input takes: a frame may grow by what stands
  // around it.
  static constexpr size_t kGrowthMax = kFrameHeadroom + kFrameTailroom;

  explicit MemoryDevice(MacAddress mac);

  enum class Fault : uint8_t { kNone, kHeadCut, kFrameCut, kFrameTooLong, kNoSuchDevice };
  struct Inspected {
    size_t frames;  // whole ones before the fault
    Fault fault;
  };
  static Inspected inspect(const uint8_t* input, size_t bytes, size_t devices);

  // Both buffers outlive the replay; `input` has been inspected and `output` is large enough.
  void load(const uint8_t* input, size_t input_bytes, uint8_t* output);
  // The next frames of equal time, at most `limit` and kBurst, each copied to a buffer of its own.
  size_t receive(Frame* frames, size_t limit) override;
  // Time of the burst last received.
  Nanos time() const { return time_; }
  // Writes what became of the burst last received.
  void report(const Frame* frames, const Verdict* verdicts, size_t count);
  // The same for frames that were held; `arrived` are their devices.
  void report_released(const Frame* frames, const Verdict* verdicts, const uint8_t* arrived, size_t count);
  // Bytes written to the output since load().
  size_t written() const { return static_cast<size_t>(output_ - output_begin_); }

  // A frame leaves through report(); there is no queue to refuse it.
  bool transmit(const Frame&, Drop*) override { return true; }
  size_t flush() override { return 0; }
  void release() override {}
  int descriptor() const override { return -1; }
  uint64_t take_dropped() override { return 0; }
  MacAddress mac() const override { return mac_; }

 private:
  static constexpr uint8_t kReleased = 0x80;
  void report(const Frame& frame, const Verdict& verdict, uint8_t released, uint8_t arrived);

  MacAddress mac_;
  const uint8_t* input_ = nullptr;
  const uint8_t* input_end_ = nullptr;
  uint8_t* output_begin_ = nullptr;
  uint8_t* output_ = nullptr;
  Nanos time_ = 0;
  std::unique_ptr<uint8_t[]> buffers_;
};

}  // namespace tandem
