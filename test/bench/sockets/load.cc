// Clients and servers with real sockets: how many connections a second, how many bits a second.
//
//   load serve HANDSHAKE_PORT BULK_PORT
//   load handshakes ADDRESS PORT CONCURRENT SECONDS SOURCE...
//   load bulk ADDRESS PORT STREAMS SECONDS SOURCE...
//   load times ADDRESS PORT COUNT PAUSE SOURCE...
//
// A handshake: connect, one octet there, one octet back, RST (no TIME_WAIT anywhere). Bulk: the server sends zeros as
// fast as they are taken. Times: how long connect() takes, one after the other, so many seconds apart. Each is one
// thread; a client prints one JSON object. The first tenth of the time is not counted.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr size_t kPiece = 256 * 1024;
char piece[kPiece];

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
  std::_Exit(1);
}

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

sockaddr_in address_of(const char* text, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) fail(text);
  return address;
}

class Poll {
 public:
  void watch(int socket, uint32_t events, uint64_t tag) { control(EPOLL_CTL_ADD, socket, events, tag); }
  void change(int socket, uint32_t events, uint64_t tag) { control(EPOLL_CTL_MOD, socket, events, tag); }
  template <typename Each>
  void wait(int milliseconds, Each&& each) {
    epoll_event events[256];
    const int count = epoll_wait(poll_, events, 256, milliseconds);
    for (int i = 0; i < count; ++i) each(events[i].data.u64, events[i].events);
  }

 private:
  void control(int operation, int socket, uint32_t events, uint64_t tag) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = tag;
    if (epoll_ctl(poll_, operation, socket, &event) != 0) fail("epoll_ctl");
  }
  int poll_ = epoll_create1(EPOLL_CLOEXEC);
};

// A tag is a socket and what it is.
enum Kind : uint64_t { kAccepts, kAcceptsBulk, kHandshake, kBulk };
uint64_t tag(int socket, Kind kind) { return static_cast<uint64_t>(socket) << 8 | kind; }
int socket_of(uint64_t tag) { return static_cast<int>(tag >> 8); }
Kind kind_of(uint64_t tag) { return static_cast<Kind>(tag & 0xff); }

