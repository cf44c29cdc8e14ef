// What waits to be sent to one worker, in order, in bounded memory.
//
// The machine's actions for a connection are added here. Words (kill, get, …) go straight into the outgoing text
// while nothing is ahead of them; a stage is opened on the pool, and everything behind it waits until it is in the
// connection's outbox. The outbox itself is never filled above its high mark: pump() stops there and goes on when
// the connection reports that it drained. Directories are produced by the pool a quarter of a megabyte at a time.
//
// Reports to the machine: exactly one on_staged/on_stage_failed per stage, in order; on_task_sent per task sent.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/aio/connection.hpp"
#include "common/aio/pool.hpp"
#include "manager/core/machine.hpp"
#include "manager/net/input_job.hpp"
#include "manager/net/push_ledger.hpp"
#include "manager/net/task_text.hpp"
#include "manager/net/tree_source.hpp"
#include "protocol/capabilities.hpp"
#include "protocol/manager_session.hpp"
#include "protocol/pb/task_batch.hpp"

namespace taskmill::manager {

class EnvironmentLibrary;
/// A result of which the captured output is still to be fetched.
struct HeldResult {
  ResultFacts facts;
  TaskTextPtr text;
};

/// A `get` that was sent and not yet answered.
struct PendingFetch {
  TaskId task;
  std::uint32_t attempt = 0, index = 0;
  std::string path, name;
  bool cached = false;
  std::shared_ptr<HeldResult> held{};  ///< not an output but what the task has printed
};

/// More waiting actions than this and the worker gets no further tasks for a while.
constexpr std::size_t long_queue = 4096;

class Outbound : public std::enable_shared_from_this<Outbound> {
 public:
  struct Context {
    Machine& machine;
    aio::Pool& pool;
    aio::Pool& downloads;                                   ///< may be slow: opening files does not queue behind them
    std::function<void()> changed;                          ///< facts were given to the machine outside of its own run
    std::function<void(ConnId, const std::string&)> trace;  ///< each line sent, for the debug log; may be empty
    std::shared_ptr<StopSignal> stop;                       ///< ends downloads
    std::shared_ptr<EnvironmentLibrary> environments;       ///< null: nothing is offered
    std::shared_ptr<aio::Pace> pace;                        ///< null: transfers are as fast as they can
  };
  Outbound(ConnId conn, std::shared_ptr<Context> context, protocol::ManagerSession& session,
           std::deque<PendingFetch>& fetches);

  /// `pumped`: called after each pump(); the queue may have become short or long.
  void attach(std::shared_ptr<aio::Connection> connection, std::function<void()> pumped) {
    connection_ = std::move(connection);
    pumped_ = std::move(pumped);
  }
  /// The peer is gone: drops everything, reports nothing.
  void shut();

  /// Native workers: tasks go in batches, results are pushed and acknowledged.
  void use_batches(bool compress) {
    batching_ = true;
    compress_ = compress;
  }
  PushLedger& pushed() { return pushed_; }
  /// Asks for the captured output of a pushed result.
  void fetch_text(const std::string& name, std::shared_ptr<HeldResult> held);

  void add(const Action& action, const Effects& effects);
  /// A frame (docs/extensions.md), in its place among the machine's actions.
  void add_frame(std::string frame);
  /// Text outside of the machine's actions (password exchange, `name`, status).
  void say(std::string_view text);
  /// Whole frames, when can_send_frames(): not inside the directory that is being sent, nor above the outbox's mark.
  void send_frames(std::shared_ptr<const std::string> frames, std::uint64_t ticket);
  [[nodiscard]] bool can_send_frames() const;
  /// Moves what can be moved and hands the text gathered to the connection.
  void pump();
  void on_sent(std::uint64_t ticket);
  void on_short_file(std::uint64_t ticket);
  [[nodiscard]] bool is_long() const { return ops_.size() > long_queue || connection_->is_congested(); }

 private:
  enum class Opening : std::uint8_t { none, running, done };
  struct Op {
    ActionKind kind{};
    FileKind file_kind = FileKind::file;
    Opening opening = Opening::none;
    bool started = false;
    bool cached = false;
    TaskId task;
    std::uint32_t attempt = 0, index = 0;
    FileId file;
    std::string name, path;
    std::uint64_t offset = 0, length = 0;
    std::shared_ptr<OpenedInput> input;
    std::shared_ptr<TreeSource> tree;
    std::uint64_t file_ticket = 0;
    bool shortened = false;  ///< a file of the tree lost bytes while it was sent
  };
  /// A stage that is not yet reported: its bytes are in the outbox, or an earlier one is not reported.
  struct InFlight {
    std::uint64_t ticket = 0;       ///< of the last segment; 0: nothing to wait for
    std::uint64_t file_ticket = 0;  ///< of the files of a tree
    bool sent = false, failed = false, damaged = false;
    StageDone done;
    std::string text;  ///< source; or what went wrong
  };

  bool perform(Op& op);  ///< false: not now
  /// Must it be opened on the pool before it can be sent? URLs too, for workers that cannot be trusted with them.
  [[nodiscard]] bool needs_opening(const Op& op) const;
  static void fill(Op& op, const Action& action, const Effects& effects);
  void send_word(const Op& op);
  void send_fetch(const Op& op);
  void send_task(const Op& op);
  bool write_task();
  void write_kill(const Op& op);
  void write_unlink(const Op& op);
  bool write_small(const Op& op, std::uint64_t length, unsigned mode, const std::string& content);
  void write_loose();
  void write_pending();
  void flush_batch();
  void flush_acknowledged();
  bool perform_stage(Op& op);
  bool stage_opened(Op& op);
  bool stage_tree(Op& op);
  bool stage_buffer(Op& op);
  bool stage_source(Op& op);
  bool stage_environment(Op& op);
  void stage_done(const Op& op, StageDone done, std::uint64_t ticket);
  void stage_failed(std::string text, bool damaged);
  void report_in_order();
  void open_ahead();
  void request_tree();
  void on_tree_batch(const std::shared_ptr<Op>& op, std::vector<OutPiece> pieces, bool finished);
  void call_back(std::uint64_t ticket);
  void flush_text();

  ConnId conn_;
  std::shared_ptr<Context> context_;
  protocol::ManagerSession& session_;
  std::deque<PendingFetch>& fetches_;
  std::shared_ptr<aio::Connection> connection_;
  std::deque<std::shared_ptr<Op>> ops_;
  std::deque<InFlight> in_flight_;
  std::size_t unreported_failures_ = 0;  ///< of in_flight_
  std::function<void()> pumped_;
  Op direct_;  ///< for actions performed at once: its strings keep their memory
  std::string wire_;
  protocol::TaskDescription description_;

  // Native workers. At any time only one of the two is not empty: what is written keeps its order.
  bool batching_ = false, compress_ = false;
  protocol::BatchWriter batch_;
  PushLedger pushed_;
  struct Small {
    std::string name, content;
    unsigned mode = 0;
  };
  std::vector<Small> loose_;  ///< inputs of the next task, to travel inside it
  std::size_t loose_bytes_ = 0;
  std::uint64_t next_ticket_ = 3;
  std::size_t opening_ = 0;  ///< open jobs running or opened ahead
  bool pumping_ = false;
  bool closing_ = false;
  bool reported_ = false;  ///< the machine was told something since the last `changed`
};

}  // namespace taskmill::manager
