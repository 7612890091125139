// Small sockets that node lacks. For the failover process: whole frames out (announcements), IPv6 adverts in. For
// the service manager: a datagram to a unix socket.
//
// raw-socket cannot read an IPv6 hop limit, and an advert without 255 there must not be believed
// (RFC 9568 section 5.1.2.3); hence Ipv6AdvertSocket. Adverts are delivered on the event loop.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "addon.h"
#include "address_text.h"
#include "device/packet_interface.h"

namespace tandem {
namespace {

constexpr int kProtocolVrrp = 112;
constexpr size_t kAdvertBytesMax = 2048;
// Adverts read in one turn of the event loop, so that a flood does not starve it.
constexpr int kAdvertsPerTurn = 64;

std::optional<std::string> interface_argument(const Napi::CallbackInfo& info, const char* where) {
  if (info[0].IsString()) return info[0].As<Napi::String>().Utf8Value();
  throw_type_error(info.Env(), std::string(where) + ": the first argument must be an interface name");
  return std::nullopt;
}

class FrameSender final : public Napi::ObjectWrap<FrameSender> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("FrameSender", DefineClass(env, "FrameSender",
                                           {
                                               InstanceMethod<&FrameSender::send>("send"),
                                               InstanceMethod<&FrameSender::close>("close"),
                                               InstanceAccessor<&FrameSender::mac>("mac"),
                                           }));
  }

  explicit FrameSender(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FrameSender>(info) {
    const auto name = interface_argument(info, "FrameSender");
    if (!name) return;
    SystemError error = interface_.open(*name, "");
    if (!error.failed()) socket_ = open_packet_socket(*name, interface_.index(), &error);
    if (error.failed()) throw_system_error(info.Env(), "FrameSender", error);
  }

  ~FrameSender() override { shut(); }

 private:
  void send(const Napi::CallbackInfo& info) {
    const auto frame = octets_of(info, 0, "send");
    if (!frame) return;
    if (socket_ < 0) return throw_system_error(info.Env(), "send", {"EBADF", "the sender is closed"});
    if (::send(socket_, frame->data, frame->bytes, MSG_DONTWAIT) < 0) {
      throw_system_error(info.Env(), "send", system_error("frame on " + interface_.name(), ""));
    }
  }

  void close(const Napi::CallbackInfo&) { shut(); }
  Napi::Value mac(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), mac_text(interface_.mac())); }

  void shut() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    interface_.close();
  }

  PacketInterface interface_;
  int socket_ = -1;
};

int open_advert_socket(const std::string& name, SystemError* error) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) {
    *error = system_error("interface " + name + " in this network namespace", "");
    return -1;
  }
  const int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, kProtocolVrrp);
  if (fd < 0) {
    *error = system_error("raw socket for VRRP over IPv6");
    return -1;
  }
  ipv6_mreq group{};
  inet_pton(AF_INET6, "ff02::12", &group.ipv6mr_multiaddr);  // RFC 9568 section 5.1.2.2
  group.ipv6mr_interface = index;
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.c_str(), static_cast<socklen_t>(name.size() + 1)) != 0 ||
      setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on) != 0 ||
      setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0 ||
      setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group) != 0) {
    *error = system_error("receiving VRRP over IPv6 on " + name);
    ::close(fd);
    return -1;
  }
  return fd;
}

// Lives until libuv has let go of the handle, which may be after the JavaScript object is gone.
struct AdvertPoll {
  uv_poll_t handle;
  int fd;
};

