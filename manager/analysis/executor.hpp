// Runs an analysis: turns work items of the Planner into tasks, and what became of the tasks into facts.
//
// The caller drives it: start() once, then on_finished() for every finished task and pump() whenever there may be room.
// Partial results lie as files in `work_directory`; a merged one is removed at once. At the end write_results() puts
// the result at its place together with its accounting (OUTPUT.events.json), which lists for every file the exact
// events that are in the result, those that are missing, and why.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "manager/analysis/checkpoint.hpp"
#include "manager/analysis/core/planner.hpp"
#include "manager/analysis/count_cache.hpp"
#include "manager/analysis/description/command_template.hpp"
#include "manager/analysis/description/description.hpp"
#include "manager/analysis/task_service.hpp"
#include "manager/core/effects.hpp"

namespace taskmill::manager::analysis {

/// One finished attempt, kept for the report at the end.
struct TaskTrace {
  ItemKind kind{};
  bool succeeded = false, exhausted = false;
  WallTime start, end;
  std::uint64_t events = 0;
  double memory_mb = -1;               ///< measured
  double cores = -1;                   ///< allocated
  double exhausted_s = 0, lost_s = 0;  ///< earlier and this attempt over its box; with a lost worker or as too slow
  std::uint32_t host = 0;              ///< index into Executor::hosts()
};

/// Attempts that failed for the same cause.
struct FailureGroup {
  std::uint64_t count = 0;
  std::string example;  ///< evidence of the first
};
using FailureGroups = std::map<std::pair<ItemKind, std::string>, FailureGroup>;

struct ExecutorOptions {
  std::string work_directory;
  std::string analysis_tool;    ///< path of our static analysis_tool
  std::string count_cache;      ///< directory; empty: the user's
  bool keep_partials = false;   ///< do not remove the work directory's files
  bool all_at_manager = false;  ///< partial results are wanted here at any time (snapshots): workers keep none
};

class Executor {
 public:
  /// `say`: one line for the user (verbose output).
  Executor(Description description, ExecutorOptions options, TaskService& service,
           std::function<void(std::string)> say);

  /// Prepares the work directory and takes over counts and checkpoints. Empty, or what is wrong.
  std::string start();
  /// Submits while there is room.
  void pump();
  void on_finished(TaskId task, const TaskOutcome& outcome, std::string_view stdout_text);
  /// First Ctrl-C: waiting work is dropped, what runs is awaited, what is done is merged.
  void stop();
  [[nodiscard]] bool finished() const { return planner_.finished() && tasks_.empty(); }

  /// No task is left, but partial results that are on their way from workers.
  [[nodiscard]] bool awaits_kept() const { return tasks_.empty() && !kept_.empty(); }
  /// Partial results that were lost with the workers that kept them, and were made again.
  [[nodiscard]] std::uint64_t kept_lost() const { return kept_lost_; }

  /// Puts the result(s) at the output path and writes the accounting. Empty, or what is wrong.
  /// What is still kept at workers counts as not processed.
  std::string write_results();
  /// Files written by write_results(); empty when nothing was processed.
  [[nodiscard]] const std::vector<std::string>& result_files() const { return result_files_; }
  /// Merges what is there now into `path` without disturbing the run (built-in accumulators only); the accounting of
  /// that moment goes beside it.
  std::string write_snapshot(const std::string& path) const;

  /// Categories this analysis uses: preprocessing, processing, accumulating.
  [[nodiscard]] static std::vector<std::string> categories() { return {"preprocessing", "processing", "accumulating"}; }
  /// What a phase asks for: its own numbers over the run's.
  [[nodiscard]] Resources resources_of(const PhaseDescription& phase) const;
  [[nodiscard]] const Planner& planner() const { return planner_; }
  [[nodiscard]] const Description& description() const { return description_; }
  [[nodiscard]] const std::vector<TaskTrace>& traces() const { return traces_; }
  [[nodiscard]] const std::vector<std::string>& hosts() const { return hosts_; }
  [[nodiscard]] const FailureGroups& failures() const { return failures_; }
  [[nodiscard]] bool complete() const;  ///< every event of every file is in the result
  /// All that was asked for is in the result: complete, but for what maxchunks and skip_bad_files leave out.
  [[nodiscard]] bool succeeded() const;

