#include "bench/relay.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "bench/process.hpp"

namespace taskmill::bench {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void no_delay(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Relay::Relay(int target_port, double delay_s)
    : target_port_(target_port),
      delay_s_(delay_s),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      buffer_(1U << 20) {
  auto address = loopback(0);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), raw, length) != 0 || ::listen(listener_.get(), 1024) != 0 ||
      ::getsockname(listener_.get(), raw, &length) != 0) {
    fail("the relay cannot listen on loopback");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { run(); });
}

Relay::~Relay() {
  stop_ = true;
  thread_.join();
}

void Relay::accept() {
  auto pair = std::make_unique<Pair>();
  pair->near.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!pair->near) return;
  pair->far.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = loopback(target_port_);
  if (::connect(pair->far.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return;
  no_delay(pair->near.get());
  no_delay(pair->far.get());
  pair->out = {.from = pair->near.get(), .to = pair->far.get()};
  pair->back = {.from = pair->far.get(), .to = pair->near.get()};
  pairs_.push_back(std::move(pair));
}

bool Relay::take(Way& way, double now) {
  while (!way.ended && way.on_road < window) {
    const auto got = ::recv(way.from, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    way.road.push_back({now + delay_s_, std::string(buffer_.data(), static_cast<std::size_t>(got))});
    way.on_road += static_cast<std::size_t>(got);
    way.ended = got == 0;  // an empty parcel carries the end
  }
  return true;
}

bool Relay::deliver(Way& way, double now) {
  while (!way.road.empty() && way.road.front().due <= now) {
    auto& parcel = way.road.front();
    if (parcel.bytes.empty()) {
      ::shutdown(way.to, SHUT_WR);
      way.closed = true;
      way.road.pop_front();
      continue;
    }
    const auto sent =
        ::send(way.to, parcel.bytes.data() + way.sent, parcel.bytes.size() - way.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    way.sent += static_cast<std::size_t>(sent);
    way.on_road -= static_cast<std::size_t>(sent);
    if (way.sent < parcel.bytes.size()) return true;
    way.sent = 0;
    way.road.pop_front();
  }
  return true;
}

void Relay::run() {
  std::vector<pollfd> waits;
  while (!stop_) {
    waits.assign(1, {.fd = listener_.get(), .events = POLLIN, .revents = 0});
    double next = now_s() + 0.1;
    for (const auto& pair : pairs_) {
      for (const auto* way : {&pair->out, &pair->back}) {
        if (!way->ended && way->on_road < window) waits.push_back({.fd = way->from, .events = POLLIN, .revents = 0});
        if (way->road.empty()) continue;
        // What is due and still here waits for room.
        if (way->road.front().due <= now_s()) waits.push_back({.fd = way->to, .events = POLLOUT, .revents = 0});
        next = std::min(next, std::max(way->road.front().due, now_s() + 0.0002));
      }
    }
    const timespec wait{.tv_sec = 0, .tv_nsec = static_cast<long>(std::max(0.0, next - now_s()) * 1e9)};
    ::ppoll(waits.data(), waits.size(), &wait, nullptr);
    if (waits.front().revents != 0) accept();
    const double now = now_s();
    std::erase_if(pairs_, [&](const std::unique_ptr<Pair>& pair) {
      const bool alive =
          take(pair->out, now) && take(pair->back, now) && deliver(pair->out, now_s()) && deliver(pair->back, now_s());
      return !alive || (pair->out.closed && pair->back.closed);
    });
  }
}

std::string netem_problem() {
  const Scratch scratch;
  const auto log = scratch.path("netem.log");
  Program probe({"/usr/bin/env", "unshare", "-Urn", "sh", "-c",
                 "ip link set lo up && tc qdisc add dev lo root netem delay 20ms && echo works"},
                log);
  probe.wait(5);
  std::ifstream in(log);
  std::string line;
  std::getline(in, line);
  return line == "works" ? std::string() : line.empty() ? "no answer" : line;
}

}  // namespace taskmill::bench
