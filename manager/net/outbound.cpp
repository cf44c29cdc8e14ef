#include "manager/net/outbound.hpp"

#include <algorithm>
#include <utility>

#include "common/aio/clock.hpp"
#include "manager/net/environment_library.hpp"
#include "protocol/format.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t open_ahead_limit = 16;    // inputs of one worker opened before they are needed
constexpr std::size_t text_batch = 256U << 10;  // text gathered before it is handed to the connection
constexpr std::size_t most_loose = 1U << 20;    // inputs that wait for their task
constexpr std::size_t tree_batch = 256U << 10;  // text of a directory produced per pool job
constexpr std::size_t tree_batch_pieces = 64;
constexpr std::uint64_t pump_ticket = 1;  // an empty segment with it asks for another pump()
constexpr std::uint64_t tree_ticket = 2;  // … for the next batch of the directory being sent

// What one pool job produced of a directory.
struct TreeBatch {
  std::vector<OutPiece> pieces;
  bool finished = false;
};

TreeBatch produce(TreeSource& tree) {
  TreeBatch batch;
  std::size_t bytes = 0;
  while (bytes < tree_batch && batch.pieces.size() < tree_batch_pieces) {
    OutPiece piece;
    if (!tree.next(piece)) {
      batch.finished = true;
      break;
    }
    bytes += piece.text.size() + piece.length;
    batch.pieces.push_back(std::move(piece));
  }
  return batch;
}

}  // namespace

Outbound::Outbound(ConnId conn, std::shared_ptr<Context> context, protocol::ManagerSession& session,
                   std::deque<PendingFetch>& fetches)
    : conn_(conn), context_(std::move(context)), session_(session), fetches_(fetches) {}

// A worker of version 9 disconnects when a download fails: its URLs are fetched here.
bool Outbound::needs_opening(const Op& op) const {
  if (op.kind != ActionKind::stage) return false;
  if (op.file_kind == FileKind::file || op.file_kind == FileKind::piece) return true;
  return op.file_kind == FileKind::url && context_->machine.version(conn_) < 10;
}

void Outbound::shut() {
  closing_ = true;
  pumped_ = nullptr;
  ops_.clear();
  in_flight_.clear();
  wire_.clear();
}

void Outbound::say(std::string_view text) {
  wire_.append(text);
  if (ops_.empty()) flush_text();
}

void Outbound::fill(Op& op, const Action& action, const Effects& effects) {
  op.kind = action.kind;
  op.file_kind = action.file_kind;
  op.cached = action.cached;
  op.task = action.task;
  op.attempt = action.attempt;
  op.index = action.index;
  op.file = action.file;
  op.name = effects.view(action.name);
  op.path = effects.view(action.path);
  op.offset = action.offset;
  op.length = action.length;
}

void Outbound::add(const Action& action, const Effects& effects) {
  if (closing_) return;
  if (ops_.empty() && !connection_->is_congested() && unreported_failures_ == 0) {
    fill(direct_, action, effects);
    if (!needs_opening(direct_) && perform(direct_)) return;
  }
  auto op = std::make_shared<Op>();
  fill(*op, action, effects);
  ops_.push_back(std::move(op));
}

void Outbound::add_frame(std::string frame) {
  if (closing_) return;
  auto op = std::make_shared<Op>();
  op->kind = ActionKind::peer_transfer;
  op->name = std::move(frame);
  ops_.push_back(std::move(op));
}

void Outbound::pump() {
  if (pumping_ || closing_ || !connection_) return;
  pumping_ = true;
  open_ahead();
  // Behind an input that failed comes a task that needs it, and a worker of version 9 leaves when it reads of a file
  // that it does not have: nothing more is said until the machine knows.
  while (!ops_.empty() && !connection_->is_congested() && !closing_ && unreported_failures_ == 0) {
    const auto op = ops_.front();
    if (!perform(*op)) {
      const bool unopened = needs_opening(*op) && op->opening == Opening::none;
      if (unopened) call_back(pump_ticket);  // the pool was full: ask again in the next turn
      break;
    }
    if (closing_ || ops_.empty()) break;
    if (op->opening != Opening::none) --opening_;
    ops_.pop_front();
    if (ops_.size() % 8 == 0) open_ahead();
    if (wire_.size() >= text_batch) flush_text();
  }
  if (!closing_) {
    open_ahead();
    flush_text();
  }
  pumping_ = false;
  if (std::exchange(reported_, false)) context_->changed();
  if (pumped_ && !closing_) pumped_();
}

