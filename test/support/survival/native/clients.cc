// Plays the clients of up to four million TCP connections to a virtual server, and says what became of each.
//
//   clients interface=NAME address4=IP address6=IP port=PORT mac4=MAC mac6=MAC capacity=N
//
// The virtual addresses, and the MAC addresses that they answer at. Each line on standard input is a command, a word
// and KEY=VALUE words; each is answered by one line of JSON when it is done. Ends with its input. Times are nanoseconds
// on CLOCK_MONOTONIC.
//
//   open run=N connections=N perS=N newPerS=N probesPerS=N   opens `connections`; when these are open, answers, and
//   from
//       then on opens new ones, sends probes (a message on any connection, once) and streams (connections 0 and 3, a
//       message each millisecond)
//   mark                          silences and counts of what is lost begin anew
//   silence                       since the mark
//   verify before=NS perS=N       sends a message on every connection whose SYN-ACK arrived before that instant, and
//       again by a schedule; answers when each is answered or given up
//   close perS=N                  ends everything by FIN; answers when no FIN has come for a while
#include <poll.h>
#include <sys/prctl.h>

#include <cstdio>
#include <iterator>

#include "connections.h"
#include "pace.h"
#include "silence.h"

namespace survival {
namespace {

unsigned long long as_printed(uint64_t value) { return value; }

// A message each millisecond, whether the last was answered or not: what a path's silence is measured by.
class Stream {
 public:
  explicit Stream(uint32_t index) : index_(index), seen_(kMessagesMax) {}
  uint32_t index() const { return index_; }
  uint32_t sent() const { return sent_; }
  const Silence& silence() const { return silence_; }
  void begin_run() {
    sent_ = marked_ = 1;
    silence_.forget();
    std::fill(seen_.begin(), seen_.end(), false);
  }
  void send(Connections* connections) {
    const State state = connections->at(index_).state;
    if (sent_ < kMessagesMax && state == State::kEstablished) connections->send_message(index_, sent_++);
  }
  void answered(uint32_t number, int64_t at_ns) {
    if (number >= sent_ || seen_[number]) return;
    seen_[number] = true;
    silence_.arrived(at_ns);
  }
  void mark() {
    marked_ = sent_;
    silence_.mark();
  }
  // Since the mark, the last 300 not counted: their answers may be under way.
  uint32_t lost() const {
    uint32_t count = 0;
    for (uint32_t i = marked_; i + 300 < sent_; ++i) count += !seen_[i];
    return count;
  }

 private:
  // Ten minutes of them; then it is silent.
  static constexpr uint32_t kMessagesMax = 600'000;
  // Message 0 is the greeting.
  uint32_t index_, sent_ = 1, marked_ = 1;
  std::vector<bool> seen_;
  Silence silence_;
};

// Of connections that were established before the fault, by how long before it our ACK had been sent. Two kinds come
// first: our ACK had not been sent, or nothing had come back behind it, so it may be lost on its way to the pair.
struct Ages {
  static constexpr int64_t kBelowNs[] = {0, 0, 1 * kMs, 2 * kMs, 10 * kMs, 100 * kMs, INT64_MAX};
  static constexpr const char* kNames[] = {"notAcked",  "unanswered", "below1Ms", "below2Ms",
                                           "below10Ms", "below100Ms", "older"};
  static constexpr size_t kKinds = std::size(kBelowNs);
  static constexpr size_t kUnanswered = 1;
  uint64_t all[kKinds] = {}, lost[kKinds] = {};

  void add(int64_t age_ns, bool was_answered, bool is_lost) {
    size_t kind = age_ns < 0 ? 0 : kUnanswered;
    while (was_answered && age_ns >= kBelowNs[kind]) ++kind;
    ++all[kind];
    lost[kind] += is_lost;
  }
};

class Clients {
 public:
  explicit Clients(const wire::Options& options) : connections_(options) {}

  int descriptor() { return connections_.socket().descriptor(); }
  bool is_idle() const { return job_ == Job::kNone && !streaming_.runs(); }

