#include "bench/sim_workers.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string_view>

#include "bench/process.hpp"
#include "common/base/text.hpp"
#include "protocol/auth_machine.hpp"

namespace taskmill::bench {

struct SimWorkers::Peer {
  os::UniqueFd fd;
  int id = 0;
  bool served = false;
  bool announced = false;  ///< available_results sent, not asked for yet
  bool in_task = false;
  bool skip_lf = false;  ///< the LF behind an `env` body
  int directory_depth = 0;
  std::uint64_t skip = 0;  ///< bytes of a body to drop
  std::int64_t task = 0;
  double announced_at = 0;
  std::vector<std::int64_t> finished;
  std::string in;
  struct Segment {
    std::string text{};
    std::uint64_t zeros = 0;
    std::size_t sent = 0;
  };
  std::deque<Segment> out;
  bool waits_for_room = false;
  bool deaf = false;
  aio::SslPtr tls;
  bool secured = true;
  std::unique_ptr<protocol::AuthMachine> auth;

  // Both as recv() and send() of a socket that does not block.
  ssize_t take(char* data, std::size_t room) const {
    if (!tls) return ::recv(fd.get(), data, room, 0);
    return of_tls(::SSL_read(tls.get(), data, static_cast<int>(room)));
  }
  ssize_t give(const char* data, std::size_t length) const {
    if (!tls) return ::send(fd.get(), data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    return of_tls(::SSL_write(tls.get(), data, static_cast<int>(std::min<std::size_t>(length, 1U << 30))));
  }
  ssize_t of_tls(int result) const {
    if (result > 0) return result;
    const int why = ::SSL_get_error(tls.get(), result);
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
  }

  void say(std::string_view text) {
    if (out.empty() || out.back().zeros > 0) out.emplace_back();
    out.back().text += text;
  }
};

struct SimWorkers::Held {
  double due = 0;
  Peer* peer = nullptr;
  std::deque<Peer::Segment> out{};
};

SimWorkers::SimWorkers(SimWorkersConfig config)
    : config_(std::move(config)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(256U << 10),
      zeros_(256U << 10, '\0') {
  if (!config_.tls) return;
  auto context = aio::make_client_context({});
  if (!context.has_value()) fail(context.error().text);
  tls_ = std::move(*context);
}

SimWorkers::~SimWorkers() = default;

namespace {

std::string registration(const SimWorkersConfig& config, int id) {
  const std::string cores = std::to_string(config.cores);
  const std::string large = std::to_string(config.cores * 1000);
  return "workqueue " + std::to_string(config.version) + " sim" + std::to_string(id) +
         " Linux x86_64 8.0.0\ninfo worker-id worker-" + std::to_string(id) +
         "\nalive\nresource workers 1 1 1\nresource disk " + large + ' ' + large + ' ' + large + "\nresource memory " +
         large + ' ' + large + ' ' + large + "\nresource gpus 0 0 0\nresource cores " + cores + ' ' + cores + ' ' +
         cores + "\nresource tag 0\n" + (config.feature.empty() ? "" : "feature " + config.feature + "\n") +
         "info end_of_resource_update 0\ninfo tasks_running 0\ninfo worker-end-time 0\n";
}

/// 63 letters that differ from worker to worker.
std::string challenge_of(int id) {
  std::string letters(63, 'a');
  for (std::size_t i = 0; id > 0; id /= 26, ++i) letters[i] = static_cast<char>('a' + id % 26);
  return letters;
}

std::uint64_t number(std::string_view& rest) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, parse_int(next_token(rest)).value_or(0)));
}

}  // namespace

