#include "tools/factory/submit_plan.hpp"

#include <algorithm>

#include "common/base/text.hpp"
#include "tools/factory/worker_command.hpp"

namespace taskmill::tools {
namespace {

std::string all_digits(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c < '0' || c > '9') break;
    out += c;
  }
  return out;
}

std::string number(std::int64_t value) { return std::to_string(value); }

std::int64_t cores_of(const Resources& job) { return std::max<std::int64_t>(1, static_cast<std::int64_t>(job.cores)); }

}  // namespace

std::optional<QueueSystem> queue_system(std::string_view type, const std::string& (*get)(const char* name)) {
  if (type == "slurm") {
    return QueueSystem{"slurm",
                       "sbatch",
                       "scancel",
                       {"squeue", "-h", "-o", "%T", "-j"},
                       {"-D", ".", "-e", "/dev/null", "--export=ALL"},
                       "-J",
                       false};
  }
  if (type == "pbs" || type == "torque") {
    return QueueSystem{std::string(type), "qsub", "qdel", {"qstat"}, {"-j", "oe", "-V"}, "-N", true};
  }
  if (type == "uge" || type == "sge")
    return QueueSystem{"uge", "qsub", "qdel", {"qstat", "-j"}, {"-cwd", "-j", "y", "-V"}, "-N", false};
  if (type == "moab")
    return QueueSystem{"moab", "msub", "mdel", {"checkjob"}, {"-d", ".", "-j", "oe", "-V"}, "-N", false};
  if (type == "lsf")
    return QueueSystem{"lsf", "bsub", "bkill", {"bjobs"}, {"-e", "/dev/null", "-env", "all"}, "-J", true};
  if (type == "cluster") {
    auto options = split_words(get("BATCH_QUEUE_CLUSTER_SUBMIT_OPTIONS"));
    return QueueSystem{get("BATCH_QUEUE_CLUSTER_NAME"),
                       get("BATCH_QUEUE_CLUSTER_SUBMIT_COMMAND"),
                       get("BATCH_QUEUE_CLUSTER_REMOVE_COMMAND"),
                       {},
                       options ? *options : std::vector<std::string>{},
                       get("BATCH_QUEUE_CLUSTER_SUBMIT_JOBNAME_VAR"),
                       true};
  }
  return std::nullopt;
}

Resources job_resources(const Resources& worker) {
  Resources job = worker;
  if (job.cores < 1) job.cores = 1;
  return job;
}

std::vector<std::string> resource_options(const QueueSystem& system, const Resources& job) {
  std::vector<std::string> words;
  const auto cores = number(cores_of(job));
  if (system.name == "slurm") {
    if (job.memory > 0) words.push_back("--mem=" + number(job.memory) + "M");
    words.insert(words.end(), {"-N", "1", "-n", "1", "-c", cores});
    if (job.gpus > 0) words.push_back("--gres=gpu:" + number(job.gpus));
  } else if (system.name == "pbs" || system.name == "torque") {
    std::string list = "nodes=1:ppn=" + cores;
    if (job.gpus > 0) list += ":gpus=" + number(job.gpus);
    if (job.memory > 0) list += ",mem=" + number(job.memory) + "mb";
    if (job.disk > 0) list += ",file=" + number(job.disk) + "mb";
    words.insert(words.end(), {"-l", list});
  } else if (system.name == "uge") {
    if (job.memory > 0) words.insert(words.end(), {"-l", "h_vmem=" + number(job.memory) + "M"});
    words.insert(words.end(), {"-pe", "smp", cores});
  } else if (system.name == "lsf") {
    if (job.memory > 0) words.insert(words.end(), {"-M", number(job.memory) + "MB"});
    words.insert(words.end(), {"-n", cores});
  }
  return words;
}

std::vector<std::string> submit_words(const QueueSystem& system, const Resources& job, const std::string& job_name,
                                      const std::vector<std::string>& user_options, const std::string& script) {
  std::vector<std::string> words = {system.submit};
  const auto resources = resource_options(system, job);
  words.insert(words.end(), resources.begin(), resources.end());
  words.insert(words.end(), system.options.begin(), system.options.end());
  words.insert(words.end(), {"-o", "/dev/null"});
  if (!system.name_flag.empty()) words.insert(words.end(), {system.name_flag, job_name});
  words.insert(words.end(), user_options.begin(), user_options.end());
  words.push_back("./" + script);
  return words;
}

