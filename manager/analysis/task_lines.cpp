#include "manager/analysis/task_lines.hpp"

#include <fmt/format.h>

#include "common/base/text.hpp"
#include "manager/app/progress.hpp"
#include "manager/app/result_record.hpp"

namespace taskmill::manager::analysis {

const char* phase_name(ItemKind kind) {
  switch (kind) {
    case ItemKind::preprocess:
      return "preprocessing";
    case ItemKind::process:
      return "processing";
    case ItemKind::accumulate:
      return "accumulating";
  }
  return "";
}

std::string item_name(ItemKind kind, std::uint64_t serial) {
  const char* prefix = kind == ItemKind::preprocess ? "pre" : kind == ItemKind::process ? "p" : "accum";
  return fmt::format("{}_{}", prefix, serial);
}

namespace {

std::string size_text(const WorkItem& item, const char* plural) {
  if (item.kind == ItemKind::accumulate) return fmt::format("{} result{}", item.inputs.size(), plural);
  return fmt::format("{} event{}", item.kind == ItemKind::process ? item.range.count() : 1, plural);
}

}  // namespace

std::string submitted_line(TaskId task, const WorkItem& item, const std::string& name) {
  return fmt::format("submitted {} task id {} item {}, with {}", phase_name(item.kind), task.value(), name,
                     item.kind == ItemKind::preprocess ? "1 file" : size_text(item, ""));
}

std::string finished_lines(TaskId task, const WorkItem& item, const std::string& name, const TaskOutcome& outcome) {
  const auto where = outcome.hostname.empty() ? std::string() : " on " + outcome.hostname;
  std::string text = fmt::format("{} task id {} item {} with {}{}. return code {} ({})", phase_name(item.kind),
                                 task.value(), name, size_text(item, "s"), where, outcome.return_status,
                                 is_success(outcome) ? "success" : failure_cause(outcome));
  if (outcome.try_count > 0) {
    text += "\n" + allocated_line(outcome.allocated) + "\n" +
            measured_line(outcome.measured, outcome.allocated, outcome.execute_last);
  }
  return text;
}

std::string failure_text(const TaskOutcome& outcome, std::string_view output) {
  std::string text = failure_cause(outcome);
  if (!outcome.message.empty()) text += ": " + outcome.message;
  const auto trimmed = trim(output);
  const auto last = trimmed.substr(trimmed.rfind('\n') + 1).substr(0, 200);
  if (!last.empty()) text += "; it printed: " + std::string(last);
  if (!outcome.hostname.empty()) text += " (on " + outcome.hostname + ")";
  return text;
}

}  // namespace taskmill::manager::analysis
