// The worker's log on files and terminals, in the format of the old programs (worker.md 1.7):
//
//   2026/11/23 21:04:41.07 work_queue_worker[1234]wq: rx: task 1
//
// error, notice and fatal are always shown on stderr; other flags when asked for, in the debug file.
#pragma once

#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "worker/core/log.hpp"

namespace taskmill::worker {

class DebugLog : public Log {
 public:
  explicit DebugLog(std::string program);
  ~DebugLog() override;
  DebugLog(const DebugLog&) = delete;
  DebugLog& operator=(const DebugLog&) = delete;
  /// ":stderr" (also empty), ":stdout" or a path. Empty result: fine.
  std::string open(const std::string& target, std::int64_t rotate_at);
  void enable(const std::vector<std::string>& flags);

  void say(std::string_view line) override;
  void complain(std::string_view line) override;
  void notice(std::string_view text) override;
  void error(std::string_view text) override;
  [[nodiscard]] bool detailed() const override { return detailed_; }
  void detail(std::string_view text) override;

 private:
  void line(std::string_view flag, std::string_view text, bool always);
  void rotate();

  std::string program_;
  std::string path_;
  int fd_ = 2;
  std::int64_t rotate_at_ = 0;
  std::int64_t written_ = 0;
  bool detailed_ = false;
};

}  // namespace taskmill::worker
