// `--results FILE`: one JSON record per finished task, appended so that a crash loses at most the record being written.
//
// Records of one turn are written with one system call. A last line without its end, left by a crash, is cut off
// when the file is opened again.
#pragma once

#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

class ResultsFile {
 public:
  static Expected<std::unique_ptr<ResultsFile>> open(const std::string& path);
  /// Text to append records to.
  std::string& pending() { return pending_; }
  /// Empty, or what went wrong (once).
  std::string flush();

 private:
  ResultsFile(os::UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  os::UniqueFd file_;
  std::string path_, pending_;
  bool broken_ = false;
};

/// Writes `text` to `path` through a temporary name: readers see nothing or all. Empty, or what went wrong.
std::string write_whole_file(const std::string& path, const std::string& text);

}  // namespace taskmill::manager
