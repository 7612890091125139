#include "commit.h"

#include "connect.h"
#include "evict.h"

namespace tandem {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acq_rel = std::memory_order_acq_rel;

using Judgement = HoldQueue::Judgement;
using Told = MirrorSource::Told;

// Why a handshake does not wait (any more), as its virtual server and this worker count it.
struct Reason {
  std::atomic<uint64_t> CommitCounts::*of_server;
  Drop drop;  // strict
};
constexpr Reason kNoPeer = {&CommitCounts::no_peer, Drop::kCommitNoPeer};
constexpr Reason kTooFast = {&CommitCounts::beyond, Drop::kCommitPace};
constexpr Reason kNoRoom = {&CommitCounts::beyond, Drop::kHoldFull};
constexpr Reason kTimeout = {&CommitCounts::timed_out, Drop::kHoldTimeout};
constexpr Reason kRefused = {&CommitCounts::refused, Drop::kHoldRefused};

VirtualServerState& server_of(const ForwardContext& context, const Connection& connection) {
  return context.runtime->virtual_servers[connection.virtual_server];
}

void count(VirtualServerState& server, std::atomic<uint64_t> CommitCounts::*which) {
  (server.commit.*which).fetch_add(1, relaxed);
}

// Whether it was set.
bool clear(Connection* connection, uint32_t bit) { return (connection->control.fetch_and(~bit, acq_rel) & bit) != 0; }

// The client may hear of it though the peer may not have it. It is told (again), so that it may become protected.
void leave_unprotected(const ForwardContext& context, Connection* connection) {
  // Counted first, so that nobody who clears the bit counts down below nothing.
  std::atomic<uint32_t>& unprotected = server_of(context, *connection).commit.unprotected;
  unprotected.fetch_add(1, relaxed);
  uint32_t control = connection->control.load(relaxed), after;
  do {
    after = (control & ~Control::kCommitting) | Control::kUnprotected;
  } while ((control & Control::kDead) == 0 &&
           !connection->control.compare_exchange_weak(control, after, acq_rel, relaxed));
  if ((control & (Control::kDead | Control::kUnprotected)) != 0) unprotected.fetch_sub(1, relaxed);
  mark_change(context, *connection);
}

void protect(const ForwardContext& context, Connection* connection) {
  if (clear(connection, Control::kUnprotected))
    server_of(context, *connection).commit.unprotected.fetch_sub(1, relaxed);
}

// What the policy says when a handshake cannot be made sure. True: it goes on, unprotected.
bool goes_on(const ForwardContext& context, const MirrorRule& rule, const Reason& reason, Connection* connection) {
  count(server_of(context, *connection), reason.of_server);
  if (!rule.strict) {
    leave_unprotected(context, connection);
    return true;
  }
  context.counters->add(reason.drop);
  // What was refused may fit when the client asks again.
  if (reason.drop == Drop::kHoldRefused) mark_change(context, *connection);
  return false;
}

// Whether this packet must not go on before the peer has its connection.
enum class Wait : uint8_t { kNo, kHold, kDrop };
Wait wait_of(const Frame& frame, const wire::Packet& packet, bool from_client, bool direct) {
  if (packet.kind != wire::PacketKind::kTcp || (packet.tcp_flags & wire::kRst) != 0) return Wait::kNo;
  const bool syn = (packet.tcp_flags & wire::kSyn) != 0;
  if (!from_client) return syn ? Wait::kHold : Wait::kDrop;
  if (!syn) return direct ? Wait::kDrop : Wait::kNo;
  const auto& tcp = wire::header_in<wire::TcpHeader>(frame.data, packet.transport);
  const bool has_data = packet.transport + 4u * (tcp.data_offset >> 4) < packet.end;
  return direct || has_data ? Wait::kHold : Wait::kNo;
}

std::optional<Verdict> hold(Burst& burst, const Frame& frame, const MirrorRule& rule, Connection* connection) {
  const ForwardContext& context = burst.context;
  const Nanos deadline = context.now + rule.timeout_ms * kMillisecond;
  const HoldQueue::Status status =
      context.held == nullptr ? HoldQueue::Status::kRefused
                              : context.held->hold(place_of(*context.table, *connection), frame, context.now, deadline);
  switch (status) {
    case HoldQueue::Status::kHeld:
      context.counters->add(Count::kHeldForPeer);
      count(server_of(context, *connection), &CommitCounts::held);
      return Verdict::held();
    case HoldQueue::Status::kReplaced:
      // The frame that stood there is the one that goes no further.
      return drop(burst, Drop::kHoldReplaced);
    case HoldQueue::Status::kRefused:
      break;
  }
  if (goes_on(context, rule, kNoRoom, connection)) return std::nullopt;
  return Verdict::dropped(Drop::kHoldFull);
}

std::optional<Verdict> await_commit(Burst& burst, const Frame& frame, const wire::Packet& packet, bool from_client,
                                    Connection* connection) {
  const ForwardContext& context = burst.context;
  const MirrorRule rule = server_of(context, *connection).mirror.load(relaxed);
  if (rule.mode != MirrorMode::kCommit) {
    clear(connection, Control::kCommitting);
    return std::nullopt;
  }
  const bool direct = (connection->control.load(relaxed) & Control::kDirect) != 0;
  const Wait wait = wait_of(frame, packet, from_client, direct);
  if (wait == Wait::kNo) return std::nullopt;
  switch (context.mirror->told(*connection)) {
    case Told::kConfirmed:
      if (clear(connection, Control::kCommitting) && context.held != nullptr) context.held->note_latency(0);
      return std::nullopt;
    case Told::kRefused:
      if (goes_on(context, rule, kRefused, connection)) return std::nullopt;
      return Verdict::dropped(Drop::kHoldRefused);
    case Told::kWaits:
      break;
  }
  if (wait == Wait::kDrop) return drop(burst, Drop::kBehindHeld);
  return hold(burst, frame, rule, connection);
}

bool is_young(const ForwardContext& context, const Connection& connection, Youth youth) {
  return !youth.is_over(server_of(context, connection).mirror.load(relaxed), to_deciseconds(context.now));
}

void grow_up(const ForwardContext& context, Connection* connection) {
  if (clear(connection, Control::kYoung)) mark_change(context, *connection);
}

}  // namespace

