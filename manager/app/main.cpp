// work_queue_manager: see docs/cli/work_queue_manager.md.
#include <csignal>
#include <exception>
#include <iostream>

#include "manager/app/options.hpp"
#include "manager/app/run.hpp"

namespace {

int analyze(taskmill::manager::CommandLine line) {
  if (const auto problem = taskmill::manager::prepare_tls(line.manager); !problem.empty()) {
    std::cerr << "work_queue_manager: " << problem << "\n";
    return 2;
  }
  taskmill::manager::LocalWorkers workers;
  line.analyze.on_listening = [&](taskmill::manager::Manager& manager) {
    return taskmill::manager::start_services(manager, line.run, line.manager, workers);
  };
  return taskmill::manager::run_analysis(line.analyze, line.manager);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace taskmill::manager;
  std::signal(SIGPIPE, SIG_IGN);
  try {
    auto line = parse_command_line(argc, argv);
    switch (line.mode) {
      case CommandLine::Mode::run:
        return run_tasks(line.run, std::move(line.manager));
      case CommandLine::Mode::analyze:
        return analyze(std::move(line));
      case CommandLine::Mode::done:
        break;
    }
    return line.exit_code;
  } catch (const std::exception& error) {
    std::cerr << "work_queue_manager: " << error.what() << "\n";
    return 2;
  }
}
