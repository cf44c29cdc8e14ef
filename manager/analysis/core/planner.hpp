// The brain of an analysis: which files to count, which chunks to process, which partial results to merge.
//
// Pure: facts go in, work items come out of next() while the caller has room for more, and nothing is kept that
// the run does not need (chunks are made when they are asked for; a billion events are four numbers per file).
//
//   files ──count──▶ event ranges ──process──▶ partial results ──accumulate (tree)──▶ one result per group
//
// Accounting: every partial result carries the EventSet it holds. A set is taken over only when a work item ends
// in success for the first time; later reports about the same item are ignored (a replicated or retried chunk
// counts once), and sets that overlap are refused with an assertion-free error that fails the run loudly.
//
// Deterministic mode merges by position, not by arrival: chunks of a file in groups of `treereduction`, in order,
// then files in order. With a fixed chunk size the result is bit-identical whatever the workers did.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/strong_type.hpp"
#include "manager/analysis/core/chunk_size.hpp"
#include "manager/analysis/core/event_set.hpp"
#include "manager/analysis/core/ordered_tree.hpp"

namespace taskmill::manager::analysis {

using ItemId = StrongId<struct ItemIdTag, std::uint64_t>;
using PartialId = StrongId<struct PartialIdTag, std::uint64_t>;

struct PlannerSettings {
  std::uint64_t chunksize = 100000;
  std::optional<std::uint64_t> maxchunks;  ///< per dataset
  std::optional<ChunkTargets> dynamic_chunksize;
  std::uint32_t treereduction = 20;  ///< partial results per accumulation, at least 2
  std::uint32_t retries = 2;         ///< further attempts after a failure
  bool split_on_exhaustion = true;
  bool skip_bad_files = false;  ///< a file that cannot be counted is left out; else it stops the run
  bool deterministic = false;
  bool result_per_dataset = false;  ///< one result per dataset instead of one in all
};

enum class ItemKind : std::uint8_t { preprocess, process, accumulate };

struct WorkItem {
  ItemId id;
  ItemKind kind = ItemKind::preprocess;
  std::uint32_t file = 0;         ///< preprocess, process
  EventRange range;               ///< process
  std::vector<PartialId> inputs;  ///< accumulate, in merge order
  std::uint32_t group = 0;
  std::uint32_t attempt = 0;  ///< 0 for the first
  std::uint32_t place = 0;    ///< accumulate: all inputs are kept at this location, run there; 0: anywhere
};

/// Something that did not make it, with its evidence.
struct Loss {
  ItemKind kind = ItemKind::process;
  std::uint32_t file = 0;
  EventRange range;  ///< empty for a file that could not be counted
  std::string reason;
};

struct Progress {
  std::uint64_t files_total = 0, files_counted = 0;
  std::uint64_t events_known = 0, events_submitted = 0, events_processed = 0, events_lost = 0;
  std::uint64_t partials_accumulated = 0, accumulations_expected = 0, accumulations_done = 0;
  std::uint64_t in_flight = 0, splits = 0, retries = 0;
};

class Planner {
 public:
  explicit Planner(PlannerSettings settings);

  std::uint32_t add_dataset(std::string name);
  /// `events`: known from a cache of counts; nullopt lets a preprocessing task find out.
  std::uint32_t add_file(std::uint32_t dataset, std::string name, std::optional<std::uint64_t> events = {});
  /// A partial result of an earlier run (checkpoint). False when it overlaps what is known, does not fit the files,
  /// after the first next(), or when it is more than a chunk in deterministic mode (merges are tied to positions
  /// there).
  [[nodiscard]] bool restore(std::uint32_t group, EventSet events, PartialId& id);

  /// The next thing worth submitting, in the order: accumulate, process, preprocess when chunks run short.
  std::optional<WorkItem> next();