void Outbound::flush_text() {
  if (ops_.empty() || loose_bytes_ > most_loose) write_loose();  // else their task is still to come
  flush_batch();
  flush_acknowledged();
  if (wire_.empty()) return;
  if (context_->trace) context_->trace(conn_, wire_);
  connection_->send(wire_);
  wire_.clear();
}

bool Outbound::perform(Op& op) {
  switch (op.kind) {
    case ActionKind::stage:
      return perform_stage(op);
    case ActionKind::send_task:
      send_task(op);
      return true;
    case ActionKind::fetch:
      send_fetch(op);
      return true;
    case ActionKind::peer_transfer:
      write_pending();
      wire_.append(op.name);
      return true;
    case ActionKind::fetch_frame:
    case ActionKind::close:
      return true;
    default:
      send_word(op);
      return true;
  }
}

void Outbound::send_word(const Op& op) {
  switch (op.kind) {
    case ActionKind::request_results:
      session_.expect_results();
      protocol::send_results(wire_);
      break;
    case ActionKind::kill:
      write_kill(op);
      break;
    case ActionKind::unlink:
      write_unlink(op);
      break;
    case ActionKind::check:
      protocol::check(wire_);
      break;
    case ActionKind::release:
    case ActionKind::exit:
      write_pending();
      op.kind == ActionKind::release ? protocol::release(wire_) : protocol::exit(wire_);
      flush_text();
      connection_->finish(op.kind == ActionKind::release ? "released" : "told to exit");
      break;
    default:
      break;
  }
}

void Outbound::send_fetch(const Op& op) {
  if (!protocol::get(wire_, op.name)) return;
  session_.expect_get(op.name);
  fetches_.push_back({op.task, op.attempt, op.index, op.path, op.name, op.cached});
}

void Outbound::send_task(const Op& op) {
  auto& machine = context_->machine;
  if (!machine.describe(conn_, op.task, op.attempt, description_)) return;
  const auto now = aio::now();
  const bool fits = write_task();
  machine.on_task_sent(conn_, op.task, op.attempt, now);
  if (!fits) {
    // Only a task that no worker could be told about: it comes back as one whose inputs cannot be provided.
    ResultFacts refused;
    refused.task = op.task;
    refused.status = static_cast<int>(protocol::ResultCode::input_missing);
    refused.exit_code = -1;
    machine.on_result(conn_, refused, now);
  }
  reported_ = true;
}

// --- staging ---

bool Outbound::perform_stage(Op& op) {
  if (needs_opening(op)) return op.opening == Opening::done && stage_opened(op);
  switch (op.file_kind) {
    case FileKind::buffer:
      return stage_buffer(op);
    case FileKind::url:
    case FileKind::command:
      return stage_source(op);
    case FileKind::environment:
      return stage_environment(op);
    default:
      stage_done(op, {}, 0);
      return true;
  }
}

bool Outbound::stage_buffer(Op& op) {
  const auto data = context_->machine.buffer(op.file);
  if (!data) {
    stage_failed("the buffer is gone", false);
    return true;
  }
  StageDone done;
  done.bytes = done.size = data->size();
  if (write_small(op, data->size(), 0777, *data)) {
    stage_done(op, done, 0);
    return true;
  }
  write_pending();
  if (!protocol::put_header(wire_, op.name, data->size(), 0777)) {
    stage_failed("the name is too long for the wire", false);
    return true;
  }
  if (data->size() <= small_input) {
    wire_.append(*data);
    stage_done(op, done, 0);
    return true;
  }
  flush_text();
  const auto ticket = next_ticket_++;
  stage_done(op, done, ticket);
  connection_->send_buffer(data, ticket);
  return true;
}

