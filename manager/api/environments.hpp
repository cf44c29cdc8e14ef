// Software environments of tasks (docs/environments.md): `TaskSpec::environment_archive` names an archive or a
// directory, and the command runs inside it.
//
// Each archive is prepared once: identified by its content, repacked to zstd where that is faster to unpack, and cut
// into chunks, both kept in a cache directory. The core then decides for each dispatch: native workers are offered the
// chunks, others get the archive and our runner as cached inputs and a wrapped command.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "common/base/result.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager {

class EnvironmentLibrary;

struct EnvironmentOptions {
  std::string runner;  ///< poncho_package_run; empty: beside this program, else in PATH
  std::string cache;   ///< for repacked archives and chunks; empty: XDG_CACHE_HOME or ~/.cache
};

class Environments {
 public:
  explicit Environments(EnvironmentOptions options);
  /// The machine knows the environment of this task afterwards. The first task of an archive waits until it is
  /// prepared.
  Expected<void> declare(const TaskSpec& spec, Machine& machine);
  [[nodiscard]] const std::shared_ptr<EnvironmentLibrary>& library() const { return library_; }

 private:
  Expected<EnvironmentPlan> prepare(const std::string& path);
  Expected<std::string> find_runner() const;

  EnvironmentOptions options_;
  std::string cache_;
  std::shared_ptr<EnvironmentLibrary> library_;
  std::set<std::string> declared_;  ///< by the name users gave
};

}  // namespace taskmill::manager
