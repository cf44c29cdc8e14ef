// The command line and environment of work_queue_worker (worker.md section 1), as GNU getopt_long reads it: options and
// positionals in any order, unambiguous abbreviations, "--opt=v" and "--opt v". Legacy options are accepted with their
// arguments and do nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/capabilities.hpp"
#include "worker/core/address_list.hpp"
#include "worker/core/limit_policy.hpp"

namespace taskmill::worker {

struct Options {
  enum class Action : unsigned char { run, show_version, show_help };
  Action action = Action::run;

  std::vector<HostPort> hosts;
  std::string project, catalogs;
  std::string connection_mode;
  bool ssl = false;
  std::string ssl_ca, ssl_fingerprint;
  std::optional<std::string> password;
  std::string password_file;
  int protocol = 0;  ///< 0: find out

  std::int64_t idle_timeout_s = 900, connect_timeout_s = 900;
  std::int64_t min_backoff_s = 1, max_backoff_s = 60;
  std::int64_t wall_time_s = 0;
  bool single_shot = false, parent_death = false;
  double volatility = 0;

  std::int64_t cores = 0, memory = 0, disk = 0, gpus = -1;  ///< not positive (gpus: negative): detect
  std::vector<std::string> features;
  std::string arch, os, from_factory;
  std::string workdir;
  bool symlinks = true;
  bool use_shell = false;
  std::string task_wrapper;
  bool strict_exit = false;
  LimitPolicy limits;
  std::string coprocess;               ///< as given
  std::string coprocess_command;       ///< for the shell, with the program's whole path
  std::int64_t coprocesses_total = 0;  ///< not positive: one for each core
  std::int64_t coprocess_cores = -1, coprocess_memory = -1, coprocess_disk = -1, coprocess_gpus = -1;
  std::string cache_directory;
  std::int64_t cache_limit_mb = 20480;
  protocol::CapabilitySet without;  ///< extensions not to be used

  std::vector<std::string> debug_flags;
  std::string debug_file;
  std::int64_t debug_rotate_max = 0;

  std::vector<std::string> warnings;  ///< to be printed at start
};

struct Parsed {
  Options options;
  int exit_code = -1;   ///< >= 0: end now
  std::string message;  ///< for stderr
  bool show_usage = false;
};

Parsed parse_options(int argc, char** argv);

std::string usage_text(const std::string& program);
std::string version_text(const std::string& program);

}  // namespace taskmill::worker
