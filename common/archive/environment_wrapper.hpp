// How a task runs inside an environment on a worker that knows nothing of environments: our static runner
// and the archive travel as cached inputs, the command is wrapped, and the first task on each worker
// unpacks below "$WORK_QUEUE_SANDBOX", which lives as long as the worker (environments.md 5.1). Pure.
//
//   ./.environment-run -e .environment-<id> -i <digest> -u "$WORK_QUEUE_SANDBOX"/<id>-env -- /bin/sh -c '<command>'
//
// <id> comes from the content, so two archives never meet in one directory and every manager that sends the
// same environment to the same worker finds it unpacked.
#pragma once

#include <string>
#include <vector>

#include "common/archive/digest.hpp"

namespace taskmill::archive {

struct WrappedInput {
  std::string source;  ///< local path
  std::string remote;  ///< name in the sandbox
};

struct EnvironmentWrapper {
  std::string runner;   ///< local path of poncho_package_run
  std::string archive;  ///< local path of what is sent
  Digest identity;      ///< of the tar stream inside
};

/// Both to be cached at the worker.
std::vector<WrappedInput> wrapped_inputs(const EnvironmentWrapper& wrapper);
/// What stands before the command, which follows quoted as one word.
std::string wrapped_command_head(const EnvironmentWrapper& wrapper);

}  // namespace taskmill::archive
