// Workers on this machine that belong to a run: started with posix_spawn, ended by their process ids.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "manager/app/options.hpp"

namespace taskmill::manager {

class LocalWorkers {
 public:
  LocalWorkers() = default;
  ~LocalWorkers() { stop(); }
  LocalWorkers(const LocalWorkers&) = delete;
  LocalWorkers& operator=(const LocalWorkers&) = delete;

  struct Target {
    std::uint16_t port = 0;
    std::string password_file;
    bool ssl = false;
    std::string log;  ///< prefix of log files; empty: their output is dropped
  };
  /// Empty, or what went wrong; workers already started are ended then.
  std::string start(const LocalWorkerOptions& options, const Target& target);
  /// SIGTERM to all that still run, SIGKILL after two seconds; waits for them.
  void stop();
  /// SIGTERM, and nothing is waited for: for the second Ctrl-C.
  void kill_now();
  /// Reaps; one line for each worker that ended by itself since the last call.
  std::vector<std::string> ended();
  [[nodiscard]] std::size_t running() const { return pids_.size(); }

 private:
  std::vector<pid_t> pids_;
};

}  // namespace taskmill::manager
