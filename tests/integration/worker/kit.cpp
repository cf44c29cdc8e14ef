#include "tests/integration/worker/kit.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "common/base/text.hpp"

namespace taskmill::test {
namespace {

using Clock = std::chrono::steady_clock;

std::string read_all(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

int left_of(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "worker-test-XXXXXX").string();
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> ScratchDirectory::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string ScratchDirectory::file(const std::string& name, const std::string& content) const {
  const auto path = path_ + "/" + name;
  std::ofstream(path) << content;
  return path;
}

WorkerProcess::WorkerProcess(const ScratchDirectory& scratch, std::vector<std::string> arguments,
                             std::vector<std::string> prefix, std::vector<std::string> environment,
                             const std::string& stdin_file) {
  static int counter = 0;
  const auto base = scratch.path() + "/log." + std::to_string(++counter);
  out_file_ = base + ".out";
  err_file_ = base + ".err";
  std::vector<std::string> words = std::move(prefix);
  words.emplace_back(WORKER_PROGRAM);
  for (auto& argument : arguments) words.push_back(std::move(argument));
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (auto& entry : environment) envp.push_back(entry.data());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(environment.begin(), environment.end(),
                                      [&](const std::string& own) { return own.substr(0, own.find('=')) == name; });
    if (!replaced) envp.push_back(*entry);
  }
  envp.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, stdin_file.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, err_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  EXPECT_EQ(::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), envp.data()), 0);
  posix_spawn_file_actions_destroy(&actions);
}

WorkerProcess::~WorkerProcess() {
  if (pid_ <= 0) return;
  if (wait(0) < 0) {
    ::kill(pid_, SIGTERM);
    if (wait(5000) < 0) {
      ::kill(pid_, SIGKILL);
      wait(5000);
    }
  }
  if (::testing::Test::HasFailure()) {
    std::fprintf(stderr, "--- worker's stdout ---\n%s--- worker's stderr ---\n%s---\n", out().c_str(), err().c_str());
  }
}

void WorkerProcess::signal(int number) const { ::kill(pid_, number); }

int WorkerProcess::wait(int timeout_ms) {
  if (status_ >= 0) return status_;
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (true) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return status_;
    }
    if (Clock::now() >= end) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

bool WorkerProcess::running() { return wait(0) < 0; }
std::string WorkerProcess::out() const { return read_all(out_file_); }
std::string WorkerProcess::err() const { return read_all(err_file_); }

// --- peer ---

Peer::~Peer() { close(); }
Peer::Peer(Peer&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)),
      closed_(other.closed_),
      seen_(std::move(other.seen_)) {}

void Peer::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Peer::shut_down_writing() { ::shutdown(fd_, SHUT_WR); }

void Peer::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool Peer::fill(int timeout_ms) {
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, timeout_ms) <= 0) return false;
  char chunk[65536];
  const ssize_t got = ::recv(fd_, chunk, sizeof chunk, 0);
  if (got <= 0) {
    closed_ = true;
    return false;
  }
  buffer_.append(chunk, static_cast<std::size_t>(got));
  return true;
}

std::string Peer::line(int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (true) {
    if (const auto at = buffer_.find('\n'); at != std::string::npos) {
      auto text = buffer_.substr(0, at);
      buffer_.erase(0, at + 1);
      return text;
    }
    if (closed_ || (!fill(left_of(end)) && (closed_ || Clock::now() >= end))) return {};
  }
}

std::string Peer::bytes(std::size_t count) {
  const auto end = Clock::now() + std::chrono::milliseconds(patience_ms);
  while (buffer_.size() < count && !closed_ && Clock::now() < end) fill(left_of(end));
  auto text = buffer_.substr(0, count);
  buffer_.erase(0, text.size());
  return text;
}

std::string Peer::until(std::string_view prefix, int timeout_ms) {
  seen_.clear();
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (true) {
    auto text = line(left_of(end));
    if (text.empty() || text.starts_with(prefix)) return text;
    seen_.push_back(text);
    // Its body has no end of line: what follows would look like a part of it.
    if (text.starts_with("cache-invalid "))
      bytes(static_cast<std::size_t>(std::stoll(text.substr(text.rfind(' ') + 1))));
  }
}