bool Outbound::stage_source(Op& op) {
  bool fits = false;
  write_pending();
  if (op.file_kind == FileKind::url) {
    fits = protocol::put_url(wire_, op.path, op.name, 0, 0777);
  } else if (context_->machine.version(conn_) < 10) {
    fits = protocol::legacy_command(wire_, op.name, op.path);
  } else {
    fits = protocol::put_command(wire_, op.path, op.name, 0, 0777);
  }
  if (fits) {
    stage_done(op, {}, 0);
  } else {
    stage_failed(op.path.substr(0, 80) + ": too long for one line of the wire, or holds a control character", false);
  }
  return true;
}

// Only offered: what the worker lacks of it goes beside the queue (EnvironmentFeed), and tasks wait at the worker.
bool Outbound::stage_environment(Op& op) {
  const auto digest = archive::Digest::from_hex(op.path);
  const auto environment = context_->environments && digest ? context_->environments->find(*digest) : nullptr;
  if (!environment) {
    stage_failed("environment " + op.path.substr(0, 16) + " is not known any more", false);
    return true;
  }
  write_pending();
  auto offer = context_->environments->offer(*environment);
  offer.set_planned(context_->machine.plans_transfers(conn_));
  protocol::append_frame(wire_, offer, false);
  stage_done(op, {}, 0);
  return true;
}

bool Outbound::can_send_frames() const {
  const bool inside_tree = !ops_.empty() && ops_.front()->tree != nullptr;
  return !closing_ && !inside_tree && connection_->is_open() && !connection_->is_congested();
}

void Outbound::send_frames(std::shared_ptr<const std::string> frames, std::uint64_t ticket) {
  flush_text();
  connection_->send_buffer(std::move(frames), ticket);
}

bool Outbound::stage_opened(Op& op) {
  OpenedInput& input = *op.input;
  if (!input.error.empty() && !op.started) {
    stage_failed(input.error, false);
    return true;
  }
  if (input.directory) return stage_tree(op);
  StageDone done{input.length, input.size, input.mtime_ns};
  if (input.loaded && write_small(op, input.length, input.mode, input.content)) {
    stage_done(op, done, 0);
    return true;
  }
  write_pending();
  if (!protocol::put_header(wire_, op.name, input.length, input.mode)) {
    stage_failed(op.path + ": the name is too long for the wire", false);
    return true;
  }
  if (input.loaded) {
    wire_.append(input.content);
    stage_done(op, done, 0);
    return true;
  }
  flush_text();
  const auto ticket = next_ticket_++;
  stage_done(op, done, ticket);
  connection_->send_file(input.file, input.offset, input.length, ticket);
  return true;
}

bool Outbound::stage_tree(Op& op) {
  if (!op.started) {
    op.started = true;
    op.file_ticket = next_ticket_++;
    op.tree = std::make_shared<TreeSource>(std::move(*op.input->file), op.name);
    flush_text();
    request_tree();
  }
  return false;  // goes on when the pool has produced a batch
}

// The connection calls on_sent(ticket) when everything before this moment has left the outbox.
void Outbound::call_back(std::uint64_t ticket) {
  connection_->send_buffer(std::make_shared<const std::string>(), ticket);
}

void Outbound::request_tree() {
  const auto op = ops_.front();
  auto job = [self = weak_from_this(), op]() -> aio::Pool::Done {
    auto batch = std::make_shared<TreeBatch>(produce(*op->tree));
    return [self, op, batch] {
      const auto outbound = self.lock();
      if (outbound && !outbound->closing_) outbound->on_tree_batch(op, std::move(batch->pieces), batch->finished);
    };
  };
  if (!context_->pool.submit(std::move(job))) call_back(tree_ticket);
}

