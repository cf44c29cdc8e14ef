// Partial results that lie at the workers that made them: what is merged next there need not cross the manager.
//
// The planner says which of them are merged where, and which must come here after all; a lost worker takes its own with
// it, and their chunks are processed again. Not with a checkpoint or snapshots, which need every finished chunk here,
// nor in deterministic runs, whose merges are tied to positions and not to places.
#include "manager/analysis/executor.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr std::uint32_t tolerated_failures = 3;  // of fetching: then something is wrong with keeping

}  // namespace

bool Executor::keeps_partials() const {
  return description_.keep_on_workers && !description_.planner.deterministic && !checkpoint_.enabled() &&
         !options_.all_at_manager && kept_failures_ < tolerated_failures && !planner_.stopping();
}

void Executor::take_kept() {
  for (const auto& [path, what] : service_.take_kept()) {
    const auto found = kept_.find(path);
    if (found == kept_.end()) continue;
    const auto partial = found->second;
    if (what == ReportKind::kept_failed) ++kept_failures_;
    if (what == ReportKind::kept_fetched) {
      kept_.erase(found);
      planner_.on_partial_fetched(partial);
    } else {
      lose_kept(partial);
    }
  }
}

void Executor::fetch_kept() {
  for (const auto partial : planner_.take_fetches()) {
    if (!service_.fetch_kept(partial_path(partial))) lose_kept(partial);
  }
}

// A merge that was to read it is taken back; it could only run where it was.
void Executor::lose_kept(PartialId partial) {
  const auto path = paths_.extract(partial);
  if (path.empty()) return;
  ++kept_lost_;
  planner_.on_partial_lost(partial);
  drop_file(path.mapped());
  std::vector<TaskId> withdrawn;
  for (const auto& [task, running] : tasks_) {
    if (running.item.place != 0 && !planner_.is_active(running.item.id)) withdrawn.push_back(task);
  }
  for (const auto task : withdrawn) service_.cancel_waiting(task);
}

void Executor::give_up_kept() {
  take_kept();
  if (kept_.empty()) return;
  planner_.give_up_kept();
  for (const auto& [path, partial] : kept_) paths_.erase(partial);
  kept_.clear();
}

}  // namespace taskmill::manager::analysis
