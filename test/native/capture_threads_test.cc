// Goal: records cross from a worker to the JavaScript thread whole and in order, and a capture that ends is freed only
// when no worker uses it. Method: a worker that never waits and a reader that starts, drains and ends captures; its
// worth is under the thread sanitizer.
#include <thread>

#include "../../native/capture.h"
#include "rows.h"

namespace tandem::test {
namespace {

constexpr int kCaptures = 40;

TEST(captures_come_and_go_while_a_worker_forwards) {
  Unit unit;
  REQUIRE(unit.ready);
  CaptureSlot slot;
  std::atomic<bool> ended{false};
  const Bytes syn = tcp_frame({kVirtualMac4, kClientMac}, {.source = "10.1.0.9", .destination = "10.1.0.100"},
                              {.source_port = 40'000, .destination_port = 80, .flags = kSyn});

  std::thread worker([&] {
    CaptureTap tap(&slot, 0);
    Bytes memory(kFrameHeadroom + syn.size() + kFrameTailroom);
    unit.now = 1;
    while (!ended.load(std::memory_order_relaxed)) {
      std::copy(syn.begin(), syn.end(), memory.begin() + kFrameHeadroom);
      const Frame arriving{memory.data() + kFrameHeadroom, static_cast<uint32_t>(syn.size()), kClientDevice, false, 0};
      Frame frame = arriving;
      Verdict verdict;
      const ForwardContext context = unit.context();
      const bool capturing = tap.enter();
      if (capturing) tap.arrived(context, &frame, 1);
      forward_burst(context, &frame, 1, &verdict);
      if (capturing) tap.settle(context, &frame, &verdict, 1);
      if (capturing) tap.leave();
      unit.now++;
    }
  });

  Bytes into(1 << 16);
  for (int each = 0; each < kCaptures; ++each) {
    auto capture = std::make_unique<Capture>(CaptureFilter{}, 1, Nanos{0});
    REQUIRE(capture->reserve());
    slot.swap(std::move(capture));
    size_t received = 0, sent = 0;
    Nanos last = 0;
    while (received < 200) {
      const size_t bytes = slot.current()->take(into.data(), into.size());
      for (size_t at = 0; at < bytes;) {
        CaptureRecord head;
        std::memcpy(&head, into.data() + at, sizeof head);
        const uint8_t* frame = into.data() + at + sizeof head;
        if (head.what == Captured::kReceived) {
          CHECK(head.time > last && std::equal(syn.begin(), syn.end(), frame));
          last = head.time;
          received++;
        } else {
          CHECK(head.what == Captured::kSent && head.time == last);
          sent++;
        }
        at += head.length;
      }
    }
    CHECK(received - sent <= 1);
  }
  slot.swap(nullptr);
  ended = true;
  worker.join();
}

}  // namespace
}  // namespace tandem::test
