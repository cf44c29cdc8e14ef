// work_queue_worker: the program. Reads the command line, makes the workspace, finds out what the machine offers, and
// lets the worker run.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <filesystem>

#include "common/aio/clock.hpp"
#include "common/measure/host_resources.hpp"
#include "common/os/file.hpp"
#include "common/os/host_info.hpp"
#include "common/os/tree.hpp"
#include "worker/app/debug_log.hpp"
#include "worker/app/options.hpp"
#include "worker/net/worker.hpp"

namespace taskmill::worker {
namespace {

// A descriptor below 3 must never be one of ours: tasks get 0, 1 and 2 by number.
void fill_standard_descriptors() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd < 0) return;
    if (fd > 2) {
      ::close(fd);
      return;
    }
  }
}

/// Kept free below the workspace: a twentieth of what is offered, at most this.
constexpr std::int64_t most_disk_reserve_mb = 1024;

std::string hex_id() {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string id;
  for (const char letter : os::secret_letters(64)) {
    if (letter < 'a' + 16 && id.size() < 32) id += digits[static_cast<std::size_t>(letter - 'a')];
  }
  while (id.size() < 32) id += '0';
  return id;
}

Duration seconds(std::int64_t count) {
  return std::chrono::seconds(std::clamp<std::int64_t>(count, -1, 1'000'000'000));
}

// What this program can do beyond the old wire, less what the user does not want.
protocol::CapabilitySet capabilities_of(const Options& options) {
  return protocol::CapabilitySet::all().without(options.without);
}

MachineConfig machine_config(const Options& options, const measure::HostResources& host, const Workspace& space,
                             std::uint64_t seed) {
  MachineConfig config;
  config.life.idle_timeout = config.idle_timeout = seconds(options.idle_timeout_s);
  config.life.connect_timeout = seconds(options.connect_timeout_s);
  config.life.min_backoff = seconds(options.min_backoff_s);
  config.life.max_backoff = seconds(options.max_backoff_s);
  config.life.wall_time = seconds(options.wall_time_s);
  config.life.single_shot = options.single_shot;
  config.life.seed = seed;
  config.offered.cores = static_cast<double>(options.cores > 0 ? options.cores : host.cores);
  config.offered.memory = options.memory > 0 ? options.memory : host.memory_mb;
  config.offered.disk = options.disk > 0 ? std::min(options.disk, host.disk_mb) : host.disk_mb;
  config.offered.gpus = options.gpus >= 0 ? options.gpus : static_cast<std::int64_t>(host.gpus.size());
  config.disk_promise = std::max<std::int64_t>(options.disk, 0);
  config.disk_granted = host.disk_granted_mb;
  config.disk_reserve = std::clamp<std::int64_t>(config.offered.disk / 20, 1, most_disk_reserve_mb);
  config.workspace = space.path();
  auto& who = config.identity;
  who.host = os::host_name();
  who.os = options.os.empty() ? os::os_name() : options.os;
  who.arch = options.arch.empty() ? os::machine_name() : options.arch;
  who.software = "8.0.0-taskmill-0.1";
  who.worker_id = "worker-" + hex_id();
  who.features = options.features;
  if (const auto set = capabilities_of(options); !set.empty()) who.capabilities = protocol::format_capabilities(set);
  if (config.offered.gpus > 0 && !host.gpus.empty() && !host.gpus.front().name.empty()) {
    who.features.push_back(host.gpus.front().name);
  }
  std::sort(who.features.begin(), who.features.end());
  who.features.erase(std::unique(who.features.begin(), who.features.end()), who.features.end());
  who.from_factory = options.from_factory;
  who.coprocess_offer = {static_cast<double>(options.coprocess_cores), options.coprocess_memory, options.coprocess_disk,
                         options.coprocess_gpus};
  return config;
}

std::vector<std::string> inherited_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

// Words of /bin/sh differ from shell to shell (SHLVL, "_"); only dash is known to add nothing to a simple command.
bool shell_is_dash() {
  std::error_code error;
  const auto shell = std::filesystem::canonical("/bin/sh", error);
  return !error && shell.filename() == "dash";
}

WorkerSettings settings_of(const Options& options, const measure::HostResources& host, const Workspace& space) {
  WorkerSettings settings;
  const auto letters = os::secret_letters(12);
  for (const char letter : letters) settings.seed = settings.seed * 31 + static_cast<std::uint64_t>(letter);
  settings.machine = machine_config(options, host, space, settings.seed);
  settings.hosts = options.hosts;
  settings.project = options.project;
  settings.catalogs = options.catalogs;
  settings.connection_mode = catalog::parse_connection_mode(options.connection_mode);
  settings.ssl = options.ssl || !options.ssl_ca.empty() || !options.ssl_fingerprint.empty();
  settings.tls.ca_file = options.ssl_ca;
  settings.tls.fingerprint = options.ssl_fingerprint;
  settings.password = options.password;
  settings.fixed_version = options.protocol;
  settings.parent_death = options.parent_death;
  settings.symlinks = options.symlinks;
  settings.volatility = options.volatility;
  settings.task_wrapper = options.task_wrapper;
  settings.limits = options.limits;
  settings.coprocess = options.coprocess_command;
  const auto each_core = static_cast<std::int64_t>(settings.machine.offered.cores);
  settings.coprocesses = static_cast<std::size_t>(
      std::max<std::int64_t>(options.coprocesses_total > 0 ? options.coprocesses_total : each_core, 1));
  settings.capabilities = capabilities_of(options);
  settings.environments.cache_directory = options.cache_directory;
  settings.environments.limit_bytes = static_cast<std::uint64_t>(options.cache_limit_mb) << 20U;
  settings.direct_start = !options.use_shell && shell_is_dash();
  settings.environment = inherited_environment();
  for (const auto& gpu : host.gpus) settings.gpus.push_back(gpu.id);
  return settings;
}

std::string using_line(const Resources& offered) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(),
                "work_queue_worker: using %.6f cores, %.6f MB memory, %.6f MB disk, %.6f gpus", offered.cores,
                static_cast<double>(offered.memory), static_cast<double>(offered.disk),
                static_cast<double>(offered.gpus));
  return text.data();
}

