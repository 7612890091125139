#include "connection_close.h"

#include "seam.h"

namespace tandem {

OpenStatus open_connection(const ConnectionBooks& books, Participant who, const NewConnection& fresh, Nanos now,
                           Connection** opened) {
  const OpenStatus status = books.table->open(who, fresh, now, opened);
  if (status != OpenStatus::kOpened) return status;
  seam();
  constexpr auto relaxed = std::memory_order_relaxed;
  Endpoint& endpoint = books.runtime->endpoints[fresh.endpoint];
  VirtualServerState& virtual_server = books.runtime->virtual_servers[fresh.virtual_server];
  if (!fresh.reserved) endpoint.reserve(0);
  virtual_server.connections.fetch_add(1, relaxed);
  if ((fresh.mirror_control & Control::kUnprotected) != 0) virtual_server.commit.unprotected.fetch_add(1, relaxed);
  if (!fresh.from_peer) {
    endpoint.opened.fetch_add(1, relaxed);
    virtual_server.opened.fetch_add(1, relaxed);
  }
  return status;
}

MirrorSource::Closing close_connection(const ConnectionBooks& books, Participant who, Connection& connection, Nanos now,
                                       CloseIf only) {
  const bool no_snat = connection.control.load(std::memory_order_relaxed) & Control::kNoSnat;
  const MirrorSource::Closing closing =
      books.mirror != nullptr
          ? books.mirror->close(who, connection, only)
          : MirrorSource::Closing{books.table->close(who, connection, only), MirrorSource::Marked::kNo};
  if (!closing.closed) return closing;
  seam();

  constexpr auto relaxed = std::memory_order_relaxed;
  books.runtime->endpoints[connection.endpoint].connections.fetch_sub(1, relaxed);
  VirtualServerState& virtual_server = books.runtime->virtual_servers[connection.virtual_server];
  virtual_server.connections.fetch_sub(1, relaxed);
  if ((connection.control.fetch_and(~Control::kUnprotected, std::memory_order_acq_rel) & Control::kUnprotected) != 0)
    virtual_server.commit.unprotected.fetch_sub(1, relaxed);
  if (no_snat) return closing;
  const auto* snat =
      connection.family == 6 ? books.table->ipv6(connection).snat : reinterpret_cast<const uint8_t*>(&connection.snat);
  const int address = books.snat_ports->find_address(connection.family, snat);
  if (address >= 0) {
    // A packet that came just then may still change it, which costs a port its rest or gives it one for nothing.
    const SnatPorts::Rest rest = is_half_open(connection.state()) ? SnatPorts::Rest::kNone : SnatPorts::Rest::kTimeWait;
    books.snat_ports->release(static_cast<uint16_t>(address), connection.endpoint, connection.snat_port.host(), now,
                              rest);
  }
  return closing;
}

}  // namespace tandem
