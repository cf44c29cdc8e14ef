#include "bench/limits.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "bench/process.hpp"
#include "bench/sim_workers.hpp"
#include "common/os/fd.hpp"

extern char** environ;

namespace taskmill::bench {
namespace {

os::UniqueFd listen_on_loopback(int& port) {
  os::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), raw, length) != 0 || ::listen(fd.get(), 4096) != 0 ||
      ::getsockname(fd.get(), raw, &length) != 0) {
    fail("cannot listen on loopback");
  }
  port = ntohs(address.sin_port);
  return fd;
}

pid_t spawn_true(bool shell) {
  char sh[] = "/bin/sh", dash_c[] = "-c", program[] = "/bin/true", word[] = "true";
  char* direct[] = {program, nullptr};
  char* through_shell[] = {sh, dash_c, word, nullptr};
  pid_t pid = -1;
  if (::posix_spawn(&pid, shell ? sh : program, nullptr, nullptr, shell ? through_shell : direct, environ) != 0) {
    fail("cannot start /bin/true");
  }
  return pid;
}

/// A manager that knows one task: all it does per result is one small write, all per task is one more.
class MinimalManager {
 public:
  MinimalManager(os::UniqueFd listener, int cores)
      : listener_(std::move(listener)), epoll_(::epoll_create1(EPOLL_CLOEXEC)), cores_(cores) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
  }
  void run(const std::atomic<bool>& stop) {
    epoll_event events[256];
    while (!stop) {
      const int count = ::epoll_wait(epoll_.get(), events, 256, 50);
      for (int i = 0; i < count; ++i)
        events[i].data.ptr == nullptr ? accept() : receive(*static_cast<Peer*>(events[i].data.ptr));
    }
  }

 private:
  struct Peer {
    os::UniqueFd fd;
    std::string in;
  };
  void accept() {
    auto peer = std::make_unique<Peer>();
    peer->fd.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer->fd) return;
    const int on = 1;
    ::setsockopt(peer->fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.ptr = peer.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, peer->fd.get(), &event);
    peers_.push_back(std::move(peer));
  }
  void append_task(std::string& out) {
    out +=
        "task " + std::to_string(++tasks_) + "\ncmd 4\ntruecategory default\ncores 1\ngpus 0\nmemory 1\ndisk 1\nend\n";
  }
  void receive(Peer& peer) {
    const auto got = ::recv(peer.fd.get(), buffer_, sizeof buffer_, 0);
    if (got <= 0) {
      if (got == 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, peer.fd.get(), nullptr);
      return;
    }
    peer.in.append(buffer_, static_cast<std::size_t>(got));
    std::string out;
    std::size_t at = 0;
    for (auto end = peer.in.find('\n'); end != std::string::npos; at = end + 1, end = peer.in.find('\n', at)) {
      const std::string_view line(peer.in.data() + at, end - at);
      if (line == "available_results") {
        out += "send_results -1\n";
      } else if (line.starts_with("result ")) {
        out += "kill ";
        out += line.substr(line.rfind(' ') + 1);
        out += '\n';
        append_task(out);
      } else if (line.starts_with("info worker-end-time")) {
        for (int i = 0; i < cores_; ++i) append_task(out);
      }
    }
    peer.in.erase(0, at);
    if (!out.empty() && ::send(peer.fd.get(), out.data(), out.size(), MSG_NOSIGNAL) < 0) return;
  }

  os::UniqueFd listener_, epoll_;
  int cores_;
  char buffer_[65536];
  std::uint64_t tasks_ = 0;
  std::vector<std::unique_ptr<Peer>> peers_;
};

