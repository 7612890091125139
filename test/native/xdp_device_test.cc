// Two AF_XDP devices of one worker at the two ends of a veth, in a network namespace of their own: what one sends, the
// other receives; each test once by the sockets and once by a BurstSender. Every chunk of the memory is accounted for
// afterwards.
#include "../../native/device/xdp_device.h"

#include <poll.h>
#include <sched.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "packets.h"
#include "test.h"

namespace tandem::test {
namespace {

const Link kLink = {"00:00:5e:00:01:33", "02:00:00:00:00:01"};
const Ip kIp = {"10.1.0.50", "10.1.0.100"};
constexpr XdpSocket::Depth kDepth = {128, 64};
constexpr size_t kQueues = 2;

struct End {
  PacketInterface interface;
  XdpProgram program;
  std::unique_ptr<XdpDevice> device;
};

struct Setting {
  bool bursts = false;
  std::array<End, 2> ends;
  std::shared_ptr<XdpMemory> memory = std::make_shared<XdpMemory>();
  std::atomic<uint64_t> mld_queries{0};
  bool gone = false;  // the interfaces, and with them what the kernel had of the memory

  SystemError open() {
    const char* names[] = {"v0", "v1"};
    const XdpSocket* first = nullptr;
    SystemError error = memory->reserve(2 * kQueues * (kDepth.receive + kDepth.transmit), 2048);
    for (size_t i = 0; i < 2 && !error.failed(); i++) {
      End& end = ends[i];
      error = end.interface.open(names[i], "");
      if (!error.failed()) error = end.program.open();
      if (!error.failed()) error = end.program.attach(end.interface.index(), XdpProgram::Mode::kNative);
      if (!error.failed()) error = end.program.set_virtual_macs({{4, 51}});
      const XdpDevice::Options options{&end.interface, &end.program, static_cast<uint8_t>(i), true, &mld_queries,
                                       false,          bursts};
      end.device = std::make_unique<XdpDevice>(options, memory);
      for (uint32_t queue = 0; queue < kQueues && !error.failed(); queue++) {
        error = end.device->add_queue(queue, XdpSocket::Copy::kAlways, kDepth, first);
        if (first == nullptr && !error.failed()) first = end.device->first_socket();
      }
      if (!error.failed()) error = end.device->finish();
      if (!error.failed()) CHECK_EQ(end.device->sends_bursts(), bursts);
    }
    return error;
  }

  // What arrives at an end within a second, at least `wanted` frames if they come.
  size_t receive(size_t end, Frame* frames, size_t wanted) {
    size_t count = 0;
    for (int tries = 0; tries < 100 && count < wanted; tries++) {
      count += ends[end].device->receive(frames + count, kBurst - count);
      if (count >= wanted) break;
      pollfd polled = {ends[end].device->descriptor(), POLLIN, 0};
      poll(&polled, 1, 10);
    }
    return count;
  }

  // Sends from memory that is not the device's, and gets it at the other end: held there until release().
  size_t deliver(std::vector<Bytes> sent, Frame* frames) {
    Drop why;
    for (Bytes& copy : sent) {
      CHECK(ends[0].device->transmit({copy.data(), static_cast<uint32_t>(copy.size()), 0, false, 0}, &why));
    }
    CHECK_EQ(ends[0].device->flush(), 0u);
    return receive(1, frames, sent.size());
  }

  // Chunks that neither the program nor the kernel has any use for.
  bool all_come_back() {
    const size_t expected = 2 * kQueues * kDepth.transmit;
    Frame frames[kBurst];
    for (int tries = 0; tries < 100; tries++) {
      for (End& end : ends) {
        end.device->receive(frames, kBurst);
        end.device->release();
      }
      if (memory->free_chunks() == expected) return true;
      poll(nullptr, 0, 10);
    }
    return false;
  }
};

std::optional<std::string> with_devices(const std::function<void(Setting&)>& body, bool bursts) {
  std::optional<std::string> why;
  std::thread thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why = "it needs root, for a network namespace";
      return;
    }
    if (system("ip link add v0 numrxqueues 2 numtxqueues 2 type veth peer name v1 numrxqueues 2 numtxqueues 2 && "
               "ip link set v0 up && ip link set v1 up") != 0) {
      why = "veth pairs are not to be had here";
      return;
    }
    Setting setting;
    setting.bursts = bursts;
    if (const SystemError error = setting.open(); error.failed()) {
      CHECK_EQ(error.message, std::string());
      return;
    }
    body(setting);
    if (!setting.gone) CHECK(setting.all_come_back());
  });
  thread.join();
  return why;
}

