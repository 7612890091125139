#include "choose_member.h"

#include "scheduler.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

int scheduled(const ForwardContext& context, const Pool& pool, const NewConnection& fresh, const uint8_t* client_port,
              Drop* why) {
  const uint64_t hash = hash_of_client(pool, fresh.family, fresh.client, client_port);
  const Choice choice = schedule(pool, *context.runtime, hash, context.now);
  if (choice.member < 0) *why = choice.full ? Drop::kMembersFull : Drop::kNoMember;
  return choice.member;
}

// The member with this endpoint, if it may be given a connection of a client it knows: a draining one may, one that is
// down or at its limit may not.
int reserved(const ForwardContext& context, const Pool& pool, uint16_t endpoint) {
  const int index = endpoint == Persistence::kNone ? -1 : pool.member_with(endpoint);
  if (index < 0) return -1;
  const Member& member = pool.members[static_cast<size_t>(index)];
  if (!member.up) return -1;
  if (context.runtime->endpoints[endpoint].reserve(member.connections_max)) return index;
  context.runtime->endpoints[endpoint].limited.fetch_add(1, relaxed);
  return -1;
}

}  // namespace

int choose_member(const ForwardContext& context, const VirtualServer& server, const NewConnection& fresh,
                  const uint8_t* client_port, Drop* why) {
  const Pool& pool = *context.policy->pools[server.pool];
  const SourcePersistence& rule = server.persistence;
  if (rule.timeout == 0) return scheduled(context, pool, fresh, client_port, why);

  const uint8_t prefix = fresh.family == 4 ? rule.prefix4 : rule.prefix6;
  const Persistence::Client client = Persistence::client_of(server.id, fresh.family, prefix, fresh.client);
  const Nanos activated = context.shared->groups[server.group].activated.load(relaxed);
  const uint16_t was = context.persistence->find(client, context.now, activated);
  int chosen = reserved(context, pool, was);
  bool persisted = chosen >= 0;
  if (!persisted) chosen = scheduled(context, pool, fresh, client_port, why);
  if (chosen < 0) return chosen;

  const uint16_t endpoint = pool.members[static_cast<size_t>(chosen)].endpoint;
  const Persistence::Settled settled =
      context.persistence->settle(client, was, endpoint, rule.timeout, context.now, activated);
  if (settled.replaced) context.counters->add(Count::kPersistenceReplaced);
  if (settled.endpoint != endpoint) {
    // Another worker has just given this client to another member.
    if (const int other = reserved(context, pool, settled.endpoint); other >= 0) {
      context.runtime->endpoints[endpoint].release();
      chosen = other;
      persisted = true;
    }
  }
  if (persisted) {
    context.counters->add(Count::kPersisted);
    context.runtime->endpoints[settled.endpoint].persisted.fetch_add(1, relaxed);
  }
  return chosen;
}

}  // namespace tandem
