// Carries out what the machine decides about tasks: sandbox, process, kill, outputs, clean-up.
//
//   start()   stages inputs (small ones here, large ones on the pool), starts the process, waits on its pidfd
//   (end)     kills what is left of the task, waits until that is dead, collects output and outputs, tells the machine
//   discard() sandbox and output are not needed: removed when no process of the task lives any more
#pragma once

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "worker/host/task_probe.hpp"
#include "worker/host/watches.hpp"
#include "worker/net/context.hpp"
#include "worker/net/coprocesses.hpp"

namespace taskmill::worker {

class TaskRunner {
 public:
  explicit TaskRunner(Context& context);
  ~TaskRunner();

  void start(TaskKey key);
  void signal(TaskKey key, int number);
  void discard(TaskKey key);
  /// For the reply: the captured output of a complete task.
  Captured* output_of(TaskKey key);
  /// For the push: the outputs of a complete task that came in a batch, those that are there.
  const std::vector<MovedOutput>* outputs_of(TaskKey key) const;
  /// For the reply: a watched file, opened below the sandbox of a task.
  Result<os::UniqueFd> open_in_sandbox(TaskKey key, const std::string& path);
  /// The session is over: what is known of its cache does not count any more.
  void forget_cache();
  /// The bytes of a small file that came, should a task change it and another one want it after all.
  void keep_bytes(const std::string& name, std::string_view bytes);
  /// A new object has this name, or none.
  void forget_cached(const std::string& name);
  void set_probe(TaskProbe* probe) { probe_ = probe; }
  /// Adopted processes that are not (yet) to be killed also need reaping.
  void sweep_orphans();

 private:
  using Wait = boost::asio::posix::stream_descriptor;
  /// One process between fork and end: what its child reads while it becomes the program. Used again and again.
  struct Start {
    os::Launch launch;
    Environment::Block environment;
    std::string sandbox, command, program;
    std::vector<std::string> words;
    std::vector<const char*> argv;
    std::array<const char*, 4> shell_argv{};
  };
  struct Run {
    TaskKey key = 0;
    std::string sandbox;  ///< below the workspace
    bool in_trash = false;
    bool staging = false;
    bool process = false;  ///< the first process is not reaped
    bool ending = false;   ///< waits for its last orphans
    bool done = false;
    bool discarded = false;
    bool had_orphans = false;
    bool function = false;           ///< answered by a coprocess, without a process of its own
    bool cleared = false;            ///< its sandbox is gone
    std::vector<MovedOutput> files;  ///< for the push
    Capture capture;
    Captured output;
    std::unique_ptr<Start> start;
    std::unique_ptr<Wait> wait;
    os::Reaped reaped;
    std::vector<GuardedFile> guarded;
    std::shared_ptr<const archive::EnvironmentLease> environment;  ///< held while the task may use it
    std::unique_ptr<boost::asio::steady_timer> patience;
  };

  void on_staged(TaskKey key, StageOutcome outcome, const std::string& trash_name);
  void launch(Run& run);
  void launch_function(Run& run, const TaskSlot& task);
  void on_answer(TaskKey key, Coprocesses::Outcome outcome);
  Result<Started> spawn(Run& run, const TaskSlot& task);
  void on_process_end(TaskKey key);
  void on_orphan_end(pid_t pid, ProcessTable::Owner owner);
  void finish(Run& run);
  void collect_outputs(Run& run, const TaskSlot& task, TaskExit& exit);
  void keep_long_output(Run& run, TaskExit& exit);
  void clear_later(TaskKey key);
  void clear_sandbox(Run& run);
  bool was_executed(Run& run);
  void fail_launch(Run& run, const ErrorCode& error, const std::string& why);
  void fail_spawn(Run& run, const ErrorCode& error) {
    fail_launch(run, error, "cannot start a process: " + error.message());
  }
  void fail_start(Run& run, const ErrorCode& error, const std::string& why);
  void remove(Run& run);
  void to_trash(Run& run);
  void erase(TaskKey key);
  void arm_watches();
  void look_at_watches(TaskKey key);
  std::vector<StageInput> inputs_of(TaskSlot& task);

  Context& context_;
  std::unordered_map<TaskKey, std::unique_ptr<Run>> runs_;
  std::unordered_map<pid_t, std::unique_ptr<Wait>> orphan_waits_;
  std::unordered_map<std::string, std::vector<GuardedFile>> guarded_;  ///< by cache name
  struct Kept {
    std::shared_ptr<const std::string> bytes;
    bool lent = false;  ///< a task has the file itself
  };
  std::unordered_map<std::string, Kept> kept_;  ///< by cache name
  std::size_t kept_bytes_ = 0;
  std::unordered_set<std::string> edited_;  ///< cache names of shared inputs that tasks have changed
  std::vector<std::unique_ptr<Start>> idle_starts_;
  Watches watches_;
  Wait watch_wait_;
  bool watch_armed_ = false;
  std::string last_failure_;  ///< said once, not for every task
  TaskProbe* probe_ = nullptr;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace taskmill::worker
