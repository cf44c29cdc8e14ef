#include "tests/integration/manager/scripted_worker.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sstream>
#include <utility>

namespace taskmill::test {
namespace {

constexpr int patience_ms = 30'000;

std::string decode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

}  // namespace

LineSocket::LineSocket(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) closed_ = true;
}

LineSocket::~LineSocket() { close(); }

void LineSocket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  closed_ = true;
}

void LineSocket::shrink_receive_buffer() {
  const int small = 4096;
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
}

void LineSocket::send(const std::string& text) {
  std::size_t done = 0;
  while (done < text.size() && fd_ >= 0) {
    const ssize_t n = ::send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n <= 0) {
      closed_ = true;
      return;
    }
    done += static_cast<std::size_t>(n);
  }
}

std::string LineSocket::read_exact(std::size_t count) {
  while (buffer_.size() < count && !closed_) {
    pollfd ready{fd_, POLLIN, 0};
    char block[65536];
    const ssize_t n = ::poll(&ready, 1, patience_ms) == 1 ? ::recv(fd_, block, sizeof block, 0) : 0;
    if (n <= 0)
      closed_ = true;
    else
      buffer_.append(block, static_cast<std::size_t>(n));
  }
  const auto out = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return out;
}

std::string LineSocket::read_line() {
  while (buffer_.find('\n') == std::string::npos && !closed_) {
    pollfd ready{fd_, POLLIN, 0};
    char block[65536];
    const ssize_t n = ::poll(&ready, 1, patience_ms) == 1 ? ::recv(fd_, block, sizeof block, 0) : 0;
    if (n <= 0)
      closed_ = true;
    else
      buffer_.append(block, static_cast<std::size_t>(n));
  }
  const auto end = buffer_.find('\n');
  if (end == std::string::npos) return {};
  auto line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

std::string LineSocket::read_all() {
  while (!closed_) {
    const auto more = read_exact(buffer_.size() + 1);
    buffer_.insert(0, more);
  }
  return std::exchange(buffer_, {});
}

bool LineSocket::wait_closed(int milliseconds) {
  for (int waited = 0; waited <= milliseconds; waited += 20) {
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, 20) != 1) continue;
    char block[4096];
    const ssize_t n = ::recv(fd_, block, sizeof block, 0);
    if (n <= 0) return closed_ = true;
    buffer_.append(block, static_cast<std::size_t>(n));
  }
  return false;
}

std::string greeting(const std::string& host, int cores, int version) {
  const auto n = std::to_string(cores);
  return "workqueue " + std::to_string(version) + " " + host + " Linux x86_64 8.0.0\ninfo worker-id worker-" + host +
         "\nalive\nresource workers 1 1 1\nresource disk 10000 10000 10000\nresource memory 4000 4000 4000\n"
         "resource gpus 0 0 0\nresource cores " +
         n + " " + n + " " + n +
         "\nresource tag 0\ninfo end_of_resource_update 0\ninfo tasks_running 0\ninfo worker-end-time 0\n";
}

ScriptedWorker::ScriptedWorker(std::uint16_t port, Script script)
    : socket_(port), script_(std::move(script)), thread_([this] { serve(); }) {}

ScriptedWorker::~ScriptedWorker() { join(); }

void ScriptedWorker::join() {
  if (thread_.joinable()) thread_.join();
}

void ScriptedWorker::serve() {
  socket_.send(greeting(script_.host, script_.cores, script_.version));
  while (!socket_.closed()) {
    const auto line = socket_.read_line();
    const auto w = words(line);
    if (w.empty()) continue;
    if (w[0] == "put" && w.size() >= 4) {
      ++puts_;
      cache_[decode(w[1])] = socket_.read_exact(std::stoull(w[2]));
    } else if (w[0] == "dir") {
      read_tree(decode(w[1]));
    } else if (w[0] == "task") {
      read_task(std::stoll(w[1]));
    } else if (w[0] == "send_results") {
      send_results();
    } else if (w[0] == "get") {
      answer_get(decode(w[1]));
    } else if (w[0] == "kill") {
      ++kills_;
    } else if (w[0] == "unlink") {
      ++unlinks_;
    } else if (w[0] == "check") {
      socket_.send("alive\ninfo tasks_running 0\n");
    } else if (w[0] == "puturl" || w[0] == "putcmd") {
      cache_[decode(w[2])] = w[0] + " " + decode(w[1]);
    } else if (w[0] == "release" || w[0] == "exit") {
      released_ = true;
      break;
    }
  }
  socket_.close();
}

void ScriptedWorker::read_tree(const std::string& name) {
  cache_[name + "/"] = "";
  while (!socket_.closed()) {
    const auto w = words(socket_.read_line());
    if (w.empty()) continue;
    if (w[0] == "end") return;
    if (w[0] == "put") cache_[name + "/" + decode(w[1])] = socket_.read_exact(std::stoull(w[2]));
    if (w[0] == "symlink") cache_[name + "/" + decode(w[1])] = "-> " + socket_.read_exact(std::stoull(w[2]));
    if (w[0] == "dir") read_tree(name + "/" + decode(w[1]));
  }
}

void ScriptedWorker::read_task(std::int64_t id) {
  ScriptedTask task;
  task.id = id;
  while (!socket_.closed()) {
    const auto line = socket_.read_line();
    const auto w = words(line);
    if (w.empty()) continue;
    if (w[0] == "end") break;
    if (w[0] == "cmd") task.command = socket_.read_exact(std::stoull(w[1]));
    if (w[0] == "coprocess") (void)socket_.read_exact(std::stoull(w[1]));
    if (w[0] == "env") {
      task.environment.push_back(socket_.read_exact(std::stoull(w[1])));
      (void)socket_.read_line();
    }
    if (w[0] == "category") task.category = w[1];
    if (w[0] == "infile") task.inputs[decode(w[2])] = w[1];
    if (w[0] == "outfile") task.outputs[decode(w[2])] = w[1];
    if (w[0] == "dir") task.empty_directories.push_back(w[1]);
  }
  ++tasks_;
  waiting_.push_back(std::move(task));
  socket_.send("info tasks_running 1\navailable_results\n");
}

void ScriptedWorker::send_results() {
  std::string text;
  for (const auto& task : waiting_) {
    const ScriptedResult result = script_.run ? script_.run(task, cache_) : ScriptedResult{};
    if (result.vanish) return socket_.close();
    for (const auto& [sandbox, cached] : task.outputs) {
      if (const auto file = result.files.find(sandbox); file != result.files.end()) produced_[cached] = file->second;
    }
    if (script_.updates) text += script_.updates(task);
    text += "result " + std::to_string(result.status) + " " + std::to_string(result.exit_code) + " " +
            std::to_string(result.output.size()) + " 1000 " + std::to_string(task.id) + "\n" + result.output;
  }
  waiting_.clear();
  socket_.send(text + "info tasks_running 0\nend\n");
}

void ScriptedWorker::answer_get(const std::string& name) {
  const auto found = produced_.find(name);
  if (script_.answer_get) {
    const auto text = script_.answer_get(name, found != produced_.end() ? found->second : std::string());
    if (!text.empty()) return socket_.send(text);
  }
  if (found == produced_.end()) return socket_.send("missing " + name + " 2\nend\n");
  socket_.send("file " + name + " " + std::to_string(found->second.size()) + "\n" + found->second + "end\n");
}

}  // namespace taskmill::test
