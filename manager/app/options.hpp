// The command line of work_queue_manager, as values. The only file of the manager that knows CLI11 is options.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "manager/api/manager.hpp"
#include "manager/app/analyze.hpp"

namespace taskmill::manager {

struct LocalWorkerOptions {
  int count = 0;
  int cores = 0;                      ///< per worker; 0: the machine's cores shared evenly
  std::int64_t memory = 0, disk = 0;  ///< MB per worker; 0: shared evenly, what is free
  std::string program;                ///< empty: work_queue_worker beside this program, else in PATH
};

struct RunOptions {
  std::string tasks;                 ///< JSON lines; "-" is standard input
  std::string each_line;             ///< file for --each-line; empty: none
  std::vector<std::string> command;  ///< words behind "--"
  std::string port_file, results, output_dir, stdout_dir;
  std::uint64_t stdout_limit = 64U << 10;  ///< bytes of standard output in a result record
  std::string environment;                 ///< archive or directory, for tasks that do not name one
  std::optional<int> max_retries;          ///< for tasks that do not say
  Duration timeout{0};                     ///< of the whole run; 0: none
  bool keep_going = false, verbose = false, quiet = false;
  bool exit_workers = false;  ///< workers end with the run instead of looking for another manager
  LocalWorkerOptions local;
  std::vector<std::pair<std::string, CategorySettings>> categories;
  std::vector<std::pair<std::string, double>> tuning;
};

struct CommandLine {
  enum class Mode : unsigned char { run, analyze, done } mode = Mode::done;
  int exit_code = 0;  ///< mode done: help, version or an error was printed
  RunOptions run;
  AnalyzeOptions analyze;
  ManagerOptions manager;
};

CommandLine parse_command_line(int argc, char** argv);

/// "NAME:cores=1,memory=500,mode=max,max-concurrent=4,fast-abort=3"; the error names the part that is wrong.
Expected<std::pair<std::string, CategorySettings>> parse_category(const std::string& text);

}  // namespace taskmill::manager
