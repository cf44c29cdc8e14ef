#include "worker/net/pusher.hpp"

#include <cerrno>
#include <utility>

#include "protocol/pb/frames.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::worker {

void Pusher::send(std::vector<PushBatch>& batches, Link& link) {
  for (auto& batch : batches) {
    pb::ResultBatch message;
    message.set_sequence(batch.sequence);
    message.mutable_results()->Reserve(static_cast<int>(batch.results.size()));
    for (auto& pushed : batch.results) fill(*message.add_results(), pushed);
    std::string frame;
    protocol::append_frame(frame, message, context_.native.can(protocol::Capability::zstd) && link.is_slow());
    link.send(frame);
    if (context_.log.detailed()) {
      context_.log.detail("tx: results " + std::to_string(batch.sequence) + " of " +
                          std::to_string(batch.results.size()) + " tasks, " + std::to_string(frame.size()) + " bytes");
    }
  }
}

void Pusher::fill(pb::Result& out, PushedResult& pushed) {
  auto& result = pushed.result;
  out.set_task_id(pushed.task_id);
  out.set_attempt(pushed.attempt);
  out.set_status(result.status);
  out.set_exit_code(result.signal == 0 ? result.exit_code : 0);
  out.set_signal(result.signal);
  out.set_execution_us(result.execution_us);
  if (auto measured = measuring_.take(pushed.key)) out.set_allocated_measurement(measured.release());
  if (!result.has_output) {
    out.set_output_length(result.text.size());
    out.set_output(std::move(result.text));
    return;
  }
  out.set_output_length(result.output_length);
  if (!result.output_name.empty()) {
    out.set_output_cache_name(result.output_name);
  } else if (Captured* captured = tasks_.output_of(pushed.key)) {
    out.set_output(std::move(captured->text));
  }
  fill_files(out, pushed);
}

void Pusher::fill_files(pb::Result& out, const PushedResult& pushed) {
  const TaskSlot* task = context_.machine.slot(pushed.key);
  const auto* files = tasks_.outputs_of(pushed.key);
  if (task == nullptr || files == nullptr) return;
  const bool succeeded = pushed.result.status == 0 && pushed.result.exit_code == 0 && pushed.result.signal == 0;
  const auto& outputs = task->description.outputs;
  auto file = files->begin();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!protocol::output_is_wanted(outputs[i].flags, succeeded)) continue;
    auto& entry = *out.add_files();
    entry.set_index(static_cast<std::uint32_t>(i));
    while (file != files->end() && file->index < i) ++file;
    if (file == files->end() || file->index != i) {
      entry.set_state(pb::ResultFile::MISSING);
      entry.set_error(ENOENT);
      continue;
    }
    entry.set_state(file->content ? pb::ResultFile::INLINE : pb::ResultFile::KEPT);
    entry.set_size(file->size);
    entry.set_mode(file->mode);
    entry.set_directory(file->directory);
    if (file->content) entry.set_content(*file->content);
  }
}

}  // namespace taskmill::worker