void reset(int socket) {
  const linger at_once = {1, 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(socket);
}

void listen_on(Poll* poll, int port, Kind kind) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const sockaddr_in address = address_of("0.0.0.0", port);
  if (bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
  if (listen(socket, 16384) != 0) fail("listen");
  poll->watch(socket, EPOLLIN, tag(socket, kind));
}

void serve(int handshake_port, int bulk_port) {
  Poll poll;
  listen_on(&poll, handshake_port, kAccepts);
  listen_on(&poll, bulk_port, kAcceptsBulk);
  std::puts("{}");
  std::fflush(stdout);
  for (;;) {
    poll.wait(-1, [&](uint64_t tagged, uint32_t) {
      const int socket = socket_of(tagged);
      const Kind kind = kind_of(tagged);
      if (kind == kAccepts || kind == kAcceptsBulk) {
        const Kind accepted = kind == kAccepts ? kHandshake : kBulk;
        for (int one; (one = accept4(socket, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
          poll.watch(one, accepted == kBulk ? EPOLLOUT : EPOLLIN, tag(one, accepted));
        }
      } else if (kind == kBulk) {
        if (write(socket, piece, kPiece) < 0 && errno != EAGAIN) close(socket);
      } else {
        char octets[16];
        if (read(socket, octets, sizeof octets) <= 0 || write(socket, "y", 1) != 1) reset(socket);
      }
    });
  }
}

struct Client {
  sockaddr_in to;
  std::vector<sockaddr_in> sources;
  size_t next = 0;

  // Ports are chosen when it connects, so that each destination has all of them.
  int connect_one(int flags = SOCK_NONBLOCK) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | flags, 0);
    if (socket < 0) fail("socket");
    const int yes = 1;
    setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    const sockaddr_in& source = sources[next++ % sources.size()];
    if (bind(socket, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) fail("bind");
    if (connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
      fail("connect");
    }
    return socket;
  }
};

// What was counted since the first tenth of the time was over.
class Tally {
 public:
  explicit Tally(double seconds) : start_(now() + seconds / 10), end_(now() + seconds) {}
  // Longer where nothing was done yet: others may keep the machine busy.
  bool going() const { return now() < end_ || (sum_ == 0 && now() < end_ + 20); }
  void add(double amount) {
    if (now() >= start_) sum_ += amount;
  }
  double rate() const { return sum_ / (now() - start_); }

 private:
  double start_, end_, sum_ = 0;
};

void handshakes(Client client, int concurrent, double seconds) {
  Poll poll;
  const auto begin = [&] {
    const int socket = client.connect_one();
    poll.watch(socket, EPOLLOUT, tag(socket, kHandshake));
  };
  Tally tally(seconds);
  unsigned long failed = 0;
  for (int i = 0; i < concurrent; ++i) begin();
  while (tally.going()) {
    poll.wait(10, [&](uint64_t tagged, uint32_t events) {
      const int socket = socket_of(tagged);
      char octets[16];
      if ((events & (EPOLLERR | EPOLLHUP)) == 0 && (events & EPOLLOUT) != 0 && write(socket, "x", 1) == 1) {
        return poll.change(socket, EPOLLIN, tagged);
      }
      if ((events & EPOLLERR) == 0 && read(socket, octets, sizeof octets) == 1) {
        tally.add(1);
      } else {
        ++failed;
      }
      reset(socket);
      begin();
    });
  }
  std::printf("{\"perSecond\":%.1f,\"failed\":%lu}\n", tally.rate(), failed);
}

void bulk(Client client, int streams, double seconds) {
  Poll poll;
  for (int i = 0; i < streams; ++i) {
    const int socket = client.connect_one();
    poll.watch(socket, EPOLLIN, tag(socket, kBulk));
  }
  Tally tally(seconds);
  unsigned long failed = 0;
  while (tally.going()) {
    poll.wait(10, [&](uint64_t tagged, uint32_t) {
      const ssize_t count = read(socket_of(tagged), piece, kPiece);
      if (count > 0) return tally.add(8.0 * static_cast<double>(count));
      if (count < 0 && errno == EAGAIN) return;
      ++failed;
      close(socket_of(tagged));
    });
  }
  std::printf("{\"perSecond\":%.1f,\"failed\":%lu}\n", tally.rate(), failed);
}

void times(Client client, int count, double pause) {
  std::vector<double> took;
  for (int i = 0; i < count; ++i) {
    const double start = now();
    const int socket = client.connect_one(0);
    took.push_back(now() - start);
    reset(socket);
    usleep(static_cast<useconds_t>(pause * 1e6));
  }
  std::sort(took.begin(), took.end());
  const auto at = [&](double share) { return took[static_cast<size_t>(share * static_cast<double>(count - 1))] * 1e6; };
  std::printf("{\"p50Us\":%.1f,\"p99Us\":%.1f}\n", at(0.5), at(0.99));
}

}  // namespace

int main(int count, char** arguments) {
  signal(SIGPIPE, SIG_IGN);
  const rlimit many = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &many);
  const std::string what = count > 1 ? arguments[1] : "";
  if (what == "serve" && count == 4) {
    serve(std::atoi(arguments[2]), std::atoi(arguments[3]));
  } else if ((what == "handshakes" || what == "bulk" || what == "times") && count > 6) {
    Client client = {address_of(arguments[2], std::atoi(arguments[3])), {}};
    for (int i = 6; i < count; ++i) client.sources.push_back(address_of(arguments[i], 0));
    (what == "bulk"    ? bulk
     : what == "times" ? times
                       : handshakes)(client, std::atoi(arguments[4]), std::atof(arguments[5]));
  } else {
    errno = EINVAL;
    fail("serve, handshakes, bulk or times");
  }
  return 0;
}
