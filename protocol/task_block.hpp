// The lines between `task <id>` and `end` (wire-protocol.md 8), one at a time, into a TaskDescription.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/session.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::protocol {

class TaskBlock {
 public:
  enum class Progress : std::uint8_t { line, body, complete, failed };

  void begin(std::int64_t task_id, int version);
  /// One line. `body`: give the next body_length() bytes to on_body() before the next line.
  Progress on_line(std::string_view line);
  [[nodiscard]] std::uint64_t body_length() const { return body_length_; }
  /// The body just collected; what follows a NUL is dropped.
  void on_body(std::string& body);
  TaskDescription take() { return std::move(task_); }
  [[nodiscard]] Problem problem() const { return problem_; }
  [[nodiscard]] std::string_view why() const { return why_; }

 private:
  enum class Body : std::uint8_t { command, coprocess, env };
  Progress fail(Problem problem, std::string_view why);
  Progress expect_body(Body kind, std::string_view rest, std::uint64_t limit);
  Progress read_number(std::optional<double>& target, std::string_view rest);
  Progress read_time(double& target, std::string_view rest);
  Progress read_limit(std::string_view rest);
  template <class File>
  Progress read_file(std::vector<File>& files, std::string_view rest);

  friend struct TaskBlockLines;
  TaskDescription task_;
  std::uint64_t bytes_ = 0;  ///< everything taken so far, against max_task_block
  std::uint64_t body_length_ = 0;
  Body body_ = Body::command;
  int version_ = 11;
  Problem problem_ = Problem::none;
  std::string_view why_;
};

}  // namespace taskmill::protocol
