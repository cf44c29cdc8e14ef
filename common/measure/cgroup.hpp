// A control group (v2) per task, where the administrator delegated us one: exact accounts, hard limits, and a kill that
// nothing escapes.
//
//   auto parent = CgroupParent::find();              // Error says why not: "cgroup v2: /… is not writable"
//   auto group = parent->create("task-7", limits);   // child group with memory.max, pids.max
//   spawn into it: group->add(pid)                   // right after the spawn
//   group->sample(); group->kill(); group.reset();   // removes the folder when it is empty
//
// The parent must be ours alone: find() moves this process into a child "supervisor" of its own group, because a group
// that gives controllers to children may hold no processes itself. Any failure leaves everything as it was.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/measure/core/accounting.hpp"
#include "common/measure/core/limits.hpp"
#include "common/os/fd.hpp"

namespace taskmill::measure {

class Cgroup {
 public:
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  Result<void> add(pid_t pid);
  /// cgroup.procs, open for writing: a process that writes "0" there is in the group.
  [[nodiscard]] Result<os::UniqueFd> door() const;
  [[nodiscard]] GroupSample sample() const;
  [[nodiscard]] std::vector<pid_t> processes() const;
  /// SIGKILL to everything inside, at once (cgroup.kill), or process by process on old kernels.
  void kill();
  /// Removes the folder; false while an ended process has not left it yet. The destructor waits for that, up to 0.1 s.
  bool remove();
  /// The kernel's memory limit killed something here.
  [[nodiscard]] bool out_of_memory() const;
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  friend class CgroupParent;
  explicit Cgroup(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
  bool removed_ = false;
};

class CgroupParent {
 public:
  /// The group we run in, when it is v2, writable and not the root of the machine's tree. `override_folder` names
  /// another one (an administrator's choice, tests) and is used as it is.
  static Expected<CgroupParent> find(const std::string& override_folder = "", const std::string& root = "");

  /// `name` is one path component. Limits are set where their controllers were delegated: memory.max is the limit plus
  /// a margin of 5 % (the watchdog names the limit first; the kernel stops what is faster), pids.max exactly.
  Expected<std::unique_ptr<Cgroup>> create(const std::string& name, const Limits& limits) const;
  /// Which of memory, pids, cpu, io children can have.
  [[nodiscard]] const std::vector<std::string>& controllers() const { return controllers_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
  std::vector<std::string> controllers_;
};

}  // namespace taskmill::measure