  void on_counted(ItemId item, std::uint64_t events);
  /// The partial result is stored under the returned id; nullopt when the item was already finished or unknown (the
  /// output must then be dropped).
  /// `kept`: it lies at the location only (not 0), where it is merged with others, and is lost with it.
  std::optional<PartialId> on_processed(ItemId item, double wall_time_s, double memory_mb, std::uint32_t location = 0,
                                        bool kept = false);
  std::optional<PartialId> on_accumulated(ItemId item, std::uint32_t location = 0, bool kept = false);
  /// Kept partial results that must come to the manager now; each is named once, on_partial_fetched() or
  /// on_partial_lost() follows. What is left at the end is one per location.
  std::vector<PartialId> take_fetches();
  void on_partial_fetched(PartialId partial);
  /// Nothing more can be fetched: what is kept anywhere counts as not processed.
  void give_up_kept();
  /// The command failed (exit code, missing output, time limit): again, or given up with `reason`.
  void on_failed(ItemId item, std::string reason);
  /// The box was too small even at its maximum: split, or given up.
  void on_exhausted(ItemId item, std::string reason);
  /// False once the item has ended, or was withdrawn because an input of it was lost.
  [[nodiscard]] bool is_active(ItemId item) const { return active_.contains(item.value()); }
  /// The outputs of a partial result were lost with a worker before they were merged: its events are processed again.
  void on_partial_lost(PartialId partial);
  /// Remaining life time of workers that dynamic chunks should fit into, in seconds.
  void limit_time(std::optional<double> seconds) { sizer_.limit_time(seconds); }
  /// How many chunks the workers can process at once. Dynamic chunks get smaller towards the end, so that all workers
  /// end at about the same time.
  void set_capacity(std::uint64_t chunks) { capacity_ = chunks; }

  /// Ctrl-C: nothing new is processed; what is done is still merged.
  void stop_submitting();
  [[nodiscard]] bool stopping() const { return stopping_; }
  /// Why the run stopped by itself: a file that cannot be counted, unless bad files are to be skipped. Empty: it did
  /// not.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] bool finished() const;
  /// When finished: one partial per group that processed anything.
  [[nodiscard]] std::vector<PartialId> results() const;

  [[nodiscard]] Progress progress() const;
  [[nodiscard]] const std::vector<Loss>& losses() const { return losses_; }
  [[nodiscard]] const EventSet& events_of(PartialId partial) const;
  [[nodiscard]] std::uint32_t group_of(PartialId partial) const;
  /// Every processed event, of all results together.
  [[nodiscard]] const EventSet& processed() const { return processed_; }
  [[nodiscard]] const std::string& dataset_name(std::uint32_t dataset) const { return datasets_[dataset].name; }
  [[nodiscard]] const std::string& file_name(std::uint32_t file) const { return files_[file].name; }
  [[nodiscard]] std::uint32_t dataset_of(std::uint32_t file) const { return files_[file].dataset; }
  [[nodiscard]] std::optional<std::uint64_t> events_in(std::uint32_t file) const { return files_[file].events; }
  [[nodiscard]] std::uint32_t file_count() const { return static_cast<std::uint32_t>(files_.size()); }
  [[nodiscard]] std::optional<double> expected_s(std::uint64_t events) const { return sizer_.expected_s(events); }
  [[nodiscard]] std::uint64_t chunk_size_now() const { return sizer_.current(); }
  /// Conservation laws; empty when all hold, else what is broken. For tests.
  [[nodiscard]] std::string check() const;

