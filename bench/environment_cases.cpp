// `work_queue_bench environment`: a real environment of some hundred megabytes, brought to workers in every way there
// is. Times run from the start of the manager until its results file has the first and the last result.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "bench/cases.hpp"

namespace taskmill::bench {
namespace {

constexpr int many_tasks = 40;
constexpr double patience_s = 300;

struct Plan {
  std::string what;
  std::string command = "python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)'";
  std::string environment{};  ///< for --environment; empty: the command brings its own
  std::string archive{};      ///< input "env"
  int tasks = many_tasks;
  int workers = 1;
  int cores = 2;  ///< of all workers together, or one each
  bool old_worker = false;
  std::string cache_dir{};     ///< of the workers
  std::string prepared_dir{};  ///< --environment-cache of the manager
  int peer_transfers = 3;
  double first_target_s = 0, all_target_s = 0;
};

struct Times {
  double first_s = 0, last_s = 0;
  std::string sent, between = "-";
  bool complete = false;
};

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_tasks(const Plan& plan, const std::string& path, const std::string& runner) {
  std::ofstream out(path);
  for (int i = 0; i < plan.tasks; ++i) {
    out << R"({"command": ")";
    for (const char c : plan.command) out << (c == '"' ? "\\\"" : std::string(1, c));
    out << R"(", "cores": 1)";
    if (!plan.archive.empty()) {
      out << R"(, "inputs": [")" << plan.archive << R"(=env", ")" << runner << R"(=run"])";
    }
    out << "}\n";
  }
}

