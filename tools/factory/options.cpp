#include "tools/factory/options.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "common/base/text.hpp"
#include "common/cli/repeated_options.hpp"
#include "tools/factory/worker_command.hpp"

namespace taskmill::tools {
namespace {

constexpr const char* batch_types = "local, condor, slurm, pbs, torque, uge (sge), moab, lsf, cluster, dryrun";

int fail(const std::string& text) {
  std::cerr << "work_queue_factory: " << text << "\n";
  return 1;
}

void duration(CLI::App& app, const std::string& names, std::int64_t& target, const std::string& help) {
  app.add_option_function<std::string>(
      names,
      [&target, names](const std::string& text) {
        const auto seconds = parse_duration_seconds(text);
        if (!seconds || *seconds < 0)
          throw CLI::ValidationError(names, "'" + text + "' is not a time; write 300, 300s, 5m or 2h");
        target = *seconds;
      },
      help);
}

// Options of kinds of batch systems that are not served here; named so that the message can say so.
struct Elsewhere {
  std::string runos, amazon, k8s_image, k8s_worker;
  bool afs = false;
};

void add_sizing(CLI::App& app, FactoryConfig& config) {
  const char* group = "How many workers";
  auto* minimum =
      app.add_option("-w,--min-workers", config.min_workers, "Keep at least this many (5 while there is a manager)");
  minimum->each([&config](const std::string&) { config.min_was_given = true; })->group(group);
  app.add_option("-W,--max-workers", config.max_workers, "Never more than this (100)")->group(group);
  app.add_option("--workers-per-cycle", config.workers_per_cycle, "New workers per cycle (5; 0: no limit)")
      ->group(group);
  app.add_option("--tasks-per-worker", config.tasks_per_worker,
                 "Tasks one worker runs at a time (default one per core)")
      ->group(group);
  app.add_flag("-c,--capacity", config.capacity, "Not more workers than managers say they can keep busy")->group(group);
  app.add_option("--cycle", config.cycle, "Seconds between two looks at the managers (30)")
      ->check(CLI::Range(1, 86400))
      ->group(group);
  duration(app, "-t,--timeout", config.timeout, "Workers end after being idle this long (300s)");
  duration(app, "--factory-timeout", config.factory_timeout, "End after this time without any manager (0: never)");
}

void add_worker(CLI::App& app, FactoryConfig& config) {
  const char* group = "The workers";
  app.add_option("--cores", config.worker.cores, "Cores of each worker")->check(CLI::Range(0, 1'000'000))->group(group);
  app.add_option("--memory", config.worker.memory, "Memory of each worker, MB")->group(group);
  app.add_option("--disk", config.worker.disk, "Disk of each worker, MB")->group(group);
  app.add_option("--gpus", config.worker.gpus, "GPUs of each worker")->group(group);
  app.add_flag("--autosize", config.autosize, "Each worker takes its whole slot (condor)")->group(group);
  app.add_option("--feature", config.features, "A feature the workers announce (repeatable)")->group(group);
  app.add_option("--env", config.environment, "NAME=VALUE for the workers (repeatable)")->group(group);
  app.add_option("-E,--extra-options", config.extra_options, "More words for the worker's command line")->group(group);
  app.add_option("--worker-binary", config.worker_binary, "Use this worker program")->group(group);
  app.add_option("--wrapper", config.wrappers, "Run the worker through this command; the last one given is outermost")
      ->group(group);
  app.add_option("--wrapper-input", config.wrapper_inputs, "A file the wrapper needs (repeatable)")->group(group);
  app.add_option("--task-wrapper", config.task_wrapper, "Workers run each task through this command")->group(group);
  app.add_option("--poncho-env,--python-env,--python-package", config.poncho_env,
                 "Run each worker in this packed environment")
      ->group(group);
  app.add_flag("--ssl", config.ssl, "Workers use TLS (with HOST PORT; by name the catalog says so)")->group(group);
}

void add_general(CLI::App& app, FactoryConfig& config, Elsewhere& elsewhere, std::vector<std::string>& manager) {
  app.add_option("-T,--batch-type", config.batch_type, std::string("Where workers run: ") + batch_types);
  app.add_option("-C,--config-file", config.config_file, "Read this configuration; read again when it changes");
  app.add_option("-M,-N,--manager-name,--master-name", config.manager_name,
                 "Serve managers whose whole name matches this expression");
  app.add_option("-F,--foremen-name", config.foremen_name, "Start workers for foremen of this name");
  app.add_option("--catalog", config.catalogs, "Catalogs: HOST[:PORT],… (default CATALOG_HOST, else localhost:9097)");
  app.add_option("-P,--password", config.password_file, "Password file for managers and workers");
  app.add_option("-S,--scratch-dir", config.scratch_dir, "Directory of this factory (default a new one)");
  app.add_flag("--run-factory-as-manager", config.run_as_manager, "Accepted for old scripts");
  app.add_flag("--parent-death", config.parent_death, "End when the parent process ends");
  app.add_option("--factory-name", config.factory_name, "Ties the workers to this factory");
  app.add_option("-B,--batch-options", config.batch_options,
                 "More words for the submit command (default BATCH_OPTIONS)");
  app.add_option_function<std::vector<std::string>>(
      "--condor-requirements",
      [&config](const std::vector<std::string>& parts) {
        for (const auto& part : parts)
          config.condor_requirements += (config.condor_requirements.empty() ? "" : " && ") + ("(" + part + ")");
      },
      "Requirements for condor (repeatable)");
  app.add_flag("--disable-afs-check", elsewhere.afs, "Accepted for old scripts");
  app.add_option("--runos", elsewhere.runos, "")->group("");
  app.add_option("--amazon-config", elsewhere.amazon, "")->group("");
  app.add_option("--k8s-image", elsewhere.k8s_image, "")->group("");
  app.add_option("--k8s-worker-image", elsewhere.k8s_worker, "")->group("");
  app.add_option("-d,--debug", config.debug, "Log more: any word switches it on");
  app.add_option("-o,--debug-file", config.debug_file, "Log to this file (or :stderr, :stdout)");
  app.add_option("-O,--debug-file-size,--debug-rotate-max", config.debug_rotate,
                 "Start a new log file beyond this size");
  app.add_option("manager", manager, "HOST PORT of a manager")->expected(0, 2);
  app.set_version_flag("-v,--version", "work_queue_factory version " TASKMILL_VERSION " (taskmill)");
}

int check(FactoryConfig& config, const std::vector<std::string>& manager) {
  if (config.batch_type.empty())
    return fail(std::string("You must specify a batch type with the -T option.\nbatch types: ") + batch_types);
  if (config.batch_type == "wq" && !config.run_as_manager) {
    return fail("batch system 'wq' specified, but you most likely want 'local'.");
  }
  if (!manager.empty()) {
    const auto port = manager.size() == 2 ? parse_int(manager[1]) : std::nullopt;
    if (!port || *port < 1 || *port > 65535) return fail("give the manager as HOST PORT, with a port from 1 to 65535");
    config.host = manager[0];
    config.port = *port;
  }
  for (const auto& pair : config.environment) {
    const auto equals = pair.find('=');
    const auto name = pair.substr(0, equals);
    static constexpr const char* letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const bool wrong = equals == std::string::npos || name.empty() ||
                       name.find_first_not_of(letters) != std::string::npos || (name[0] >= '0' && name[0] <= '9');
    if (wrong) return fail("--env '" + pair + "': write NAME=VALUE");
  }
  if (!config.poncho_env.empty()) {
    const auto slash = config.poncho_env.rfind('/');
    const auto base = slash == std::string::npos ? config.poncho_env : config.poncho_env.substr(slash + 1);
    config.wrappers.push_back("./poncho_package_run -e " + quote_words({base}));
    config.wrapper_inputs.insert(config.wrapper_inputs.end(), {"poncho_package_run", config.poncho_env});
  }
  if (config.batch_options.empty()) {
    const char* options = std::getenv("BATCH_OPTIONS");
    if (options != nullptr) config.batch_options = options;
  }
  if (config.config_file.empty()) {
    if (auto checked = check_config(config); !checked) return fail(checked.error().text);
  }
  return -1;
}

}  // namespace

int parse_factory(int argc, char** argv, FactoryConfig& config) {
  CLI::App app{
      "Keeps as many workers running as managers need. Examples:\n"
      "  work_queue_factory -T local -M 'my-project' -P password.txt --cores 2 -w 1 -W 4\n"
      "  work_queue_factory -T slurm -M 'coffea-wq-.*' --cores 8 --memory 16000 -W 200\n"
      "  work_queue_factory -T condor HOST 9123 -w 10 -W 10",
      "work_queue_factory"};
  Elsewhere elsewhere;
  std::vector<std::string> manager;
  add_general(app, config, elsewhere, manager);
  add_sizing(app, config);
  add_worker(app, config);
  try {
    let_the_last_count(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return fail(std::string(error.what()) + " (see work_queue_factory --help)");
  }
  return check(config, manager);
}

}  // namespace taskmill::tools
