// Software environments of tasks (docs/environments.md): `TaskSpec::environment_archive` names an archive or a
// directory, and the command runs inside it.
//
// Each archive is prepared once: identified by its content, repacked to zstd where that is faster to unpack, and cut
// into chunks, both kept in a cache directory. That takes seconds, on a thread of its own: meanwhile tasks that name it
// wait, and everything else goes on. The core then decides for each dispatch: native workers are offered the chunks,
// others get the archive and our runner as cached inputs and a wrapped command.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "common/aio/pool.hpp"
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
  /// `control`: its thread calls everything here.
  Environments(EnvironmentOptions options, boost::asio::io_context& control);
  /// The machine expects the environment of this task afterwards, and is told when it is prepared; `changed` follows.
  /// What can be seen at once to be wrong is returned.
  Expected<void> declare(const TaskSpec& spec, Machine& machine, const std::function<void()>& changed);
  [[nodiscard]] const std::shared_ptr<EnvironmentLibrary>& library() const { return library_; }

 private:
  [[nodiscard]] Expected<EnvironmentPlan> prepare(const std::string& path, const std::string& runner) const;
  [[nodiscard]] Expected<std::string> find_runner() const;

  EnvironmentOptions options_;
  std::string cache_;
  std::shared_ptr<EnvironmentLibrary> library_;
  std::set<std::string> declared_;  ///< by the name users gave
  boost::asio::io_context& control_;
  std::unique_ptr<aio::Pool> thread_;  ///< from the first environment on
};

}  // namespace taskmill::manager