  void command(const std::string& line) {
    const wire::Options options(line);
    const std::string word = line.substr(0, line.find(' '));
    const int64_t now_ns = monotonic_ns();
    if (job_ != Job::kNone) {
      std::puts("{\"error\":\"a command is under way\"}");
    } else if (word == "open") {
      open(options, now_ns);
    } else if (word == "mark") {
      mark();
      std::printf("{\"nowNs\":%lld}\n", static_cast<long long>(now_ns));
    } else if (word == "silence") {
      std::printf("{%s}\n", told_silence().c_str());
    } else if (word == "verify") {
      before_ns_ = std::stoll(options.text("before"));
      begin(Job::kVerify, options, now_ns);
      probing_.end();
      begins_ns_ = now_ns + kProbesQuietNs;
      last_ = connections_.opened();
    } else if (word == "close") {
      for (Pace* pace : {&opening_, &probing_, &streaming_}) pace->end();
      begin(Job::kClose, options, now_ns);
      last_ = connections_.opened();
    } else {
      std::puts("{\"error\":\"no such command\"}");
    }
    std::fflush(stdout);
  }

  void work() {
    connections_.receive([this](int64_t at_ns) { arrived(at_ns); },
                         [this](uint32_t index, uint32_t number, int64_t at_ns) {
                           for (Stream& stream : streams_) {
                             if (stream.index() == index) stream.answered(number, at_ns);
                           }
                         });
    // Our ACKs first: a connection's age begins with them.
    connections_.flush();
    const int64_t now_ns = monotonic_ns();
    for (uint32_t due = opening_.due(now_ns); due > 0 && may_open(); --due) connections_.open(now_ns);
    for (uint32_t due = streaming_.due(now_ns); due > 0; --due) {
      for (Stream& stream : streams_) stream.send(&connections_);
    }
    for (uint32_t due = probing_.due(now_ns); due > 0; --due) probe(now_ns);
    work_at_job(now_ns);
    connections_.send_again(now_ns);
    connections_.flush();
  }

 private:
  enum class Job { kNone, kOpen, kVerify, kClose };
  static constexpr int64_t kProbesQuietNs = 300 * kMs, kClosingQuietNs = 300 * kMs;

  void begin(Job job, const wire::Options& options, int64_t now_ns) {
    job_ = job;
    next_ = 0;
    begins_ns_ = now_ns;
    per_s_ = options.number("perS");
    pace_.begin(per_s_, now_ns);
  }

  void open(const wire::Options& options, int64_t now_ns) {
    connections_.begin_run(options.count("run"));
    for (Stream& stream : streams_) stream.begin_run();
    arrivals_.forget();
    for (Pace* pace : {&probing_, &streaming_}) pace->end();
    begin(Job::kOpen, options, now_ns);
    opening_.begin(options.number("perS"), now_ns);
    last_ = options.count("connections");
    new_per_s_ = options.number("newPerS");
    probes_per_s_ = options.number("probesPerS");
  }

  void mark() {
    arrivals_.mark();
    for (Stream& stream : streams_) stream.mark();
    marked_ = connections_.counts();
  }

  void arrived(int64_t at_ns) {
    arrivals_.arrived(at_ns);
    arrived_ns_ = at_ns;
  }

  bool is_stream(uint32_t index) const { return index == streams_[0].index() || index == streams_[1].index(); }

  // Around all connections, a few that cannot be asked passed over.
  void probe(int64_t now_ns) {
    for (int tries = 0; tries < 64; ++tries) {
      probed_ = probed_ + 1 < connections_.opened() ? probed_ + 1 : 0;
      if (!is_stream(probed_) && connections_.probe(probed_, now_ns)) return;
    }
  }

  void work_at_job(int64_t now_ns) {
    switch (job_) {
      case Job::kNone:
        return;
      case Job::kOpen:
        return work_at_opening(now_ns);
      case Job::kVerify:
        return work_at_verifying(now_ns);
      case Job::kClose:
        return work_at_closing(now_ns);
    }
  }

  /** While the first ones are opened, not one more than was asked for, however late this program got its turn. */
  bool may_open() const {
    return !connections_.is_full() && (job_ != Job::kOpen || connections_.opened() < last_);
  }

