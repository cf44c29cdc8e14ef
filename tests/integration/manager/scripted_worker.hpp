// A worker made of blocking sockets in a thread of its own, that does exactly what a test says. It shares no code with
// the product, so that a common misunderstanding of the protocol would show.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace taskmill::test {

/// A connection whose reads give up after 30 s (an empty line then, and `closed()` is true).
class LineSocket {
 public:
  explicit LineSocket(std::uint16_t port);
  ~LineSocket();
  LineSocket(const LineSocket&) = delete;
  LineSocket& operator=(const LineSocket&) = delete;

  void send(const std::string& text);
  std::string read_line();
  std::string read_exact(std::size_t count);
  std::string read_all();
  /// True when the peer closes within the time.
  bool wait_closed(int milliseconds);
  void shrink_receive_buffer();
  void close();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
  std::string buffer_;
  bool closed_ = false;
};

std::string greeting(const std::string& host, int cores = 1, int version = 11);

struct ScriptedTask {
  std::int64_t id = 0;
  std::string command, category;
  std::map<std::string, std::string> inputs;   ///< sandbox name -> cache name
  std::map<std::string, std::string> outputs;  ///< sandbox name -> cache name
  std::vector<std::string> environment, empty_directories;
};
struct ScriptedResult {
  int status = 0, exit_code = 0;
  std::string output;
  std::map<std::string, std::string> files;  ///< sandbox name -> content; what is not here is missing
  bool vanish = false;                       ///< close the connection instead of answering
};

/// A well-behaved worker, except where a hook says otherwise.
class ScriptedWorker {
 public:
  struct Script {
    std::string host = "scripted";
    int cores = 1, version = 11;
    std::function<ScriptedResult(const ScriptedTask&, const std::map<std::string, std::string>& cache)> run;
    /// Raw answer to `get`, with its `end`; empty: the ordinary one.
    std::function<std::string(const std::string& name, const std::string& content)> answer_get;
    /// Raw text between the results and their `end` (updates).
    std::function<std::string(const ScriptedTask&)> updates;
  };
  ScriptedWorker(std::uint16_t port, Script script);
  ~ScriptedWorker();  ///< waits for the manager to release it

  [[nodiscard]] int puts() const { return puts_; }
  [[nodiscard]] int tasks() const { return tasks_; }
  [[nodiscard]] int kills() const { return kills_; }
  [[nodiscard]] int unlinks() const { return unlinks_; }
  [[nodiscard]] bool released() const { return released_; }
  /// Everything the manager put into the cache; read it after the end.
  const std::map<std::string, std::string>& cache() const { return cache_; }
  void join();

 private:
  void serve();
  void read_tree(const std::string& name);
  void read_task(std::int64_t id);
  void send_results();
  void answer_get(const std::string& name);

  LineSocket socket_;
  Script script_;
  std::map<std::string, std::string> cache_;  ///< trees as "name/path"; links as "-> target"
  std::vector<ScriptedTask> waiting_;
  std::map<std::string, std::string> produced_;
  std::atomic<int> puts_{0}, tasks_{0}, kills_{0}, unlinks_{0};
  std::atomic<bool> released_{false};
  std::thread thread_;
};

}  // namespace taskmill::test