Times measure(const Plan& plan, const std::string& bin, const Scratch& scratch, int number) {
  const auto file = [&](const char* name) { return scratch.path(std::to_string(number) + name); };
  write_tasks(plan, file("tasks"), bin + "/poncho_package_run");
  std::vector<std::string> argv{bin + "/work_queue_manager",
                                "run",
                                file("tasks"),
                                "--port",
                                "0",
                                "--port-file",
                                file("port"),
                                "--results",
                                file("results"),
                                "-q",
                                "--environment-cache",
                                plan.prepared_dir};
  argv.insert(argv.end(), {"--peer-transfers", std::to_string(plan.peer_transfers)});
  if (!plan.environment.empty()) argv.insert(argv.end(), {"--environment", plan.environment});
  const double start = now_s();
  Times times;
  Program manager(argv, file("manager.log"));
  const auto port = wait_for_port(file("port"), manager, patience_s);
  if (!port) return times;
  std::vector<std::unique_ptr<Program>> workers;
  for (int i = 0; i < plan.workers; ++i) {
    const auto space = file(("space" + std::to_string(i)).c_str());
    ::mkdir(space.c_str(), 0700);
    argv = {plan.old_worker ? "/usr/bin/work_queue_worker" : bin + "/work_queue_worker", "-s", space, "--cores"};
    argv.insert(argv.end(), {std::to_string(std::max(1, plan.cores / plan.workers)), "--memory", "4000", "--disk"});
    argv.insert(argv.end(), {"20000", "127.0.0.1", std::to_string(*port)});
    if (!plan.cache_dir.empty()) argv.insert(argv.end(), {"--cache-dir", plan.cache_dir});
    workers.push_back(std::make_unique<Program>(argv, file("worker.log")));
  }
  while (now_s() - start < patience_s) {
    const auto lines = text_of(file("results"));
    const auto count = std::count(lines.begin(), lines.end(), '\n');
    if (count > 0 && times.first_s == 0) times.first_s = now_s() - start;
    if (count >= plan.tasks || !manager.running()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  times.last_s = now_s() - start;
  manager.wait(10);
  const auto log = text_of(file("manager.log"));
  times.complete = log.find(std::to_string(plan.tasks) + " of " + std::to_string(plan.tasks)) != std::string::npos;
  if (const auto at = log.find("moved "); at != std::string::npos)
    times.sent = log.substr(at + 6, log.find(" to workers") - at - 6);
  if (const auto end = log.find(" from worker to worker"); end != std::string::npos) {
    const auto at = log.rfind(", ", end);
    times.between = log.substr(at + 2, end - at - 2);
  }
  return times;
}

std::string data_directory() {
  const char* chosen = std::getenv("TASKMILL_BENCH_ENVIRONMENT");
  std::string directory = chosen != nullptr ? chosen : "/var/tmp/taskmill-bench-environment";
  if (::access((directory + "/changed.tar.gz").c_str(), R_OK) != 0) {
    const auto command = std::string(TASKMILL_SOURCE_DIR) + "/bench/make_environment.sh '" + directory + "' >&2";
    if (std::system(command.c_str()) != 0) fail("cannot make the environment in " + directory);
  }
  return directory;
}

std::vector<Plan> plans_for(const std::string& data, const Scratch& scratch) {
  const std::string archive = data + "/env.tar.gz";
  const std::string prepared = scratch.path("prepared");
  const std::string node = scratch.path("node");
  const auto by_hand = [&](const std::string& what, const std::string& command, int tasks, bool old_worker) {
    Plan plan;
    plan.what = what;
    plan.command = command;
    plan.archive = archive;
    plan.tasks = tasks;
    plan.old_worker = old_worker;
    plan.prepared_dir = prepared;
    return plan;
  };
  const auto managed = [&](const std::string& what) {
    Plan plan;
    plan.what = what;
    plan.environment = archive;
    plan.prepared_dir = prepared;
    return plan;
  };
  const std::string task = " python -c 'import sys; sys.exit(sys.prefix == sys.base_prefix)'";
  std::vector<Plan> plans;
  plans.push_back(by_hand("each of 4 tasks unpacks gzip (tar), old worker",
                          "mkdir e; tar -xzf env -C e; . e/bin/activate;" + task, 4, true));
  plans.push_back(by_hand("once per worker, gzip, old worker", "./run -e env -u \"$WORK_QUEUE_SANDBOX\"/e --" + task,
                          many_tasks, true));
  plans.push_back(managed("the manager prepares the archive; native worker"));
  plans.push_back(managed("once per worker, zstd, old worker"));
  plans.back().old_worker = true;
  plans.push_back(managed("once per worker, zstd chunks, native worker"));
  plans.back().first_target_s = 4;
  plans.back().all_target_s = 6;
  plans.push_back(managed("the same with --cache-dir"));
  plans.back().cache_dir = node;
  plans.push_back(managed("second run on the same node"));
  plans.back().cache_dir = node;
  plans.back().first_target_s = 0.5;
  plans.push_back(managed("second run there after one module changed"));
  plans.back().cache_dir = node;
  plans.back().environment = data + "/changed.tar.gz";
  plans.push_back(managed("8 native workers, --peer-transfers 0"));
  plans.back().peer_transfers = 0;
  plans.push_back(managed("8 native workers"));
  plans.push_back(managed("8 native workers, one --cache-dir"));
  plans.back().cache_dir = scratch.path("shared");
  for (auto at = plans.end() - 3; at != plans.end(); ++at) at->workers = at->cores = 8;
  return plans;
}

/// "1.23", with a target "1.23 (≤ 4)", bold when it is missed.
std::string cell(double seconds, double target) {
  char text[64];
  if (target == 0) {
    std::snprintf(text, sizeof text, "%.2f", seconds);
  } else {
    std::snprintf(text, sizeof text, seconds <= target ? "%.2f (≤ %g)" : "**%.2f** (≤ %g)", seconds, target);
  }
  return text;
}

struct Runs {
  std::vector<double> first_s, last_s;
  Times latest;
  bool complete = true;
};

}  // namespace

void environment_cases(Context& context) {
  const auto data = data_directory();
  std::vector<Plan> plans;
  std::vector<Runs> runs;
  int number = 0;
  for (int repetition = 0; repetition < context.repeat; ++repetition) {
    const Scratch scratch;
    plans = plans_for(data, scratch);
    runs.resize(plans.size());
    for (std::size_t i = 0; i < plans.size(); ++i) {
      if (plans[i].old_worker && ::access("/usr/bin/work_queue_worker", X_OK) != 0) continue;
      const auto times = measure(plans[i], context.bin, scratch, ++number);
      runs[i].first_s.push_back(times.first_s);
      runs[i].last_s.push_back(times.last_s);
      runs[i].latest = times;
      runs[i].complete = runs[i].complete && times.complete;
      std::printf("%-52s %8.2f %8.2f  %s%s\n", plans[i].what.c_str(), times.first_s, times.last_s, times.sent.c_str(),
                  times.complete ? "" : "  (not all tasks succeeded)");
      std::fflush(stdout);
    }
  }
  auto& text = context.environment_table;
  text =
      "| an environment of 13,000 files | first task s | all tasks s | manager to workers | between workers |\n"
      "| --- | ---: | ---: | ---: | ---: |\n";
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (runs[i].first_s.empty()) continue;
    text += "| " + plans[i].what + (runs[i].complete ? "" : " (not all tasks succeeded)") + " | " +
            cell(median(runs[i].first_s), plans[i].first_target_s) + " | " +
            cell(median(runs[i].last_s), plans[i].all_target_s) + " | " + runs[i].latest.sent + " | " +
            runs[i].latest.between + " |\n";
  }
  std::printf("\n%s", text.c_str());
}

}  // namespace taskmill::bench
