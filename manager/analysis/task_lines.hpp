// The lines of a verbose analysis, as Coffea's users know them. Pure text.
#pragma once

#include <string>
#include <string_view>

#include "manager/analysis/core/planner.hpp"
#include "manager/core/effects.hpp"

namespace taskmill::manager::analysis {

const char* phase_name(ItemKind kind);  ///< "preprocessing", "processing", "accumulating"
/// "pre_0", "p_2", "accum_1"
std::string item_name(ItemKind kind, std::uint64_t serial);
/// "submitted processing task id 3 item p_2, with 100056 event"
std::string submitted_line(TaskId task, const WorkItem& item, const std::string& name);
/// "processing task id 3 item p_2 with 100056 events on localhost. return code 0 (success)" and the resources.
std::string finished_lines(TaskId task, const WorkItem& item, const std::string& name, const TaskOutcome& outcome);
/// One line of evidence for the list of losses.
std::string failure_text(const TaskOutcome& outcome, std::string_view output);

}  // namespace taskmill::manager::analysis
