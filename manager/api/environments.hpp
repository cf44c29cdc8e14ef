// Software environments of tasks (docs/environments.md): `TaskSpec::environment_archive` names an archive or a
// directory, and the command runs inside it.
//
// Each archive is prepared once: identified by its content and, where that is faster to unpack, repacked to zstd in a
// cache directory. Tasks then carry two cached inputs and a wrapped command, which every worker of protocol 9 or 11
// understands; a worker unpacks once. What the user sees of a finished task is what was submitted.
#pragma once

#include <map>
#include <string>

#include "common/archive/environment_wrapper.hpp"
#include "common/base/result.hpp"
#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

struct EnvironmentOptions {
  std::string runner;  ///< poncho_package_run; empty: beside this program, else in PATH
  std::string cache;   ///< for repacked archives; empty: XDG_CACHE_HOME or ~/.cache
};

class Environments {
 public:
  explicit Environments(EnvironmentOptions options) : options_(std::move(options)) {}
  /// Wraps the task if it names an environment. The first task of an archive waits until that is prepared.
  Expected<void> apply(TaskSpec& spec);
  /// The reverse, for a task that comes back.
  void restore(TaskSpec& spec) const;

 private:
  Expected<const archive::EnvironmentWrapper*> wrapper_for(const std::string& path);
  Expected<std::string> find_runner() const;

  EnvironmentOptions options_;
  std::map<std::string, archive::EnvironmentWrapper> wrappers_;  ///< by the name users gave
};

}  // namespace taskmill::manager
