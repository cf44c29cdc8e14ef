#include "manager/app/options.hpp"

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>

#include "common/base/text.hpp"
#include "common/cli/repeated_options.hpp"

namespace taskmill::manager {
namespace {

constexpr const char* description =
    "Runs many tasks on workers that come and go, and speaks the Work Queue protocol (versions 9 to 11).\n"
    "\n"
    "  work_queue_manager run tasks.jsonl -M my-project -P password.txt\n"
    "  work_queue_manager run --each-line commands.txt --local-workers 2 -- gzip -k {}\n"
    "  work_queue_manager analyze zpeak.toml -M my-project -P password.txt\n"
    "\n"
    "Workers find it with `work_queue_worker -M my-project -P password.txt`, or `work_queue_worker HOST 9123`.\n";

constexpr const char* run_footer =
    "\nA task is one JSON object per line; only `command` is required:\n"
    "  {\"command\": \"./sim -s 7 > out\", \"inputs\": [\"bin/sim=sim\"], \"outputs\": [\"results/7=out\"], \"cores\": "
    "1, \"memory\": 500}\n"
    "All fields are in docs/cli/work_queue_manager.md.\n"
    "\nExit status: 0 every task succeeded, 1 some failed, 2 bad input or options, 130 interrupted.\n";

struct Raw {
  std::string bandwidth;
  int port = -1;
  bool ssl = false;
  std::string environment_cache, timeout, algorithm, monitor, stragglers;
  std::vector<std::string> tuning, categories, snapshot;
  double fast_abort = 0;
  int wait_for_workers = 0, peer_transfers = -1;
  bool monitor_watchdog = false, enforce_cores = false;
  std::string enforce;
};

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

void add_network(CLI::App& app, ManagerOptions& manager, Raw& raw) {
  app.add_option("-M,--project-name,-N", manager.project,
                 "Project name; workers find it with -M NAME through the catalog")
      ->type_name("NAME");
  app.add_option("-P,--password", manager.password_file,
                 "File with the password that workers must know (its whole content, a final newline included)")
      ->type_name("FILE");
  app.add_option("-p,--port", raw.port, "Port to listen on; 0: any. Without it 9123 or the first free one above")
      ->type_name("N")
      ->check(CLI::Range(0, 65535));
  app.add_option("--bandwidth", raw.bandwidth,
                 "Bytes per second that all transfers together may take, e.g. 100M; default WORK_QUEUE_BANDWIDTH")
      ->type_name("RATE");
  app.add_option("-C,--catalog", manager.catalogs,
                 "Catalogs to advertise in, HOST[:PORT][,…]; default CATALOG_HOST, else localhost:9097, which the "
                 "manager serves "
                 "itself if nobody does")
      ->type_name("LIST");
  app.add_option("--ssl-key", manager.ssl_key, "TLS key (PEM); workers then need --ssl")->type_name("FILE");
  app.add_option("--ssl-cert", manager.ssl_cert, "TLS certificate (PEM)")->type_name("FILE");
  app.add_flag("--ssl", raw.ssl, "TLS with a certificate made for this run");
  app.add_option("--priority", manager.priority,
                 "Priority shown in the catalog (for people; the scheduler does not use it)");
  app.add_option("--preferred-connection", manager.preferred_connection,
                 "How workers should reach us: by_ip, by_hostname, by_apparent_ip")
      ->check(CLI::IsMember({"by_ip", "by_hostname", "by_apparent_ip"}));
}

void add_logs(CLI::App& app, ManagerOptions& manager) {
  app.add_option("--transactions-log", manager.transactions_log, "One line per event of tasks and workers")
      ->type_name("FILE");
  app.add_option("--stats-log", manager.stats_log, "56 columns of statistics, at most every 5 s")->type_name("FILE");
  app.add_option("-o,--debug-log", manager.debug_log, "Every line of the protocol, for debugging; rotated at 100 MB")
      ->type_name("FILE");
}

void add_policy(CLI::App& app, Raw& raw) {
  app.add_option("--tune", raw.tuning, "Tuning parameter NAME=VALUE by its old name, e.g. keepalive-interval=60")
      ->type_name("N=V");
  app.add_option("--category", raw.categories,
                 "Settings of a category: NAME:cores=1,memory=500,mode=max,max-concurrent=4,fast-abort=3")
      ->type_name("SPEC");
  app.add_option("--algorithm", raw.algorithm, "Which worker gets a task: time, files, fcfs, rand, worst")
      ->check(CLI::IsMember({"time", "files", "fcfs", "rand", "worst"}));
  app.add_option("--fast-abort", raw.fast_abort,
                 "Restart tasks that run longer than this times the average of their category")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--stragglers", raw.stragglers,
                 "leave, or replicate: run a second copy of outliers and take the first result")
      ->check(CLI::IsMember({"leave", "replicate"}));
  app.add_option("--peer-transfers", raw.peer_transfers,
                 "A worker, and the manager, sends one large cached input to at most N workers at a time (default 3); "
                 "0: workers do not send to each other")
      ->type_name("N")
      ->check(CLI::Range(0, 1000));
  app.add_option("--wait-for-workers", raw.wait_for_workers, "Dispatch nothing until this many workers are connected")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--monitor", raw.monitor, "Measure tasks with resource_monitor and keep its summaries in DIR")
      ->type_name("DIR");
  app.add_option("--enforce", raw.enforce,
                 "Stop tasks at our workers that use more memory or disk than they were given: asked (default: where "
                 "the task or its category says how much, or it was learned), always (shares given in proportion too), "
                 "never")
      ->check(CLI::IsMember({"asked", "always", "never"}));
  app.add_flag("--enforce-cores", raw.enforce_cores,
               "Stop tasks that use more cores than they were given; otherwise that is only told");
  app.add_flag("--monitor-watchdog", raw.monitor_watchdog,
               "Stop tasks that use more than they were given, at old workers too (with --monitor); implies "
               "--enforce always");
}

void add_local(CLI::App& app, LocalWorkerOptions& local) {
  app.add_option("--local-workers", local.count, "Start this many workers on this machine and end them with the run")
      ->check(CLI::Range(0, 1024));
  app.add_option("--cores", local.cores, "Cores of each local worker; default: the machine's, shared evenly")
      ->check(CLI::PositiveNumber);
  app.add_option("--memory", local.memory, "MB of memory of each local worker")->check(CLI::PositiveNumber);
  app.add_option("--disk", local.disk, "MB of disk of each local worker")->check(CLI::PositiveNumber);
}

void add_run(CLI::App& app, RunOptions& run, Raw& raw) {
  app.add_option("tasks", run.tasks, "File with one task per line as JSON, or - for standard input")
      ->type_name("TASKS.jsonl|-");
  app.add_option("--each-line", run.each_line,
                 "Run the command behind -- once for each line of FILE; {} is the line, {#} its number")
      ->type_name("FILE|-");
  app.add_option("--results", run.results, "Append one JSON record per finished task")->type_name("FILE.jsonl");
  app.add_option("--stdout-limit", run.stdout_limit, "Bytes of a task's output kept in its record")->type_name("BYTES");
  app.add_option("--stdout-dir", run.stdout_dir, "Write each task's standard output to DIR/task-ID.out")
      ->type_name("DIR");
  app.add_option("--output-dir", run.output_dir,
                 "Outputs go below DIR and nowhere else; absolute names and .. are refused")
      ->type_name("DIR");
  app.add_option("--environment", run.environment,
                 "Run every command inside this environment: an archive of conda-pack or venv-pack (tar, tar.gz, "
                 "tar.zst …) or a "
                 "directory; each worker unpacks it once (docs/environments.md)")
      ->type_name("ARCHIVE|DIR");
  app.add_option("--environment-cache", raw.environment_cache,
                 "Where repacked archives are kept; default ~/.cache/taskmill/environments")
      ->type_name("DIR");
  app.add_option("--max-retries", run.max_retries,
                 "For tasks that do not say: at most N+1 tries; default: until it works")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--timeout", raw.timeout,
                 "End the whole run after this time (90, 5m, 2h); what is not finished has failed")
      ->type_name("TIME");
  app.add_flag("-k,--keep-going", run.keep_going, "Report wrong lines and run the right ones");
  app.add_flag("-v,--verbose", run.verbose, "One line per submitted and finished task");
  app.add_flag("-q,--quiet", run.quiet, "No progress; only problems and the summary");
  app.add_flag("--exit-workers", run.exit_workers,
               "Tell workers to exit at the end instead of looking for another manager");
  app.footer(run_footer);
}

