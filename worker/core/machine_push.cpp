// Results of tasks that came in a batch: pushed together, kept until acknowledged (docs/extensions.md).
#include <algorithm>
#include <utility>

#include "worker/core/machine.hpp"

namespace taskmill::worker {
namespace {

constexpr std::size_t gather_most = 32;
constexpr std::uint64_t batch_bytes = 512U << 10;
constexpr std::size_t batch_results = 1024;
constexpr std::uint64_t result_overhead = 256;  ///< what a result takes besides its contents

}  // namespace

void Machine::on_batch(std::vector<protocol::TaskDescription> tasks, std::uint64_t unacknowledged_limit, Now now,
                       Effects& effects) {
  push_limit_ = unacknowledged_limit;
  for (auto& task : tasks) take(std::move(task), true, now, effects);
}

bool Machine::push_is_due(Time now) const {
  if (to_push_.empty() || unacknowledged_bytes_ > push_limit_) return false;
  return ready_count_ == 0 || to_push_.size() >= gather_most || now >= *push_by_;
}

void Machine::push_results(Time now, Effects& effects) {
  if (!to_push_.empty() && !push_by_) push_by_ = now + config_.gather_time;
  if (!push_is_due(now)) return;
  push_by_.reset();
  while (!to_push_.empty() && unacknowledged_bytes_ <= push_limit_) {
    PushBatch batch;
    Unacknowledged sent;
    while (!to_push_.empty() && sent.bytes < batch_bytes && batch.results.size() < batch_results) {
      const TaskKey key = to_push_.front();
      to_push_.pop_front();
      TaskSlot* task = slot(key);
      if (task == nullptr || task->state != TaskState::complete) continue;
      sent.bytes += result_overhead + task->result.push_bytes + task->result.text.size();
      sent.tasks.push_back(key);
      task->state = TaskState::reported;
      batch.results.push_back({key, task->description.task_id, task->description.attempt, task->result});
      if (task->result.status == 40) drop(*task, effects);  // as in answer_results()
    }
    if (batch.results.empty()) return;
    batch.sequence = sent.sequence = ++push_sequence_;
    unacknowledged_bytes_ += sent.bytes;
    unacknowledged_.push_back(std::move(sent));
    effects.push.push_back(std::move(batch));
  }
}

bool Machine::on_acknowledged(std::uint64_t sequence, Time now, Effects& effects) {
  if (sequence > push_sequence_) return false;
  while (!unacknowledged_.empty() && unacknowledged_.front().sequence <= sequence) {
    const auto sent = std::move(unacknowledged_.front());
    unacknowledged_.pop_front();
    unacknowledged_bytes_ -= sent.bytes;
    for (const auto key : sent.tasks) {
      if (TaskSlot* task = slot(key)) drop(*task, effects);  // unless the manager has killed it before
    }
  }
  if (by_id_.empty()) life_.on_work(now);
  return true;
}

}  // namespace taskmill::worker
