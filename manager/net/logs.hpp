// The three log files of manager.md 16, byte for byte as the old tools read them.
//
// TransactionsLog: one record per line, `microseconds pid text`, flushed after each batch of records.
// StatsLog: 56 columns; at most one line per five seconds while something happens, one at opening and at the end.
// DebugLog: one line per message, lines sent and received included; rotated to NAME.old above a size.
// All append. A write that fails is reported once through problem(), never by ending the program.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager {

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

/// A file that is appended to and remembers the first thing that went wrong.
class LogFile {
 public:
  static Expected<LogFile> open(const std::string& path);
  void put(std::string_view text);
  void flush();
  /// One line for the user, once; else empty.
  std::string problem();
  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  LogFile(std::FILE* file, std::string path) : file_(file), path_(std::move(path)) {}
  std::unique_ptr<std::FILE, FileCloser> file_;
  std::string path_;
  int error_ = 0;
  bool told_ = false;
};

class TransactionsLog {
 public:
  static Expected<std::unique_ptr<TransactionsLog>> open(const std::string& path, WallTime now);
  void record(WallTime time, std::string_view text);
  void flush() { file_.flush(); }
  void end(WallTime now);
  std::string problem() { return file_.problem(); }

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
  std::string problem() { return file_.problem(); }

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
  std::string problem() { return file_.problem(); }

 private:
  DebugLog(LogFile file, std::string program, std::uint64_t limit);
  void rotate();
  LogFile file_;
  std::string program_;
  std::uint64_t limit_, written_ = 0;
};

/// Those that the user asked for; the others are null.
struct Logs {
  std::unique_ptr<TransactionsLog> transactions;
  std::unique_ptr<StatsLog> statistics;
  std::unique_ptr<DebugLog> debug;
  /// What went wrong since the last call, one line; else empty.
  std::string problem();
};

/// One line of the statistics log, without LF.
std::string stats_line(const Stats& stats, WallTime now);

}  // namespace taskmill::manager
