// Tunnels where golden cases cannot look: what the kernel left unfinished, and memory of exactly the promised room.
#include "../../native/tunnel.h"

#include "test.h"
#include "unit.h"

using namespace tandem;
using namespace tandem::test;

namespace {

constexpr uint8_t kSyn = 2, kAck = 16;

// Virtual server 0 sends into tunnels to members of either family, 1 (IPv6) likewise.
std::unique_ptr<Policy> tunnelling(Forwarding how, const char* member_address) {
  std::unique_ptr<Policy> policy = two_sided_policy();
  policy->virtual_servers[3].pool = 2;  // its members are not in tunnels
  for (const size_t server : {0, 1}) {
    policy->virtual_servers[server].forwarding = how;
    policy->virtual_servers[server].snat = false;
    policy->virtual_servers[server].snat_addresses.clear();
    policy->virtual_servers[server].gue_port = kGuePort;
    policy->pools[server]->members = {member(member_address, 80, static_cast<uint16_t>(10 + server))};
  }
  return policy;
}

Bytes from_client(bool v6, uint8_t flags, const std::string& payload = "", std::vector<uint16_t> vlans = {}) {
  const Ip ip = v6 ? Ip{"2001:db8::7", "fd01::100"} : Ip{"198.51.100.7", "10.1.0.100"};
  return tcp_frame({v6 ? kVirtualMac6 : kVirtualMac4, kClientMac, vlans}, ip, {40000, 80, flags, 1000, 0, payload});
}

// The packet inside, in a frame of its own.
Bytes inside_of(const Bytes& frame, uint32_t overhead, bool v6) {
  Bytes inner = ethernet({kVirtualMac4, kClientMac}, v6 ? 0x86dd : 0x0800, {});
  inner.insert(inner.end(), frame.begin() + 14 + overhead, frame.end());
  return inner;
}

}  // namespace

TEST(tunnel_finishes_a_checksum_that_the_sender_left_to_its_nic) {
  for (const bool v6 : {false, true}) {
    for (const Forwarding how : {Forwarding::kIpip, Forwarding::kGue}) {
      Unit unit(tunnelling(how, "fd02::31"));
      CHECK(unit.ready);
      const Bytes whole = from_client(v6, kSyn, "odd");
      Bytes partial = whole;
      const size_t checksum = 14 + (v6 ? 40 : 20) + 16;
      Bytes pseudo(partial.begin() + (v6 ? 22 : 26), partial.begin() + (v6 ? 54 : 34));
      put32(pseudo, static_cast<uint32_t>(partial.size() - 14 - (v6 ? 40 : 20)));
      put32(pseudo, 6);
      set16(partial, checksum, reference_sum(pseudo));

      const Sent sent = unit.burst({{partial, kClientDevice}}, true)[0];
      CHECK(sent.verdict.kind == Verdict::Kind::kForward);
      CHECK(!sent.checksum_partial);
      const uint32_t overhead = tunnel_overhead(how, 6);
      CHECK_EQ(sent.frame.size(), whole.size() + overhead);
      Bytes inner = inside_of(sent.frame, overhead, v6);
      // But for the TTL it is what a sender without such a NIC would have sent.
      const size_t ttl = v6 ? 21 : 22;
      CHECK_EQ(inner[ttl], 63);
      CHECK(Bytes(inner.begin() + checksum - 16, inner.end()) == Bytes(whole.begin() + checksum - 16, whole.end()));
    }
  }
}

TEST(tunnel_takes_no_joined_segments) {
  Unit unit(tunnelling(Forwarding::kIpip, "10.2.0.31"));
  CHECK(unit.forward(from_client(false, kSyn), kClientDevice).verdict.kind == Verdict::Kind::kForward);
  Bytes room(kFrameHeadroom + 4000 + kFrameTailroom);
  const Bytes joined = from_client(false, kAck, std::string(2800, 'x'));
  std::copy(joined.begin(), joined.end(), room.begin() + kFrameHeadroom);
  Frame frame = {room.data() + kFrameHeadroom, static_cast<uint32_t>(joined.size()), kClientDevice, true, 1400};
  Verdict verdict;
  forward_burst(unit.context(), &frame, 1, &verdict);
  CHECK(verdict.kind == Verdict::Kind::kDrop && verdict.drop == Drop::kTunnelJoined);
  CHECK(unit.is_balanced());
}

