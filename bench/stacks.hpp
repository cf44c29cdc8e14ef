// The programs under test as one pair of "a manager with N equal tasks" and "a worker": ours, Debian's, or any other
// build of the old ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/process.hpp"

namespace taskmill::bench {

/// What a manager is to do. Directories and files are used only where they are named.
struct Load {
  std::uint64_t tasks = 1000;
  std::uint64_t ahead = 0;  ///< so many are queued at most; 0: all. `work_queue_manager run` always takes all.
  std::string command = "true";
  std::string input_dir{};   ///< task i gets INPUT_DIR/i as "in", not cached
  std::string output_dir{};  ///< task i returns "out" as OUTPUT_DIR/i
  int misfits = 0;           ///< tasks of 1000 cores each, ahead of the others
  std::string big_file{};    ///< input of the first task
  std::string shared_dir{};  ///< each task gets `files` of the files 0 … cache-1 in it, cached at the worker
  int files = 0, cache = 1;
  int categories = 0;       ///< tasks take turns in so many; 0: one
  std::uint64_t burst = 0;  ///< the first ones ask for the feature "burst" and return a file, others for "control"
  std::string password_file{};
  std::string cert{}, key{};
  std::string mode = "run";  ///< run, probe (one after the other), submit (and end)
  int gap_ms = 0;            ///< between probes
  bool distinct = false;     ///< every task has a command of its own
  std::string report{};      ///< where the manager writes what it measured
};

/// "NAME VALUE" lines of a manager's report; 0 for what is not there.
double reported(const std::string& report, const std::string& name);
/// The probes of a report: submitted and returned, seconds of CLOCK_MONOTONIC.
std::vector<std::pair<double, double>> reported_probes(const std::string& report);

class Stack {
 public:
  enum class Kind : std::uint8_t { ours, old };
  /// `program`: what users run, for ours; `library`: equal tasks through the library (new_manager, old_manager).
  Stack(Kind kind, std::string label, std::string worker, std::string library, std::string program = {})
      : kind_(kind),
        label_(std::move(label)),
        worker_(std::move(worker)),
        library_(std::move(library)),
        program_(std::move(program)) {}

  [[nodiscard]] const std::string& label() const { return label_; }
  [[nodiscard]] bool has_worker() const;
  [[nodiscard]] bool has_manager() const;
  [[nodiscard]] bool is_ours() const { return kind_ == Kind::ours; }

  struct Manager {
    std::unique_ptr<Program> program;
    int port = 0;
    double ready_s = 0;  ///< from start until its port was known and its queue full
  };
  /// Program is empty when it did not come up.
  Manager start_manager(const Scratch& scratch, const Load& load) const;  ///< what users run
  Manager start_library(const Scratch& scratch, const Load& load) const;  ///< our library as the old one is used
  std::unique_ptr<Program> start_worker(const Scratch& scratch, int port, int cores) const;
  /// What the worker of this stack greets with; simulated workers say the same.
  [[nodiscard]] int version() const { return version_; }
  void set_version(int version) { version_ = version; }

 private:
  Manager start(const Scratch& scratch, const std::vector<std::string>& command, const std::string& port_file) const;

  Kind kind_;
  std::string label_, worker_, library_, program_;
  int version_ = 11;
};

/// Ours, from the directory of the running bench.
Stack our_stack(const std::string& bin_dir);
/// Debian's worker, and its library in bench/old_manager.c.
Stack debian_stack(const std::string& bin_dir);
/// A build of cctools at `prefix` (bin/work_queue_worker, lib/libwork_queue.a, include/cctools/work_queue.h): its
/// manager is compiled now from bench/old_manager.c.
Stack foreign_stack(const std::string& prefix, const Scratch& scratch);

}  // namespace taskmill::bench
