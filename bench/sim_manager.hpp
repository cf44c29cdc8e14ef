// A driver for one real worker: keeps `slots` tasks on it and does nothing else that costs.
//
// Speaks the text protocol, everything for one task in one write. Measured from the first task sent to the last
// result taken.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/os/fd.hpp"

namespace taskmill::bench {

struct SimManagerConfig {
  int slots = 1;
  std::uint64_t tasks = 1000;
  std::string command = "true";
  int inputs = 0;  ///< per task, not cached
  std::uint64_t input_bytes = 4096;
  bool output = false;  ///< ask for the file "out" of every task
};

class SimManager {
 public:
  explicit SimManager(SimManagerConfig config);
  [[nodiscard]] int port() const { return port_; }
  /// Serves the first worker that introduces itself. False when it left, or did not come within the time.
  bool run(double seconds);
  std::function<void()> on_first_task;

  [[nodiscard]] std::uint64_t tasks_done() const { return done_; }
  [[nodiscard]] double elapsed_s() const { return last_ - first_; }
  /// Seconds from sending a task to having its result (and output).
  [[nodiscard]] const std::vector<double>& latencies() const { return latencies_; }

 private:
  bool accept_worker(double end);
  bool receive(double end);
  bool consume();
  void line(std::string_view text);
  void dispatch();
  void task_over(std::int64_t task);
  bool flush();

  SimManagerConfig config_;
  os::UniqueFd listener_, worker_;
  int port_ = 0;
  std::string in_, out_, data_;
  std::uint64_t skip_ = 0, sent_ = 0, done_ = 0;
  bool registered_ = false, in_results_ = false;
  std::vector<std::int64_t> gets_;
  std::map<std::int64_t, double> running_;
  double first_ = 0, last_ = 0;
  std::vector<double> latencies_;
};

}  // namespace taskmill::bench