class Ipv6AdvertSocket final : public Napi::ObjectWrap<Ipv6AdvertSocket> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("Ipv6AdvertSocket",
                DefineClass(env, "Ipv6AdvertSocket", {InstanceMethod<&Ipv6AdvertSocket::close>("close")}));
  }

  explicit Ipv6AdvertSocket(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Ipv6AdvertSocket>(info), context_(info.Env(), "Ipv6AdvertSocket") {
    const auto name = interface_argument(info, "Ipv6AdvertSocket");
    if (!name) return;
    if (!info[1].IsFunction()) {
      throw_type_error(info.Env(), "Ipv6AdvertSocket: onAdvert must be a function");
      return;
    }
    SystemError error;
    const int fd = open_advert_socket(*name, &error);
    if (fd >= 0) error = watch(fd);
    if (error.failed()) {
      throw_system_error(info.Env(), "Ipv6AdvertSocket", error);
      return;
    }
    callback_ = Napi::Persistent(info[1].As<Napi::Function>());
    napi_add_env_cleanup_hook(info.Env(), at_exit, this);
    // While the socket is open, the object is reachable from the event loop only.
    Ref();
  }

  ~Ipv6AdvertSocket() override { shut(); }

 private:
  static void at_exit(void* self) { static_cast<Ipv6AdvertSocket*>(self)->shut(); }

  void close(const Napi::CallbackInfo&) {
    if (poll_ == nullptr) return;
    shut();
    Unref();
  }

  SystemError watch(int fd) {
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(Env(), &loop);
    poll_ = new AdvertPoll{{}, fd};
    if (loop == nullptr || uv_poll_init(loop, &poll_->handle, fd) != 0) {
      ::close(fd);
      delete poll_;
      poll_ = nullptr;
      return request_error("the event loop refuses the socket");
    }
    poll_->handle.data = this;
    uv_poll_start(&poll_->handle, UV_READABLE,
                  [](uv_poll_t* handle, int, int) { static_cast<Ipv6AdvertSocket*>(handle->data)->readable(); });
    return {};
  }

  void shut() {
    if (poll_ == nullptr) return;
    napi_remove_env_cleanup_hook(Env(), at_exit, this);
    uv_poll_stop(&poll_->handle);
    ::close(poll_->fd);
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_->handle),
             [](uv_handle_t* handle) { delete reinterpret_cast<AdvertPoll*>(handle); });
    poll_ = nullptr;
  }

  void readable() {
    const Napi::HandleScope scope(Env());
    for (int i = 0; i < kAdvertsPerTurn && poll_ != nullptr; i++) {
      if (!read_one()) return;
    }
  }

  bool read_one() {
    uint8_t message[kAdvertBytesMax];
    alignas(cmsghdr) char control[256];
    sockaddr_in6 source{};
    iovec piece{message, sizeof message};
    msghdr header{};
    header.msg_name = &source;
    header.msg_namelen = sizeof source;
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t bytes = recvmsg(poll_->fd, &header, MSG_DONTWAIT);
    if (bytes < 0) return errno == EINTR;  // a link that went down: its error is read off with this call

    int hop_limit = -1;
    Address destination{6, {}};
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_level != IPPROTO_IPV6) continue;
      if (part->cmsg_type == IPV6_HOPLIMIT) std::memcpy(&hop_limit, CMSG_DATA(part), sizeof hop_limit);
      if (part->cmsg_type == IPV6_PKTINFO) std::memcpy(destination.octets, CMSG_DATA(part), 16);
    }
    Address from{6, {}};
    std::memcpy(from.octets, &source.sin6_addr, 16);
    deliver(message, static_cast<size_t>(bytes), from, destination, hop_limit);
    return true;
  }

  void deliver(const uint8_t* message, size_t bytes, const Address& source, const Address& destination, int hop_limit) {
    const Napi::Env env = Env();
    Napi::Uint8Array copy = Napi::Uint8Array::New(env, bytes);
    std::memcpy(copy.Data(), message, bytes);
    Napi::Object advert = Napi::Object::New(env);
    advert.Set("message", copy);
    advert.Set("source", address_text(source));
    advert.Set("destination", address_text(destination));
    advert.Set("hopLimit", hop_limit);
    callback_.MakeCallback(env.Global(), {advert}, context_);
    // As an exception of any other callback: it reaches 'uncaughtException'.
    if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
  }

  Napi::AsyncContext context_;
  Napi::FunctionReference callback_;
  AdvertPoll* poll_ = nullptr;
};

// sendDatagram(path, text): one datagram to a unix socket; a path that begins with @ is an abstract address (unix(7)).
void send_datagram(const Napi::CallbackInfo& info) {
  if (!info[0].IsString() || !info[1].IsString()) {
    return throw_type_error(info.Env(), "sendDatagram: the arguments must be a path and a text");
  }
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  const std::string text = info[1].As<Napi::String>().Utf8Value();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return throw_system_error(info.Env(), "sendDatagram", {"ENAMETOOLONG", "a socket's path has 1 to 107 octets"});
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  socklen_t bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (path[0] == '@') {
    address.sun_path[0] = '\0';
  } else {
    bytes++;  // the terminating zero
  }
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_system_error(info.Env(), "sendDatagram", system_error("unix socket", ""));
  const ssize_t sent = sendto(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), bytes);
  const SystemError error = sent < 0 ? system_error("datagram to " + path, "") : SystemError{};
  ::close(fd);
  if (error.failed()) throw_system_error(info.Env(), "sendDatagram", error);
}

// socketPeer(fd): who connected to a unix socket, as the kernel noted it then (unix(7), SO_PEERCRED).
Napi::Value socket_peer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto fd = integer_of(info, 0, 0, INT32_MAX, "socketPeer", "fd");
  if (!fd) return env.Undefined();
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(static_cast<int>(*fd), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) {
    throw_system_error(env, "socketPeer", system_error("unix socket", ""));
    return env.Undefined();
  }
  Napi::Object found = Napi::Object::New(env);
  found.Set("pid", peer.pid);
  found.Set("uid", peer.uid);
  return found;
}

}  // namespace

void export_sockets(Napi::Env env, Napi::Object exports) {
  exports.Set("sendDatagram", Napi::Function::New<send_datagram>(env, "sendDatagram"));
  exports.Set("socketPeer", Napi::Function::New<socket_peer>(env, "socketPeer"));
  FrameSender::define(env, exports);
  Ipv6AdvertSocket::define(env, exports);
}

}  // namespace tandem
