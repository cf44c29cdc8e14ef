#include "bench/sim_manager.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "bench/process.hpp"
#include "common/base/text.hpp"

namespace taskmill::bench {

SimManager::SimManager(SimManagerConfig config)
    : config_(std::move(config)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      data_(config_.input_bytes, 'd') {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_.get(), raw, length) != 0 || ::listen(listener_.get(), 16) != 0 ||
      ::getsockname(listener_.get(), raw, &length) != 0) {
    fail("cannot listen on loopback");
  }
  port_ = ntohs(address.sin_port);
}

bool SimManager::accept_worker(double end) {
  while (now_s() < end) {
    pollfd wait{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, 100) <= 0) continue;
    worker_.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!worker_) continue;
    const int on = 1;
    ::setsockopt(worker_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    in_.clear();
    registered_ = false;
    return true;
  }
  return false;
}

bool SimManager::run(double seconds) {
  const double end = now_s() + seconds;
  // A worker that first asks what we are (a status query) comes again.
  while (sent_ == 0) {
    if (!accept_worker(end)) return false;
    while (!registered_ && receive(end) && consume()) {
    }
    if (!registered_) continue;
    first_ = now_s();
    if (on_first_task) on_first_task();
    dispatch();
    if (!flush()) return false;
  }
  while (done_ < config_.tasks) {
    if (!receive(end) || !consume() || !flush()) return false;
  }
  return true;
}

bool SimManager::receive(double end) {
  const double left = end - now_s();
  pollfd wait{.fd = worker_.get(), .events = POLLIN, .revents = 0};
  if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left * 1000) + 1) <= 0) return false;
  char buffer[65536];
  const auto got = ::recv(worker_.get(), buffer, sizeof buffer, 0);
  if (got <= 0) return false;
  in_.append(buffer, static_cast<std::size_t>(got));
  return true;
}

bool SimManager::consume() {
  std::string_view rest = in_;
  while (!rest.empty()) {
    const auto body = std::min<std::uint64_t>(skip_, rest.size());
    skip_ -= body;
    rest.remove_prefix(body);
    const auto end = rest.find('\n');
    if (skip_ > 0 || end == std::string_view::npos) break;
    line(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  in_.erase(0, in_.size() - rest.size());
  return true;
}

void SimManager::line(std::string_view text) {
  const auto verb = next_token(text);
  if (verb == "available_results") {
    out_ += "send_results -1\n";
    in_results_ = true;
  } else if (verb == "result") {
    next_token(text);
    next_token(text);
    skip_ = static_cast<std::uint64_t>(parse_int(next_token(text)).value_or(0));
    next_token(text);
    const auto task = parse_int(next_token(text)).value_or(0);
    if (!config_.output) return task_over(task);
    out_ += "get out-" + std::to_string(task) + " 1\n";
    gets_.push_back(task);
  } else if (verb == "file") {
    next_token(text);
    skip_ = static_cast<std::uint64_t>(parse_int(next_token(text)).value_or(0));
  } else if (verb == "end") {
    if (std::exchange(in_results_, false) || gets_.empty()) return;
    const auto task = gets_.front();
    gets_.erase(gets_.begin());
    task_over(task);
  } else if (verb == "info" && text.find("worker-end-time") != std::string_view::npos) {
    registered_ = true;
  }
}

void SimManager::task_over(std::int64_t task) {
  const auto found = running_.find(task);
  if (found == running_.end()) return;
  last_ = now_s();
  latencies_.push_back(last_ - found->second);
  running_.erase(found);
  ++done_;
  out_ += "kill " + std::to_string(task) + "\n";
  for (int i = 0; i < config_.inputs; ++i) out_ += "unlink in-" + std::to_string(task) + "-" + std::to_string(i) + "\n";
  if (config_.output) out_ += "unlink out-" + std::to_string(task) + "\n";
  dispatch();
}

void SimManager::dispatch() {
  while (sent_ < config_.tasks && running_.size() < static_cast<std::size_t>(config_.slots)) {
    const auto id = std::to_string(++sent_);
    std::string files;
    for (int i = 0; i < config_.inputs; ++i) {
      const auto name = "in-" + id + "-" + std::to_string(i);
      out_ += "put " + name + " " + std::to_string(data_.size()) + " 0644\n" + data_;
      files += "infile " + name + " in" + std::to_string(i) + " 0\n";
    }
    if (config_.output) files += "outfile out-" + id + " out 0\n";
    out_ += "task " + id + "\ncmd " + std::to_string(config_.command.size()) + "\n" + config_.command +
            "category default\ncores 1\ngpus 0\nmemory 1\ndisk 1\n" + files + "end\n";
    running_[static_cast<std::int64_t>(sent_)] = now_s();
  }
}

bool SimManager::flush() {
  std::string_view rest = out_;
  while (!rest.empty()) {
    const auto sent = ::send(worker_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  out_.clear();
  return true;
}

}  // namespace taskmill::bench
