// What a policy finds, and what it refuses.
#include "../../native/policy.h"

#include "policies.h"
#include "test.h"

namespace tandem::test {
namespace {

TEST(a_whole_policy_is_sealed) { CHECK_EQ(two_sided_policy()->seal(), std::string()); }

TEST(owned_addresses_and_virtual_servers_are_found) {
  const auto policy = two_sided_policy();
  REQUIRE(policy->seal().empty());
  const Bytes v4 = address("10.1.0.100"), v6 = address("fd01::100"), foreign = address("10.1.0.99");
  REQUIRE(policy->owned(4, v4.data()) != nullptr);
  CHECK_EQ(policy->owned(4, v4.data())->devices, 1);
  CHECK(policy->owned(6, v6.data()) != nullptr);
  CHECK(policy->owned(4, foreign.data()) == nullptr);

  REQUIRE(policy->virtual_server(4, v4.data(), IPPROTO_TCP, 80) != nullptr);
  CHECK_EQ(policy->virtual_server(4, v4.data(), IPPROTO_TCP, 80)->id, 0);
  CHECK_EQ(policy->virtual_server(4, v4.data(), IPPROTO_UDP, 53)->id, 2);
  CHECK_EQ(policy->virtual_server(6, v6.data(), IPPROTO_TCP, 80)->id, 1);
  CHECK(policy->virtual_server(4, v4.data(), IPPROTO_UDP, 80) == nullptr);
  CHECK(policy->virtual_server(4, v4.data(), IPPROTO_TCP, 81) == nullptr);
}

TEST(an_empty_policy_finds_nothing) {
  Policy policy;
  REQUIRE(policy.seal().empty());
  const Bytes v4 = address("10.1.0.100");
  uint8_t family;
  CHECK(policy.owned(4, v4.data()) == nullptr);
  CHECK(policy.virtual_server(4, v4.data(), IPPROTO_TCP, 80) == nullptr);
  CHECK_EQ(policy.group_of_mac(mac("00:00:5e:00:01:33").data(), 0, &family), -1);
}

TEST(virtual_macs_belong_to_their_group_on_their_device) {
  auto policy = two_sided_policy();
  policy->groups.push_back({});
  policy->groups[1].vrid[kServerDevice] = 52;
  REQUIRE(policy->seal().empty());
  uint8_t family = 0;
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:01:33").data(), kClientDevice, &family), 0);
  CHECK_EQ(family, 4);
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:02:33").data(), kServerDevice, &family), 0);
  CHECK_EQ(family, 6);
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:01:34").data(), kServerDevice, &family), 1);
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:01:34").data(), kClientDevice, &family), -1);
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:03:33").data(), kClientDevice, &family), -1);
  CHECK_EQ(policy->group_of_mac(mac("00:00:5e:00:01:00").data(), kClientDevice, &family), -1);
}

TEST(members_are_known_by_address_and_port) {
  const auto policy = two_sided_policy();
  REQUIRE(policy->seal().empty());
  CHECK(policy->is_member(4, address("10.2.0.12").data(), 8080));
  CHECK(!policy->is_member(4, address("10.2.0.12").data(), 80));
  CHECK(policy->is_member(6, address("fd02::11").data(), 8080));
}

TEST(automap_takes_the_snat_addresses_of_the_members_device) {
  auto policy = two_sided_policy();
  const SnatAddress client_side = {policy_address("10.1.0.1"), 2};
  policy->virtual_servers[0].snat_addresses.insert(policy->virtual_servers[0].snat_addresses.begin(), client_side);
  policy->pools[0]->members[1].device = kClientDevice;
  REQUIRE(policy->seal().empty());
  const auto& by_member = policy->virtual_servers[0].snat_by_member;
  REQUIRE(by_member.size() == 2);
  REQUIRE(by_member[0].size() == 1);
  CHECK_EQ(by_member[0][0].index, 0);
  REQUIRE(by_member[1].size() == 1);
  CHECK_EQ(by_member[1][0].index, 2);
}

TEST(every_snat_address_is_used_where_none_is_on_the_members_device) {
  auto policy = two_sided_policy();
  policy->pools[0]->members[0].device = 5;
  REQUIRE(policy->seal().empty());
  CHECK_EQ(policy->virtual_servers[0].snat_by_member[0].size(), 1u);
}

// What makes a policy wrong, and a word of what it says then.
TEST(wrong_policies_are_refused) {
  struct Row {
    const char* expected;
    void (*spoil)(Policy&);
  };
  const Row rows[] = {
      {"given twice", [](Policy& p) { add_address(p, "10.1.0.100", 1); }},
      {"same address", [](Policy& p) { add_server(p, "10.1.0.100", 80, IPPROTO_TCP, 0, {}); }},
      {"traffic group does not exist", [](Policy& p) { p.addresses[0].group = 1; }},
      {"traffic group does not exist", [](Policy& p) { p.virtual_servers[0].group = 7; }},
      {"pool does not exist", [](Policy& p) { p.virtual_servers[0].pool = 9; }},
      {"not among the addresses", [](Policy& p) { add_server(p, "10.9.9.9", 80, IPPROTO_TCP, 0, {}); }},
      {"other family", [](Policy& p) { p.virtual_servers[0].pool = 1; }},
      {"neither TCP nor UDP", [](Policy& p) { p.virtual_servers[0].protocol = 132; }},
      {"no SNAT address", [](Policy& p) { p.virtual_servers[0].snat_addresses.clear(); }},
      {"its own family", [](Policy& p) { p.virtual_servers[0].snat_addresses[0].address = policy_address("fd02::1"); }},
      {"index is out of range", [](Policy& p) { p.virtual_servers[0].snat_addresses[0].index = 256; }},
      {"id is out of range", [](Policy& p) { p.virtual_servers[0].id = kVirtualServersMax; }},
      {"port 0", [](Policy& p) { p.virtual_servers[0].port = 0; }},
      {"device is out of range", [](Policy& p) { p.pools[0]->members[0].device = kDevicesMax; }},
      {"same VRID", [](Policy& p) { p.groups.push_back(p.groups[0]); }},
      {"more than 16 traffic groups", [](Policy& p) { p.groups.resize(17); }},
  };
  for (const Row& row : rows) {
    const auto policy = two_sided_policy();
    row.spoil(*policy);
    const std::string said = policy->seal();
    if (said.find(row.expected) == std::string::npos) CHECK_EQ(said, std::string(row.expected));
  }
}

}  // namespace
TEST(policy_finds_the_exact_port_then_a_range_then_any_port_then_any_protocol) {
  std::unique_ptr<Policy> policy = two_sided_policy();
  const auto add = [&policy](uint8_t protocol, uint16_t first, uint16_t last) {
    add_server(*policy, "10.1.0.100", first, protocol, 0, {});
    policy->virtual_servers.back().port_last = last;
  };
  add(IPPROTO_TCP, 8100, 8199);  // 4
  add(IPPROTO_TCP, 8000, 8099);  // 5
  add(IPPROTO_TCP, 0, 65535);    // 6
  add(0, 0, 65535);              // 7
  add(IPPROTO_TCP, 8042, 8042);  // 8
  CHECK_EQ(policy->seal(), "");
  const Bytes at = address("10.1.0.100");
  const auto found = [&](uint8_t protocol, uint16_t port) {
    const VirtualServer* server = policy->virtual_server(4, at.data(), protocol, port);
    return server == nullptr ? -1 : static_cast<int>(server->id);
  };
  CHECK_EQ(found(IPPROTO_TCP, 80), 0);
  CHECK_EQ(found(IPPROTO_TCP, 8042), 8);
  CHECK_EQ(found(IPPROTO_TCP, 8000), 5);
  CHECK_EQ(found(IPPROTO_TCP, 8099), 5);
  CHECK_EQ(found(IPPROTO_TCP, 8100), 4);
  CHECK_EQ(found(IPPROTO_TCP, 8199), 4);
  CHECK_EQ(found(IPPROTO_TCP, 7999), 6);
  CHECK_EQ(found(IPPROTO_TCP, 8200), 6);
  CHECK_EQ(found(IPPROTO_UDP, 53), 2);
  CHECK_EQ(found(IPPROTO_UDP, 8042), 7);
  CHECK_EQ(found(47, 0), 7);
  const Bytes other = address("10.1.0.101");
  CHECK(policy->virtual_server(4, other.data(), IPPROTO_TCP, 8042) == nullptr);
}

TEST(policy_refuses_port_ranges_that_overlap_or_end_before_they_begin) {
  const auto with = [](uint16_t first, uint16_t last) {
    std::unique_ptr<Policy> policy = two_sided_policy();
    add_server(*policy, "10.1.0.100", 8000, IPPROTO_TCP, 0, {});
    policy->virtual_servers.back().port_last = 8099;
    add_server(*policy, "10.1.0.100", first, IPPROTO_TCP, 0, {});
    policy->virtual_servers.back().port_last = last;
    return policy->seal();
  };
  CHECK_EQ(with(8100, 8199), "");
  CHECK(with(8099, 8199) != "");
  CHECK(with(7000, 8000) != "");
  CHECK(with(7000, 9000) != "");
  CHECK(with(8010, 8020) != "");
  CHECK(with(9000, 8999) != "");
}

}  // namespace tandem::test