#define WITH_DEVICES(...)                                 \
  do {                                                    \
    static std::string why_not;                           \
    for (const bool bursts : {false, true}) {             \
      const auto why = with_devices(__VA_ARGS__, bursts); \
      if (!why) continue;                                 \
      why_not = *why;                                     \
      SKIP(why_not.c_str());                              \
    }                                                     \
  } while (0)

Bytes payload_frame(size_t bytes, char fill) { return udp_frame(kLink, kIp, {1000, 2000, std::string(bytes, fill)}); }

std::string text_of(const Frame& frame) { return hex(Bytes(frame.data, frame.data + frame.bytes)); }

TEST(a_frame_from_elsewhere_arrives_as_it_was_sent) {
  WITH_DEVICES([](Setting& setting) {
    const std::vector<Bytes> sent = {payload_frame(10, 'a'), payload_frame(1400, 'b'), payload_frame(1472, 'c')};
    Frame frames[kBurst];
    REQUIRE(setting.deliver(sent, frames) == sent.size());
    for (size_t i = 0; i < sent.size(); i++) {
      CHECK_EQ(text_of(frames[i]), hex(sent[i]));
      CHECK_EQ(frames[i].device, 1);
      CHECK(!frames[i].checksum_partial);
      // What a device promises around a frame.
      std::fill(frames[i].data - kFrameHeadroom, frames[i].data, uint8_t{0xee});
      std::fill(frames[i].data + frames[i].bytes, frames[i].data + frames[i].bytes + kFrameTailroom, uint8_t{0xee});
    }
    setting.ends[1].device->release();
  });
}

TEST(a_received_frame_goes_out_from_where_it_lies_and_may_have_grown) {
  WITH_DEVICES([](Setting& setting) {
    Frame frames[kBurst];
    REQUIRE(setting.deliver({payload_frame(100, 'a'), payload_frame(100, 'b')}, frames) == 2);
    // The first gets four octets in front, the second is let go.
    std::memmove(frames[0].data - 4, frames[0].data, 12);
    frames[0].data -= 4;
    frames[0].bytes += 4;
    const uint8_t tag[] = {0x81, 0x00, 0x00, 0x07};
    std::memcpy(frames[0].data + 12, tag, 4);
    const std::string expected = text_of(frames[0]);
    Drop why;
    CHECK(setting.ends[1].device->transmit(frames[0], &why));
    // Twice: the second time it is copied, for the first is on its way.
    CHECK(setting.ends[1].device->transmit(frames[0], &why));
    setting.ends[1].device->flush();
    setting.ends[1].device->release();
    Frame back[kBurst];
    REQUIRE(setting.receive(0, back, 2) == 2);
    CHECK_EQ(text_of(back[0]), expected);
    CHECK_EQ(text_of(back[1]), expected);
    setting.ends[0].device->release();
  });
}

TEST(an_unfinished_checksum_is_marked_on_the_way_in_and_finished_on_the_way_out) {
  WITH_DEVICES([](Setting& setting) {
    const Bytes whole = payload_frame(333, 'x');
    Bytes partial = whole;
    Bytes pseudo = address("10.1.0.50");
    put(pseudo, address("10.1.0.100"));
    put32(pseudo, 8 + 333);
    put32(pseudo, 17);
    set16(partial, 14 + 20 + 6, reference_sum(pseudo));
    Frame frames[kBurst];
    REQUIRE(setting.deliver({partial}, frames) == 1);
    CHECK(frames[0].checksum_partial);
    CHECK_EQ(text_of(frames[0]), hex(partial));
    Drop why;
    CHECK(setting.ends[1].device->transmit(frames[0], &why));
    setting.ends[1].device->flush();
    setting.ends[1].device->release();
    REQUIRE(setting.receive(0, frames, 1) == 1);
    CHECK_EQ(text_of(frames[0]), hex(whole));
    setting.ends[0].device->release();
  });
}

