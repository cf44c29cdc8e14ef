#include "manager/app/analysis_log.hpp"

#include <algorithm>

namespace taskmill::manager {
namespace {

constexpr std::size_t max_samples = 4000;

}  // namespace

// Of two copies one finishes; the other ran from its dispatch until then for nothing.
void AnalysisLog::on_report(const Report& report, const TaskOutcome* outcome, WallTime now) {
  switch (report.kind) {
    case ReportKind::dispatched:
      begun_[report.task] = {now, {}};
      break;
    case ReportKind::running_elsewhere:
      begun_[report.task].second = now;
      break;
    case ReportKind::copy_lost:
      if (const auto found = begun_.find(report.task); found != begun_.end()) found->second.second = {};
      break;
    case ReportKind::requeued:
      begun_.erase(report.task);
      break;
    case ReportKind::finished:
    case ReportKind::cancelled: {
      const auto found = begun_.find(report.task);
      if (found == begun_.end()) break;
      const Begun begun = found->second;
      begun_.erase(found);
      if (begun.second == WallTime{} || outcome == nullptr) break;
      const bool copy_won = outcome->commit_start >= begun.second;
      const double wasted = static_cast<double>((now - (copy_won ? begun.first : begun.second)).count()) * 1e-6;
      lost_copy_hours_ += wasted * std::max(outcome->allocated.cores, 1.0) / 3600;
      break;
    }
    case ReportKind::worker_joined:
    case ReportKind::worker_left:
    case ReportKind::kept_fetched:
    case ReportKind::kept_lost:
    case ReportKind::kept_failed:
      break;
  }
}

void AnalysisLog::sample(const analysis::WorkerSample& sample) {
  if (!workers_.empty() && workers_.back().workers == sample.workers && workers_.back().cores == sample.cores) return;
  if (workers_.size() >= max_samples) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < workers_.size(); i += 2) workers_[kept++] = workers_[i];
    workers_.resize(kept);
  }
  workers_.push_back(sample);
}

}  // namespace taskmill::manager