std::vector<std::string> Peer::hello() {
  const auto last = until("info worker-end-time");
  EXPECT_FALSE(last.empty()) << "no complete hello";
  auto lines = seen_;
  lines.push_back(last);
  return lines;
}

void Peer::put(std::string_view name, std::string_view content, const char* mode) {
  std::string text = "put " + std::string(name) + " " + std::to_string(content.size()) + " " + mode + "\n";
  send(text.append(content));
}

void Peer::task(long long id, std::string_view command, std::string_view lines, std::string_view resources) {
  std::string text = "task " + std::to_string(id) + "\ncmd " + std::to_string(command.size()) + "\n";
  text.append(command).append("category default\n").append(resources).append(lines).append("end\n");
  send(text);
}

std::vector<Result> Peer::results() {
  std::vector<Result> found;
  if (until("available_results").empty()) return found;
  send("send_results -1\n");
  while (true) {
    const auto text = line();
    if (text.empty() || text == "end") return found;
    if (text.starts_with("update ")) {
      seen_.push_back(text);
      bytes(static_cast<std::size_t>(std::stoll(text.substr(text.rfind(' ') + 1))));
      continue;
    }
    EXPECT_FALSE(text.starts_with("available_results")) << "a notice inside an exchange";
    if (!text.starts_with("result ")) continue;
    Result result;
    std::istringstream in(text.substr(7));
    in >> result.status >> result.exit_code >> result.length >> result.microseconds >> result.id;
    result.output = bytes(static_cast<std::size_t>(result.length));
    found.push_back(std::move(result));
  }
}

std::vector<Result> Peer::collect(std::size_t count) {
  std::vector<Result> all;
  while (all.size() < count && !closed_) {
    auto more = results();
    if (more.empty() && closed_) break;
    if (more.empty() && buffer_.empty()) break;
    for (auto& result : more) all.push_back(std::move(result));
  }
  std::sort(all.begin(), all.end(), [](const Result& a, const Result& b) { return a.id < b.id; });
  EXPECT_EQ(all.size(), count);
  all.resize(count);
  return all;
}

Result Peer::run(long long id, std::string_view command, std::string_view lines) {
  task(id, command, lines);
  auto result = collect(1).front();
  EXPECT_EQ(result.id, id);
  send("kill " + std::to_string(id) + "\n");
  return result;
}

std::vector<Item> Peer::get(std::string_view name) {
  send("get " + std::string(name) + " 1\n");
  std::vector<Item> items;
  while (true) {
    const auto text = line();
    if (text.empty() || text == "end") break;
    Item item;
    const auto first = text.find(' ');
    const auto last = text.rfind(' ');
    item.kind = text.substr(0, first);
    if (item.kind != "file" && item.kind != "dir" && item.kind != "missing") continue;
    item.path = text.substr(first + 1, last - first - 1);
    item.number = std::stoll(text.substr(last + 1));
    if (item.kind == "file") item.bytes = bytes(static_cast<std::size_t>(item.number));
    items.push_back(std::move(item));
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.path < b.path; });
  return items;
}

// --- manager ---

ScriptedManager::ScriptedManager() {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd_, 16), 0);
  socklen_t size = sizeof address;
  ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
}

ScriptedManager::~ScriptedManager() { ::close(fd_); }

Peer ScriptedManager::accept(int timeout_ms) {
  pollfd waiting{fd_, POLLIN, 0};
  const int ready = ::poll(&waiting, 1, timeout_ms);
  EXPECT_EQ(ready, 1) << "no worker came";
  return Peer(ready == 1 ? ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC) : -1);
}

Peer ScriptedManager::greet() {
  Peer peer = accept();
  peer.hello();
  return peer;
}

bool eventually(const std::function<bool()>& condition, int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!condition()) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

bool process_exists(const std::string& command_part) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (!parse_int(entry.path().filename().string())) continue;
    auto words = read_all(entry.path().string() + "/cmdline");
    std::replace(words.begin(), words.end(), '\0', ' ');
    if (words.find(command_part) != std::string::npos) return true;
  }
  return false;
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace taskmill::test