TEST(what_the_device_cannot_send_is_refused_by_name) {
  WITH_DEVICES([](Setting& setting) {
    XdpDevice& device = *setting.ends[0].device;
    const auto refusal = [&](Bytes bytes, bool partial, uint16_t segment_bytes) {
      Drop why = Drop::kTruncated;
      CHECK(!device.transmit({bytes.data(), static_cast<uint32_t>(bytes.size()), 0, partial, segment_bytes}, &why));
      return why;
    };
    CHECK_EQ(refusal(payload_frame(1473, 'x'), false, 0), Drop::kOversized);
    CHECK_EQ(refusal(payload_frame(100, 'x'), false, 50), Drop::kOversized);
    CHECK_EQ(refusal(icmp_frame(kLink, kIp, 8, 0, Bytes(20)), true, 0), Drop::kOversized);
  });
}

TEST(sending_has_a_bound_and_recovers_from_it) {
  WITH_DEVICES([](Setting& setting) {
    if (setting.bursts) return;  // they wait for nothing
    XdpDevice& device = *setting.ends[0].device;
    Bytes bytes = payload_frame(100, 'x');
    const Frame frame = {bytes.data(), static_cast<uint32_t>(bytes.size()), 0, false, 0};
    Drop why = Drop::kTruncated;
    // Frames from elsewhere leave by the first queue.
    for (uint32_t i = 0; i < kDepth.transmit; i++) CHECK(device.transmit(frame, &why));
    CHECK(!device.transmit(frame, &why));
    CHECK_EQ(why, Drop::kDeviceFull);
    device.flush();
    Frame frames[kBurst];
    CHECK_EQ(setting.receive(1, frames, kDepth.transmit), kDepth.transmit);
    setting.ends[1].device->release();
    device.receive(frames, kBurst);
    CHECK(device.transmit(frame, &why));
    device.flush();
  });
}

TEST(many_frames_arrive_in_order_and_go_back) {
  WITH_DEVICES([](Setting& setting) {
    std::vector<Bytes> sent;
    for (size_t i = 0; i < 3 * BurstSender::kWorthwhile; i++) {
      sent.push_back(payload_frame(20 + 50 * i, static_cast<char>('a' + i)));
    }
    Frame frames[kBurst];
    REQUIRE(setting.deliver(sent, frames) == sent.size());
    Drop why;
    for (size_t i = 0; i < sent.size(); i++) {
      CHECK_EQ(text_of(frames[i]), hex(sent[i]));
      CHECK(setting.ends[1].device->transmit(frames[i], &why));
    }
    CHECK_EQ(setting.ends[1].device->flush(), 0u);
    setting.ends[1].device->release();
    REQUIRE(setting.receive(0, frames, sent.size()) == sent.size());
    for (size_t i = 0; i < sent.size(); i++) CHECK_EQ(text_of(frames[i]), hex(sent[i]));
    setting.ends[0].device->release();
  });
}

TEST(an_interface_that_is_deleted_is_said_to_be_gone) {
  WITH_DEVICES([](Setting& setting) {
    CHECK_EQ(system("ip link delete v0"), 0);
    XdpDevice& device = *setting.ends[0].device;
    Bytes bytes = payload_frame(100, 'x');
    Drop why = Drop::kTruncated;
    bool sent = true;
    for (size_t i = 0; i < 3 * BurstSender::kWorthwhile && sent; i++) {
      sent = device.transmit({bytes.data(), static_cast<uint32_t>(bytes.size()), 0, false, 0}, &why);
      if (i % BurstSender::kWorthwhile == BurstSender::kWorthwhile - 1) device.flush();
    }
    CHECK(!sent);
    CHECK_EQ(why, Drop::kDeviceGone);
    setting.gone = true;
  });
}

}  // namespace
}  // namespace tandem::test
