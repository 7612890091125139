// Ids of what connections refer to: virtual servers by name, members (endpoints) by address and port, SNAT
// addresses by address. Stable across policies, so that a connection finds what it was opened with.
//
// An id is free again when the policy in force does not name it and no connection counts on it. A SNAT
// address keeps its index until the end: its ports are given back by index long after a policy is gone.
// JavaScript thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "policy.h"
#include "runtime.h"

namespace tandem {

// A policy as it was described, before ids are given.
struct PolicyDraft {
  struct Server {
    std::string name;
    MirrorRule mirror;
    IdleTimeouts timeouts;
  };
  std::unique_ptr<Policy> policy;
  std::vector<Server> servers;  // as policy->virtual_servers
};

class IdRegistry {
 public:
  static constexpr uint16_t kNone = 0xffff;

  IdRegistry(Runtime* runtime, SnatPorts* snat_ports);

  // Gives every virtual server, member and SNAT address of the draft its id. Empty: done; else what did not
  // fit. Until commit(), what was given anew may be given to others by the next call.
  std::string assign(PolicyDraft* draft);
  // The draft is in force: its ids are kept, what only the policy before named may be freed.
  void commit(const PolicyDraft& draft);

  uint16_t server(const std::string& name) const;
  uint16_t endpoint(const Address& address, uint16_t port) const;
  // Empty: the id is free.
  const std::string& server_name(uint16_t id) const { return servers_[id].name; }
  // Ids in use, ascending.
  std::vector<uint16_t> server_ids() const;
  std::vector<uint16_t> endpoint_ids() const;
  // Whether the policy in force names it.
  bool server_named(uint16_t id) const { return servers_[id].named; }
  const Address& endpoint_address(uint16_t id) const { return endpoints_[id].address; }
  uint16_t endpoint_port(uint16_t id) const { return endpoints_[id].port; }

 private:
  struct ServerEntry {
    std::string name;
    bool named = false;
  };
  struct EndpointEntry {
    Address address{};
    uint16_t port = 0;
    bool used = false;
    bool named = false;
  };
  void free_unused();
  uint16_t give_server(const std::string& name);
  uint16_t give_endpoint(const Address& address, uint16_t port);
  static std::string key(const Address& address, uint16_t port);

  Runtime* runtime_;
  SnatPorts* snat_ports_;
  std::vector<ServerEntry> servers_;
  std::vector<EndpointEntry> endpoints_;
  std::unordered_map<std::string, uint16_t> server_of_;
  std::unordered_map<std::string, uint16_t> endpoint_of_;
  // Where the search for a free id goes on, so that a freed id rests as long as possible.
  size_t next_server_ = 0;
  size_t next_endpoint_ = 0;
};

}  // namespace tandem
