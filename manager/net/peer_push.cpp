// Peer: results that a native worker pushes (docs/extensions.md, capability `batch`).
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "common/aio/clock.hpp"
#include "common/os/file.hpp"
#include "manager/net/native_measurement.hpp"
#include "manager/net/peer.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/pb/measurement.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::manager {

void Peer::on_result_batch(std::string_view body) {
  auto message = protocol::parse_frame<pb::ResultBatch>(frame_kind_, body);
  if (!message || !outbound_->pushed().begin(message->sequence())) {
    return fail(CloseReason::protocol_error, "a batch of results that is none, or out of order");
  }
  for (auto& result : *message->mutable_results()) {
    if (result.task_id() < 1 || result.task_id() > std::numeric_limits<std::int32_t>::max()) {
      return fail(CloseReason::protocol_error, "a result of task " + std::to_string(result.task_id()));
    }
    outbound_->pushed().add(result.task_id());
    on_pushed_result(result);
  }
  outbound_->pushed().end();
  outbound_->pump();
}

void Peer::on_pushed_result(pb::Result& result) {
  ResultFacts facts;
  facts.task = TaskId(static_cast<std::uint32_t>(result.task_id()));
  facts.attempt = result.attempt();
  facts.status = result.status();
  facts.signal = result.signal();
  facts.exit_code = result.signal() != 0 ? result.signal() : result.exit_code();  // as on the old wire
  facts.output_length = result.output_length();
  facts.execution_us = result.execution_us();
  if (result.has_measurement()) {
    const auto measured = protocol::from_message(result.measurement());
    facts.measured = to_core(measured);
    facts.limit = limit_text(measured);
  }
  auto& machine = owner_.machine();
  if (!machine.expects_result(id_, facts)) {
    outbound_->pushed().settle(result.task_id());  // given up meanwhile
    return;
  }
  for (auto& file : *result.mutable_files()) take_pushed_file(file, facts);
  auto text = std::make_shared<TaskText>(facts.output_length, owner_.text_limits());
  if (result.has_output_cache_name()) {
    outbound_->fetch_text(result.output_cache_name(), std::make_shared<HeldResult>(HeldResult{facts, text}));
    return;
  }
  const auto kept = std::min<std::uint64_t>(text->kept(), result.output().size());
  text->append(std::string_view(result.output()).substr(0, static_cast<std::size_t>(kept)));
  text->finish(facts.output_length - std::min(facts.output_length, kept), {});
  tell_result(facts, std::move(text));
}

void Peer::tell_result(const ResultFacts& facts, TaskTextPtr text) {
  owner_.store_text(facts.task, id_, std::move(text));
  owner_.machine().on_result(id_, facts, aio::now());
  // A refused task is not killed: nothing of it is left there.
  if (facts.status == static_cast<int>(protocol::ResultCode::forsaken)) {
    outbound_->pushed().settle(static_cast<std::int64_t>(facts.task.value()));
  }
}

// Written at once: the machine hears of it together with the result.
void Peer::take_pushed_file(const pb::ResultFile& file, ResultFacts& facts) {
  if (file.state() == pb::ResultFile::KEPT) return;  // fetched as ever
  const auto path = owner_.machine().pushed_target(id_, facts, file.index());
  const bool twice = std::any_of(facts.pushed.begin(), facts.pushed.end(),
                                 [&file](const Fetched& other) { return other.index == file.index(); });
  if (path.empty() || twice) return;
  Fetched& fetched = facts.pushed.emplace_back();
  fetched.task = facts.task;
  fetched.attempt = facts.attempt;
  fetched.index = file.index();
  if (file.state() != pb::ResultFile::INLINE) {
    fetched.status = FetchStatus::missing;
    const int error = file.error() > 0 && file.error() < 4096 ? file.error() : ENOENT;
    fetched.error = path + ": the task did not make it (" + std::strerror(error) + ")";
    return;
  }
  OutputFile output(path, owner_.disk_reserve());
  const auto opened = output.begin_file({}, file.content().size());
  auto error = opened.has_value() ? os::write_all(*opened, file.content()) : opened.error();
  struct stat stored {};
  if (!error && ::fstat(*opened, &stored) == 0) note_stored(stored, fetched);
  if (!error) error = output.finish_file();
  if (error) {
    output.abandon_file();
    fetched.status = FetchStatus::local_error;
    fetched.error = path + ": " + error.message();
    return;
  }
  fetched.bytes = file.content().size();
}

// --- captured output that was too long to be pushed ---

void Peer::begin_held_text(std::uint64_t length) {
  text_ = fetches_.front().held->text;
  text_is_held_ = true;
  const auto keep = std::min(length, text_->kept());
  begin_body(Sink::text, length);
  to_keep_ = sink_ == Sink::text ? keep : 0;
}

void Peer::on_held_text() {
  const auto held = fetches_.front().held;
  if (!text_) held->text->finish(held->facts.output_length, {});  // the worker has lost it
  text_.reset();
  fetches_.pop_front();
  tell_result(held->facts, held->text);
  owner_.wake();
}

}  // namespace taskmill::manager