  void work_at_opening(int64_t now_ns) {
    if (connections_.opened() < last_) return;
    if (opening_.runs() && connections_.opened() >= last_) opening_.end();
    const Counts& counts = connections_.counts();
    if (counts.established + counts.refused + counts.rsts_of_units + counts.rsts_of_members < connections_.opened()) {
      return;
    }
    opening_.begin(new_per_s_, now_ns);
    probing_.begin(probes_per_s_, now_ns);
    streaming_.begin(1000, now_ns);
    mark();
    job_ = Job::kNone;
    std::printf("{\"established\":%llu,\"refused\":%llu,\"tookMs\":%.0f}\n", as_printed(counts.established),
                as_printed(counts.refused), static_cast<double>(now_ns - begins_ns_) / 1e6);
    std::fflush(stdout);
  }

  bool was_established(const Connection& connection) const {
    return connection.syn_ack_ns != 0 && connection.syn_ack_ns < before_ns_;
  }

  void work_at_verifying(int64_t now_ns) {
    if (now_ns < begins_ns_) return pace_.begin(per_s_, now_ns);
    for (uint32_t due = pace_.due(now_ns); due > 0 && next_ < last_ && !connections_.is_busy(); ++next_) {
      const Connection& connection = connections_.at(next_);
      if (is_stream(next_) || !was_established(connection) || connection.state != State::kEstablished) continue;
      if (connection.asked == Asked::kGivenUp) continue;
      connections_.verify(next_, now_ns);
      --due;
    }
    if (next_ < last_ || connections_.verifying() > 0) return;
    job_ = Job::kNone;
    tell_verified();
  }

  void work_at_closing(int64_t now_ns) {
    for (uint32_t due = pace_.due(now_ns); due > 0 && next_ < last_; --due, ++next_) {
      connections_.close(next_, is_stream(next_) ? streams_[next_ == streams_[1].index()].sent() : 0);
      begins_ns_ = now_ns;
    }
    if (next_ < last_ || now_ns < std::max(begins_ns_, arrived_ns_) + kClosingQuietNs) return;
    uint64_t closed = 0;
    for (uint32_t i = 0; i < last_; ++i) closed += connections_.at(i).state == State::kClosed;
    job_ = Job::kNone;
    std::printf("{\"closed\":%llu,\"of\":%u}\n", as_printed(closed), last_);
    std::fflush(stdout);
  }

  std::string told_silence() const {
    char text[512];
    int bytes = std::snprintf(text, sizeof text, "\"silenceMs\":%.3f,\"silentFromNs\":%lld,\"streams\":[",
                              arrivals_.longest_ms(), static_cast<long long>(arrivals_.from_ns()));
    for (const Stream& stream : streams_) {
      bytes += std::snprintf(text + bytes, sizeof text - static_cast<size_t>(bytes),
                             "%s{\"sent\":%u,\"lost\":%u,\"silenceMs\":%.3f,\"silentFromNs\":%lld}",
                             stream.index() == streams_[0].index() ? "" : ",", stream.sent(), stream.lost(),
                             stream.silence().longest_ms(), static_cast<long long>(stream.silence().from_ns()));
    }
    return std::string(text) + "]";
  }

