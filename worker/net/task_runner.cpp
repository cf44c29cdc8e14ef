#include "worker/net/task_runner.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/text.hpp"
#include "common/os/file.hpp"
#include "protocol/result_code.hpp"
#include "worker/core/command_line.hpp"
#include "worker/net/environments.hpp"

namespace taskmill::worker {
namespace {

/// How long a finished task waits for killed orphans (they may hang in the kernel) before it is reported all the same.
constexpr auto orphan_patience = std::chrono::seconds(3);

// The program a shell would execute for `word`; empty when only the shell can tell.
std::string find_program(const std::string& word, std::string_view path) {
  if (word.find('/') != std::string::npos) return word;
  if (path.empty()) return {};
  for (const auto directory : split(path, ':')) {
    if (directory.empty() || directory.front() != '/' || directory.find('%') != std::string_view::npos) return {};
    auto candidate = std::string(directory) + "/" + word;
    struct stat status {};
    if (::stat(candidate.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    return ::access(candidate.c_str(), X_OK) == 0 ? candidate : std::string();
  }
  return {};
}

/// Names of inputs that tasks have edited, kept beyond the session: the next manager's tasks do the same.
constexpr std::size_t most_edited = 10'000;

/// What is kept of files that are not cached: each, and all together.
constexpr std::size_t largest_kept = 64U << 10;
constexpr std::size_t most_kept_bytes = 16U << 20;

/// Before a task is refused for want of something.
constexpr auto shortage_pause = std::chrono::milliseconds(100);

bool is_shortage(const ErrorCode& error) {
  switch (error.value()) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
      return true;
    default:
      return false;
  }
}

}  // namespace

TaskRunner::TaskRunner(Context& context) : context_(context), watch_wait_(context.io) {
  if (watches_.fd() >= 0) watch_wait_.assign(::fcntl(watches_.fd(), F_DUPFD_CLOEXEC, 3));
}

TaskRunner::~TaskRunner() { *alive_ = false; }

// --- start ---

std::vector<StageInput> TaskRunner::inputs_of(TaskSlot& task) {
  std::vector<StageInput> inputs;
  inputs.reserve(task.description.inputs.size());
  for (auto& file : task.description.inputs) {
    StageInput input;
    input.cache_name = file.cache_name;
    input.sandbox_name = file.sandbox_name;
    input.empty_directory = file.empty_directory;
    if (file.content) {
      input.bytes = std::make_shared<const std::string>(std::move(*file.content));
      input.mode = file.mode;
    } else if (const CacheEntry* entry = context_.machine.cache().find(file.cache_name);
               entry != nullptr && !file.empty_directory) {
      input.directory = entry->directory;
      input.size = entry->size;
      input.entries = entry->entries;
      // Fetched objects and outputs are named by later tasks too.
      input.shared = (file.flags & protocol::file_flag::cache) != 0 || entry->source != CacheSource::manager;
      input.always_copy = edited_.contains(file.cache_name);
      if (const auto kept = kept_.find(file.cache_name); kept != kept_.end()) {
        if (kept->second.lent) input.bytes = kept->second.bytes;
        input.mode = entry->mode;
        kept->second.lent = kept->second.lent || !input.shared;
      }
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

void TaskRunner::keep_bytes(const std::string& name, std::string_view bytes) {
  if (bytes.size() > largest_kept || kept_bytes_ + bytes.size() > most_kept_bytes) return;
  kept_[name] = {std::make_shared<const std::string>(bytes), false};
  kept_bytes_ += bytes.size();
}

void TaskRunner::forget_cached(const std::string& name) {
  guarded_.erase(name);
  const auto at = kept_.find(name);
  if (at == kept_.end()) return;
  kept_bytes_ -= at->second.bytes->size();
  kept_.erase(at);
}

void TaskRunner::forget_cache() {
  guarded_.clear();
  kept_.clear();
  kept_bytes_ = 0;
}

void TaskRunner::start(TaskKey key) {
  TaskSlot* task = context_.machine.slot(key);
  auto run = std::make_unique<Run>();
  run->key = key;
  run->sandbox = "t." + std::to_string(task->description.task_id);
  run->staging = true;
  auto inputs = inputs_of(*task);
  const SandboxNames names{run->sandbox, context_.space.next_name(), context_.disposal.take_spare(run->sandbox)};
  runs_.insert_or_assign(key, std::move(run));
  if (is_quick(inputs, context_.policy)) {
    on_staged(key, stage_in(context_.places(), names, inputs, context_.policy, *context_.stop), names.trash);
    return;
  }
  auto job = [this, alive = alive_, key, names, inputs, places = context_.places(), policy = context_.policy,
              stop = context_.stop]() -> aio::Pool::Done {
    auto outcome = std::make_shared<StageOutcome>(stage_in(places, names, inputs, policy, *stop));
    return [this, alive, key, names, outcome] {
      if (*alive) on_staged(key, std::move(*outcome), names.trash);
    };
  };
  if (!context_.pool.submit(job)) {
    on_staged(key, stage_in(context_.places(), names, inputs, context_.policy, *context_.stop), names.trash);
  }
}

void TaskRunner::on_staged(TaskKey key, StageOutcome outcome, const std::string& trash_name) {
  if (outcome.old_moved) context_.disposal.add(trash_name);
  const auto at = runs_.find(key);
  if (at == runs_.end()) return;
  Run& run = *at->second;
  run.staging = false;
  for (auto& file : outcome.guarded) guarded_[file.path.substr(0, file.path.find('/'))].push_back(file);
  run.guarded = std::move(outcome.guarded);
  if (run.discarded) {
    context_.machine.on_start_failed(key, 0, 0, {}, aio::steady_now(), context_.effects);
    context_.wake();
    return remove(run);
  }
  if (!outcome.ok) return fail_start(run, outcome.error, outcome.input_missing ? std::string() : outcome.why);
  launch(run);
}

void TaskRunner::fail_start(Run& run, const ErrorCode& error, const std::string& why) {
  const TaskKey key = run.key;
  const auto text =
      "task could not be started: " + (why.empty() ? "an input is missing (" + error.message() + ")" : why);
  if (text != last_failure_) context_.log.error(text);
  last_failure_ = text;
  if (!is_shortage(error)) {
    run.done = true;
    // A command that is too long is one that cannot be executed, not one that lacks something.
    const bool too_long = error.value() == E2BIG;
    context_.machine.on_start_failed(key, too_long ? 0 : 1, too_long ? 127 : 1, why, aio::steady_now(),
                                     context_.effects);
    return context_.wake();
  }
  // Not the task's fault: refused, so that the manager can give it to somebody who has room. A little later, because
  // old managers send a refused task to the same worker again at once.
  run.ending = true;
  run.patience = std::make_unique<boost::asio::steady_timer>(context_.io, shortage_pause);
  run.patience->async_wait([this, key](ErrorCode aborted) {
    const auto at = runs_.find(key);
    if (aborted || at == runs_.end()) return;
    at->second->ending = false;
    at->second->done = true;
    context_.machine.on_start_failed(key, 40, 0, {}, aio::steady_now(), context_.effects);
    context_.wake();
    if (at->second->discarded) remove(*at->second);
  });
}

void TaskRunner::fail_launch(Run& run, const ErrorCode& error, const std::string& why) {
  run.output = context_.captures.finish(std::move(run.capture), false);
  context_.captures.discard(run.output);
  fail_start(run, error, why);
}

void TaskRunner::launch(Run& run) {
  const TaskKey key = run.key;
  const TaskSlot& task = *context_.machine.slot(key);
  if (const auto& digest = task.description.environment; !digest.empty()) {
    run.environment = context_.environment_lease(digest);
    if (!run.environment) return fail_start(run, code_of(ENOENT), "its environment is gone");
  }
  auto capture = context_.captures.acquire();
  if (!capture)
    return fail_start(run, capture.error(), "cannot create the file for its output: " + capture.error().message());
  run.capture = std::move(*capture);
  if (task.is_function()) return launch_function(run, task);
  const Now now = aio::now();  // the time of a task includes its start
  auto started = spawn(run, task);
  if (!started) return fail_spawn(run, started.error());
  run.process = true;
  last_failure_.clear();
  run.wait = std::make_unique<Wait>(context_.io, started->pidfd.release());
  run.wait->async_wait(Wait::wait_read, [this, key](ErrorCode error) {
    if (!error) on_process_end(key);
  });
  if (probe_ != nullptr) probe_->started(key, started->pid, now.time);
  if (context_.log.detailed()) {
    context_.log.detail("started process " + std::to_string(started->pid) + " (" +
                        task.description.command.value_or("") + ")");
  }
  context_.machine.on_started(key, now, context_.effects);
  const TaskSlot* slot = context_.machine.slot(key);
  if (slot != nullptr && !slot->watched.empty()) {
    look_at_watches(key);
    arm_watches();
  }
}

Result<Started> TaskRunner::spawn(Run& run, const TaskSlot& task) {
  if (idle_starts_.empty()) idle_starts_.push_back(std::make_unique<Start>());
  run.start = std::move(idle_starts_.back());
  idle_starts_.pop_back();
  Start& start = *run.start;
  start.sandbox = context_.space.path() + "/" + run.sandbox;
  context_.environment.build({task.description.env, *task.claim, start.sandbox, start.sandbox + "/.tmp"},
                             start.environment);
  const auto& argv = task.description.argv;
  start.command = argv.empty() ? task.description.command.value_or("") : quoted_command(argv);
  const bool scripted = run.environment && !enter_environment(*run.environment, start.environment);
  if (scripted) start.command = enter_by_script(*run.environment, start.command);
  if (!context_.task_wrapper.empty()) start.command = wrap_command(context_.task_wrapper, start.command);
  start.shell_argv = {"sh", "-c", start.command.c_str(), nullptr};
  os::LaunchPlan plan;
  plan.envp = start.environment.pointers.data();
  plan.cwd = start.sandbox.c_str();
  plan.stdin_fd = context_.null.get();
  plan.stdout_fd = run.capture.fd.get();
  plan.stderr_fd = run.capture.fd.get();
  plan.path = "/bin/sh";
  plan.argv = start.shell_argv.data();
  const bool direct = context_.direct_start && !start.environment.shell_differs;
  auto words = direct ? plain_words(start.command) : std::nullopt;
  if (!argv.empty() && !scripted && context_.task_wrapper.empty()) words = argv;
  if (words) start.program = find_program(words->front(), value_in(start.environment, "PATH"));
  if (words && !start.program.empty()) {
    start.words = std::move(*words);
    start.argv.clear();
    for (const auto& word : start.words) start.argv.push_back(word.c_str());
    start.argv.push_back(nullptr);
    // Any failure is left to the shell, which prints its own message and exit code.
    plan.fallback_path = std::exchange(plan.path, start.program.c_str());
    plan.fallback_argv = std::exchange(plan.argv, start.argv.data());
  }
  if (probe_ != nullptr) plan.group_fd = probe_->prepare(run.key);
  auto started = context_.processes.start(run.key, plan, start.launch);
  if (started) return started;
  if (probe_ != nullptr) probe_->start_failed(run.key);
  idle_starts_.push_back(std::move(run.start));
  return started;
}

// A function call: its input is the file of that name, its result takes the place of the output.
void TaskRunner::launch_function(Run& run, const TaskSlot& task) {
  const TaskKey key = run.key;
  run.function = true;
  auto input = open_in_sandbox(key, "infile");
  if (!input) {
    run.function = false;
    return fail_launch(run, input.error(), "a function needs an input named 'infile': " + input.error().message());
  }
  Coprocesses::Call call;
  call.key = key;
  call.function = task.description.command.value_or("");
  call.task_id = task.description.task_id;
  call.input = std::move(*input);
  call.output = run.capture.fd.get();
  call.done = [this, alive = alive_, key](Coprocesses::Outcome outcome) {
    if (*alive) on_answer(key, outcome);
  };
  context_.machine.on_started(key, aio::now(), context_.effects);
  context_.coprocesses->call(std::move(call));
}

void TaskRunner::on_answer(TaskKey key, Coprocesses::Outcome outcome) {
  const auto at = runs_.find(key);
  if (at == runs_.end()) return;
  Run& run = *at->second;
  if (outcome == Coprocesses::Outcome::unreachable && !run.discarded) {
    return fail_launch(run, code_of(EAGAIN), "no coprocess answers");  // another worker may be luckier
  }
  if (outcome == Coprocesses::Outcome::broken) context_.machine.on_limit_passed(key, context_.effects);
  run.reaped.wait_status = outcome == Coprocesses::Outcome::answered ? 0 : SIGKILL;
  finish(run);
}

// --- end ---

void TaskRunner::signal(TaskKey key, int number) {
  const auto at = runs_.find(key);
  if (at == runs_.end() || !at->second->function) return context_.processes.signal(key, number);
  // A function cannot be asked to stop.
  if (!at->second->done) context_.coprocesses->cancel(key);
}

void TaskRunner::on_process_end(TaskKey key) {
  Run& run = *runs_.at(key);
  if (probe_ != nullptr) probe_->ended(key, aio::steady_now());
  run.wait.reset();
  run.reaped = context_.processes.end(key);
  run.process = false;
  run.ending = true;
  sweep_orphans();
  run.had_orphans = run.had_orphans || context_.processes.orphans_of(key) > 0;
  if (context_.processes.orphans_of(key) == 0) return finish(run);
  run.patience = std::make_unique<boost::asio::steady_timer>(context_.io, orphan_patience);
  run.patience->async_wait([this, key](ErrorCode error) {
    if (const auto at = runs_.find(key); !error && at != runs_.end() && at->second->ending) finish(*at->second);
  });
}

void TaskRunner::sweep_orphans() {
  for (auto& orphan : context_.processes.sweep()) {
    const pid_t pid = orphan.pid;
    if (const auto at = runs_.find(orphan.owner); at != runs_.end()) at->second->had_orphans = true;
    if (!orphan.pidfd.valid()) continue;
    auto wait = std::make_unique<Wait>(context_.io, orphan.pidfd.release());
    wait->async_wait(Wait::wait_read, [this, pid, owner = orphan.owner](ErrorCode error) {
      if (!error) on_orphan_end(pid, owner);
    });
    orphan_waits_[pid] = std::move(wait);
  }
}

void TaskRunner::on_orphan_end(pid_t pid, ProcessTable::Owner owner) {
  orphan_waits_.erase(pid);
  context_.processes.end_orphan(pid);
  sweep_orphans();  // its own children are ours now
  const auto at = runs_.find(owner);
  if (at != runs_.end() && at->second->ending && context_.processes.orphans_of(owner) == 0) finish(*at->second);
}

// Not even a shell could be executed (or the sandbox is gone): the task is treated as one that could not be started.
bool TaskRunner::was_executed(Run& run) {
  if (run.function) return true;
  const int error = run.start->launch.error();
  idle_starts_.push_back(std::move(run.start));
  if (error == 0 || run.discarded) return true;
  if (probe_ != nullptr) probe_->finish(run.key, run.reaped.usage, aio::steady_now());
  watches_.remove(run.key);
  fail_spawn(run, code_of(error));
  return false;
}

void TaskRunner::finish(Run& run) {
  const TaskKey key = run.key;
  run.ending = false;
  run.done = true;
  run.patience.reset();
  context_.processes.forget(key);
  const Now now = aio::now();
  if (!was_executed(run)) return;
  TaskExit exit;
  exit.wait_status = run.reaped.wait_status;
  if (probe_ != nullptr && !run.function) exit.extra = probe_->finish(key, run.reaped.usage, now.time);
  run.output = context_.captures.finish(std::move(run.capture), !run.had_orphans);
  exit.has_output = true;
  exit.output_length = run.output.length;
  watches_.remove(key);
  const TaskSlot& task = *context_.machine.slot(key);
  if (!run.discarded) collect_outputs(run, task, exit);
  if (!guarded_.empty()) {
    for (const auto& input : task.description.inputs) {
      const auto at = guarded_.find(input.cache_name);
      if (at == guarded_.end() || changed_files(context_.space.cache(), at->second).empty()) continue;
      exit.spoiled.push_back(input.cache_name);
      if (edited_.size() < most_edited) edited_.insert(input.cache_name);
      guarded_.erase(at);
    }
  }
  if (context_.log.detailed()) {
    context_.log.detail("task " + std::to_string(task.description.task_id) + " ended with wait status " +
                        std::to_string(exit.wait_status) + ", " + std::to_string(exit.output_length) +
                        " bytes of output");
  }
  context_.machine.on_exited(key, std::move(exit), now, context_.effects);
  context_.wake();
  if (run.discarded) return remove(run);
  clear_later(key);
}

const std::vector<MovedOutput>* TaskRunner::outputs_of(TaskKey key) const {
  const auto at = runs_.find(key);
  return at == runs_.end() ? nullptr : &at->second->files;
}

Captured* TaskRunner::output_of(TaskKey key) {
  const auto at = runs_.find(key);
  return at == runs_.end() ? nullptr : &at->second->output;
}

// --- watched files ---

Result<os::UniqueFd> TaskRunner::open_in_sandbox(TaskKey key, const std::string& path) {
  const auto at = runs_.find(key);
  if (at == runs_.end() || at->second->in_trash || at->second->cleared) return code_of(ENOENT);
  const os::UniqueFd sandbox(
      ::openat(context_.space.top(), at->second->sandbox.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!sandbox) return errno_code();
  return os::open_beneath(sandbox.get(), path.c_str(), O_RDONLY | O_NONBLOCK, 0, os::Links::inside_the_tree);
}

void TaskRunner::look_at_watches(TaskKey key) {
  TaskSlot* task = context_.machine.slot(key);
  const auto at = runs_.find(key);
  if (task == nullptr || at == runs_.end() || at->second->in_trash || at->second->cleared) return;
  const std::string root = context_.space.path() + "/" + at->second->sandbox;
  for (std::size_t i = 0; i < task->watched.size(); ++i) {
    const auto& path = task->description.outputs[task->watched[i].output].sandbox_name;
    watches_.add(key, root, path);
    const auto file = open_in_sandbox(key, path);
    struct stat status {};
    if (!file || ::fstat(file->get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    context_.machine.on_watch_size(key, i, static_cast<std::uint64_t>(status.st_size), aio::steady_now());
  }
}

void TaskRunner::arm_watches() {
  if (watch_armed_ || !watch_wait_.is_open()) return;
  watch_armed_ = true;
  watch_wait_.async_wait(Wait::wait_read, [this](ErrorCode error) {
    watch_armed_ = false;
    if (error) return;
    const auto news = watches_.read();
    for (const auto key : news) look_at_watches(key);
    arm_watches();
    context_.wake();
  });
}

}  // namespace taskmill::worker
