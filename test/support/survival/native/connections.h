// The clients' ends of many TCP connections: who they are, what they have seen, and when something is sent again. Each
// connection says 16 octets at a time and wants exactly these back, the first time right behind its handshake: the far
// end remembers nothing, so it is the client that mends a lost ACK. Memory is bounded by `capacity`. One thread.
//
// A connection is number i. Its source address is the i % 64th, every fourth an IPv6 one, its port 1024 + i / 64; so an
// answer is found without a search. `run` is part of the address: two runs share no connection.
#pragma once

#include <deque>
#include <vector>

#include "segment.h"

namespace survival {

inline constexpr uint32_t kAddresses = 64, kFirstPort = 1024;
inline constexpr uint32_t kCapacityMax = kAddresses * (65'536 - kFirstPort);
inline constexpr size_t kMessageBytes = 16;
inline constexpr int64_t kMs = 1'000'000;

enum class State : uint8_t { kUnused, kSynSent, kEstablished, kRefused, kReset, kClosing, kClosed };
enum class Asked : uint8_t { kNothing, kGreeted, kProbed, kVerified, kSurvived, kGivenUp };

struct Connection {
  int64_t syn_ack_ns;  // when its first SYN-ACK arrived, 0: never
  int64_t acked_ns;    // when our ACK of that was handed to the interface
  int64_t greeted_ns;  // when its first message was answered, 0: never
  uint32_t server_isn;
  uint32_t answered;  // messages
  State state;
  Asked asked;
  bool asked_again;
  bool corrupt;  // something came back that was not what it said
};
static_assert(sizeof(Connection) == 40);

struct Counts {
  uint64_t syns = 0, established = 0, refused = 0;
  uint64_t rsts_of_members = 0, rsts_of_units = 0;
  uint64_t probes = 0, probes_answered = 0, probes_lost = 0;
  uint64_t bad_checksums = 0, unexpected = 0;
};

// What waits to be sent again, in the order of its times: one queue for each number of times it was sent.
template <size_t kTimes>
class Schedule {
 public:
  explicit constexpr Schedule(std::array<int64_t, kTimes> waits_ns) : waits_ns_(waits_ns) {}
  // `sent` is at least 1.
  void add(uint32_t index, uint8_t sent, int64_t now_ns) {
    queues_[sent - 1].push_back({now_ns + waits_ns_[sent - 1], index});
  }
  // Calls `each(index, sent)` where the wait is over.
  template <typename Each>
  void take_due(int64_t now_ns, Each&& each) {
    for (size_t i = 0; i < kTimes; ++i) {
      while (!queues_[i].empty() && queues_[i].front().at_ns <= now_ns) {
        const uint32_t index = queues_[i].front().index;
        queues_[i].pop_front();
        each(index, static_cast<uint8_t>(i + 1));
      }
    }
  }
  void clear() {
    for (auto& queue : queues_) queue.clear();
  }
  static constexpr uint8_t times() { return kTimes; }

 private:
  struct Entry {
    int64_t at_ns;
    uint32_t index;
  };
  std::array<int64_t, kTimes> waits_ns_;
  std::array<std::deque<Entry>, kTimes> queues_;
};

class Connections {
 public:
  explicit Connections(const wire::Options& options)
      : socket_(options.text("interface")),
        virtual_addresses_{address_of(options.text("address4")), address_of(options.text("address6"))},
        virtual_macs_{mac_of(options.text("mac4")), mac_of(options.text("mac6"))},
        port_(static_cast<uint16_t>(options.count("port"))),
        connections_(options.count("capacity")) {
    if (connections_.empty() || connections_.size() > kCapacityMax) {
      errno = ERANGE;
      wire::fail("capacity");
    }
  }

  PacketSocket& socket() { return socket_; }
  const Counts& counts() const { return counts_; }
  uint32_t opened() const { return opened_; }
  bool is_full() const { return opened_ == connections_.size(); }
  const Connection& at(uint32_t index) const { return connections_[index]; }
  static uint8_t family(uint32_t index) { return index % 4 == 3 ? 6 : 4; }

  // Forgets everything.
  void begin_run(uint32_t run) {
    run_ = run;
    opened_ = verifying_ = asked_once_ = 0;
    counts_ = {};
    std::fill(connections_.begin(), connections_.end(), Connection{});
    syn_schedule_.clear();
    greet_schedule_.clear();
    verify_schedule_.clear();
    probes_.clear();
    newly_acked_.clear();
  }

  uint32_t open(int64_t now_ns) {
    const uint32_t index = opened_++;
    Connection& connection = connections_[index];
    connection.state = State::kSynSent;
    ++counts_.syns;
    send(index, tandem::wire::kSyn, client_isn(index), 0);
    syn_schedule_.add(index, 1, now_ns);
    return index;
  }

  // One message that is sent once; unanswered after two seconds it counts as lost. False if something waits already.
  bool probe(uint32_t index, int64_t now_ns) {
    Connection& connection = connections_[index];
    if (connection.state != State::kEstablished || connection.asked != Asked::kNothing) return false;
    connection.asked = Asked::kProbed;
    ++counts_.probes;
    send_message(index, connection.answered);
    probes_.push_back({now_ns + kProbeWaitNs, index, connection.answered});
    return true;
  }

  // One message that is sent again until it is answered or its schedule is over. A probe that waits still is lost.
  void verify(uint32_t index, int64_t now_ns) {
    Connection& connection = connections_[index];
    if (connection.asked == Asked::kProbed) ++counts_.probes_lost;
    connection.asked = Asked::kVerified;
    send_message(index, connection.answered);
    verify_schedule_.add(index, 1, now_ns);
    ++verifying_;
    ++asked_once_;
  }
  uint32_t verifying() const { return verifying_; }
  // Whether so many wait for their first answer that to ask more would be a flood.
  bool is_busy() const { return asked_once_ >= kAskedOnceMax; }

  // Message `number` of a connection that asks without waiting for answers.
  void send_message(uint32_t index, uint32_t number) {
    uint8_t message[kMessageBytes];
    write_message(index, number, message);
    send(index, tandem::wire::kAck | kPush, client_isn(index) + 1 + number * kMessageBytes,
         connections_[index].server_isn + 1 + number * kMessageBytes, message, sizeof message);
  }

  // Our FIN, behind `streamed` messages or what was asked by itself; the server's comes with its ACK.
  void close(uint32_t index, uint32_t streamed) {
    Connection& connection = connections_[index];
    if (connection.state != State::kEstablished) return;
    connection.state = State::kClosing;
    const bool waits = connection.asked != Asked::kNothing && connection.asked != Asked::kSurvived;
    const uint32_t said = std::max(streamed, connection.answered + waits);
    const uint32_t heard = std::max(streamed, connection.answered);
    send(index, tandem::wire::kFin | tandem::wire::kAck, client_isn(index) + 1 + said * kMessageBytes,
         connection.server_isn + 1 + heard * kMessageBytes);
  }

  // `came(at_ns)` for every segment of a connection, RSTs included; `streamed(index, number, at_ns)` for answers that
  // nobody waits for.
  template <typename Came, typename Streamed>
  void receive(Came&& came, Streamed&& streamed) {
    socket_.receive([&](const Received& received) {
      Segment segment;
      const ReadResult result = read_segment(received, &segment);
      if (result == ReadResult::kBadChecksum) ++counts_.bad_checksums;
      uint32_t index;
      if (result != ReadResult::kSegment || !find(segment, &index)) return;
      came(received.at_ns);
      take(index, segment, received.at_ns, streamed);
    });
  }

  void send_again(int64_t now_ns) {
    syn_schedule_.take_due(now_ns, [&](uint32_t index, uint8_t sent) {
      Connection& connection = connections_[index];
      if (connection.state != State::kSynSent) return;
      if (sent == syn_schedule_.times()) {
        connection.state = State::kRefused;
        ++counts_.refused;
        return;
      }
      send(index, tandem::wire::kSyn, client_isn(index), 0);
      syn_schedule_.add(index, static_cast<uint8_t>(sent + 1), now_ns);
    });
    greet_schedule_.take_due(now_ns, [&](uint32_t index, uint8_t sent) {
      Connection& connection = connections_[index];
      if (connection.asked != Asked::kGreeted || connection.state != State::kEstablished) return;
      if (sent == greet_schedule_.times()) {
        connection.asked = Asked::kNothing;
        return;
      }
      send_message(index, connection.answered);
      greet_schedule_.add(index, static_cast<uint8_t>(sent + 1), now_ns);
    });
    verify_schedule_.take_due(now_ns, [&](uint32_t index, uint8_t sent) {
      Connection& connection = connections_[index];
      if (connection.asked != Asked::kVerified || connection.state != State::kEstablished) return;
      if (sent == 1) --asked_once_;
      connection.asked_again = true;
      if (sent == verify_schedule_.times()) {
        connection.asked = Asked::kGivenUp;
        --verifying_;
        return;
      }
      send_message(index, connection.answered);
      verify_schedule_.add(index, static_cast<uint8_t>(sent + 1), now_ns);
    });
    for (; !probes_.empty() && probes_.front().at_ns <= now_ns; probes_.pop_front()) {
      const Connection& connection = connections_[probes_.front().index];
      const bool waits = connection.answered == probes_.front().number && connection.asked == Asked::kProbed;
      if (waits) ++counts_.probes_lost;
    }
  }

  void flush() {
    socket_.flush();
    if (newly_acked_.empty()) return;
    const int64_t now_ns = monotonic_ns();
    for (const uint32_t index : newly_acked_) connections_[index].acked_ns = now_ns;
    newly_acked_.clear();
  }

 private:
  static constexpr int64_t kProbeWaitNs = 2'000 * kMs;
  static constexpr uint32_t kAskedOnceMax = 2048;

  bool find(const Segment& segment, uint32_t* index) const {
    const bool six = segment.family == 6;
    if (segment.from_port != port_ || segment.from != virtual_addresses_[six]) return false;
    const uint32_t host = segment.to[six ? 15 : 3] - 1u;
    if (host >= kAddresses || segment.to_port < kFirstPort) return false;
    *index = (segment.to_port - kFirstPort) * kAddresses + host;
    return *index < opened_ && segment.to == source(*index);
  }

  // 10.64.0.0/10 and fd64::/96: `run` in the middle, 1 to 64 in the last octet.
  Address source(uint32_t index) const {
    const auto host = static_cast<uint8_t>(index % kAddresses + 1);
    const auto run_high = static_cast<uint8_t>(run_ >> 8 & 0x3f), run_low = static_cast<uint8_t>(run_);
    if (family(index) == 4) return {10, static_cast<uint8_t>(64 | run_high), run_low, host};
    return {0xfd, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, run_high, run_low, 0, host};
  }

  uint32_t client_isn(uint32_t index) const { return static_cast<uint32_t>(mix(uint64_t{run_} << 32 | index)); }

  void write_message(uint32_t index, uint32_t number, uint8_t* message) const {
    const uint64_t token = mix(mix(uint64_t{run_} << 32 | index) ^ number);
    const uint64_t halves[2] = {token, mix(token)};
    std::memcpy(message, halves, kMessageBytes);
  }

  void send(uint32_t index, uint8_t flags, uint32_t sequence, uint32_t acknowledgment, const uint8_t* data = nullptr,
            size_t bytes = 0) {
    const uint8_t version = family(index);
    const Segment segment = {virtual_macs_[version == 6],
                             socket_.mac(),
                             version,
                             source(index),
                             virtual_addresses_[version == 6],
                             static_cast<uint16_t>(kFirstPort + index / kAddresses),
                             port_,
                             sequence,
                             acknowledgment,
                             flags,
                             kWindow,
                             data,
                             bytes};
    socket_.commit(write_segment(segment, socket_.next_frame()));
  }

  // RFC 9293 section 3.10.7, as far as far ends that echo need it.
  template <typename Streamed>
  void take(uint32_t index, const Segment& segment, int64_t at_ns, Streamed&& streamed) {
    Connection& connection = connections_[index];
    if ((segment.flags & tandem::wire::kRst) != 0) return take_reset(index, segment);
    if ((segment.flags & tandem::wire::kSyn) != 0) return take_syn_ack(index, segment, at_ns);
    if (connection.state == State::kSynSent || connection.state == State::kRefused) return;
    if (segment.bytes > 0) take_data(index, segment, at_ns, streamed);
    if ((segment.flags & tandem::wire::kFin) == 0) return;
    if (connection.state == State::kClosing) connection.state = State::kClosed;
    if (connection.state != State::kClosed) {
      ++counts_.unexpected;
      return;
    }
    send(index, tandem::wire::kAck, segment.acknowledgment,
         segment.sequence + static_cast<uint32_t>(segment.bytes) + 1);
  }

  void take_reset(uint32_t index, const Segment& segment) {
    Connection& connection = connections_[index];
    ++(segment.window == kMembersRst ? counts_.rsts_of_members : counts_.rsts_of_units);
    if (connection.state != State::kSynSent && connection.state != State::kEstablished) return;
    if (connection.state == State::kEstablished && connection.asked == Asked::kVerified) end_verifying(connection);
    connection.state = State::kReset;
  }

  void take_syn_ack(uint32_t index, const Segment& segment, int64_t at_ns) {
    Connection& connection = connections_[index];
    if (segment.acknowledgment != client_isn(index) + 1) {
      ++counts_.unexpected;
      return;
    }
    if (connection.state == State::kSynSent) {
      connection.state = State::kEstablished;
      connection.syn_ack_ns = at_ns;
      connection.server_isn = segment.sequence;
      ++counts_.established;
      newly_acked_.push_back(index);
      send(index, tandem::wire::kAck, client_isn(index) + 1, connection.server_isn + 1);
      connection.asked = Asked::kGreeted;
      send_message(index, 0);
      greet_schedule_.add(index, 1, at_ns);
      return;
    }
    if (connection.state != State::kEstablished || connection.server_isn != segment.sequence) {
      ++counts_.unexpected;
      return;
    }
    send(index, tandem::wire::kAck, client_isn(index) + 1, connection.server_isn + 1);
  }

  void end_verifying(const Connection& connection) {
    --verifying_;
    if (!connection.asked_again) --asked_once_;
  }

  template <typename Streamed>
  void take_data(uint32_t index, const Segment& segment, int64_t at_ns, Streamed&& streamed) {
    Connection& connection = connections_[index];
    const uint32_t octets = segment.sequence - connection.server_isn - 1;
    const uint32_t number = octets / kMessageBytes;
    uint8_t expected[kMessageBytes];
    write_message(index, number, expected);
    const bool right = octets % kMessageBytes == 0 && segment.bytes == kMessageBytes &&
                       segment.acknowledgment == client_isn(index) + 1 + (number + 1) * kMessageBytes &&
                       std::memcmp(segment.data, expected, kMessageBytes) == 0;
    if (!right) {
      connection.corrupt = true;
      return;
    }
    const bool waits = number == connection.answered && connection.state == State::kEstablished;
    if (waits && connection.asked == Asked::kGreeted) {
      connection.greeted_ns = at_ns;
      connection.asked = Asked::kNothing;
    } else if (waits && connection.asked == Asked::kProbed) {
      ++counts_.probes_answered;
      connection.asked = Asked::kNothing;
    } else if (waits && connection.asked == Asked::kVerified) {
      end_verifying(connection);
      connection.asked = Asked::kSurvived;
    } else {
      // A stream's, or it came twice, or too late.
      return streamed(index, number, at_ns);
    }
    ++connection.answered;
  }

  PacketSocket socket_;
  Address virtual_addresses_[2];
  Mac virtual_macs_[2];
  uint16_t port_;
  uint32_t run_ = 0, opened_ = 0, verifying_ = 0, asked_once_ = 0;
  std::vector<Connection> connections_;
  std::vector<uint32_t> newly_acked_;
  Counts counts_;
  // A SYN at 0, 1 and 2 s (RFC 6298 section 2.1), data at 0, 0.2, 0.6, 1.4 and 3 s: Linux's least timeout, doubled.
  Schedule<3> syn_schedule_{{1'000 * kMs, 1'000 * kMs, 2'000 * kMs}};
  static constexpr std::array<int64_t, 5> kDataWaitsNs = {200 * kMs, 400 * kMs, 800 * kMs, 1'600 * kMs, 1'600 * kMs};
  Schedule<5> greet_schedule_{kDataWaitsNs}, verify_schedule_{kDataWaitsNs};
  struct Probe {
    int64_t at_ns;
    uint32_t index, number;
  };
  std::deque<Probe> probes_;
};

}  // namespace survival