std::string fill_policy(const Raw& raw, ManagerOptions& manager, RunOptions& run) {
  for (const auto& text : raw.tuning) {
    const auto equals = text.find('=');
    const auto value =
        equals == std::string::npos ? std::nullopt : parse_number(std::string_view(text).substr(equals + 1));
    if (!value) return "--tune " + text + ": write NAME=NUMBER, e.g. keepalive-interval=60";
    std::string problem;
    if (!tune(manager.config, text.substr(0, equals), *value, &problem)) {
      return "--tune " + text + ": " + (problem.empty() ? "no such parameter" : problem);
    }
  }
  for (const auto& text : raw.categories) {
    auto category = parse_category(text);
    if (!category.has_value()) return "--category " + text + ": " + category.error().text;
    run.categories.push_back(std::move(*category));
  }
  if (raw.fast_abort > 0) manager.config.default_category.fast_abort = raw.fast_abort;
  if (raw.fast_abort > 0) run.categories.emplace_back("default", manager.config.default_category);
  if (raw.peer_transfers >= 0) manager.config.peer_transfers = raw.peer_transfers;
  if (raw.stragglers == "replicate") manager.config.stragglers = Stragglers::replicate;
  manager.environments.cache = raw.environment_cache;
  if (raw.wait_for_workers > 0) manager.config.wait_for_workers = raw.wait_for_workers;
  constexpr std::pair<const char*, Algorithm> algorithms[] = {{"time", Algorithm::time},
                                                              {"files", Algorithm::files},
                                                              {"fcfs", Algorithm::fcfs},
                                                              {"rand", Algorithm::rand},
                                                              {"worst", Algorithm::worst}};
  for (const auto& [name, algorithm] : algorithms) {
    if (raw.algorithm == name) manager.config.algorithm = algorithm;
  }
  if (!raw.timeout.empty()) {
    const auto seconds = parse_duration_seconds(raw.timeout);
    if (!seconds || *seconds <= 0) return "--timeout " + raw.timeout + ": write a time such as 90, 5m or 2h";
    run.timeout = std::chrono::seconds(*seconds);
  }
  return {};
}

