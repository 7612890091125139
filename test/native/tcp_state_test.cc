// TCP as rows: what was seen, and the state it leaves.
#include "../../native/tcp_state.h"

#include "test.h"

using namespace tandem;

namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16;

struct Segment {
  char from;  // 'c': client, 'm': member
  uint8_t flags;
};

TcpState after(TcpState state, std::initializer_list<Segment> segments) {
  for (const Segment& segment : segments) state = advance_tcp(state, segment.from == 'c', segment.flags);
  return state;
}

constexpr auto kStart = TcpState::kSynSent;
constexpr auto kOpen = TcpState::kEstablished;

}  // namespace

TEST(tcp_a_handshake_establishes) {
  CHECK_EQ(after(kStart, {{'c', kSyn}}), TcpState::kSynSent);
  CHECK_EQ(after(kStart, {{'m', kSyn | kAck}}), TcpState::kSynReceived);
  CHECK_EQ(after(kStart, {{'m', kSyn | kAck}, {'m', kSyn | kAck}}), TcpState::kSynReceived);
  CHECK_EQ(after(kStart, {{'m', kSyn | kAck}, {'c', kAck}}), TcpState::kEstablished);
  CHECK_EQ(after(kStart, {{'m', kSyn | kAck}, {'c', kAck | kPsh}}), TcpState::kEstablished);
}

TEST(tcp_an_ack_before_the_member_answered_establishes_nothing) {
  CHECK_EQ(after(kStart, {{'c', kAck}}), TcpState::kSynSent);
  CHECK_EQ(after(kStart, {{'m', kAck}}), TcpState::kSynSent);
  CHECK_EQ(after(kStart, {{'c', kFin | kAck}}), TcpState::kSynSent);
}

TEST(tcp_closes_when_both_sides_have_sent_a_fin) {
  CHECK_EQ(after(kOpen, {{'c', kFin | kAck}}), TcpState::kFinClient);
  CHECK_EQ(after(kOpen, {{'m', kFin | kAck}}), TcpState::kFinServer);
  CHECK_EQ(after(kOpen, {{'c', kFin | kAck}, {'m', kFin | kAck}, {'c', kAck}}), TcpState::kClosing);
  CHECK_EQ(after(kOpen, {{'m', kFin | kAck}, {'c', kFin | kAck}, {'m', kAck}}), TcpState::kClosing);
  CHECK_EQ(after(kOpen, {{'c', kFin | kAck}, {'c', kFin | kAck}}), TcpState::kFinClient);
}

TEST(tcp_a_half_closed_connection_still_carries_data_the_other_way) {
  CHECK_EQ(after(kOpen, {{'c', kFin | kAck}, {'m', kAck | kPsh}, {'c', kAck}}), TcpState::kFinClient);
  CHECK_EQ(after(kOpen, {{'m', kFin | kAck}, {'c', kAck | kPsh}, {'m', kAck}}), TcpState::kFinServer);
}

TEST(tcp_a_blind_rst_or_fin_is_taken_back_by_later_traffic) {
  CHECK_EQ(after(kOpen, {{'c', kRst}}), TcpState::kReset);
  CHECK_EQ(after(kOpen, {{'m', kRst | kAck}}), TcpState::kReset);
  CHECK_EQ(after(kOpen, {{'c', kRst}, {'c', kAck}}), TcpState::kEstablished);
  CHECK_EQ(after(kOpen, {{'c', kRst}, {'m', kAck | kPsh}}), TcpState::kEstablished);
  CHECK_EQ(after(kOpen, {{'c', kFin}, {'c', kAck | kPsh}}), TcpState::kEstablished);
  CHECK_EQ(after(kOpen, {{'c', kFin}, {'m', kFin}, {'c', kAck | kPsh}}), TcpState::kFinServer);
}

TEST(tcp_a_real_reset_stands_in_the_end) {
  // Data in flight restores the connection for a moment; the end that was reset answers it with another RST.
  CHECK_EQ(after(kOpen, {{'c', kRst}, {'m', kAck | kPsh}, {'c', kRst}}), TcpState::kReset);
}

