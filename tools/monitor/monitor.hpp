// Runs one command under measurement, from the spawn to the written summary.
//
// One thread, one loop: it waits for the end of the command, for signals, or for the next sample. Owns the command's
// tree: when `run` returns, no process of it is left (not with --pid).
#pragma once

#include <memory>
#include <string>

#include "tools/monitor/options.hpp"

namespace taskmill::monitor {

class Monitor {
 public:
  explicit Monitor(Options options);
  ~Monitor();
  /// The exit status of the program (resource-monitor.md section 10).
  int run();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "dynamic", "static", "unknown", or the first line of a script. nullopt: no such program in PATH.
std::optional<std::string> executable_type(const std::string& program);

}  // namespace taskmill::monitor