std::filesystem::path program_directory() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
}

// The order of manager.md 11.1.
std::string find_monitor() {
  if (const char* chosen = environment("CCTOOLS_RESOURCE_MONITOR")) return chosen;
  std::vector<std::filesystem::path> places{"./", program_directory()};
  for (const auto part : split(environment("PATH") != nullptr ? environment("PATH") : "/usr/bin", ':'))
    places.emplace_back(part);
  for (const auto& place : places) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(place / "resource_monitor", ignored)) return place / "resource_monitor";
  }
  return {};
}

std::string fill_monitoring(const Raw& raw, ManagerOptions& manager) {
  auto& monitoring = manager.config.monitoring;
  monitoring.watchdog = raw.monitor_watchdog;
  if (!raw.enforce.empty())
    manager.config.enforce = raw.enforce == "never"    ? Enforce::never
                             : raw.enforce == "always" ? Enforce::always
                                                       : Enforce::asked;
  manager.config.enforce_cores = raw.enforce_cores;
  if (raw.enforce == "never" && raw.monitor_watchdog)
    return "--monitor-watchdog and --enforce never exclude each other";
  if (raw.monitor.empty()) return {};
  monitoring.enabled = true;
  monitoring.directory = raw.monitor;
  monitoring.program = find_monitor();
  std::error_code error;
  std::filesystem::create_directories(raw.monitor, error);
  if (error) return "--monitor " + raw.monitor + ": " + error.message();
  return {};
}