  void tell_verified() {
    Ages ages;
    uint64_t survived = 0, reset = 0, hung = 0, corrupt = 0, established6 = 0, last10 = 0, opened = 0, new_open = 0;
    uint64_t established = 0, lost6 = 0;
    int64_t oldest_ns = 0, first_new_ns = 0;
    for (uint32_t i = 0; i < connections_.opened(); ++i) {
      const Connection& connection = connections_.at(i);
      corrupt += connection.corrupt;
      if (!was_established(connection)) {
        ++opened;
        if (connection.syn_ack_ns == 0) continue;
        ++new_open;
        if (first_new_ns == 0 || connection.syn_ack_ns < first_new_ns) first_new_ns = connection.syn_ack_ns;
        continue;
      }
      last10 += connection.syn_ack_ns >= before_ns_ - 10 * kMs;
      if (is_stream(i)) continue;
      ++established;
      const bool lost = connection.asked != Asked::kSurvived || connection.corrupt || connection.state == State::kReset;
      reset += connection.state == State::kReset;
      hung += lost && connection.state != State::kReset && !connection.corrupt;
      survived += !lost;
      established6 += Connections::family(i) == 6;
      lost6 += lost && Connections::family(i) == 6;
      const bool acked = connection.acked_ns != 0 && connection.acked_ns < before_ns_;
      const bool answered = acked && connection.greeted_ns != 0 && connection.greeted_ns < before_ns_;
      ages.add(acked ? before_ns_ - connection.acked_ns : -1, answered, lost);
      if (lost && answered) oldest_ns = std::max(oldest_ns, before_ns_ - connection.acked_ns);
    }
    const Counts& counts = connections_.counts();
    std::printf("{\"established\":%llu,\"established6\":%llu,\"survived\":%llu,\"hung\":%llu,\"reset\":%llu,",
                as_printed(established), as_printed(established6), as_printed(survived), as_printed(hung),
                as_printed(reset));
    std::printf("\"lost6\":%llu,\"corrupt\":%llu,\"synAcksLast10Ms\":%llu,\"oldestLostMs\":%.3f,\"ages\":{",
                as_printed(lost6), as_printed(corrupt), as_printed(last10), static_cast<double>(oldest_ns) / 1e6);
    for (size_t i = 0; i < Ages::kKinds; ++i) {
      std::printf("%s\"%s\":{\"established\":%llu,\"lost\":%llu}", i == 0 ? "" : ",", Ages::kNames[i],
                  as_printed(ages.all[i]), as_printed(ages.lost[i]));
    }
    std::printf("},\"newOpened\":%llu,\"newEstablished\":%llu,\"firstNewAtNs\":%lld,", as_printed(opened),
                as_printed(new_open), static_cast<long long>(first_new_ns));
    std::printf("\"rstsOfUnits\":%llu,\"rstsOfMembers\":%llu,\"unexpected\":%llu,\"badChecksums\":%llu,",
                as_printed(counts.rsts_of_units - marked_.rsts_of_units),
                as_printed(counts.rsts_of_members - marked_.rsts_of_members),
                as_printed(counts.unexpected - marked_.unexpected),
                as_printed(counts.bad_checksums - marked_.bad_checksums));
    std::printf("\"probes\":%llu,\"probesLost\":%llu,\"lostFrames\":%llu,%s}\n",
                as_printed(counts.probes - marked_.probes), as_printed(counts.probes_lost - marked_.probes_lost),
                as_printed(connections_.socket().losses()), told_silence().c_str());
    std::fflush(stdout);
  }

  Connections connections_;
  Stream streams_[2] = {Stream(0), Stream(3)};
  Silence arrivals_;
  Counts marked_;
  Pace opening_, probing_, streaming_, pace_;
  Job job_ = Job::kNone;
  double per_s_ = 0, new_per_s_ = 0, probes_per_s_ = 0;
  uint32_t next_ = 0, last_ = 0, probed_ = 0;
  int64_t begins_ns_ = 0, before_ns_ = 0, arrived_ns_ = 0;
};

// Once each quarter of a millisecond, or when frames come.
void play(Clients* clients) {
  prctl(PR_SET_TIMERSLACK, 1);
  be_preferred();
  std::puts("{}");
  std::fflush(stdout);
  std::string input;
  for (;;) {
    pollfd watched[] = {{clients->descriptor(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const timespec quarter = {0, 250'000};
    if (ppoll(watched, 2, clients->is_idle() ? nullptr : &quarter, nullptr) < 0 && errno != EINTR) wire::fail("ppoll");
    if (watched[1].revents != 0) {
      char text[4096];
      const ssize_t bytes = read(STDIN_FILENO, text, sizeof text);
      if (bytes <= 0) return;
      input.append(text, static_cast<size_t>(bytes));
      for (size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
        clients->command(input.substr(0, end));
      }
    }
    clients->work();
  }
}

}  // namespace
}  // namespace survival

int main(int count, char** arguments) {
  std::string words;
  for (int i = 1; i < count; ++i) words += std::string(arguments[i]) + " ";
  survival::Clients clients{wire::Options(words)};
  survival::play(&clients);
  return 0;
}
