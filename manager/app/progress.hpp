// What the user sees while tasks run: one live line on a terminal, a plain line every few seconds when piped, with
// --verbose one line per event; and the summary at the end. Pure text from numbers: no I/O, no clock.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/base/time.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/machine.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

/// "submitted task id 7: gzip -k a.txt"
std::string submitted_line(TaskId task, const TaskSpec& spec);
/// "task id 7 on localhost. return code 0 (success)" and two indented lines with allocated and measured resources.
std::string finished_lines(TaskId task, const TaskSpec& spec, const TaskOutcome& outcome);
/// "    allocated cores: 2.0, memory: 1000 MB, disk 2000 MB, gpus: 0.0"; unknown values say so.
std::string allocated_line(const Resources& allocated);
std::string measured_line(const Measurement& measured, const Resources& allocated, Duration execution);

struct ProgressNumbers {
  std::uint64_t total = 0, done = 0, failed = 0, running = 0, waiting = 0;
  std::int64_t workers = 0, cores = 0;
  Duration elapsed{0};
};

/// One line of at most `width` columns (0: no limit): bar, counts, rate, time left.
std::string progress_line(const ProgressNumbers& numbers, std::size_t width);

/// "0:01:23" from a duration.
std::string clock_text(Duration duration);

/// Collects what the summary tells.
class Summary {
 public:
  void add(TaskId task, const TaskSpec& spec, const TaskOutcome& outcome, std::string_view output);
  [[nodiscard]] std::uint64_t done() const { return succeeded_ + failed_; }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  /// Several lines: counts, failures grouped by cause with one example each, bytes, wall and core time.
  [[nodiscard]] std::string text(Duration elapsed, const Stats& stats, std::uint64_t unfinished) const;

 private:
  struct Cause {
    std::uint64_t count = 0;
    std::string example;
  };
  std::uint64_t succeeded_ = 0, failed_ = 0, retried_ = 0;
  Duration core_time_{0};
  std::map<std::string, Cause> causes_;
};

}  // namespace taskmill::manager
