// Extension frames: the header in both sessions, and every kind of body, plain and compressed.
#include "protocol/pb/frames.hpp"
#include "protocol/pb/task_batch.hpp"
#include "tests/fuzz/session_checks.hpp"

using namespace taskmill;
using namespace taskmill::protocol;

namespace {

// What parses must survive being written and read again.
template <class Message>
void check_body(std::uint32_t kind, std::string_view body) {
  const auto first = parse_frame<Message>(kind, body);
  if (!first) return;
  std::string bytes;
  fuzzing::require(append_frame(bytes, *first, true), "a parsed body can be written");
  ManagerSession session({});
  session.allow_frames(true);
  const auto step = session.next(bytes);
  fuzzing::require(step.message && std::holds_alternative<Frame>(*step.message), "a written frame is one");
  const auto& frame = std::get<Frame>(*step.message);
  const auto second = parse_frame<Message>(frame.kind, std::string_view(bytes).substr(step.consumed));
  fuzzing::require(second && second->ByteSizeLong() == first->ByteSizeLong(), "and reads back");
}

// Tasks that a worker takes can be handed on, and are the same there.
void check_tasks(std::uint32_t kind, std::string_view body) {
  auto message = parse_frame<pb::TaskBatch>(kind, body);
  std::string why;
  const auto batch = message ? expand(std::move(*message), why) : std::nullopt;
  if (!batch) return;
  BatchWriter writer;
  for (const auto& task : batch->tasks) writer.add(task);
  std::string bytes;
  if (!writer.flush(bytes, false) || bytes.empty()) return;
  auto again = parse_frame<pb::TaskBatch>(2, std::string_view(bytes).substr(bytes.find('\n') + 1));
  fuzzing::require(again.has_value(), "tasks can be written");
  const auto same = expand(std::move(*again), why);
  fuzzing::require(same && same->tasks.size() == batch->tasks.size(), "and are tasks again");
  for (std::size_t i = 0; i < same->tasks.size(); ++i) {
    fuzzing::require(same->tasks[i].command == batch->tasks[i].command && same->tasks[i].env == batch->tasks[i].env &&
                         same->tasks[i].inputs.size() == batch->tasks[i].inputs.size(),
                     "the same ones");
  }
}

void check_bodies(std::uint32_t kind, std::string_view body) {
  check_tasks(kind, body);
  check_body<pb::TaskMeasurement>(kind, body);
  check_body<pb::TaskBatch>(kind, body);
  check_body<pb::ResultBatch>(kind, body);
  check_body<pb::ResultAck>(kind, body);
  check_body<pb::EnvironmentOffer>(kind, body);
  check_body<pb::EnvironmentNeed>(kind, body);
  check_body<pb::ChunkData>(kind, body);
  check_body<pb::EnvironmentReady>(kind, body);
  check_body<pb::PeerServe>(kind, body);
  check_body<pb::PeerFetch>(kind, body);
  check_body<pb::PeerDone>(kind, body);
  check_body<pb::PeerListening>(kind, body);
  check_body<pb::PeerRequest>(kind, body);
  check_body<pb::PeerData>(kind, body);
}

}  // namespace

// An input is a stream of frames: each body is tried as what its kind says.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  ManagerSession session({});
  session.allow_frames(true);
  std::string_view input = stream;
  while (!input.empty()) {
    const auto step = session.next(input);
    if (step.failed() || step.consumed == 0) return 0;
    input.remove_prefix(step.consumed);
    if (!step.message || session.body_left() == 0) continue;
    const auto* frame = std::get_if<Frame>(&*step.message);
    if (frame == nullptr || frame->length > input.size()) return 0;
    check_bodies(frame->kind, input.substr(0, frame->length));
    session.body_taken(frame->length);
    input.remove_prefix(frame->length);
  }
  return 0;
}
