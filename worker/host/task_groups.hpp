// Control groups of tasks, where the administrator delegated one to the worker; otherwise everything here does nothing.
//
// A task's group holds it from its start to its end: the kernel then counts for us, stops what outgrows its memory
// faster than anybody can look, and kills everything inside at once. Groups that cannot be removed yet (a process hangs
// in the kernel) are tried again when later tasks end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/measure/cgroup.hpp"

namespace taskmill::worker {

class TaskGroups {
 public:
  /// `where`: "auto" (our own group, if it is ours alone), "off", or the folder of a group to use. Returns how it went,
  /// a sentence for the log.
  std::string open(const std::string& where);
  [[nodiscard]] bool in_use() const { return parent_.has_value(); }

  /// Makes a group with these limits for a task that starts now. What its first process writes "0" to (Launch does), so
  /// that nothing of it runs outside; open until entered(). -1: there is no group.
  int open_for(std::uint64_t task, const measure::Limits& limits);
  /// The task's first process runs. nullptr: it has no group.
  measure::Cgroup* entered(std::uint64_t task, pid_t pid);
  /// The kernel stopped something in the task's group for its memory.
  [[nodiscard]] bool ran_out_of_memory(std::uint64_t task) const;
  void leave(std::uint64_t task);

 private:
  std::optional<measure::CgroupParent> parent_;
  std::unordered_map<std::uint64_t, std::unique_ptr<measure::Cgroup>> groups_;
  os::UniqueFd door_;
  std::vector<std::unique_ptr<measure::Cgroup>> busy_;
};

}  // namespace taskmill::worker