 private:
  enum class FileState : std::uint8_t { uncounted, counting, ready, exhausted, bad };
  using Tree = OrderedTree<PartialId>;
  struct Dataset {
    std::string name;
    std::uint64_t chunks_made = 0;
  };
  struct File {
    std::string name;
    std::uint32_t dataset = 0;
    std::uint32_t slot = 0;  ///< deterministic: place among the files of its group
    FileState state = FileState::uncounted;
    std::optional<std::uint64_t> events;
    std::deque<EventRange> todo;                ///< ranges of which chunks are still to be cut, in order
    std::deque<EventRange> redo;                ///< … that were cut before, and their results were lost
    std::uint64_t even_chunk = 0;               ///< fixed size: every chunk of this file but the last
    std::uint64_t open_chunks = 0;              ///< cut, and neither processed nor lost
    std::map<std::uint64_t, PartialId> leaves;  ///< deterministic: processed chunks by first event
    Tree tree;                                  ///< deterministic: made when the file is complete
    bool complete = false;
  };
  /// Where the result of an ordered merge belongs.
  struct OrderedPlace {
    bool in_file = false;
    std::uint32_t owner = 0;
    std::uint32_t node = 0;
  };
  struct Active {
    WorkItem item;
    std::optional<OrderedPlace> place;
  };
  struct Partial {
    EventSet events;
    std::uint32_t group = 0;
    std::uint32_t location = 0;
    bool merging = false;
    bool stuck = false;  ///< could not be merged; stays a result of its own
    bool kept = false;   ///< only at its location
    bool fetching = false;
  };
  struct Group {
    std::map<std::uint32_t, std::deque<PartialId>> waiting;  ///< by location, oldest first
    std::uint64_t waiting_count = 0;
    std::map<std::uint32_t, std::deque<PartialId>> kept;  ///< not merging, by location, oldest first
    std::map<std::uint32_t, std::uint32_t> merges_at;     ///< in flight, by location of what they read
    std::vector<std::uint32_t> ripe;                      ///< locations that got enough for a merge
    std::uint64_t fetching = 0;                           ///< kept ones on their way
    std::vector<PartialId> stuck_kept;                    ///< still to be fetched
    std::uint64_t open_files = 0;
    std::uint64_t merges_in_flight = 0;
    std::uint32_t slots = 0;
    Tree tree;
  };

  [[nodiscard]] std::uint32_t group_of_file(std::uint32_t file) const;
  void begin();
  void set_events(std::uint32_t file, std::uint64_t events);
  std::optional<WorkItem> next_waiting();
  std::optional<WorkItem> next_accumulation();
  std::optional<WorkItem> next_chunk();
  std::optional<WorkItem> next_count();
  WorkItem start(Active active);
  std::optional<Active> take(ItemId item, ItemKind kind);
  std::optional<EventRange> cut(std::uint32_t file);
  std::uint64_t dynamic_size();
  std::vector<PartialId> take_inputs(Group& group);
  std::optional<WorkItem> next_merge_in_place(std::uint32_t group);
  PartialId store(EventSet events, std::uint32_t group, std::uint32_t location, bool kept);
  void offer(PartialId id);
  void begin_merge(const WorkItem& item);
  void end_merge(const WorkItem& item);
  void withdraw(PartialId id, const Partial& partial);
  void cancel_merge_of(PartialId id, std::uint32_t group);
  void retry_or(Active active, std::string reason, bool exhausted);
  void split_chunk(const WorkItem& item);
  void lose_chunk(const WorkItem& item, std::string reason);
  void give_up_merge(const Active& active, std::string reason);
  void close_chunk(std::uint32_t file);
  void check_complete(std::uint32_t file);
  void plan_merges(const std::vector<Tree::Merge>& merges, bool in_file, std::uint32_t owner);
  void settle_file(std::uint32_t file);

  PlannerSettings settings_;
  ChunkSizer sizer_;
  std::vector<Dataset> datasets_;
  std::vector<File> files_;
  std::vector<Group> groups_;
  std::uint32_t next_uncounted_ = 0;
  std::uint64_t counting_ = 0;
  std::uint64_t capacity_ = 0;             ///< 0: unknown
  std::deque<std::uint32_t> ready_files_;  ///< files with ranges to cut, FIFO
  std::deque<Active> again_;               ///< retries, split halves, ordered merges: before anything new
  std::unordered_map<std::uint64_t, Active> active_;
  std::map<PartialId, Partial> partials_;
  EventSet processed_;
  std::vector<Loss> losses_;
  std::string failure_;
  Progress progress_;
  std::uint64_t next_item_ = 1;
  std::uint64_t next_partial_ = 1;
  bool begun_ = false;
  bool stopping_ = false;
};

}  // namespace taskmill::manager::analysis