double thread_cpu_s(pthread_t thread) {
  clockid_t clock{};
  timespec time{};
  if (::pthread_getcpuclockid(thread, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

SpawnLimit spawn_limit(int at_once, double seconds, bool shell) {
  std::map<pid_t, double> running;
  std::vector<double> times;
  const double start = now_s();
  while (now_s() < start + seconds || !running.empty()) {
    while (now_s() < start + seconds && running.size() < static_cast<std::size_t>(at_once)) {
      const double begin = now_s();
      running[spawn_true(shell)] = begin;
    }
    if (running.empty()) break;
    const pid_t pid = ::waitpid(-1, nullptr, 0);
    const auto found = running.find(pid);
    if (found == running.end()) continue;
    times.push_back(now_s() - found->second);
    running.erase(found);
  }
  const double elapsed = now_s() - start;
  return {static_cast<double>(times.size()) / elapsed, percentile(times, 0.5), percentile(times, 0.99)};
}

WireLimit wire_limit(int workers, int cores, double seconds) {
  int port = 0;
  auto listener = listen_on_loopback(port);
  std::atomic<bool> stop = false;
  std::thread thread([&] { MinimalManager(std::move(listener), cores).run(stop); });
  WireLimit limit;
  double cpu = 0;
  {
    SimWorkers sim({.port = port, .workers = workers, .cores = cores});
    sim.on_first_task = [&] { cpu = thread_cpu_s(thread.native_handle()); };
    sim.connect();
    sim.run(seconds);
    const double used = thread_cpu_s(thread.native_handle()) - cpu;
    limit.per_second = static_cast<double>(sim.tasks_done()) / (sim.last_done_s() - sim.first_task_s());
    limit.cpu_us = used * 1e6 / static_cast<double>(sim.tasks_done());
    stop = true;
  }
  thread.join();
  return limit;
}

namespace {

os::UniqueFd connect_to_loopback(int port) {
  os::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
  return fd;
}

void send_zeros(int socket, std::uint64_t total) {
  const std::vector<char> zeros(256U << 10, '\0');
  while (total > 0) {
    const auto sent = ::send(socket, zeros.data(), std::min<std::uint64_t>(total, zeros.size()), MSG_NOSIGNAL);
    if (sent <= 0) return;
    total -= static_cast<std::uint64_t>(sent);
  }
}

/// One body into a file; false when the stream ended.
bool splice_body(int socket, const int (&pipe)[2], int file, std::uint64_t bytes) {
  while (bytes > 0) {
    const auto got =
        ::splice(socket, nullptr, pipe[1], nullptr, std::min<std::uint64_t>(bytes, 1U << 20), SPLICE_F_MOVE);
    if (got <= 0) return false;
    bytes -= static_cast<std::uint64_t>(got);
    for (ssize_t left = got; left > 0;) {
      const auto moved = ::splice(pipe[0], nullptr, file, nullptr, static_cast<std::size_t>(left), SPLICE_F_MOVE);
      if (moved <= 0) return false;
      left -= moved;
    }
  }
  return true;
}

bool copy_body(int socket, std::vector<char>& buffer, int file, std::uint64_t bytes) {
  while (bytes > 0) {
    const auto got = ::recv(socket, buffer.data(), std::min<std::uint64_t>(bytes, buffer.size()), 0);
    if (got <= 0 || ::write(file, buffer.data(), static_cast<std::size_t>(got)) != got) return false;
    bytes -= static_cast<std::uint64_t>(got);
  }
  return true;
}

double store_once(const std::string& directory, std::uint64_t count, std::uint64_t bytes, bool by_splice) {
  int port = 0;
  auto listener = listen_on_loopback(port);
  std::thread sender([&] {
    const os::UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    send_zeros(peer.get(), count * bytes);
  });
  const auto socket = connect_to_loopback(port);
  int pipe[2] = {-1, -1};
  if (::pipe2(pipe, O_CLOEXEC) != 0) fail("cannot make a pipe");
  ::fcntl(pipe[1], F_SETPIPE_SZ, 1 << 20);
  std::vector<char> buffer(256U << 10);
  const double start = now_s();
  bool ok = true;
  for (std::uint64_t i = 0; i < count && ok; ++i) {
    const auto path = directory + "/" + std::to_string(i);
    const os::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    ok = file && (by_splice ? splice_body(socket.get(), pipe, file.get(), bytes)
                            : copy_body(socket.get(), buffer, file.get(), bytes));
  }
  const double elapsed = now_s() - start;
  ::close(pipe[0]);
  ::close(pipe[1]);
  ::shutdown(socket.get(), SHUT_RDWR);
  sender.join();
  for (std::uint64_t i = 0; i < count; ++i) ::unlink((directory + "/" + std::to_string(i)).c_str());
  if (!ok) fail("cannot store files in " + directory);
  return elapsed;
}

}  // namespace

double sendfile_limit(const std::string& directory, std::uint64_t count, std::uint64_t bytes) {
  int port = 0;
  auto listener = listen_on_loopback(port);
  std::thread sender([&] {
    const os::UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (std::uint64_t i = 0; i < count; ++i) {
      const os::UniqueFd source(::open((directory + "/" + std::to_string(i)).c_str(), O_RDONLY | O_CLOEXEC));
      off_t at = 0;
      while (static_cast<std::uint64_t>(at) < bytes && ::sendfile(peer.get(), source.get(), &at, 1U << 20) > 0) {
      }
    }
  });
  const auto receiver = connect_to_loopback(port);
  const double start = now_s();
  while (::recv(receiver.get(), nullptr, 4U << 20, MSG_TRUNC) > 0) {
  }
  const double elapsed = now_s() - start;
  sender.join();
  return elapsed;
}

double store_limit(const std::string& directory, std::uint64_t count, std::uint64_t bytes) {
  return std::min(store_once(directory, count, bytes, true), store_once(directory, count, bytes, false));
}

}  // namespace taskmill::bench