void Outbound::on_tree_batch(const std::shared_ptr<Op>& op, std::vector<OutPiece> pieces, bool finished) {
  for (auto& piece : pieces) {
    wire_.append(piece.text);
    if (!piece.file) continue;
    flush_text();
    connection_->send_file(std::move(piece.file), piece.offset, piece.length, op->file_ticket);
  }
  flush_text();
  if (!finished) return call_back(tree_ticket);
  if (const auto error = op->tree->error()) {
    stage_failed(op->path + "/" + op->tree->error_path() + ": " + error.message(), true);
  } else if (op->shortened) {
    stage_failed(op->path + ": a file became shorter while it was sent", true);
  } else {
    const auto ticket = next_ticket_++;
    stage_done(*op, {op->tree->bytes(), op->input->size, op->input->mtime_ns}, ticket);
    call_back(ticket);
  }
  --opening_;
  ops_.pop_front();
  pump();
}

// A stage is reported once everything before it was: the machine counts them.
void Outbound::stage_done(const Op& op, StageDone done, std::uint64_t ticket) {
  in_flight_.push_back({ticket, op.file_ticket, ticket == 0, false, false, done, op.path});
  report_in_order();
}

void Outbound::stage_failed(std::string text, bool damaged) {
  in_flight_.push_back({0, 0, true, true, damaged, {}, std::move(text)});
  ++unreported_failures_;
  report_in_order();
}

void Outbound::report_in_order() {
  const auto now = aio::now();
  while (!in_flight_.empty() && in_flight_.front().sent) {
    InFlight entry = std::move(in_flight_.front());
    in_flight_.pop_front();
    reported_ = true;
    if (entry.failed) {
      if (entry.ticket == 0 && unreported_failures_ > 0) --unreported_failures_;
      context_->machine.on_stage_failed(conn_, {std::move(entry.text), entry.damaged}, now);
    } else {
      context_->machine.on_staged(conn_, entry.done, now);
    }
  }
}

void Outbound::on_sent(std::uint64_t ticket) {
  if (closing_) return;
  if (ticket == pump_ticket) return pump();
  if (ticket == tree_ticket) {
    if (!ops_.empty() && ops_.front()->tree) request_tree();
    return;
  }
  for (auto& entry : in_flight_) {
    if (entry.ticket != ticket) continue;
    entry.sent = true;
    const bool held = unreported_failures_ > 0;
    report_in_order();
    if (held && unreported_failures_ == 0) pump();
    break;
  }
  if (std::exchange(reported_, false)) context_->changed();
}

void Outbound::on_short_file(std::uint64_t ticket) {
  if (!ops_.empty() && ops_.front()->file_ticket == ticket && ticket != 0) ops_.front()->shortened = true;
  for (auto& entry : in_flight_) {
    if (entry.ticket != ticket && (entry.file_ticket != ticket || ticket == 0)) continue;
    if (!entry.failed) entry.text += ": became shorter while it was sent";
    entry.failed = entry.damaged = true;
  }
}

// Opens the next few inputs on the pool, so that the first of them is ready when its turn comes.
void Outbound::open_ahead() {
  for (std::size_t i = 0; i < ops_.size() && i < 4 * open_ahead_limit && opening_ < open_ahead_limit; ++i) {
    const auto op = ops_[i];
    if (op->opening != Opening::none || !needs_opening(*op)) continue;
    const bool url = op->file_kind == FileKind::url;
    InputSource source{op->path, url, op->file_kind == FileKind::piece, op->offset, op->length};
    const auto self = weak_from_this();
    auto job = [self, op, source = std::move(source), stop = context_->stop]() -> aio::Pool::Done {
      auto input = std::make_shared<OpenedInput>(open_input(source, stop.get()));
      return [self, op, input] {
        op->input = input;
        op->opening = Opening::done;
        const auto outbound = self.lock();
        if (outbound && !outbound->closing_ && !outbound->ops_.empty() && outbound->ops_.front() == op)
          outbound->pump();
      };
    };
    op->opening = Opening::running;
    ++opening_;
    if (!(url ? context_->downloads : context_->pool).submit(std::move(job))) {
      op->opening = Opening::none;
      --opening_;
      break;
    }
  }
}

}  // namespace taskmill::manager
