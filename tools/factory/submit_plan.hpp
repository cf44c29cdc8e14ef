// What batch systems are told, as values: job script, submit command, and how to read their answers
// (status-and-factory.md B.7). Nothing here runs anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/resources.hpp"
#include "tools/factory/config.hpp"

namespace taskmill::tools {

/// One family of queueing systems that work alike: sbatch, qsub, …
struct QueueSystem {
  std::string name;
  std::string submit;                ///< "sbatch"
  std::string remove;                ///< "scancel"
  std::vector<std::string> probe;    ///< asks about one job, its id is appended; empty: cannot be asked
  std::vector<std::string> options;  ///< always given to submit
  std::string name_flag;             ///< "-J"
  bool change_directory = false;     ///< the job does not start in the directory of submission
};
/// slurm, pbs, torque, uge (sge), moab, lsf, cluster. For `cluster` the environment is looked up through `get`.
std::optional<QueueSystem> queue_system(std::string_view type, const std::string& (*get)(const char* name));

/// What the job asks for and the worker announces: unset cores become 1, so that a worker never takes a node it was
/// not given (D7).
Resources job_resources(const Resources& worker);

/// Options for the resources of one job, as separate words.
std::vector<std::string> resource_options(const QueueSystem& system, const Resources& job);

/// The whole submit command. `script` is the job script in the current directory.
std::vector<std::string> submit_words(const QueueSystem& system, const Resources& job, const std::string& job_name,
                                      const std::vector<std::string>& user_options, const std::string& script);

/// A POSIX shell script that reports through SCRIPT.status.ID: start, alive every 30 s, stop STATUS.
std::string job_script(const QueueSystem& system, const std::string& directory, const std::string& script_name,
                       const std::vector<std::string>& environment, const std::vector<std::string>& command);

/// The id in the answer of submit: "Your job N", "Submitted batch job N", "Job <N> is submitted", or a leading id.
std::optional<std::string> parse_job_id(std::string_view answer);

struct JobStatus {
  bool started = false;
  bool stopped = false;
  std::int64_t exit_status = 0;
  std::int64_t last_sign = 0;  ///< Unix seconds
};
JobStatus parse_status_file(std::string_view text);

// --- condor ---
std::string condor_description(const FactoryConfig& config, const std::vector<std::string>& input_files,
                               const std::vector<std::string>& command, const std::vector<std::string>& blocked_hosts);
/// The wrapper that runs its arguments.
std::string condor_script();
/// Resources are announced by what the slot has.
std::vector<std::string> condor_resource_words(bool gpus);
/// "3 job(s) submitted to cluster 17." -> "17".
std::optional<std::string> parse_condor_cluster(std::string_view answer);

struct CondorEvent {
  enum class Kind : unsigned char { submitted, started, ended, removed, other };
  Kind kind = Kind::other;
  std::string cluster;
  std::string schedd;  ///< from alias= of a submission
};
/// One line of the log; nullopt when it begins no event.
std::optional<CondorEvent> parse_condor_line(std::string_view line);

}  // namespace taskmill::tools