std::optional<uint32_t> begin_mirroring(const ForwardContext& context, const wire::Packet& packet,
                                        const VirtualServer& server, TcpState state, Drop* why) {
  VirtualServerState& counted = context.runtime->virtual_servers[server.id];
  const MirrorRule rule = counted.mirror.load(relaxed);
  if (rule.mode == MirrorMode::kAsync && rule.waits()) return Control::kYoung;
  // What is adopted has a client that knows it already.
  if (rule.mode != MirrorMode::kCommit || packet.kind != wire::PacketKind::kTcp || state != TcpState::kSynSent)
    return 0;
  const bool ready = context.runtime->commit_wanted.load(relaxed);
  if (ready && context.runtime->commit_paces[context.worker].take(context.now)) return Control::kCommitting;
  const Reason& reason = ready ? kTooFast : kNoPeer;
  if (rule.strict) {
    count(counted, reason.of_server);
    *why = reason.drop;
    return std::nullopt;
  }
  count(counted, reason.of_server);
  return Control::kUnprotected;
}

std::optional<Verdict> await_peer(Burst& burst, const Frame& frame, const wire::Packet& packet, bool from_client,
                                  Connection* connection) {
  const ForwardContext& context = burst.context;
  const uint32_t control = connection->control.load(relaxed);
  if ((control & Control::kYoung) != 0) {
    const Youth youth = Youth::of(connection->early.load(relaxed)).with(frame.bytes);
    connection->early.store(youth.word(), relaxed);
    if (!is_young(context, *connection, youth)) grow_up(context, connection);
  }
  if ((control & Control::kUnprotected) != 0 && context.mirror->told(*connection) == Told::kConfirmed)
    protect(context, connection);
  if ((control & Control::kCommitting) == 0) return std::nullopt;
  return await_commit(burst, frame, packet, from_client, connection);
}

size_t take_held(const ForwardContext& context, Frame* frames) {
  if (context.held == nullptr) return 0;
  const uint32_t news = context.mirror->news();
  if (!context.held->is_due(news, context.now)) return 0;
  return context.held->look_through(news, frames, kBurst, [&context](const HoldQueue::Held& held) {
    Connection* connection = context.table->at(held.connection.slot);
    const bool open = connection != nullptr && (connection->control.load(relaxed) & Control::kDead) == 0;
    if (!open || place_of(*context.table, *connection) != held.connection) {
      context.counters->add(Drop::kHoldClosed);
      return Judgement::kDrop;
    }
    VirtualServerState& server = server_of(context, *connection);
    const MirrorRule rule = server.mirror.load(relaxed);
    const Told told = context.mirror->told(*connection);
    const bool over = rule.mode != MirrorMode::kCommit || told == Told::kConfirmed ||
                      (connection->control.load(relaxed) & Control::kCommitting) == 0;
    if (over) {
      clear(connection, Control::kCommitting);
      context.held->note_latency(latency_bucket(context.now - held.since));
      count(server, &CommitCounts::released);
      return Judgement::kGo;
    }
    const bool refused = told == Told::kRefused;
    if (!refused && context.now < held.deadline) return Judgement::kWait;
    return goes_on(context, rule, refused ? kRefused : kTimeout, connection) ? Judgement::kGo : Judgement::kDrop;
  });
}

void settle_mirroring(const ForwardContext& context, Connection* connection) {
  const uint32_t control = connection->control.load(relaxed);
  if ((control & Control::kYoung) != 0 && !is_young(context, *connection, Youth::of(connection->early.load(relaxed))))
    grow_up(context, connection);
  if ((control & Control::kUnprotected) != 0 &&
      ((control & Control::kFromPeer) != 0 || context.mirror->told(*connection) == Told::kConfirmed))
    protect(context, connection);
}

}  // namespace tandem
