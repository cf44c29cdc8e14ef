#include "tests/sim/analysis_world.hpp"

#include <algorithm>
#include <cmath>
#include <queue>
#include <unordered_map>
#include <vector>

#include "common/base/random.hpp"

namespace taskmill::testing {
namespace {

using namespace manager::analysis;

constexpr double stall_factor = 20;
constexpr double rejoin_s = 120;           // a lost worker is replaced after this time
constexpr std::size_t enough_times = 100;  // finished chunks before anything counts as slow
constexpr double straggler_factor = 1.5;   // of the 95th percentile, as the manager has it

class World {
 public:
  explicit World(const AnalysisSimOptions& options)
      : o_(options), random_(options.seed), planner_(options.planner), workers_(options.workers) {
    make_files();
    for (auto& worker : workers_) worker.speed = 0.5 + random_.uniform();
    for (std::uint32_t w = 0; w < o_.workers; ++w) free_.insert(free_.end(), o_.cores, w);
    planner_.set_capacity(std::uint64_t{o_.workers} * o_.cores);
  }

  AnalysisSimResult run() {
    fill();
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      handle(event);
      fill();
      if (runs_.empty() && waiting_.empty() && planner_.finished()) break;
    }
    return finish();
  }

 private:
  enum class What : std::uint8_t { ended, lost, joined, look_for_stragglers };
  struct Event {
    double at = 0;
    std::uint64_t order = 0;
    What what{};
    std::uint64_t run = 0;
    std::uint32_t worker = 0;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };
  struct Worker {
    double speed = 1;
    bool alive = true;
    std::vector<std::uint64_t> runs;
  };
  enum class End : std::uint8_t { done, exhausted };
  struct Run {  ///< one attempt at a worker
    WorkItem item;
    std::uint32_t worker = 0;
    double begin = 0, memory_mb = 0;
    End end{};
    std::uint64_t sibling = 0;  ///< other copy of the same task; 0: none
  };
  struct FileNature {
    std::uint64_t events = 0;
    double slowness = 1, heaviness = 1;
  };

  // Sizes, costs and memory are log-normal; the sum of events is exact.
  void make_files() {
    std::vector<double> sizes(o_.files);
    double sum = 0;
    for (auto& size : sizes) sum += size = std::exp(0.6 * normal());
    std::uint64_t left = o_.events;
    const auto dataset = planner_.add_dataset("sim");
    for (std::uint32_t i = 0; i < o_.files; ++i) {
      FileNature file;
      const auto share = static_cast<std::uint64_t>(sizes[i] / sum * static_cast<double>(o_.events));
      file.events = i + 1 == o_.files ? left : std::min(left, share);
      left -= file.events;
      file.slowness = std::exp(0.5 * normal() - 0.125);
      file.heaviness = std::exp(0.4 * normal() - 0.08);
      files_.push_back(file);
      planner_.add_file(dataset, "f");
    }
  }

  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += random_.uniform();
    return sum;
  }

  void at(double when, What what, std::uint64_t run, std::uint32_t worker) {
    events_.push({when, next_order_++, what, run, worker});
  }

  // Only what the workers need is taken from the planner, as the executor does.
  void fill() {
    while (!free_.empty()) {
      if (waiting_.empty()) {
        auto item = planner_.next();
        if (!item) return;
        waiting_.push_back(std::move(*item));
      }
      const auto pick = random_.below(free_.size());
      std::swap(free_[pick], free_.back());
      const auto worker = free_.back();
      free_.pop_back();
      WorkItem item = std::move(waiting_.back());
      waiting_.pop_back();
      start(std::move(item), worker, 0);
    }
  }

