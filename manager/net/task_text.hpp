// Standard output of one attempt of a task: in memory while small, in an unlinked temporary file when large.
//
// At most max_stdout_kept bytes (1 GiB) are kept; the rest is counted and dropped, and the notice of
// wire-protocol.md 10.3 takes the place of the last kept bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

class TaskText {
 public:
  struct Limits {
    std::uint64_t memory = 1U << 20;  ///< above this the text goes to a file
    std::uint64_t kept = 1ULL << 30;  ///< above this it is dropped
    std::string directory;            ///< for the file; empty: TMPDIR or /tmp
  };

  TaskText() = default;
  /// `length` as announced.
  TaskText(std::uint64_t length, const Limits& limits);

  /// Descriptor for the next bytes when they should go to a file directly; -1: use append().
  [[nodiscard]] int file() const { return file_.get(); }
  /// How many of the announced bytes are kept; the caller drops the others.
  [[nodiscard]] std::uint64_t kept() const { return kept_; }
  void append(std::string_view bytes);
  /// All kept bytes are in; `dropped` were not.
  void finish(std::uint64_t dropped, ErrorCode file_error);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] bool in_memory() const { return !file_.valid(); }
  /// The text when in memory, else empty.
  [[nodiscard]] const std::string& text() const { return text_; }
  /// Up to `length` bytes from `offset`, wherever they are.
  [[nodiscard]] std::string read(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] bool truncated() const { return truncated_; }
  [[nodiscard]] bool lost() const { return lost_; }  ///< it could not be stored (disk full)

 private:
  std::string text_;
  os::UniqueFd file_;
  std::uint64_t kept_ = 0;
  std::uint64_t size_ = 0;
  bool truncated_ = false;
  bool lost_ = false;
};

using TaskTextPtr = std::shared_ptr<TaskText>;

}  // namespace taskmill::manager
