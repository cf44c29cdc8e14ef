// The programs under test as one pair of "a manager with N equal tasks" and "a worker": ours, Debian's, or any other
// build of the old ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/process.hpp"

namespace taskmill::bench {

struct Load {
  std::uint64_t tasks = 1000;
  std::uint64_t ahead = 0;  ///< old managers: submitted ahead; 0 = all. Ours reads the whole list at once.
  std::string command = "true";
  std::string input_dir{};   ///< task i gets INPUT_DIR/i as "in", not cached
  std::string output_dir{};  ///< task i returns "out" as OUTPUT_DIR/i
  int misfits = 0;           ///< tasks of 1000 cores each, ahead of the others
  std::string big_file{};    ///< input of the first task
};

class Stack {
 public:
  enum class Kind : std::uint8_t { ours, old };
  Stack(Kind kind, std::string label, std::string worker, std::string manager)
      : kind_(kind), label_(std::move(label)), worker_(std::move(worker)), manager_(std::move(manager)) {}

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
  Manager start_manager(const Scratch& scratch, const Load& load) const;
  std::unique_ptr<Program> start_worker(const Scratch& scratch, int port, int cores) const;
  /// What the worker of this stack greets with; simulated workers say the same.
  [[nodiscard]] int version() const { return version_; }
  void set_version(int version) { version_ = version; }

 private:
  Kind kind_;
  std::string label_, worker_, manager_;
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