  std::uint64_t start(WorkItem item, std::uint32_t worker, std::uint64_t sibling) {
    const auto id = next_run_++;
    Run run{std::move(item), worker, now_, 0, End::done, sibling};
    double wall = duration(run) / workers_[worker].speed;
    if (random_.uniform() < o_.stall) wall *= stall_factor;
    if (run.memory_mb > o_.box_mb) {
      run.end = End::exhausted;
      wall *= o_.box_mb / run.memory_mb;  // it grew until there
    }
    // Data that crosses the manager queues for its link.
    const double mb = through_manager(run);
    link_free_ = std::max(link_free_, now_) + mb / o_.link_mb_s;
    result_.link_gb += mb / 1000;
    const double end = std::max(now_ + wall, link_free_);
    if (random_.uniform() < o_.lose_worker)
      at(now_ + random_.uniform() * wall, What::lost, id, worker);
    else
      at(end, What::ended, id, worker);
    workers_[worker].runs.push_back(id);
    runs_.emplace(id, std::move(run));
    return id;
  }

  double duration(Run& run) {
    const auto& item = run.item;
    if (item.kind == ItemKind::preprocess) return 1;
    if (item.kind == ItemKind::accumulate)
      return 1 + static_cast<double>(item.inputs.size()) * o_.partial_mb / o_.merge_mb_s;
    const auto& file = files_[item.file];
    const auto events = static_cast<double>(item.range.count());
    run.memory_mb = o_.chunk_mb + events * o_.event_mb * file.heaviness;
    return o_.task_s + events * o_.event_s * file.slowness;
  }

  double through_manager(const Run& run) const {
    if (run.item.kind == ItemKind::preprocess) return 0;
    return static_cast<double>(run.item.inputs.size() + 1) * o_.partial_mb;
  }

  void handle(const Event& event) {
    if (event.what == What::joined) {
      workers_[event.worker].alive = true;
      free_.insert(free_.end(), o_.cores, event.worker);
      return;
    }
    const auto found = runs_.find(event.run);
    if (found == runs_.end()) return;
    if (event.what == What::lost) return lose(event.worker);
    if (event.what == What::look_for_stragglers) return look_at(event.run);
    end_run(event.run);
  }

  void end_run(std::uint64_t id) {
    const Run run = std::move(runs_.at(id));
    leave(id, run, true);
    if (run.sibling != 0) drop_sibling(run.sibling);
    const double spent = now_ - run.begin;
    if (run.end == End::exhausted) {
      result_.wasted_core_s += spent;
      planner_.on_exhausted(run.item.id, "memory");
      return;
    }
    result_.useful_core_s += spent;
    switch (run.item.kind) {
      case ItemKind::preprocess:
        planner_.on_counted(run.item.id, files_[run.item.file].events);
        break;
      case ItemKind::process:
        ++result_.chunks;
        note_time(spent);
        (void)planner_.on_processed(run.item.id, spent, run.memory_mb, run.worker);
        done_events_ += run.item.range.count();
        if (tail_from_ == 0 && done_events_ >= o_.events / 20 * 19) tail_from_ = now_;
        break;
      case ItemKind::accumulate:
        ++result_.merges;
        (void)planner_.on_accumulated(run.item.id, run.worker);
        break;
    }
  }

  void leave(std::uint64_t id, const Run& run, bool place_is_free) {
    std::erase(workers_[run.worker].runs, id);
    runs_.erase(id);
    if (place_is_free && workers_[run.worker].alive) free_.push_back(run.worker);
  }

  void drop_sibling(std::uint64_t id) {
    const auto found = runs_.find(id);
    if (found == runs_.end()) return;
    const Run run = std::move(found->second);
    result_.wasted_core_s += now_ - run.begin;
    leave(id, run, true);
  }

  // The manager runs the tasks of a lost worker again; the planner does not notice.
  void lose(std::uint32_t worker) {
    ++result_.workers_lost;
    workers_[worker].alive = false;
    std::erase(free_, worker);
    const auto runs = std::move(workers_[worker].runs);
    workers_[worker].runs.clear();
    for (const auto id : runs) {
      Run run = std::move(runs_.at(id));
      runs_.erase(id);
      result_.wasted_core_s += now_ - run.begin;
      const auto other = run.sibling != 0 ? runs_.find(run.sibling) : runs_.end();
      if (other != runs_.end())
        other->second.sibling = 0;
      else
        waiting_.push_back(std::move(run.item));
    }
    at(now_ + rejoin_s, What::joined, 0, worker);
  }

