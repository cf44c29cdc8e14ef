// TaskBatch, both ways: what the manager wants of a worker in one frame, and the descriptions that the worker makes of
// it (docs/extensions.md, capability `batch`).
//
//   BatchWriter batch;                       // manager
//   batch.add(description);                  // inputs with `content` travel inside
//   if (batch.size() > …) batch.flush(wire, zstd);
//
//   std::string why;                         // worker
//   auto tasks = expand(message, why);       // nothing, and why, for a batch that breaks a rule
//
// What tasks have in common is sent once, in a template. Descriptions come back equal to those that were added,
// whatever was shared, except for category-less fields that a task block would not carry either.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/pb/extension.pb.h"
#include "protocol/to_worker.hpp"

namespace taskmill::protocol {

/// Outputs up to this size come inside the result, one by one and together per task.
constexpr std::uint64_t inline_output_limit = 64U << 10;
/// Results that wait for an acknowledgement may hold so much of the worker's memory.
constexpr std::uint64_t unacknowledged_limit = 8U << 20;
/// What one batch may become when its templates are filled in; a bound, not a target.
constexpr std::size_t max_expanded_entries = 1U << 20;
constexpr std::uint64_t max_expanded_bytes = 256ULL << 20;

class BatchWriter {
 public:
  void add(const TaskDescription& task);
  [[nodiscard]] bool empty() const { return message_.tasks_size() == 0; }
  /// Roughly the bytes of the frame.
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Appends the frame and starts anew. False: it would be larger than a frame may be (a task of many megabytes).
  bool flush(std::string& out, bool compress);

 private:
  std::uint32_t template_for(const TaskDescription& task, std::size_t shared_inputs);

  pb::TaskBatch message_;
  std::vector<TaskDescription> shared_;  ///< what each template stands for
  std::size_t size_ = 0;
};

struct ExpandedBatch {
  std::vector<TaskDescription> tasks;
  std::uint64_t inline_outputs = 0;
  std::uint64_t unacknowledged = 0;
};
/// Takes the message apart. Names are not judged: the worker refuses unsafe ones per task, as with a task block.
std::optional<ExpandedBatch> expand(pb::TaskBatch message, std::string& why);

}  // namespace taskmill::protocol