// "100M": bytes per second; a negative number means no limit, as in WORK_QUEUE_BANDWIDTH (manager.md 3).
std::string fill_bandwidth(const Raw& raw, ManagerOptions& manager) {
  const char* variable = environment("WORK_QUEUE_BANDWIDTH");
  const std::string text = !raw.bandwidth.empty() ? raw.bandwidth : variable != nullptr ? variable : "";
  if (text.empty() || text.front() == '-') return {};
  constexpr std::string_view units = "KMGTP";
  const auto unit = units.find(static_cast<char>(std::toupper(static_cast<unsigned char>(text.back()))));
  const auto number = parse_int(std::string_view(text).substr(0, text.size() - (unit == units.npos ? 0 : 1)));
  const auto shift = unit == units.npos ? 0 : 10 * (unit + 1);
  if (!number || *number < 1 || *number > (std::numeric_limits<std::int64_t>::max() >> shift))
    return (raw.bandwidth.empty() ? "WORK_QUEUE_BANDWIDTH " : "--bandwidth ") + text +
           ": write bytes per second as a whole number, with K, M, G, T or P if you like, e.g. 100M";
  manager.bandwidth = static_cast<std::uint64_t>(*number) << shift;
  return {};
}

// --port, else WORK_QUEUE_PORT, else the first free one of a range (manager.md 3).
std::string fill_port(const Raw& raw, ManagerOptions& manager) {
  const auto number = [](const char* name) -> std::optional<std::int64_t> {
    const char* text = environment(name);
    return text != nullptr ? parse_int(text) : std::nullopt;
  };
  const char* family = environment("CCTOOLS_IP_MODE");
  if (family != nullptr && std::string_view(family) != "IPV4") manager.address = "::";  // IPv4 comes there too
  if (raw.port >= 0) {
    manager.port = manager.last_port = static_cast<std::uint16_t>(raw.port);
    return {};
  }
  if (const auto port = number("WORK_QUEUE_PORT"); port && *port > 0 && *port < 65536) {
    manager.port = manager.last_port = static_cast<std::uint16_t>(*port);
    return {};
  }
  auto low = number("TCP_LOW_PORT"), high = number("TCP_HIGH_PORT");
  if (!low) low = number("WORK_QUEUE_LOW_PORT");
  if (!high) high = number("WORK_QUEUE_HIGH_PORT");
  if (low && *low > 0 && *low < 65536) manager.port = static_cast<std::uint16_t>(*low);
  if (high && *high > 0 && *high < 65536) manager.last_port = static_cast<std::uint16_t>(*high);
  if (manager.last_port < manager.port) return "TCP_LOW_PORT is above TCP_HIGH_PORT; swap them";
  return {};
}

std::string check_run(const RunOptions& run) {
  if (!run.each_line.empty() && !run.tasks.empty()) return "give either a task file or --each-line, not both";
  if (run.each_line.empty() && run.tasks.empty())
    return "no tasks: give TASKS.jsonl, - for standard input, or --each-line FILE -- command {}";
  if (!run.each_line.empty() && run.command.empty()) return "--each-line needs a command behind --, e.g. -- gzip -k {}";
  if (run.each_line.empty() && !run.command.empty())
    return "a command behind -- only makes sense with --each-line FILE";
  return {};
}

int complain(const std::string& text) {
  std::cerr << "work_queue_manager: " << text << "\n";
  return 2;
}

// Help and version are printed and no error; anything else is one line.
int end_of_options(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto chosen = app.get_subcommands();
  const auto of = chosen.empty() ? std::string() : chosen.front()->get_name() + " ";
  return complain(std::string(error.what()) + " (see work_queue_manager " + of + "--help)");
}

}  // namespace

