#include "worker/net/environment_transfer.hpp"

#include <utility>

#include "protocol/pb/frames.hpp"

namespace taskmill::worker {
namespace {

std::string bytes_of(const archive::Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

void append(std::vector<ChunkRun>& runs, std::uint32_t index) {
  if (!runs.empty() && runs.back().first + runs.back().count == index) {
    ++runs.back().count;
  } else {
    runs.push_back({index, 1});
  }
}

}  // namespace

EnvironmentTransfer::EnvironmentTransfer(Context& context, std::shared_ptr<EnvironmentIntake> intake, bool planned)
    : context_(context), intake_(std::move(intake)), planned_(planned) {}

void EnvironmentTransfer::on_question(const EnvironmentQuestion& question) {
  if (question.list) {
    pb::EnvironmentNeed need;
    need.set_digest(bytes_of(intake_->wish().digest));
    need.set_list(true);
    if (question.base) need.set_base(bytes_of(*question.base));
    protocol::append_frame(context_.effects.lines, need, context_.native.can(protocol::Capability::zstd));
    return context_.wake();
  }
  if (question.damaged) return on_damaged(question.missing.front().first);
  for (const ChunkRun& run : question.missing) {
    for (std::uint32_t i = 0; i < run.count; ++i) open_.emplace(run.first + i, false);
  }
  if (from_ == From::worker) return source_->ask(question.missing);
  if (from_ == From::manager || !planned_) return ask_manager(question.missing);
  ask_for_a_source(question.left_bytes);
}

void EnvironmentTransfer::ask_manager(const std::vector<ChunkRun>& runs) {
  if (runs.empty()) return;
  pb::EnvironmentNeed need;
  need.set_digest(bytes_of(intake_->wish().digest));
  for (const ChunkRun& run : runs) {
    auto* range = need.add_missing();
    range->set_first(run.first);
    range->set_count(run.count);
    for (std::uint32_t i = 0; i < run.count; ++i) open_[run.first + i] = true;
  }
  protocol::append_frame(context_.effects.lines, need, context_.native.can(protocol::Capability::zstd));
  context_.wake();
}

void EnvironmentTransfer::ask_for_a_source(std::uint64_t missing_bytes) {
  if (std::exchange(wished_, true)) return;
  pb::EnvironmentNeed need;
  need.set_digest(bytes_of(intake_->wish().digest));
  need.set_source(true);
  need.set_missing_bytes(missing_bytes);
  protocol::append_frame(context_.effects.lines, need, false);
  context_.wake();
}

void EnvironmentTransfer::on_damaged(std::uint32_t index) {
  const auto sender = from_peers_.find(index);
  const bool by_current = sender != from_peers_.end() && source_ && sender->second == order_.order();
  ask_manager({{index, 1}});
  if (by_current) blame("sent other bytes than those with this digest");
}

void EnvironmentTransfer::on_chunk(pb::ChunkData& chunk) {
  open_.erase(chunk.index());
  intake_->on_chunk(chunk.index(), std::move(*chunk.mutable_data()), chunk.compressed());
}

void EnvironmentTransfer::on_peer_chunk(pb::ChunkData& chunk) {
  const auto at = open_.find(chunk.index());
  if (at == open_.end() || at->second) return;  // it has come from the manager meanwhile, or will
  open_.erase(at);
  from_peers_[chunk.index()] = order_.order();
  bytes_ += chunk.data().size();
  peer_bytes_ += chunk.data().size();
  intake_->on_chunk(chunk.index(), std::move(*chunk.mutable_data()), chunk.compressed());
}

// --- orders ---

void EnvironmentTransfer::on_order(const pb::PeerFetch& order) {
  answer(false, "replaced by another order");
  if (source_) std::exchange(source_, nullptr)->close();
  order_ = order;
  blamed_.clear();
  bytes_ = 0;
  next_source_ = 0;
  began_ = aio::steady_now();
  if (order.sources_size() == 0) {
    from_ = From::manager;
    return ask_manager(not_asked_of_the_manager());
  }
  owes_answer_ = true;
  try_next({});
}

void EnvironmentTransfer::try_next(const std::string& why) {
  if (source_) std::exchange(source_, nullptr)->close();
  from_ = From::nobody;
  if (next_source_ >= order_.sources_size()) return answer(false, why);
  const auto weak = weak_from_this();
  ChunkSource::Events events;
  events.chunk = [weak](pb::ChunkData& chunk) {
    if (const auto self = weak.lock()) self->on_peer_chunk(chunk);
  };
  events.failed = [weak](const std::string& text) {
    if (const auto self = weak.lock()) self->blame(text);
  };
  source_ = std::make_shared<ChunkSource>(context_, order_.object(), order_.sources(next_source_++), std::move(events));
  from_ = From::worker;
  source_->start();
  source_->ask(not_asked_of_the_manager());
}

void EnvironmentTransfer::blame(const std::string& why) {
  blamed_.push_back(static_cast<std::uint32_t>(next_source_));
  const std::string text = source_->text() + ": " + why;
  context_.log.detail("fetching an environment from " + text);
  try_next(text);
}

std::vector<ChunkRun> EnvironmentTransfer::not_asked_of_the_manager() const {
  std::vector<ChunkRun> runs;
  for (const auto& [index, asked] : open_) {
    if (!asked) append(runs, index);
  }
  return runs;
}

// --- the end ---

void EnvironmentTransfer::answer(bool ok, const std::string& error) {
  if (!std::exchange(owes_answer_, false)) return;
  pb::PeerDone done;
  done.set_order(order_.order());
  done.set_object(order_.object());
  done.set_ok(ok);
  done.set_bytes(bytes_);
  if (ok) {
    done.set_source(static_cast<std::uint32_t>(next_source_));
  } else {
    done.set_error(error.substr(0, 500));
  }
  done.set_time_us(static_cast<std::uint64_t>((aio::steady_now() - began_).count()));
  for (const auto source : blamed_) done.add_failed_sources(source);
  protocol::append_frame(context_.effects.lines, done, false);
  context_.wake();
}

void EnvironmentTransfer::end(bool ok, const std::string& error) {
  answer(ok, error);
  abandon();
}

void EnvironmentTransfer::abandon() {
  owes_answer_ = false;
  if (source_) std::exchange(source_, nullptr)->close();
}

}  // namespace taskmill::worker
