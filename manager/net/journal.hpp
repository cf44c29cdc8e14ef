// Which tasks are finished, on disk: a run that was interrupted goes on where it stopped.
//
// One file, `journal.log`, of text lines: `S KEY ID` when a task was submitted, `D KEY RESULT STATUS` when it ended,
// each followed by ` *CRC` of what precedes. Only appended to. A line that is damaged or incomplete (the machine lost
// power while it was written) and everything behind it is cut off at the next opening. KEY is chosen by the user of the
// journal and holds no blank. Lines are written at the end of each turn and synced about once per second.
// The file is locked: two managers cannot share it.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "common/base/ids.hpp"
#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::manager {

class Journal {
 public:
  static Expected<std::unique_ptr<Journal>> open(const std::string& directory);

  /// The task ended with success in an earlier run.
  [[nodiscard]] bool is_done(const std::string& key) const { return done_.contains(key); }
  void submitted(const std::string& key, TaskId task);
  void finished(const std::string& key, int result, int status);
  /// Writes what was noted; an error is reported once.
  ErrorCode flush();
  /// Waits until everything written is on disk. May be called from another thread than the rest.
  void sync() const;
  [[nodiscard]] bool dirty() const { return unsynced_; }
  void note_synced() { unsynced_ = false; }
  [[nodiscard]] std::size_t done_count() const { return done_.size(); }

 private:
  explicit Journal(os::UniqueFd file) : file_(std::move(file)) {}
  ErrorCode read();
  void add(std::string line);

  os::UniqueFd file_;
  std::string pending_;
  std::unordered_set<std::string> done_;
  bool unsynced_ = false;
};

}  // namespace taskmill::manager
