// Log lines of the small programs: "2026/11/23 21:11:07.69 NAME[PID] notice: text", to stderr or a file that is
// rotated once (FILE.old) when it passes its size. Debug lines appear only when asked for (-d).
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "common/base/result.hpp"

namespace taskmill::tools {

class ToolLog {
 public:
  explicit ToolLog(std::string program) : program_(std::move(program)) {}
  /// `file`: a path, ":stderr", ":stdout", or empty for stderr. `rotate_bytes` 0: never.
  Expected<bool> open(const std::string& file, std::int64_t rotate_bytes);
  void set_debug(bool on) { debug_ = on; }
  void notice(const std::string& text) { write("notice", text); }
  void debug(const std::string& text) {
    if (debug_) write("debug", text);
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void write(const char* level, const std::string& text);

  std::string program_;
  std::string path_;
  std::int64_t rotate_bytes_ = 0;
  bool debug_ = false;
  bool to_stdout_ = false;
  std::unique_ptr<std::FILE, Close> file_;
};

/// Who runs this program: the user name, else the number.
std::string user_name();

/// Writes the whole text to `path` through a temporary name, so that a reader never sees half of it.
Expected<bool> write_file(const std::string& path, const std::string& text);

}  // namespace taskmill::tools
