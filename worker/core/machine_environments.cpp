// Environments as tasks see them: on their way, ready, or failed. How they come is the shell's business.
#include <algorithm>
#include <utility>

#include "worker/core/machine.hpp"

namespace taskmill::worker {

void Machine::on_environment_offered(const std::string& digest, Time now) {
  life_.on_work(now);
  auto& entry = environments_[digest];
  // Offered anew after a failure: another attempt.
  if (entry.state == EnvironmentEntry::State::failed) entry.state = EnvironmentEntry::State::coming;
}

void Machine::on_environment_ready(const std::string& digest, Time now) {
  const auto at = environments_.find(digest);
  if (at == environments_.end()) return;
  life_.on_work(now);
  at->second.state = EnvironmentEntry::State::ready;
  for (const auto key : std::exchange(at->second.waiting, {})) {
    TaskSlot* task = slot(key);
    if (task != nullptr && task->state == TaskState::awaiting_inputs && --task->fetches_left == 0) make_ready(*task);
  }
}

void Machine::on_environment_failed(const std::string& digest, Time now) {
  const auto at = environments_.find(digest);
  if (at == environments_.end()) return;
  life_.on_work(now);
  at->second.state = EnvironmentEntry::State::failed;
  for (const auto key : std::exchange(at->second.waiting, {})) {
    TaskSlot* task = slot(key);
    if (task == nullptr || task->state != TaskState::awaiting_inputs) continue;
    withdraw(*task);
    refuse(*task);
  }
}

void Machine::on_environment_evicted(const std::string& digest) { environments_.erase(digest); }

bool Machine::uses_environment(const std::string& digest) const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [&](const auto& item) { return item.second->description.environment == digest; });
}

// False when the task cannot run here: it was given back.
bool Machine::await_environment(TaskSlot& task) {
  if (task.description.environment.empty()) return true;
  const auto at = environments_.find(task.description.environment);
  if (at == environments_.end() || at->second.state == EnvironmentEntry::State::failed) {
    refuse(task);
    return false;
  }
  if (at->second.state == EnvironmentEntry::State::coming) {
    at->second.waiting.push_back(task.key);
    ++task.fetches_left;
  }
  return true;
}

bool Machine::awaits_any_environment() const {
  return std::any_of(environments_.begin(), environments_.end(),
                     [](const auto& entry) { return !entry.second.waiting.empty(); });
}

}  // namespace taskmill::worker