int work(DebugLog& log, Workspace& space, WorkerSettings settings, bool strict_exit) {
  boost::asio::io_context io(1);
  Worker worker(io, log, space, std::move(settings));
  if (const auto bad = worker.prepare(); !bad.empty()) {
    log.complain("work_queue_worker: " + bad);
    return 1;
  }
  const int status = worker.run();
  return strict_exit && !worker.had_session() ? 3 : status;
}

int run(const Options& options, const std::string& program) {
  DebugLog log(program);
  if (const auto bad = log.open(options.debug_file, options.debug_rotate_max); !bad.empty()) {
    log.complain("work_queue_worker: " + bad);
    return 1;
  }
  log.enable(options.debug_flags);
  for (const auto& warning : options.warnings) log.error(warning);

  auto space = Workspace::create(options.workdir.empty() ? Workspace::default_parent() : options.workdir);
  if (!space) {
    log.complain("work_queue_worker: " + space.error().text);
    return 1;
  }
  log.say("work_queue_worker: creating workspace " + space->path());
  bool noexec = false;
  if (const auto bad = space->check(noexec); !bad.empty()) {
    log.error("the workspace " + space->path() + " is not fit for tasks: " + bad);
    if (!noexec) {
      os::remove_tree(space->parent(), space->name());
      return 1;
    }
    log.error("tasks that start a program from their sandbox will fail there (-s names another directory)");
  }
  for (const auto& name : space->claim_stale()) {
    log.detail("removing the stale workspace " + name);
    os::remove_tree(space->parent(), name);
  }

  measure::HostProbeOptions probe;
  probe.workspace = space->path();
  const auto host = measure::detect_host_resources(probe);
  auto settings = settings_of(options, host, *space);
  log.say(using_line(settings.machine.offered));
  log.detail("cores: " + host.cores_from + "; memory: " + host.memory_from + "; disk: " + host.disk_from +
             "; GPUs: " + host.gpus_from);

  const int status = work(log, *space, std::move(settings), options.strict_exit);
  // A pool thread may have been writing while the workspace was removed; now they are all gone.
  os::remove_tree(space->parent(), space->name());
  return status;
}

}  // namespace
}  // namespace taskmill::worker

int main(int argc, char** argv) {
  namespace tw = taskmill::worker;
  tw::fill_standard_descriptors();
  ::signal(SIGPIPE, SIG_IGN);
  tw::block_ending_signals(true);
  const std::string program = std::filesystem::path(argc > 0 ? argv[0] : "work_queue_worker").filename();
  const auto parsed = tw::parse_options(argc, argv);
  if (!parsed.message.empty()) std::fprintf(stderr, "work_queue_worker: %s\n", parsed.message.c_str());
  if (parsed.show_usage) std::fputs(tw::usage_text(program).c_str(), stdout);
  if (parsed.exit_code >= 0) {
    if (parsed.options.action == tw::Options::Action::show_version)
      std::fputs(tw::version_text(program).c_str(), stdout);
    if (parsed.options.action == tw::Options::Action::show_help) std::fputs(tw::usage_text(program).c_str(), stdout);
    return parsed.exit_code;
  }
  const int status = tw::run(parsed.options, program);
  std::fflush(stdout);
  // A name look-up that hangs in the system's resolver must not hold up the end.
  ::_exit(status);
}
