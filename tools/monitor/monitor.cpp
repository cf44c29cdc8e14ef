#include "tools/monitor/monitor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "common/base/text.hpp"
#include "common/measure/host_resources.hpp"
#include "common/measure/proc_reader.hpp"
#include "common/measure/task_meter.hpp"
#include "tools/monitor/disk_set.hpp"
#include "tools/monitor/events.hpp"
#include "tools/monitor/file_watch.hpp"
#include "tools/monitor/guard.hpp"
#include "tools/monitor/recorder.hpp"

extern char** environ;

namespace taskmill::monitor {

namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
constexpr int forwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGALRM, SIGHUP, SIGUSR1, SIGUSR2};
constexpr Duration term_grace = 500ms;
constexpr Duration disk_patience = 1s;
constexpr int limit_status = 143;  // as if ended by SIGTERM: what managers expect

Time now() { return Time{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())}; }

double unix_now() {
  const auto t = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(t).count()) / 1e6;
}

void say(const std::string& text) { std::fprintf(stderr, "resource_monitor: %s\n", text.c_str()); }

double machine_load() {
  double load[1] = {0};
  return ::getloadavg(load, 1) == 1 ? std::trunc(load[0]) : 0;
}

/// Creates the folders above a file.
void make_folders(const std::string& file) {
  for (auto slash = file.find('/', 1); slash != std::string::npos; slash = file.find('/', slash + 1))
    ::mkdir(file.substr(0, slash).c_str(), 0755);
}

/// Through a temporary name, so that readers never see half of it.
bool replace_file(const std::string& path, const std::string& text) {
  const auto temporary = path + ".tmp";
  const os::UniqueFd fd(::open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return false;
  return ::rename(temporary.c_str(), path.c_str()) == 0;
}

}  // namespace

struct Monitor::State {
  explicit State(Options o) : options(std::move(o)) {}

  // Set-up; an exit status when something is wrong.
  std::optional<int> prepare();
  bool read_inputs();
  bool spawn();
  bool attach();

  // The loop.
  void loop();
  void sample();
  void step_disk();
  void poll_events();
  void take_signals();
  void enforce();
  void note_limits();
  [[nodiscard]] Time next_wake() const;

  // The end.
  int finish();
  void reap_everything();
  void write_summary(bool pretty) const;
  [[nodiscard]] Summary summary() const;
  void debug(const std::string& text) const {
    if (options.debug) std::fprintf(debug_out, "%.6f %s\n", unix_now(), text.c_str());
  }

  Options options;
  std::string command, type, output, start_folder;
  measure::ProcessWatch watch;
  std::unique_ptr<measure::TaskMeter> meter;
  std::unique_ptr<Guard> guard;
  std::unique_ptr<Recorder> recorder;
  std::unique_ptr<FileWatch> files;
  std::vector<EventFile> events;
  DiskSet disk;
  measure::ProcReader reader{"/proc"};

  pid_t pid = 0;
  os::UniqueFd pidfd, signals, series;
  sigset_t original_mask{};
  Time started{}, next_sample{}, next_disk{}, next_row{}, next_events{}, kill_at{}, last_stop{};
  bool ended = false, stopping = false, killing = false;
  int status = 0;
  Values exceeded;
  std::string exceeded_text;
  std::string exit_type = "running";
  FILE* debug_out = stderr;
};

bool Monitor::State::read_inputs() {
  for (const auto& file : options.limits_files) {
    const auto text = measure::read_small_file(file);
    if (!text) return say("cannot read the limits file '" + file + "'"), false;
    if (const auto added = add_limits_json(*text, file, options); !added) return say(added.error().text), false;
  }
  if (!options.snapshot_events.empty()) {
    const auto text = measure::read_small_file(options.snapshot_events);
    if (!text) return say("cannot read the snapshot events file '" + options.snapshot_events + "'"), false;
    auto parsed = parse_event_file(*text, options.snapshot_events);
    if (!parsed) return say(parsed.error().text), false;
    events = std::move(*parsed);
  }
  for (const auto& text : options.notices) say(text);
  if (options.catalog) say("publishing to a catalog is not supported, going on without");
  return true;
}