void SimWorkers::connect() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(config_.port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect_at_ = now_s();
  for (int id = 0; id < config_.workers; ++id) {
    auto peer = std::make_unique<Peer>();
    peer->id = id;
    peer->fd.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!peer->fd) fail(std::string("socket: ") + std::strerror(errno) + " (raise ulimit -n)");
    const int on = 1;
    ::setsockopt(peer->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int status = ::connect(peer->fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (status != 0 && errno != EINPROGRESS) fail(std::string("connect: ") + std::strerror(errno));
    if (config_.password.empty()) {
      peer->say(registration(config_, id));
    } else {
      peer->auth =
          std::make_unique<protocol::AuthMachine>(protocol::AuthRole::connecting, config_.password, challenge_of(id));
      std::string line;
      peer->auth->start(line);
      peer->say(line);
    }
    if (tls_) {
      peer->tls = aio::make_client_ssl(*tls_, "127.0.0.1", {});
      peer->secured = false;
      ::SSL_set_mode(peer->tls.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
      ::SSL_set_fd(peer->tls.get(), peer->fd.get());
    }
    peer->waits_for_room = true;
    epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.ptr = peer.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, peer->fd.get(), &event);
    peers_.push_back(std::move(peer));
    ++connected_;
  }
}

void SimWorkers::run(double seconds, const std::function<bool()>& done) {
  const double end = now_s() + seconds;
  epoll_event events[256];
  while (connected_ > 0 && now_s() < end) {
    const int count = ::epoll_wait(epoll_.get(), events, 256, held_.empty() ? 100 : 1);
    release_held();
    for (int i = 0; i < count; ++i) handle(*static_cast<Peer*>(events[i].data.ptr), events[i].events);
    if (config_.stop_after > 0 && done_ >= config_.stop_after) return;
    if (done && done()) return;
  }
}

bool SimWorkers::secure(Peer& peer) {
  const int result = ::SSL_do_handshake(peer.tls.get());
  peer.secured = result == 1;
  if (peer.secured) {
    send(peer);
    return peer.fd.get() >= 0;
  }
  const int why = ::SSL_get_error(peer.tls.get(), result);
  if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
    drop(peer);
    return false;
  }
  const bool write = why == SSL_ERROR_WANT_WRITE;
  peer.waits_for_room = true;
  epoll_event event{.events = write ? std::uint32_t{EPOLLOUT} : std::uint32_t{EPOLLIN}, .data = {.ptr = &peer}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, peer.fd.get(), &event);
  return false;
}

void SimWorkers::handle(Peer& peer, std::uint32_t events) {
  if (!peer.fd) return;
  if (!peer.secured && !secure(peer)) return;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(peer);
  if (peer.fd && (events & EPOLLOUT) != 0) send(peer);
}

void SimWorkers::drop(Peer& peer) {
  peer.fd.reset();
  --connected_;
}

void SimWorkers::receive(Peer& peer) {
  for (int round = 0; round < 16 && !peer.deaf; ++round) {
    const bool body = peer.skip > 0 && !peer.tls;
    const std::size_t room = body ? std::min<std::uint64_t>(peer.skip, 4U << 20) : buffer_.size();
    const auto got = body ? ::recv(peer.fd.get(), nullptr, room, MSG_TRUNC) : peer.take(buffer_.data(), room);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got <= 0) return drop(peer);
    bytes_in_ += static_cast<std::uint64_t>(got);
    if (body) {
      peer.skip -= static_cast<std::uint64_t>(got);
      continue;
    }
    peer.in.append(buffer_.data(), static_cast<std::size_t>(got));
    consume(peer);
    if (!peer.fd) return;
    if (static_cast<std::size_t>(got) < room && !peer.tls) break;
  }
  answer(peer);
}

void SimWorkers::answer(Peer& peer) {
  if (peer.out.empty()) return;
  if (config_.round_trip_s <= 0 || !peer.served) return send(peer);
  held_.push_back({.due = now_s() + config_.round_trip_s, .peer = &peer, .out = std::exchange(peer.out, {})});
}

void SimWorkers::release_held() {
  while (!held_.empty() && held_.front().due <= now_s()) {
    Held held = std::move(held_.front());
    held_.pop_front();
    for (auto& segment : held.out) held.peer->out.push_back(std::move(segment));
    if (held.peer->fd) send(*held.peer);
  }
}

void SimWorkers::consume(Peer& peer) {
  std::string_view rest = peer.in;
  while (!rest.empty()) {
    if (peer.skip > 0) {
      const auto count = std::min<std::uint64_t>(peer.skip, rest.size());
      peer.skip -= count;
      rest.remove_prefix(count);
      continue;
    }
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) break;
    const auto text = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (std::exchange(peer.skip_lf, false)) continue;
    if (!line(peer, text)) return drop(peer);
  }
  peer.in.erase(0, peer.in.size() - rest.size());
}

