// Reads small files of /proc fast: one open, one read, one close, into a buffer that is reused.
//
// Not thread-safe; one per thread. Views are valid until the next read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/measure/core/proc_text.hpp"

namespace taskmill::measure {

/// Lists come from the kernel record by record, so that a short read need not be the last one; single values do not.
enum class Content : std::uint8_t { value, list };

class ProcReader {
 public:
  explicit ProcReader(std::string proc);

  std::optional<ProcStat> stat(std::int64_t pid);
  std::optional<ProcStatus> status(std::int64_t pid);
  std::optional<ProcIo> io(std::int64_t pid);
  std::optional<ProcRollup> rollup(std::int64_t pid);
  /// Children of all threads of a process that has `threads` of them (at most 64 threads are looked at).
  std::vector<std::int64_t> children(std::int64_t pid, std::int64_t threads);

 private:
  /// A whole file, nullopt when it cannot be read. Relative to the proc folder.
  std::optional<std::string_view> read(const char* relative, Content content = Content::value);
  void append_children(std::int64_t pid, std::int64_t thread, std::vector<std::int64_t>& out);

  std::string proc_;
  std::string path_;
  std::vector<char> buffer_;
};

/// Any file of at most 1 MB; nullopt when it cannot be read.
std::optional<std::string> read_small_file(const std::string& path);

}  // namespace taskmill::measure
