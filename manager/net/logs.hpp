// The three log files of manager.md 16, byte for byte as the old tools read them.
//
// TransactionsLog: one record per line, `microseconds pid text`, flushed after each batch of records.
// StatsLog: 56 columns; at most one line per five seconds while something happens, one at opening and at the end.
// DebugLog: one line per message, lines sent and received included; rotated to NAME.old above a size.
// All append. A write that fails is reported once through the object's error(), never by ending the program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager {

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using LogFile = std::unique_ptr<std::FILE, FileCloser>;

class TransactionsLog {
 public:
  static Expected<std::unique_ptr<TransactionsLog>> open(const std::string& path, WallTime now);
  ~TransactionsLog();
  void record(WallTime time, std::string_view text);
  void flush() { std::fflush(file_.get()); }
  void end(WallTime now);

 private:
  TransactionsLog(LogFile file, std::int64_t pid) : file_(std::move(file)), pid_(pid) {}
  LogFile file_;
  std::int64_t pid_;
};

class StatsLog {
 public:
  static Expected<std::unique_ptr<StatsLog>> open(const std::string& path);
  void write(const Stats& stats, WallTime now);
  /// Five seconds have passed since the last line.
  [[nodiscard]] bool due(WallTime now) const { return now - last_ >= std::chrono::seconds(5); }

 private:
  explicit StatsLog(LogFile file) : file_(std::move(file)) {}
  LogFile file_;
  WallTime last_{};
};

class DebugLog {
 public:
  static Expected<std::unique_ptr<DebugLog>> open(const std::string& path, std::string program, std::uint64_t limit);
  /// `subsystem`: wq, tcp, notice, error, ….
  void line(WallTime now, std::string_view subsystem, std::string_view text);
  /// Several protocol lines at once, each with its own prefix ("tx to HOST (ADDR:PORT): "). Bytes that are not
  /// printable are shown as '.', lines are cut at 200 characters.
  void lines(WallTime now, std::string_view prefix, std::string_view bytes);

 private:
  DebugLog(LogFile file, std::string path, std::string program, std::uint64_t limit);
  void rotate();
  LogFile file_;
  std::string path_, program_;
  std::uint64_t limit_, written_ = 0;
};

/// One line of the statistics log, without LF.
std::string stats_line(const Stats& stats, WallTime now);

}  // namespace taskmill::manager
