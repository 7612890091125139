// Connections for tests: numbered, so that equal numbers mean equal connections.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "../../native/conn_table.h"

namespace tandem::test {

inline constexpr uint8_t kTcp = 6, kUdp = 17;

// A client of 10.0.0.0/8 or fd00::/8 to 192.0.2.1:80 or 2001:db8::1, towards a member by way of a SNAT address and
// port that are this connection's alone. The number is the client's address and the SNAT port's.
inline NewConnection numbered(uint32_t number, uint8_t family = 4) {
  NewConnection fresh{};
  fresh.family = family;
  fresh.protocol = kTcp;
  fresh.client_port = static_cast<uint16_t>(1024 + number % 60000);
  fresh.virtual_port = 80;
  fresh.member_port = 8080;
  fresh.snat_port = static_cast<uint16_t>(1024 + number % 64000);
  fresh.state = TcpState::kEstablished;
  fresh.last_hop = 0x0000'0605'0403'0201;
  uint8_t* const fields[] = {fresh.client, fresh.virtual_address, fresh.member, fresh.snat};
  const uint8_t first_v4[] = {10, 192, 10, 10}, first_v6[] = {0xfd, 0x20, 0xfd, 0xfd};
  for (size_t i = 0; i < 4; ++i) {
    fields[i][0] = family == 4 ? first_v4[i] : first_v6[i];
    fields[i][(family == 4 ? 4 : 16) - 1] = static_cast<uint8_t>(i + 1);
  }
  const size_t low = family == 4 ? 1 : 12;
  for (size_t i = 0; i < 3; ++i) fresh.client[low + i] = static_cast<uint8_t>(number >> (16 - 8 * i));
  const uint32_t round = number / 64000;  // another SNAT address for each lap of the ports
  fresh.snat[low] = static_cast<uint8_t>(round >> 8);
  fresh.snat[low + 1] = static_cast<uint8_t>(round);
  return fresh;
}

inline FlowKey flow_between(const NewConnection& fresh, const uint8_t* from, const uint8_t* to, wire::be16 from_port,
                            wire::be16 to_port) {
  if (fresh.family == 6) return FlowKey::v6(from, to, from_port, to_port, fresh.protocol);
  wire::be32 source, destination;
  std::memcpy(&source, from, 4);
  std::memcpy(&destination, to, 4);
  return FlowKey::v4(source, destination, from_port, to_port, fresh.protocol);
}
inline FlowKey from_client(const NewConnection& fresh) {
  return flow_between(fresh, fresh.client, fresh.virtual_address, fresh.client_port, fresh.virtual_port);
}
inline FlowKey from_server(const NewConnection& fresh) {
  return fresh.no_snat ? flow_between(fresh, fresh.member, fresh.client, fresh.member_port, fresh.client_port)
                       : flow_between(fresh, fresh.member, fresh.snat, fresh.member_port, fresh.snat_port);
}

inline Found find(const ConnTable& table, const FlowKey& flow) { return table.find(flow, table.hash(flow)); }

// A table with every participant online.
inline std::unique_ptr<ConnTable> make_table(size_t connections, size_t participants = 1) {
  auto table = std::make_unique<ConnTable>();
  if (!table->reserve({connections, participants})) return nullptr;
  for (Participant who = 0; who < participants; ++who) table->online(who);
  return table;
}

}  // namespace tandem::test