std::string job_script(const QueueSystem& system, const std::string& directory, const std::string& script_name,
                       const std::vector<std::string>& environment, const std::vector<std::string>& command) {
  std::string text = "#!/bin/sh\n# Runs one worker and tells the factory how it is doing.\n";
  text += "id=${SLURM_JOB_ID:-${LSB_JOBID:-${PBS_JOBID:-$JOB_ID}}}\n";
  if (system.change_directory) text += "cd " + shell_quote(directory) + " || exit 1\n";
  for (const auto& pair : environment) {
    const auto equals = pair.find('=');
    text += pair.substr(0, equals) + "=" + shell_quote(pair.substr(equals + 1)) + "\nexport " + pair.substr(0, equals) +
            "\n";
  }
  text += "status=" + shell_quote(script_name + ".status.") + "$id\n";
  text += "echo \"start $(date +%s)\" > \"$status\"\n";
  text += "while sleep 30; do echo \"alive $(date +%s)\" >> \"$status\"; done &\nsigns=$!\n";
  // The worker must hear of the end of the job before the script goes.
  text += quote_words(command) + " &\nworker=$!\n";
  text += "trap 'kill -TERM $worker' TERM INT HUP\n";
  text += "wait $worker\nresult=$?\nwait $worker 2>/dev/null && result=$?\n";
  text += "kill $signs 2>/dev/null\necho \"stop $result $(date +%s)\" >> \"$status\"\nexit 0\n";
  return text;
}

std::optional<std::string> parse_job_id(std::string_view answer) {
  for (auto line : split(answer, '\n')) {
    line = trim(line);
    for (const std::string_view lead : {"Your job ", "Submitted batch job ", "Job <"}) {
      if (line.substr(0, lead.size()) != lead) continue;
      auto id = all_digits(line.substr(lead.size()));
      if (!id.empty()) return id;
    }
    // "1234", "1234.server", "Moab.1234" is not accepted: what removes a job must be an id we know.
    if (!line.empty() && line.front() >= '0' && line.front() <= '9') {
      const auto id = line.substr(0, line.find_first_of(" \t"));
      if (id.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_[]") ==
          std::string_view::npos) {
        return std::string(id);
      }
    }
  }
  return std::nullopt;
}

JobStatus parse_status_file(std::string_view text) {
  JobStatus status;
  for (auto line : split(text, '\n')) {
    const auto word = next_token(line);
    const auto first = parse_int(next_token(line));
    if (!first) continue;
    if (word == "start" || word == "alive") {
      status.started = true;
      status.last_sign = *first;
    } else if (word == "stop") {
      status.started = status.stopped = true;
      status.exit_status = *first;
      status.last_sign = parse_int(next_token(line)).value_or(0);
    }
  }
  return status;
}

// --- condor ---

namespace {

// Condor's new argument syntax: in double quotes, " doubled; single quotes protect blanks, ' doubled inside.
std::string condor_arguments(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) {
    if (!out.empty()) out += ' ';
    std::string quoted = "'";
    for (const char c : word) {
      if (c == '\'')
        quoted += "''";
      else if (c == '"')
        quoted += "\"\"";
      else
        quoted += c;
    }
    out += quoted + "'";
  }
  return "\"" + out + "\"";
}

std::string request(const char* resource, std::int64_t amount, const char* slot, bool autosize) {
  const auto text = number(amount);
  const std::string total = std::string("TotalSlot") + slot;
  return std::string("request_") + resource + " = " +
         (autosize ? "ifThenElse(" + text + " > " + total + ", " + text + ", " + total + ")" : text) + "\n";
}

}  // namespace

std::string condor_script() { return "#!/bin/sh\nexec \"$@\"\n"; }

std::vector<std::string> condor_resource_words(bool gpus) {
  std::vector<std::string> words = {"--cores=$$([TARGET.Cpus])", "--memory=$$([TARGET.Memory])",
                                    "--disk=$$([TARGET.Disk/1024])"};
  if (gpus) words.emplace_back("--gpus=$$([TARGET.GPUs])");
  return words;
}