bool SimWorkers::line(Peer& peer, std::string_view text) {
  if (peer.auth) return greet(peer, text);
  const auto verb = next_token(text);
  if (peer.in_task) return task_line(peer, verb, text);
  if (verb == "task") {
    peer.in_task = true;
    peer.task = parse_int(next_token(text)).value_or(0);
  } else if (verb == "put" || verb == "symlink") {
    next_token(text);
    peer.skip = number(text);
    if (config_.deaf_above > 0 && peer.skip > config_.deaf_above) {
      ++deaf_;
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.fd.get(), nullptr);
      peer.deaf = true;
    }
  } else if (verb == "dir") {
    ++peer.directory_depth;
  } else if (verb == "end") {
    --peer.directory_depth;
  } else if (verb == "send_results") {
    answer_results(peer);
  } else if (verb == "get") {
    answer_get(peer, next_token(text));
  } else if (verb == "check") {
    peer.say("alive\ninfo tasks_running 0\n");
  } else {
    return verb == "kill" || verb == "unlink" || verb == "tlq" || verb == "invalidate-file";  // release, exit: leave
  }
  return true;
}

bool SimWorkers::greet(Peer& peer, std::string_view text) {
  std::string reply;
  const auto state = peer.auth->on_line(text, reply);
  if (!reply.empty()) peer.say(reply);
  if (state == protocol::AuthState::failed) return false;
  if (state == protocol::AuthState::running) return true;
  peer.auth.reset();
  peer.say(registration(config_, peer.id));
  return true;
}

bool SimWorkers::task_line(Peer& peer, std::string_view verb, std::string_view rest) {
  if (verb == "cmd" || verb == "env" || verb == "coprocess") {
    peer.skip = number(rest);
    peer.skip_lf = verb == "env";
  } else if (verb == "end") {
    peer.in_task = false;
    finish_task(peer);
  }
  return true;
}

void SimWorkers::finish_task(Peer& peer) {
  const double now = now_s();
  arrivals_.push_back(now);
  if (received_++ == 0) {
    first_task_ = now;
    if (on_first_task) on_first_task();
  }
  if (!peer.served) {
    peer.served = true;
    ++served_;
  }
  if (peer.announced_at > 0) turnarounds_.push_back(now - std::exchange(peer.announced_at, 0));
  if (!config_.finish_tasks) return;
  peer.finished.push_back(peer.task);
  if (received_ < config_.hold_until) return;
  if (received_ == config_.hold_until) return release_all();
  announce(peer);
}

void SimWorkers::announce(Peer& peer) {
  if (std::exchange(peer.announced, true)) return;
  peer.announced_at = now_s();
  peer.say("available_results\n");
}

void SimWorkers::release_all() {
  released_at_ = now_s();
  for (const auto& peer : peers_) {
    if (!peer->fd || peer->finished.empty()) continue;
    announce(*peer);
    send(*peer);
  }
}

void SimWorkers::answer_results(Peer& peer) {
  for (const auto task : peer.finished) {
    peer.say("result 0 0 0 1000 " + std::to_string(task) + "\n");
    ++done_;
  }
  if (!peer.finished.empty()) last_done_ = now_s();
  peer.finished.clear();
  peer.say("end\n");
  peer.announced = false;
}

void SimWorkers::answer_get(Peer& peer, std::string_view name) {
  peer.say("file " + std::string(name) + " " + std::to_string(config_.output_bytes) + "\n");
  if (config_.output_bytes > 0) peer.out.push_back({.text = {}, .zeros = config_.output_bytes, .sent = 0});
  peer.say("end\n");
}

void SimWorkers::send(Peer& peer) {
  if (!peer.secured) return;
  bool blocked = false;
  while (!peer.out.empty() && !blocked) {
    auto& front = peer.out.front();
    const bool text = front.sent < front.text.size();
    const char* data = text ? front.text.data() + front.sent : zeros_.data();
    const std::size_t length =
        text ? front.text.size() - front.sent : std::min<std::uint64_t>(front.zeros, zeros_.size());
    if (length == 0) {
      peer.out.pop_front();
      continue;
    }
    const auto sent = peer.give(data, length);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return drop(peer);
    blocked = sent < 0;
    if (blocked) break;
    bytes_out_ += static_cast<std::uint64_t>(sent);
    if (text)
      front.sent += static_cast<std::size_t>(sent);
    else
      front.zeros -= static_cast<std::uint64_t>(sent);
  }
  if (blocked == peer.waits_for_room) return;
  peer.waits_for_room = blocked;
  epoll_event event{.events = blocked ? std::uint32_t{EPOLLIN | EPOLLOUT} : std::uint32_t{EPOLLIN},
                    .data = {.ptr = &peer}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, peer.fd.get(), &event);
}

}  // namespace taskmill::bench