std::optional<int> Monitor::State::prepare() {
  if (!options.debug_file.empty() && options.debug_file != ":stderr")
    if (FILE* file = std::fopen(options.debug_file.c_str(), "ae")) debug_out = file;
  if (!read_inputs()) return 4;
  if (!options.attach) {
    const auto program = options.command.empty() ? std::string("/bin/sh") : options.command[0];
    const auto found = executable_type(program);
    if (!found) return say("cannot run '" + program + "': no such program"), 4;
    type = *found;
    command = options.shell;
    for (const auto& word : options.command) command += (command.empty() ? "" : " ") + word;
  }
  output = options.output.empty() ? "resource-pid-" + std::to_string(::getpid()) : options.output;
  make_folders(output);
  // Paths are remembered absolutely: with --pid or a changed directory they must still be ours.
  char folder[PATH_MAX];
  start_folder = ::getcwd(folder, sizeof folder) ? folder : ".";

  sigset_t mask;
  sigemptyset(&mask);
  for (const int signal : forwarded) sigaddset(&mask, signal);
  ::sigprocmask(SIG_BLOCK, &mask, &original_mask);
  signals.reset(::signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (options.series) {
    series.reset(::open((output + ".series").c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));
    if (!series) return say("cannot write '" + output + ".series': " + std::strerror(errno)), 4;
    const auto header = Recorder::series_header(options.disk);
    [[maybe_unused]] const auto n = ::write(series.get(), header.data(), header.size());
  }
  if (options.files) files = std::make_unique<FileWatch>(start_folder, output + ".");
  return std::nullopt;
}

bool Monitor::State::spawn() {
  std::vector<std::string> words = options.command;
  if (words.empty()) words = {"/bin/sh", "-c", options.shell};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  short flags = POSIX_SPAWN_SETSIGMASK;
  posix_spawnattr_setsigmask(&attributes, &original_mask);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (options.foreground) {
    flags |= POSIX_SPAWN_SETPGROUP;
    posix_spawnattr_setpgroup(&attributes, 0);
    if (::isatty(0)) posix_spawn_file_actions_addtcsetpgrp_np(&actions, 0);
  }
  posix_spawnattr_setflags(&attributes, flags);
  int error = 0;
  {
    const measure::ScopedTaskMark marked(meter->mark());
    error = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return say("cannot run '" + words[0] + "': " + std::strerror(error)), false;
  // The command keeps our standard input and output; a pipe must see its end when the command goes.
  const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(null.get(), 0);
  ::dup2(null.get(), 1);
  return true;
}

bool Monitor::State::attach() {
  pid = options.attach;
  if (!reader.stat(pid)) return say("there is no process " + std::to_string(pid)), false;
  const auto line = measure::read_small_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
  command = line;
  std::replace(command.begin(), command.end(), '\0', ' ');
  command = trim(command);
  type = "unknown";
  return true;
}

Time Monitor::State::next_wake() const {
  auto wake = std::min(next_sample, next_row);
  if (options.disk) wake = std::min(wake, next_disk);
  if (!events.empty()) wake = std::min(wake, next_events);
  if (stopping && !killing) wake = std::min(wake, kill_at);
  return wake;
}

void Monitor::State::loop() {
  while (!ended) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next_wake() - now()).count() + 1;
    pollfd waits[3] = {
        {pidfd.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}, {files ? files->descriptor() : -1, POLLIN, 0}};
    ::poll(waits, 3, static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
    if (waits[1].revents) take_signals();
    if (waits[2].revents) files->drain();
    if (waits[0].revents) {
      ended = true;
      break;
    }
    if (options.disk && now() >= next_disk) step_disk();
    if (!events.empty() && now() >= next_events) poll_events();
    if (now() >= next_sample || now() >= next_row) sample();
    if (stopping && !killing && now() >= kill_at) {
      killing = true;
      meter->kill_all(SIGKILL);
    }
  }
}

void Monitor::State::step_disk() {
  const auto begin = now();
  const bool round = disk.step();
  const auto cost = std::chrono::duration_cast<Duration>(now() - begin);
  // A tenth of one core at most, and a pause between rounds that grows with the age of the task.
  next_disk = now() + cost * 9;
  if (!round) return;
  const auto usage = disk.usage();
  meter->set_disk(usage.bytes, usage.files);
  note_limits();
  const auto age = std::chrono::duration_cast<Duration>(now() - started);
  next_disk = std::max(next_disk, now() + std::clamp<Duration>(age / 4, 50ms, 1s));
  if (!options.follow_chdir) return;
  std::vector<std::string> folders;
  for (const auto process : meter->processes()) {
    char path[PATH_MAX];
    const auto n = ::readlink(("/proc/" + std::to_string(process) + "/cwd").c_str(), path, sizeof path);
    if (n > 0) folders.emplace_back(path, static_cast<std::size_t>(n));
  }
  if (!folders.empty()) disk.follow(folders);
}

void Monitor::State::poll_events() {
  next_events = now() + 200ms;
  std::string labels;
  for (auto& file : events) {
    const auto happened = file.poll();
    if (!happened.empty()) labels += (labels.empty() ? "" : ",") + happened;
  }
  if (labels.empty()) return;
  meter->sample(now());
  recorder->add(meter->so_far(now()), meter->usage(), machine_load());
  recorder->snapshot(labels);
  char number[8];
  std::snprintf(number, sizeof number, "%02zu", recorder->snapshots().size() - 1);
  replace_file(output + ".snapshot." + number, to_json(recorder->snapshots().back(), options.pretty));
}

void Monitor::State::sample() {
  const auto at = now();
  for (const auto& orphan : watch.reap_orphans(at)) meter->orphan_reaped(orphan);
  next_sample = std::min(meter->sample(at), at + std::chrono::seconds(options.interval));
  recorder->add(meter->so_far(at), meter->usage(), machine_load());
  if (at >= next_row) {
    next_row = at + std::chrono::seconds(options.interval);
    if (series) {
      const auto row = recorder->series_row(options.disk);
      [[maybe_unused]] const auto n = ::write(series.get(), row.data(), row.size());
    }
    if (options.update_summary) write_summary(options.pretty);
  }
  note_limits();
}

void Monitor::State::note_limits() {
  auto used = recorder->values();
  // Early in a life the window is not full: a burst at the start is no violation.
  used[Resource::cores] = meter->usage().cores;
  used[Resource::wall_time] = static_cast<double>((now() - started).count()) / 1e6;
  if (options.disk)
    used[Resource::disk] =
        std::max(used[Resource::disk].value_or(0), static_cast<double>(measure::to_mb(meter->usage().disk)));
  const auto found = exceeded_limits(options.limits, used);
  for_each_resource([&](Resource r) {
    if (!found[r] || exceeded[r]) return;
    exceeded[r] = found[r];
    char text[160];
    const int decimals = info(r).decimals == 0 ? 0 : 2;
    std::snprintf(text, sizeof text, "%s%s: %.*f %s used, %.*f %s allowed", exceeded_text.empty() ? "" : "; ",
                  info(r).name.data(), decimals, *used[r], info(r).unit.data(), decimals, *found[r],
                  info(r).unit.data());
    exceeded_text += text;
    debug("limit passed: " + std::string(text));
  });
  if (!exceeded_text.empty() && !options.measure_only && !ended) enforce();
}

void Monitor::State::enforce() {
  if (stopping) return;
  stopping = true;
  // Time can wait for a polite end; memory, disk and processes grow further while one waits.
  bool urgent = false;
  for_each_resource([&](Resource r) {
    const bool time_like = r == Resource::wall_time || r == Resource::cpu_time || r == Resource::cores ||
                           r == Resource::cores_avg || r == Resource::end;
    urgent |= exceeded[r] && !time_like;
  });
  kill_at = now() + term_grace;
  killing = urgent;
  meter->kill_all(urgent ? SIGKILL : SIGTERM);
}

void Monitor::State::take_signals() {
  signalfd_siginfo got{};
  while (::read(signals.get(), &got, sizeof got) == sizeof got) {
    const int signal = static_cast<int>(got.ssi_signo);
    const bool stop = signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;
    if (stop && last_stop != Time{} && now() - last_stop < 1s) {
      killing = stopping = true;
      if (options.attach)
        ended = true;
      else
        meter->kill_all(SIGKILL);
      continue;
    }
    if (stop) last_stop = now();
    if (stop && options.attach) ended = true;  // the process is not ours: stop looking, leave it alone
    // From the terminal it went to the whole group: the command has it already.
    else if (got.ssi_code != SI_KERNEL || options.foreground)
      ::kill(pid, signal);
  }
}

void Monitor::State::reap_everything() {
  // Ended processes take a moment to become our children and to be waited for.
  const auto deadline = now() + 2s;
  for (;;) {
    meter->kill_all(SIGKILL);
    for (const auto& orphan : watch.reap_orphans(now())) meter->orphan_reaped(orphan);
    if (meter->processes().empty() || now() > deadline) return;
    ::usleep(500);
  }
}

int Monitor::State::finish() {
  const auto at = now();
  meter->root_exited(at);
  rusage usage{};
  measure::Measurement m;
  if (options.attach) {
    m = meter->so_far(at);
  } else {
    while (::wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    reap_everything();
    guard.reset();
  }
  if (options.disk) {
    disk.finish(disk_patience);
    const auto used = disk.usage();
    meter->set_disk(used.bytes, used.files);
  }
  const auto last = meter->usage();
  if (!options.attach)
    m = meter->finish(usage, at);
  else
    m = meter->so_far(at);
  recorder->add(m, last, machine_load());
  if (!events.empty()) poll_events();
  note_limits();
  if (files) files->drain();
  if (series) {
    const auto row = recorder->series_row(options.disk);
    [[maybe_unused]] const auto n = ::write(series.get(), row.data(), row.size());
  }
  const bool limits = !exceeded_text.empty();
  exit_type = limits ? "limits" : WIFSIGNALED(status) ? "signal" : "normal";
  write_summary(options.pretty);
  if (files) replace_file(output + ".files", files->table());
  if (limits && !options.measure_only) return exceeded[Resource::wall_time] ? 3 : 2;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

Summary Monitor::State::summary() const {
  Summary s;
  s.verbatim = options.verbatim;
  char host[256] = "unknown";
  ::gethostname(host, sizeof host - 1);
  s.verbatim.emplace_back("host", host);
  s.verbatim.emplace_back("monitor_version", "taskmill " TASKMILL_VERSION);
  s.verbatim.emplace_back("executable_type", type);
  if (files) {
    s.verbatim.emplace_back("input_files", files->inputs());
    s.verbatim.emplace_back("output_files", files->outputs());
  }
  s.command = command;
  s.exit_type = exit_type;
  s.exit_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (exit_type == "signal") s.signal = WTERMSIG(status);
  if (exit_type == "limits" && !options.measure_only) s.exit_status = limit_status;
  s.limits_exceeded = exceeded;
  s.limits_used = exceeded_text;
  s.values = recorder->values();
  if (options.limits[Resource::gpus]) s.values[Resource::gpus] = std::max(0.0, *options.limits[Resource::gpus]);
  s.peak_times = recorder->peak_times();
  s.snapshots = recorder->snapshots();
  return s;
}

void Monitor::State::write_summary(bool pretty) const {
  const auto path = output + ".summary";
  if (!replace_file(path, to_json(summary(), pretty))) say("cannot write '" + path + "': " + std::strerror(errno));
}

Monitor::Monitor(Options options) : state_(std::make_unique<State>(std::move(options))) {}
Monitor::~Monitor() = default;

int Monitor::run() {
  auto& s = *state_;
  if (const auto status = s.prepare()) return *status;
  (void)s.watch.become_subreaper();

  measure::MeterOptions meter;
  meter.cores_window = meter.cores_limit_window = 180s;
  const auto whole = [&](Resource r) -> std::optional<std::int64_t> {
    const auto& limit = s.options.limits[r];
    return limit && *limit >= 0 ? std::optional(static_cast<std::int64_t>(*limit)) : std::nullopt;
  };
  meter.limits.memory = whole(Resource::memory);
  meter.limits.disk = whole(Resource::disk);
  if (const auto& limit = s.options.limits[Resource::wall_time]; limit && *limit >= 0) meter.limits.wall_time = *limit;
  meter.limits.processes = whole(Resource::max_concurrent_processes);
  if (meter.limits.memory) meter.regular_interval = 250ms;
  s.meter = std::make_unique<measure::TaskMeter>(s.watch, meter, now());
  if (!s.options.attach) s.guard = std::make_unique<Guard>(s.meter->mark());

  s.started = now();
  s.recorder =
      std::make_unique<Recorder>(unix_now(), Machine{static_cast<double>(measure::physical_cores()), machine_load()});
  if (s.options.attach ? !s.attach() : !s.spawn()) return 4;
  s.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, s.pid, 0)));
  s.next_sample = s.meter->start(s.pid, s.started);
  s.next_disk = s.started + 5ms;
  s.next_row = s.started;
  s.next_events = s.started;
  if (s.options.disk) {
    auto folders = s.options.folders;
    folders.push_back(s.start_folder);
    s.disk.follow(folders);
  }
  if (!s.events.empty()) s.poll_events();
  s.debug("pid " + std::to_string(s.pid) + ": " + s.command);
  s.loop();
  return s.finish();
}

}  // namespace taskmill::monitor