  // --- stragglers ---

  void note_time(double spent) {
    times_.push_back(spent);
    sum_times_ += spent;
    if (times_.size() % enough_times != 0) return;
    std::vector<double> sorted(times_.end() - static_cast<std::ptrdiff_t>(std::min<std::size_t>(times_.size(), 2000)),
                               times_.end());
    std::sort(sorted.begin(), sorted.end());
    slow_after_ = straggler_factor * sorted[sorted.size() * 95 / 100];
    if (o_.stragglers == SimStragglers::leave) return;
    for (const auto& [id, run] : runs_) {
      if (run.item.kind == ItemKind::process && run.sibling == 0)
        at(std::max(now_, run.begin + limit()), What::look_for_stragglers, id, run.worker);
    }
  }

  [[nodiscard]] double limit() const {
    return o_.stragglers == SimStragglers::terminate
               ? o_.terminate_factor * sum_times_ / static_cast<double>(times_.size())
               : slow_after_;
  }

  void look_at(std::uint64_t id) {
    Run& run = runs_.at(id);
    if (run.sibling != 0 || times_.size() < enough_times || now_ - run.begin < limit() * 0.999) return;
    if (o_.stragglers == SimStragglers::terminate) {
      if (terminated_[run.item.id.value()]++ > 0) return;  // not on two workers
      result_.wasted_core_s += now_ - run.begin;
      Run gone = std::move(run);
      leave(id, gone, true);
      waiting_.push_back(std::move(gone.item));
      return;
    }
    if (free_.empty() || !waiting_.empty()) return;  // new work goes first
    const auto worker = free_.back();
    free_.pop_back();
    ++result_.copies;
    run.sibling = start(run.item, worker, id);
  }

  AnalysisSimResult finish() {
    result_.makespan_s = now_;
    result_.tail_s = now_ - tail_from_;
    const double all = now_ * o_.workers * o_.cores;
    result_.idle_core_s = std::max(0.0, all - result_.useful_core_s - result_.wasted_core_s);
    const auto progress = planner_.progress();
    result_.splits = progress.splits;
    result_.retries = progress.retries;
    const auto results = planner_.results();
    if (!planner_.finished() || results.size() != 1) {
      result_.problem = "not one result";
      return result_;
    }
    result_.events = planner_.events_of(results[0]).count();
    for (std::uint32_t file = 0; file < o_.files && result_.problem.empty(); ++file) {
      if (!planner_.events_of(results[0]).missing(file, files_[file].events).empty())
        result_.problem = "events missing";
    }
    if (result_.events != o_.events && result_.problem.empty()) result_.problem = "events counted more than once";
    if (result_.problem.empty()) result_.problem = planner_.check();
    return result_;
  }

  AnalysisSimOptions o_;
  Random random_;
  Planner planner_;
  std::vector<Worker> workers_;
  std::vector<FileNature> files_;
  std::vector<std::uint32_t> free_;  ///< a worker for each free core
  std::vector<WorkItem> waiting_;
  std::unordered_map<std::uint64_t, Run> runs_;
  std::unordered_map<std::uint64_t, int> terminated_;
  std::priority_queue<Event> events_;
  std::vector<double> times_;
  double now_ = 0, link_free_ = 0, sum_times_ = 0, slow_after_ = 1e300, tail_from_ = 0;
  std::uint64_t next_run_ = 1, next_order_ = 0, done_events_ = 0;
  AnalysisSimResult result_;
};

}  // namespace

AnalysisSimResult simulate_analysis(const AnalysisSimOptions& options) { return World(options).run(); }

}  // namespace taskmill::testing