namespace {

std::optional<AllocationMode> allocation_mode_of(std::string name) {
  constexpr std::pair<const char*, AllocationMode> modes[] = {
      {"fixed", AllocationMode::fixed},
      {"max", AllocationMode::max},
      {"auto", AllocationMode::max},
      {"min_waste", AllocationMode::min_waste},
      {"max_throughput", AllocationMode::max_throughput},
      {"greedy_bucketing", AllocationMode::greedy_bucketing},
      {"exhaustive_bucketing", AllocationMode::exhaustive_bucketing},
      {"det_greedy_bucketing", AllocationMode::det_greedy_bucketing},
      {"det_exhaustive_bucketing", AllocationMode::det_exhaustive_bucketing},
      {"quantized_bucketing", AllocationMode::quantized_bucketing}};
  std::replace(name.begin(), name.end(), '-', '_');
  for (const auto& [known, mode] : modes) {
    if (name == known) return mode;
  }
  return std::nullopt;
}

struct CategoryKey {
  const char* name;
  void (*set)(CategorySettings& settings, double number);
};
std::int64_t whole(double number) { return static_cast<std::int64_t>(std::min(number, 1e15)); }
constexpr CategoryKey category_keys[] = {
    {"cores", [](CategorySettings& s, double n) { s.max.cores = n; }},
    {"memory", [](CategorySettings& s, double n) { s.max.memory = whole(n); }},
    {"disk", [](CategorySettings& s, double n) { s.max.disk = whole(n); }},
    {"gpus", [](CategorySettings& s, double n) { s.max.gpus = whole(n); }},
    {"min-cores", [](CategorySettings& s, double n) { s.min.cores = n; }},
    {"min-memory", [](CategorySettings& s, double n) { s.min.memory = whole(n); }},
    {"min-disk", [](CategorySettings& s, double n) { s.min.disk = whole(n); }},
    {"first-cores", [](CategorySettings& s, double n) { s.first_guess.cores = n; }},
    {"first-memory", [](CategorySettings& s, double n) { s.first_guess.memory = whole(n); }},
    {"first-disk", [](CategorySettings& s, double n) { s.first_guess.disk = whole(n); }},
    {"max-concurrent", [](CategorySettings& s, double n) { s.max_concurrent = whole(n); }},
    {"max-processes", [](CategorySettings& s, double n) { s.max_processes = whole(n); }},
    {"fast-abort", [](CategorySettings& s, double n) { s.fast_abort = n; }},
};

/// One key=value of a category; the text says what is wrong with it.
std::string set_category(CategorySettings& settings, const std::string& key, const std::string& value) {
  if (key == "mode") {
    const auto mode = allocation_mode_of(value);
    if (mode) settings.mode = *mode;
    return mode ? ""
                : "unknown mode '" + value +
                      "'; use fixed, auto (max), min_waste, max_throughput or one of the bucketing modes";
  }
  const auto number = parse_number(value);
  if (!number || !(*number >= 0)) return "'" + value + "' is not a number for " + key;
  std::string known;
  for (const auto& entry : category_keys) {
    if (key == entry.name) return entry.set(settings, *number), "";
    known += entry.name + std::string(", ");
  }
  return "unknown key '" + key + "'; known are " + known + "mode";
}

}  // namespace

Expected<std::pair<std::string, CategorySettings>> parse_category(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || colon == 0) return make_error("write NAME:key=value,…");
  CategorySettings settings;
  for (const auto part : split(std::string_view(text).substr(colon + 1), ',')) {
    const auto equals = part.find('=');
    if (equals == std::string_view::npos)
      return make_error("'" + std::string(part) + "' has no value; write key=value");
    const auto bad = set_category(settings, std::string(part.substr(0, equals)), std::string(part.substr(equals + 1)));
    if (!bad.empty()) return make_error(bad);
  }
  return std::make_pair(text.substr(0, colon), settings);
}

