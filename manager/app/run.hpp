// `work_queue_manager run`: a list of tasks in, results and a summary out.
#pragma once

#include "manager/app/local_workers.hpp"
#include "manager/app/options.hpp"

namespace taskmill::manager {

/// The exit status: 0 every task succeeded, 1 some failed, 2 bad input, 130 interrupted.
int run_tasks(const RunOptions& options, ManagerOptions manager_options);

/// What `run` and `analyze` share once the manager listens: settings of categories, the port file, local workers.
/// Empty, or what went wrong.
std::string start_services(Manager& manager, const RunOptions& options, const ManagerOptions& manager_options,
                           LocalWorkers& workers);

/// `--ssl` without files: makes a certificate for this run. Empty, or what went wrong.
std::string prepare_tls(ManagerOptions& options);

}  // namespace taskmill::manager