std::string condor_description(const FactoryConfig& config, const std::vector<std::string>& input_files,
                               const std::vector<std::string>& command, const std::vector<std::string>& blocked_hosts) {
  std::string text = "universe = vanilla\nexecutable = condor.sh\narguments = " + condor_arguments(command) + "\n";
  std::string files;
  for (const auto& file : input_files) files += (files.empty() ? "" : ",") + file;
  if (!files.empty()) text += "transfer_input_files = " + files + "\n";
  text +=
      "should_transfer_files = yes\nwhen_to_transfer_output = on_exit\nnotification = never\ntransfer_executable = "
      "true\n";
  text += "keep_claim_idle = 30\nlog = condor.logfile\n+JobMaxSuspendTime = 0\n";
  std::string requirements = config.condor_requirements.empty() ? "" : "(" + config.condor_requirements + ")";
  for (const auto& host : blocked_hosts) {
    if (host.find_first_of("\"\\\n") != std::string::npos) continue;
    requirements += (requirements.empty() ? "" : " && ") + std::string("(machine != \"") + host + "\")";
  }
  if (!requirements.empty()) text += "requirements = " + requirements + "\n";
  // Only what was asked for reaches the job: the whole environment of a login session does not belong there.
  std::string environment;
  for (const auto& pair : config.environment) {
    std::string quoted;
    const auto equals = pair.find('=');
    for (const char c : pair.substr(equals + 1)) {
      if (c == '\'')
        quoted += "''";
      else if (c == '"')
        quoted += "\"\"";
      else
        quoted += c;
    }
    environment += (environment.empty() ? "" : " ") + pair.substr(0, equals) + "='" + quoted + "'";
  }
  if (!environment.empty()) text += "environment = \"" + environment + "\"\n";
  text += "getenv = true\n";
  const auto& worker = config.worker;
  constexpr std::int64_t usual_memory = 1024;
  constexpr std::int64_t usual_disk = 1024;
  text += request("cpus", cores_of(worker), "Cpus", config.autosize);
  text += request("memory", worker.memory > 0 ? worker.memory : usual_memory, "Memory", config.autosize);
  text += request("disk", (worker.disk > 0 ? worker.disk : usual_disk) * 1024, "Disk", config.autosize);
  if (worker.gpus > 0) text += request("gpus", worker.gpus, "GPUs", config.autosize);
  std::string extra = config.batch_options;
  for (auto at = extra.find("\\n"); at != std::string::npos; at = extra.find("\\n", at + 1)) extra.replace(at, 2, "\n");
  if (!extra.empty()) text += extra + "\n";
  return text + "queue\n";
}

std::optional<std::string> parse_condor_cluster(std::string_view answer) {
  constexpr std::string_view lead = "submitted to cluster ";
  const auto at = answer.find(lead);
  if (at == std::string_view::npos) return std::nullopt;
  auto id = all_digits(answer.substr(at + lead.size()));
  if (id.empty()) return std::nullopt;
  return id;
}

// "005 (17.000.000) 11/23 05:17:34 Job terminated."
std::optional<CondorEvent> parse_condor_line(std::string_view line) {
  if (line.size() < 6 || line.substr(3, 2) != " (") return std::nullopt;
  const auto code = parse_int(line.substr(0, 3));
  if (!code) return std::nullopt;
  CondorEvent event;
  event.cluster = all_digits(line.substr(5));
  if (event.cluster.empty()) return std::nullopt;
  switch (*code) {
    case 0:
      event.kind = CondorEvent::Kind::submitted;
      break;
    case 1:
      event.kind = CondorEvent::Kind::started;
      break;
    case 5:
      event.kind = CondorEvent::Kind::ended;
      break;
    case 9:
      event.kind = CondorEvent::Kind::removed;
      break;
    default:
      break;
  }
  // The log writes ids with leading zeros.
  event.cluster.erase(0, std::min(event.cluster.find_first_not_of('0'), event.cluster.size() - 1));
  constexpr std::string_view lead = "alias=";
  if (const auto at = line.find(lead); at != std::string_view::npos) {
    auto name = line.substr(at + lead.size());
    event.schedd = name.substr(0, name.find_first_of("&> "));
  }
  return event;
}

}  // namespace taskmill::tools