TEST(tunnel_fits_the_headroom_with_a_tag_on_either_side) {
  for (const uint16_t vlan : {0, 9}) {
    Unit unit(tunnelling(Forwarding::kGue, "fd02::31"));
    unit.runtime->endpoints[10].next_hop = unit.runtime->endpoints[11].next_hop =
        hop(kMemberMac[0], kServerDevice, vlan);
    for (const bool v6 : {false, true}) {
      const Sent sent = unit.forward(from_client(v6, kSyn, "", {7}), kClientDevice);
      CHECK(sent.verdict.kind == Verdict::Kind::kForward);
      CHECK_EQ(sent.frame.size(), from_client(v6, kSyn).size() + kTunnelOverheadMax + (vlan != 0 ? 4 : 0));
    }
  }
}

TEST(tunnel_without_a_floating_address_of_the_members_family_is_a_named_drop) {
  std::unique_ptr<Policy> policy = tunnelling(Forwarding::kIpip, "fd02::31");
  policy->groups[0].floating[kClientDevice][1] = {};
  policy->groups[0].floating[kServerDevice][1] = policy_address("fe80::1");
  Unit unit(std::move(policy));
  CHECK(unit.ready);
  const Sent sent = unit.forward(from_client(false, kSyn), kClientDevice);
  CHECK(sent.verdict.kind == Verdict::Kind::kDrop && sent.verdict.drop == Drop::kTunnelSource);
}

TEST(tunnel_begins_at_another_links_floating_address_where_the_members_has_none) {
  std::unique_ptr<Policy> policy = tunnelling(Forwarding::kIpip, "fd02::31");
  policy->groups[0].floating[kServerDevice][1] = {};
  Unit unit(std::move(policy));
  const Sent sent = unit.forward(from_client(false, kSyn), kClientDevice);
  CHECK(sent.verdict.kind == Verdict::Kind::kForward);
  CHECK(Bytes(sent.frame.begin() + 22, sent.frame.begin() + 38) == address("fd01::1"));
}

TEST(tunnel_to_a_member_without_a_next_hop_is_a_named_drop) {
  Unit unit(tunnelling(Forwarding::kIpip, "10.2.0.31"));
  CHECK(unit.forward(from_client(false, kSyn), kClientDevice).verdict.kind == Verdict::Kind::kForward);
  unit.runtime->endpoints[10].next_hop = 0;
  CHECK(unit.forward(from_client(false, kAck), kClientDevice).verdict.drop == Drop::kNoNeighbour);
}

TEST(tunnel_entropy_differs_by_port_and_address_and_not_by_unit) {
  const wire::be32 from(0xc6336407), to(0x0a010064);
  const FlowKey flow = FlowKey::v4(from, to, wire::be16(40000), wire::be16(80), 6);
  CHECK_EQ(tunnel_entropy(flow), tunnel_entropy(flow));
  CHECK(tunnel_entropy(flow) != tunnel_entropy(FlowKey::v4(from, to, wire::be16(40001), wire::be16(80), 6)));
  CHECK(tunnel_entropy(flow) != tunnel_entropy(FlowKey::v4(to, from, wire::be16(40000), wire::be16(80), 6)));
}

// A connection keeps the way that it was opened with, whatever the virtual server does meanwhile.
TEST(tunnel_connections_outlive_a_change_of_the_virtual_servers_mode) {
  Unit unit(tunnelling(Forwarding::kIpip, "10.2.0.31"));
  CHECK(unit.forward(from_client(false, kSyn), kClientDevice).verdict.kind == Verdict::Kind::kForward);
  unit.policy->virtual_servers[0].forwarding = Forwarding::kDsr;
  const Bytes packet = from_client(false, kAck);
  CHECK_EQ(unit.forward(packet, kClientDevice).frame.size(), packet.size() + 20);
}
