// A unit for tests: everything forward_burst() works with, in memory, with the two-sided policy of policies.h.
#pragma once

#include <memory>

#include "../../native/commit.h"
#include "../../native/forward.h"
#include "packets.h"
#include "policies.h"

namespace tandem::test {

inline constexpr const char* kVirtualMac4 = "00:00:5e:00:01:33";
inline constexpr const char* kVirtualMac6 = "00:00:5e:00:02:33";
inline constexpr const char* kClientMac = "02:00:00:00:00:09";
inline constexpr const char* kMemberMac[] = {"02:00:00:00:01:11", "02:00:00:00:01:12"};
inline constexpr const char* kOwnMac[] = {"02:00:00:00:aa:00", "02:00:00:00:aa:01"};

inline uint64_t hop(const char* text, uint8_t device, uint16_t vlan = 0) {
  uint64_t word = 0;
  const Bytes octets = mac(text);
  std::memcpy(&word, octets.data(), octets.size());
  return word | uint64_t{device} << 48 | uint64_t{vlan} << 52;
}

struct Sent {
  Verdict verdict;
  Bytes frame;
  bool checksum_partial;
};

struct Unit {
  explicit Unit(std::unique_ptr<Policy> with = two_sided_policy(), size_t connections = 1024)
      : policy(std::move(with)), runtime(std::make_unique<Runtime>()), shared(std::make_unique<SharedState>()) {
    ports.start(0);
    for (VirtualServer& server : policy->virtual_servers) {
      for (SnatAddress& snat : server.snat_addresses) {
        snat.index = static_cast<uint16_t>(ports.add_address(snat.address.family, snat.address.octets));
      }
    }
    ready =
        policy->seal().empty() && fragments.reserve() && persistence.reserve(1024) && table.reserve({connections, 2});
    table.online(0);
    runtime->traffic[0] = std::make_unique<std::array<Traffic, kVirtualServersMax>>();
    mirror.start(&table, runtime.get(), shared.get(), 1);
    for (const VirtualServer& server : policy->virtual_servers) {
      VirtualServerState& state = runtime->virtual_servers[server.id];
      state.half_open = 50;
      state.established = 3000;
      state.half_closed = 600;
      state.closing = 100;
      state.udp = 300;
      if (is_tunnel(server.forwarding)) state.tunnel = server.forwarding;
      const Pool& members = *policy->pools[server.pool];
      for (size_t i = 0; i < members.members.size(); ++i) {
        for (const SnatAddress& snat : server.snat_by_member[i]) ports.prepare(snat.index, members.members[i].endpoint);
        const Member& each = members.members[i];
        runtime->endpoints[each.endpoint].next_hop = hop(kMemberMac[i % 2], kServerDevice);
        EndpointAddress& to = runtime->endpoint_addresses[each.endpoint];
        to.family = each.address.family;
        to.port = each.port;
        std::memcpy(to.octets, each.address.octets, sizeof to.octets);
      }
    }
    for (size_t device = 0; device < 2; ++device)
      std::memcpy(macs[device].octets, mac(kOwnMac[device]).data(), sizeof macs[device].octets);
    become(Role::kActive);
  }

  void become(Role role, size_t group = 0) {
    shared->groups[group].role = static_cast<uint32_t>(role);
    shared->groups[group].lease = ~uint64_t{0};
  }

  ForwardContext context() {
    return {policy.get(),  &table,
            runtime.get(), &ports,
            &mirror,       shared.get(),
            &counters,     runtime->traffic[0].get(),
            macs.data(),   0,
            now,           &fragments,
            &persistence,  &held};
  }

  // One burst. Each frame lies in memory of exactly its size and the room that forward.h promises.
  std::vector<Sent> burst(const std::vector<std::pair<Bytes, uint8_t>>& arriving, bool checksum_partial = false) {
    std::vector<Bytes> memory;
    std::vector<Frame> frames;
    std::vector<Verdict> verdicts(arriving.size());
    for (const auto& [bytes, device] : arriving) {
      Bytes& room = memory.emplace_back(kFrameHeadroom + bytes.size() + kFrameTailroom);
      std::copy(bytes.begin(), bytes.end(), room.begin() + kFrameHeadroom);
      frames.push_back(
          {room.data() + kFrameHeadroom, static_cast<uint32_t>(bytes.size()), device, checksum_partial, 0});
    }
    forward_burst(context(), frames.data(), frames.size(), verdicts.data());
    table.quiesce(0);
    std::vector<Sent> sent;
    for (size_t i = 0; i < frames.size(); ++i) {
      sent.push_back(
          {verdicts[i], Bytes(frames[i].data, frames[i].data + frames[i].bytes), frames[i].checksum_partial});
    }
    return sent;
  }

  Sent forward(const Bytes& frame, uint8_t device) { return burst({{frame, device}})[0]; }

  uint64_t count(Count which) const { return counters.counts[static_cast<size_t>(which)]; }
  uint64_t dropped(Drop why) const { return counters.drops[static_cast<size_t>(why)]; }

  // Fragments that were held and may go now.
  std::vector<Sent> released() {
    std::vector<Sent> sent;
    Fragments::Released taken[2];
    Frame frames[2];
    Verdict verdicts[2];
    while (const size_t taken_now = fragments.take_released(0, taken, 2)) {
      forward_released(context(), taken, taken_now, frames, verdicts);
      for (size_t i = 0; i < taken_now; ++i) {
        sent.push_back({verdicts[i], Bytes(frames[i].data, frames[i].data + frames[i].bytes), false});
      }
      fragments.free_released(0);
    }
    return sent;
  }

  // Handshakes that waited for the peer and may go now.
  std::vector<Sent> sent_late() {
    std::vector<Sent> sent;
    Frame frames[kBurst];
    Verdict verdicts[kBurst];
    while (const size_t count = take_held(context(), frames)) {
      forward_held(context(), frames, count, verdicts);
      for (size_t i = 0; i < count; ++i)
        sent.push_back({verdicts[i], Bytes(frames[i].data, frames[i].data + frames[i].bytes), false});
      held.free_taken();
    }
    table.quiesce(0);
    return sent;
  }

  // received = forwarded + answered + punted + dropped + held
  bool is_balanced() const {
    uint64_t sum = count(Count::kForwarded) + count(Count::kPunted) + count(Count::kArpReplies) +
                   count(Count::kNeighbourAdvertisements) + count(Count::kEchoReplies) + count(Count::kResetsSent) +
                   count(Count::kTimeExceededSent) + count(Count::kTooBigSent);
    for (const auto& drop : counters.drops) sum += drop;
    return sum + fragments.held() + held.held() == count(Count::kReceived);
  }

  void sweep_all() {
    SweepCursor cursor;
    const ForwardContext with = context();
    sweep(with, &cursor, table.slots());
    table.quiesce(0);
  }

  // The only connection, or the first.
  Connection* only() {
    for (size_t slot = 0; slot < table.slots(); ++slot) {
      if (Connection* connection = table.at(slot)) return connection;
    }
    return nullptr;
  }

  std::unique_ptr<Policy> policy;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<SharedState> shared;
  ConnTable table;
  SnatPorts ports;
  Fragments fragments;
  Persistence persistence;
  HoldQueue held;  // refuses everything until a test reserves it
  MirrorSource mirror;
  Counters counters;
  std::array<MacAddress, kDevicesMax> macs{};
  Nanos now = 1000 * kSecond;
  bool ready = false;
};

}  // namespace tandem::test