void add_analysis(CLI::App& app, AnalyzeOptions& analyze, Raw& raw) {
  app.add_option("description", analyze.description, "The analysis: TOML or JSON")->required()->type_name("FILE");
  app.add_flag("-v,--verbose", analyze.verbose, "One line per submitted and finished task");
  app.add_option("--output", analyze.output, "Where the result goes, instead of the description's")->type_name("FILE");
  app.add_option("--report", analyze.report, "A self-contained HTML report of the run")->type_name("FILE");
  app.add_option("--work-dir", analyze.work_directory, "Where partial results lie while it runs")->type_name("DIR");
  app.add_option("--snapshot", raw.snapshot, "Write what is merged so far to FILE while it runs: every=30s FILE")
      ->expected(2)
      ->type_name("every=TIME FILE");
}

// --snapshot every=30s FILE
std::string fill_snapshot(const Raw& raw, AnalyzeOptions& analyze) {
  if (raw.snapshot.empty()) return {};
  const auto& every = raw.snapshot[0];
  const auto seconds = every.starts_with("every=") ? parse_duration_seconds(every.substr(6)) : std::nullopt;
  if (!seconds || *seconds < 1) return "--snapshot " + every + ": write --snapshot every=30s FILE";
  analyze.snapshot_every = std::chrono::seconds(*seconds);
  analyze.snapshot = raw.snapshot[1];
  return {};
}

CommandLine parse_command_line(int argc, char** argv) {
  CommandLine line;
  Raw raw;
  std::vector<char*> words(argv, argv + argc);
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (std::string_view(words[i]) != "--") continue;
    line.run.command.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
    words.resize(i);
  }
  if (words.size() > 1 && words[1][0] != '-' && std::string_view(words[1]) != "run" &&
      std::string_view(words[1]) != "analyze") {
    line.exit_code = complain("unknown command '" + std::string(words[1]) + "'; use run or analyze");
    return line;
  }
  CLI::App app(description, "work_queue_manager");
  app.set_version_flag("--version", "work_queue_manager 0.1.0 (Taskmill), protocols 9 to 11");
  app.require_subcommand(1);
  auto& run = *app.add_subcommand("run", "Run a list of tasks");
  auto& analyze =
      *app.add_subcommand("analyze", "Run an analysis: a dataset in, one merged result out (docs/analysis.md)");
  for (auto* sub : {&run, &analyze}) {
    add_network(*sub, line.manager, raw);
    add_logs(*sub, line.manager);
    add_policy(*sub, raw);
    add_local(*sub, line.run.local);
    sub->add_option("--port-file", line.run.port_file, "Write the port here once it is known")->type_name("FILE");
  }
  add_run(run, line.run, raw);
  run.add_option("--journal", line.manager.journal,
                 "Remember finished tasks in DIR: the same run started again does the rest only")
      ->type_name("DIR");
  add_analysis(analyze, line.analyze, raw);
  for (auto* sub : {&run, &analyze}) let_the_last_count(*sub);
  try {
    app.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::ParseError& error) {
    line.exit_code = end_of_options(app, error);
    return line;
  }
  line.analyze.program_directory = program_directory();
  std::string problem = fill_policy(raw, line.manager, line.run);
  if (problem.empty()) problem = fill_port(raw, line.manager);
  if (problem.empty()) problem = fill_bandwidth(raw, line.manager);
  if (problem.empty()) problem = fill_monitoring(raw, line.manager);
  if (problem.empty() && run.parsed()) problem = check_run(line.run);
  if (problem.empty() && raw.ssl && line.manager.ssl_cert.empty())
    line.manager.ssl_cert = line.manager.ssl_key = "auto";
  if (problem.empty()) problem = fill_snapshot(raw, line.analyze);
  if (!problem.empty()) {
    line.exit_code = complain(problem);
    return line;
  }
  line.run.verbose |= line.analyze.verbose;
  line.mode = run.parsed() ? CommandLine::Mode::run : CommandLine::Mode::analyze;
  return line;
}

}  // namespace taskmill::manager
