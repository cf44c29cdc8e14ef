// The worker's directory on disk: created new and private, locked, and removed at the end, whatever happened in it.
//
//   <parent>/worker-UID-PID-xxxxxxxx/   0700, unpredictable
//     .lock      flock'ed while the worker lives; a workspace of ours whose lock is free is stale and removed
//     cache/     cached objects, flat
//     in/        objects on their way into the cache (temporary names, then rename)
//     t.ID/      sandboxes
//     out/       captured output of tasks
//     tmp/       $WORKER_TMPDIR
//     trash/     moved here by rename, deleted in the background
//     .env/      software environments, when they have no directory of their own (net/environments.hpp)
//
// Paths are used only to tell tasks where they are; the worker itself works relative to the directory descriptors.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"

namespace taskmill::worker {

class Workspace {
 public:
  /// Where workspaces go by default: the first usable of CCTOOLS_TEMP, _CONDOR_SCRATCH_DIR, TMPDIR, TEMP, TMP, else
  /// /tmp.
  static std::string default_parent();
  static Expected<Workspace> create(const std::string& parent);

  /// Runs a small program in it. Empty: fine. Otherwise what is wrong; `noexec` when programs may not run there.
  std::string check(bool& noexec) const;
  /// Names of leftover workspaces of this user beside ours, whose worker is gone. Their locks are taken and kept.
  std::vector<std::string> claim_stale();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string temp_path() const { return path_ + "/tmp"; }
  [[nodiscard]] int parent() const { return parent_.get(); }
  [[nodiscard]] int top() const { return top_.get(); }
  [[nodiscard]] int cache() const { return cache_.get(); }
  [[nodiscard]] int in() const { return in_.get(); }
  [[nodiscard]] int out() const { return out_.get(); }
  [[nodiscard]] int trash() const { return trash_.get(); }

  /// A fresh name below trash/, in/ or out/.
  std::string next_name() { return std::to_string(++counter_); }
  /// Everything of a session, gone by renames: cache and in are new and empty; the old ones are in trash/ by the names
  /// returned.
  Result<std::vector<std::string>> reset_cache();

 private:
  [[nodiscard]] std::vector<std::string> strays() const;
  Workspace() = default;
  std::string path_, name_;
  os::UniqueFd parent_, top_, lock_, cache_, in_, out_, trash_;
  std::vector<os::UniqueFd> stale_locks_;
  unsigned long long counter_ = 0;
};

}  // namespace taskmill::worker