 private:
  struct Running {
    WorkItem item;
    std::string name;
  };

  void withdraw_waiting();
  [[nodiscard]] bool keeps_partials() const;
  void take_kept();
  void fetch_kept();
  void look_at_lives();
  [[nodiscard]] Duration least_life_for(const EventRange& range) const;
  void lose_kept(PartialId partial);
  void give_up_kept();
  std::string restore();
  void clean_work_directory();
  [[nodiscard]] Checkpoint::Sources checkpoint_sources() const;
  [[nodiscard]] bool keeps_for_checkpoint(ItemKind kind) const;
  [[nodiscard]] std::string counting_of(const DatasetDescription& dataset) const;
  std::optional<TaskSpec> make_task(const WorkItem& item);
  void fill_common(TaskSpec& spec, const WorkItem& item, const PhaseDescription& phase,
                   CommandTemplate::Values& values);
  void make_preprocess(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values);
  void make_process(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values);
  void make_accumulate(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values);
  std::string add_source(TaskSpec& spec, std::uint32_t file);
  void add_tool(TaskSpec& spec, CommandTemplate::Values& values);
  [[nodiscard]] bool runs_command(ItemKind kind) const;
  void say_submitted(TaskId task, const Running& running);
  void say_finished(TaskId task, const Running& running, const TaskOutcome& outcome);
  void succeed(const Running& running, const TaskOutcome& outcome, std::string_view stdout_text);
  void count_done(const Running& running, std::string_view stdout_text);
  void keep_trace(const Running& running, const TaskOutcome& outcome, bool succeeded);
  std::uint32_t host_index(const std::string& host);
  std::uint32_t place_of(const std::string& worker);
  [[nodiscard]] const std::string& partial_path(PartialId partial) const;
  [[nodiscard]] std::string result_path(ItemId item) const;
  [[nodiscard]] std::string item_path(ItemId item, std::string_view kind) const;
  [[nodiscard]] const DatasetDescription& dataset_of(std::uint32_t file) const;
  [[nodiscard]] bool is_missing_events(std::uint32_t file) const;
  [[nodiscard]] std::string why_missing(std::uint32_t file) const;
  [[nodiscard]] std::string accounting_text(const std::vector<std::string>& results) const;
  void drop_partials(const std::vector<PartialId>& partials);
  void drop_file(const std::string& path);
  Expected<std::vector<std::string>> write_groups(const std::string& path, bool all_groups) const;

  Description description_;
  ExecutorOptions options_;
  TaskService& service_;
  std::function<void(std::string)> say_;
  Planner planner_;
  CountCache counts_;
  Checkpoint checkpoint_;
  CommandTemplate preprocess_, process_, accumulate_;
  std::vector<SourceFile> sources_;       ///< by the planner's file index
  std::vector<std::string> index_paths_;  ///< line index of each file, empty where there is none
  std::unordered_map<TaskId, Running> tasks_;
  std::vector<TaskTrace> traces_;
  std::vector<std::string> hosts_;
  FailureGroups failures_;
  std::vector<std::string> result_files_;
  std::unordered_map<std::string, std::uint32_t> host_numbers_;
  std::uint64_t submitted_ = 0;
  std::vector<WorkerLife> lives_;  ///< of the workers, looked at now and then
  std::size_t pumps_ = 0;
  std::map<PartialId, std::string> paths_;                 ///< of partial results, of earlier runs too
  std::uint64_t run_number_ = 1;                           ///< part of the names of partial results
  std::unordered_map<std::string, std::uint32_t> places_;  ///< workers that made partial results, numbered from 1
  std::vector<std::string> place_names_;                   ///< addresses of workers by that number; 0: the manager
  std::unordered_map<std::string, PartialId> kept_;        ///< partial results that only workers have, by path
  std::uint64_t kept_lost_ = 0;                            ///< partial results lost with their workers
  std::uint32_t kept_failures_ = 0;                        ///< of fetching them, but for lost workers
};

}  // namespace taskmill::manager::analysis
