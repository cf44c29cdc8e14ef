// work_queue_manager: see docs/cli/work_queue_manager.md.
#include <csignal>
#include <exception>
#include <iostream>

#include "manager/app/options.hpp"
#include "manager/app/run.hpp"

int main(int argc, char** argv) {
  using namespace taskmill::manager;
  std::signal(SIGPIPE, SIG_IGN);
  try {
    auto line = parse_command_line(argc, argv);
    switch (line.mode) {
      case CommandLine::Mode::run: return run_tasks(line.run, std::move(line.manager));
      case CommandLine::Mode::analyze: break;
      case CommandLine::Mode::done: return line.exit_code;
    }
    std::cerr << "work_queue_manager: analyze is not available in this build\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "work_queue_manager: " << error.what() << "\n";
    return 2;
  }
}