TEST(tcp_a_rst_does_not_open_a_closed_connection_again) {
  CHECK_EQ(after(TcpState::kClosing, {{'c', kRst}, {'m', kAck}}), TcpState::kClosing);
}

TEST(tcp_a_syn_changes_no_open_connection) {
  // RFC 5961 section 4: the end answers with a challenge ACK.
  for (const TcpState state : {TcpState::kEstablished, TcpState::kFinClient, TcpState::kFinServer}) {
    CHECK_EQ(after(state, {{'c', kSyn}}), state);
    CHECK(!may_reopen(state));
  }
  CHECK(may_reopen(TcpState::kClosing));
}

TEST(tcp_a_blind_rst_and_syn_cut_no_connection) {
  CHECK(!may_reopen(after(kOpen, {{'c', kRst}})));
  CHECK_EQ(after(kOpen, {{'c', kRst}, {'c', kSyn}, {'m', kAck}}), TcpState::kEstablished);
}

TEST(tcp_a_tuple_that_was_reset_is_opened_again_on_the_same_member) {
  CHECK_EQ(after(kOpen, {{'c', kRst}, {'c', kSyn}, {'m', kSyn | kAck}, {'c', kAck}}), TcpState::kEstablished);
}

TEST(tcp_every_state_and_flag_leads_to_a_state) {
  for (uint8_t state = 0; state < kTcpStates; ++state) {
    for (unsigned flags = 0; flags < 256; ++flags) {
      for (const bool from_client : {true, false}) {
        const TcpState next = advance_tcp(static_cast<TcpState>(state), from_client, static_cast<uint8_t>(flags));
        CHECK(static_cast<uint8_t>(next) < kTcpStates);
      }
    }
  }
}

TEST(tcp_idle_timeouts_follow_the_state) {
  const IdleTimeouts timeouts{1, 2, 3, 4, 5};
  const Deciseconds of_state[kTcpStates] = {1, 1, 2, 3, 3, 4, 4, 1};
  for (uint8_t state = 0; state < kTcpStates; ++state) {
    CHECK_EQ(timeouts.of(6, static_cast<TcpState>(state)), of_state[state]);
    CHECK_EQ(timeouts.of(17, static_cast<TcpState>(state)), 5u);
  }
}

namespace {

// Of a client whose member answers past us.
TcpState alone(TcpState state, std::initializer_list<uint8_t> segments) {
  for (const uint8_t flags : segments) state = advance_tcp(state, true, flags, true);
  return state;
}

}  // namespace

TEST(tcp_of_one_side_is_established_by_the_ack_behind_the_syn) {
  CHECK_EQ(alone(kStart, {kSyn}), TcpState::kSynSent);
  CHECK_EQ(alone(kStart, {kSyn, kSyn}), TcpState::kSynSent);
  CHECK_EQ(alone(kStart, {kAck}), TcpState::kEstablished);
  CHECK_EQ(alone(kStart, {kAck | kPsh}), TcpState::kEstablished);
}

TEST(tcp_of_one_side_is_half_closed_by_a_fin_and_not_closed) {
  CHECK_EQ(alone(kOpen, {kFin | kAck}), TcpState::kFinClient);
  CHECK_EQ(alone(kOpen, {kFin | kAck, kAck, kAck}), TcpState::kFinClient);
  CHECK_EQ(alone(kOpen, {kFin | kAck, kAck | kPsh}), TcpState::kEstablished);
  CHECK(!may_reopen(alone(kOpen, {kFin | kAck, kAck})));
}

TEST(tcp_of_one_side_begins_anew_with_a_syn_after_its_end) {
  CHECK_EQ(alone(kOpen, {kSyn}), TcpState::kEstablished);
  CHECK_EQ(alone(kOpen, {kFin | kAck, kSyn}), TcpState::kSynSent);
  CHECK_EQ(alone(kOpen, {kRst, kSyn, kAck}), TcpState::kEstablished);
}

TEST(tcp_of_one_side_is_not_cut_by_a_reset) {
  CHECK_EQ(alone(kOpen, {kRst}), TcpState::kReset);
  CHECK_EQ(alone(kOpen, {kRst, kAck}), TcpState::kEstablished);
  CHECK_EQ(alone(kOpen, {kRst, kFin | kAck}), TcpState::kFinClient);
}
