// One unit as the mirror sees it: a table, a source, a sink, and group 0. No packets.
#pragma once

#include <memory>
#include <vector>

#include "../../native/connection_close.h"
#include "../../native/mirror.h"
#include "../../native/policy.h"
#include "connections.h"

namespace tandem::test {

inline constexpr Participant kWorker = 0, kJavaScript = 1;

struct MirrorUnit {
  explicit MirrorUnit(size_t connections, uint8_t unit = 0, Role role = Role::kActive, uint16_t term = 1)
      : runtime(std::make_unique<Runtime>()), shared(std::make_unique<SharedState>()) {
    ready = table.reserve({connections, 2});
    table.online(kWorker);
    table.online(kJavaScript);
    ports.start(unit);
    digest.start(&table, runtime.get(), shared.get());
    source.start(&table, runtime.get(), shared.get(), 1, &digest);
    sink.start(&table, runtime.get(), shared.get(), &ports, kJavaScript, &digest);
    runtime->mirror_wanted = true;
    runtime->virtual_servers[0].mirror = MirrorRule{MirrorMode::kAsync};
    become(role, term);

    // The members of numbered(), and one of every other octet up to 9.
    policy.pools.push_back(std::make_unique<Pool>());
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      const NewConnection any = numbered(0, family);
      for (uint8_t last = 3; last <= 9; ++last) {
        Member member{};
        member.address.family = family;
        std::memcpy(member.address.octets, any.member, 16);
        member.address.octets[family == 4 ? 3 : 15] = last;
        member.port = any.member_port.host();
        member.endpoint = static_cast<uint16_t>(family * 10 + last);
        EndpointAddress& to = runtime->endpoint_addresses[member.endpoint];
        to.family = family;
        to.port = member.port;
        std::memcpy(to.octets, member.address.octets, sizeof to.octets);
        policy.pools.front()->members.push_back(std::move(member));
      }
    }
    sink.set_members(&policy);
    dictionary.virtual_servers.fill(MirrorDictionary::kNone);
    dictionary.devices.fill(0xff);
    dictionary.virtual_servers[0] = 0;
    dictionary.devices[0] = 0;
    sink.set_dictionary(dictionary);
  }

  void become(Role role, uint16_t term) {
    shared->groups[0].role = static_cast<uint32_t>(role);
    shared->groups[0].term = term;
  }

  ConnectionBooks books() { return {&table, runtime.get(), &ports, &source}; }

  Connection* open(NewConnection fresh) {
    fresh.endpoint = static_cast<uint16_t>(fresh.family * 10 + fresh.member[fresh.family == 4 ? 3 : 15]);
    Connection* opened = nullptr;
    open_connection(books(), kWorker, fresh, kSecond, &opened);
    return opened;
  }
  MirrorSource::Marked mark(Connection& connection) { return source.mark(kWorker, connection); }
  MirrorSource::Closing close(Connection& connection) {
    return close_connection(books(), kWorker, connection, kSecond);
  }
  void set_state(Connection& connection, TcpState state) {
    connection.control = (connection.control & ~Control::kStateMask) | static_cast<uint32_t>(state);
    mark(connection);
  }

  std::vector<uint8_t> take(size_t bytes = 1 << 16) {
    std::vector<uint8_t> batch(bytes);
    size_t records = 0;
    batch.resize(source.take(kJavaScript, batch.data(), bytes, &records));
    taken += records;
    return batch;
  }
  Applied apply(const std::vector<uint8_t>& batch, uint8_t generation = 1) {
    return sink.apply(batch.data(), batch.size(), generation, 2 * kSecond);
  }
  uint32_t drop_unannounced(uint8_t generation) {
    size_t cursor = 0;
    uint32_t closed = 0, all = 0;
    for (bool done = false; !done; all += closed) done = sink.drop_unannounced(generation, &cursor, 100, &closed);
    return all;
  }
  void quiesce() {
    table.quiesce(kWorker);
    table.quiesce(kJavaScript);
  }
  DigestSum told(uint16_t server = 0) const { return digest.sum(MirrorDigest::Side::kTold, server); }
  DigestSum heard(uint16_t server = 0) const { return digest.sum(MirrorDigest::Side::kHeard, server); }
  // A whole lap, from the start.
  void lap() {
    digest.restart();
    while (!digest.ready()) digest.sweep();
  }
  Connection* find(const NewConnection& fresh) { return test::find(table, from_client(fresh)).connection; }

  ConnTable table;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<SharedState> shared;
  SnatPorts ports;
  MirrorDigest digest;
  MirrorSource source;
  MirrorSink sink;
  Policy policy;
  MirrorDictionary dictionary;
  size_t taken = 0;
  bool ready = false;
};

}  // namespace tandem::test
