// Outbound for native workers: frames in place of words (docs/extensions.md, capability `batch`).
#include <algorithm>
#include <utility>

#include "manager/net/outbound.hpp"
#include "protocol/format.hpp"
#include "protocol/pb/frames.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t batch_bytes = 256U << 10;  // tasks gathered into one frame
constexpr std::size_t huge_task = 8U << 20;      // goes as a block of lines: a frame must not become too large

bool is_huge(const protocol::TaskDescription& task) {
  std::size_t bytes = task.command ? task.command->size() : 0;
  for (const auto& variable : task.env) bytes += variable.size();
  for (const auto& input : task.inputs) bytes += input.cache_name.size() + input.sandbox_name.size();
  for (const auto& output : task.outputs) bytes += output.cache_name.size() + output.sandbox_name.size();
  return bytes > huge_task;
}

}  // namespace

bool Outbound::write_task() {
  // Functions are not among the things a batch can carry.
  if (!batching_ || !description_.coprocess.empty() || is_huge(description_)) {
    write_pending();
    return protocol::task(wire_, description_, context_->machine.version(conn_));
  }
  flush_acknowledged();
  for (auto& small : loose_) {
    for (auto& input : description_.inputs) {
      if (input.cache_name != small.name || input.content) continue;
      input.content = std::move(small.content);
      input.mode = small.mode;
      pushed_.note_absent(small.name);
      break;
    }
  }
  loose_.clear();
  loose_bytes_ = 0;
  batch_.add(description_);
  if (batch_.size() >= batch_bytes) flush_batch();
  return true;
}

// `kill` and `unlink` of what was pushed are acknowledgements; everything else about a task goes behind its batch.
void Outbound::write_kill(const Op& op) {
  const auto task = op.task.valid() ? static_cast<std::int64_t>(op.task.value()) : -1;
  if (batching_ && pushed_.settle(task)) return flush_batch();
  flush_batch();
  flush_acknowledged();
  protocol::kill(wire_, task);
}

void Outbound::write_unlink(const Op& op) {
  if (!batching_) {
    protocol::unlink(wire_, op.name);
    return;
  }
  const auto unsent =
      std::find_if(loose_.begin(), loose_.end(), [&op](const Small& small) { return small.name == op.name; });
  if (unsent != loose_.end()) {
    loose_.erase(unsent);
    return;
  }
  flush_batch();
  pushed_.drop(op.name);
}

// An uncached input of a few kilobytes travels inside its task, which follows. Not with tasks of others in between.
bool Outbound::write_small(const Op& op, std::uint64_t length, unsigned mode, const std::string& content) {
  if (!batching_ || op.cached || length > small_input) return false;
  loose_.push_back({op.name, content, mode});
  loose_bytes_ += content.size();
  return true;
}

// Before words that must not overtake a frame.
void Outbound::write_pending() {
  write_loose();
  flush_batch();
  flush_acknowledged();
}

// Inputs whose task did not follow (it was cancelled, or other inputs come between): the worker gets them as ever.
void Outbound::write_loose() {
  if (loose_.empty()) return;
  flush_batch();
  flush_acknowledged();
  for (const auto& small : loose_) {
    if (protocol::put_header(wire_, small.name, small.content.size(), small.mode)) wire_.append(small.content);
  }
  loose_.clear();
  loose_bytes_ = 0;
}

void Outbound::flush_batch() {
  if (batch_.empty()) return;
  batch_.flush(wire_, compress_ && connection_->is_slow());
}

void Outbound::flush_acknowledged() {
  if (!batching_ || !pushed_.is_due()) return;
  std::vector<std::string> drops;
  pb::ResultAck message;
  message.set_sequence(pushed_.take(drops));
  for (auto& name : drops) message.add_drop(std::move(name));
  protocol::append_frame(wire_, message, compress_ && connection_->is_slow());
}

void Outbound::fetch_text(const std::string& name, std::shared_ptr<HeldResult> held) {
  if (!protocol::get(wire_, name)) return;
  session_.expect_get(name);
  PendingFetch fetch;
  fetch.name = name;
  fetch.held = std::move(held);
  fetches_.push_back(std::move(fetch));
  if (ops_.empty()) flush_text();
}

}  // namespace taskmill::manager
