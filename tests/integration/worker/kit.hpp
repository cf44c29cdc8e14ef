// A scripted manager and a worker process, for tests of the real program over real sockets. Blocking calls with
// generous deadlines: a test fails by an expectation, never by hanging.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::test {

constexpr int patience_ms = 30'000;

/// A directory below $TMPDIR that disappears with the object.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Names inside, sorted.
  [[nodiscard]] std::vector<std::string> names() const;
  std::string file(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

class WorkerProcess {
 public:
  /// `prefix`: words before the program, e.g. {"setpriv", …}.
  WorkerProcess(const ScratchDirectory& scratch, std::vector<std::string> arguments,
                std::vector<std::string> prefix = {}, std::vector<std::string> environment = {},
                const std::string& stdin_file = "/dev/null");
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Exit status, 128+N for a signal, -1 when it does not end in time.
  int wait(int timeout_ms = patience_ms);
  [[nodiscard]] bool running();
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  pid_t pid_ = -1;
  int status_ = -1;
  std::string out_file_, err_file_;
};

struct Result {
  int status = -1;
  int exit_code = -1;
  long long length = -1;
  long long microseconds = -1;
  long long id = -1;
  std::string output;
};

struct Item {
  std::string kind;  ///< file, dir, missing
  std::string path;
  long long number = 0;
  std::string bytes;
};

/// One connection of a worker.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  ~Peer();
  Peer(Peer&& other) noexcept;
  Peer& operator=(Peer&&) = delete;

  void send(std::string_view text);
  /// Next line; empty at the end of the connection or when nothing came in time (closed() tells).
  std::string line(int timeout_ms = patience_ms);
  std::string bytes(std::size_t count);
  /// Reads lines until one starts with `prefix`; the lines before it are kept in seen().
  std::string until(std::string_view prefix, int timeout_ms = patience_ms);
  /// All lines of the hello.
  std::vector<std::string> hello();
  [[nodiscard]] const std::vector<std::string>& seen() const { return seen_; }
  [[nodiscard]] bool closed() const { return closed_; }
  void close();
  void shut_down_writing();

  void put(std::string_view name, std::string_view content, const char* mode = "0644");
  /// `lines` go between the resources and `end`.
  void task(long long id, std::string_view command, std::string_view lines = "",
            std::string_view resources = "cores 1\ngpus 0\nmemory 10\ndisk 10\n");
  /// One exchange; waits for the notice first.
  std::vector<Result> results();
  /// Exchanges until `count` results are here, sorted by id.
  std::vector<Result> collect(std::size_t count);
  /// Runs one task to its result, then kills it.
  Result run(long long id, std::string_view command, std::string_view lines = "");
  std::vector<Item> get(std::string_view name);

 private:
  bool fill(int timeout_ms);
  int fd_;
  std::string buffer_;
  bool closed_ = false;
  std::vector<std::string> seen_;
};

class ScriptedManager {
 public:
  ScriptedManager();
  ~ScriptedManager();
  ScriptedManager(const ScriptedManager&) = delete;
  ScriptedManager& operator=(const ScriptedManager&) = delete;
  [[nodiscard]] std::string port() const { return std::to_string(port_); }
  Peer accept(int timeout_ms = patience_ms);
  /// Accepts and reads the hello.
  Peer greet();

 private:
  int fd_ = -1;
  int port_ = 0;
};

/// Repeats until true; false when it takes too long.
bool eventually(const std::function<bool()>& condition, int timeout_ms = patience_ms);
/// Is a process with this text in its command line alive?
bool process_exists(const std::string& command_part);
double seconds_of(const std::function<void()>& work);

}  // namespace taskmill::test
