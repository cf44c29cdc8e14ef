// What the machine wants done: filled by Machine::run(), performed by the shell, in order.
//
// The shell keeps one Effects and passes it to every run(); run() clears it first, so there is no allocation in
// the steady state. Texts (names, paths) are TextRefs into `text`; they are valid until the next run() and must
// be copied by a shell that performs an action later.
//
// For each entry of `actions`, in order PER CONNECTION (order between connections is free):
//
//   stage            Send the input `path` (kind, offset, length) to the worker under `name`.
//                      file, directory tree   open and fstat now; put header + body, or dir … end; top-level links are
//                                             followed; mode & 0777
//                      piece                  put header with bytes [offset, offset+length) of `path`
//                      buffer                 put header (mode 0777) + Machine::buffer(file)
//                      url, command           put_url / put_command; for a worker of version 9 the file behind the URL,
//                      and
//                                             legacy_command; `path` is the URL or the command
//                    Report exactly once per stage, in the order of the actions of that connection:
//                      on_staged(conn, StageDone{bytes, …})   when the last byte was handed to the socket
//                      on_stage_failed(conn, StageError{…})   nothing usable arrived at the worker (cannot open …), or
//                      the
//                                                             length changed under us: then the shell pads or ends the
//                                                             body so that the stream stays in step, and sets
//                                                             `sent_damaged`.
//   send_task        When the action reaches the head of the connection's queue (all stages before it done or failed)
//   call
//                    Machine::describe(conn, task, attempt, description). True: send the block. False: the task was
//                    taken away meanwhile (cancelled, input failed): skip it silently.
//                    Put it and what precedes it into one write. Then on_task_sent(conn, task, attempt).
//   request_results  send_results -1 (session.expect_results()). Report every on_result(), on_watch…, then
//   on_results_end(). fetch            get NAME (session.expect_get()). Store the reply at `path` (parent directories
//   are made; file or tree;
//                    temporary name, then rename). Queue it at once: do not wait for earlier replies. Report
//                    on_fetched() once per fetch, in order. Local write errors: drain the reply, report local_error.
//                    index == summary_output: the monitor's summary; parse it and give it in Fetched::measured.
//   fetch_frame      reserved for native peers.
//   peer_await       Tell the worker that the object `name` will come later (a PeerFetch without sources).
//   peer_transfer    transfers[index]: PeerServe to its source, PeerFetch to this worker, in the order of the actions
//                    of either connection. Report on_peer_done() when the worker's PeerDone comes.
//   kill             kill TASK.           unlink   unlink NAME.         check   check.
//   release, exit    send the word, flush, then close; report on_closed().
//   close            close now for `reason`; on_closed() must NOT be reported back (the machine already forgot it).
//
// For each entry of `digests`: SHA-256 of the content (kind as for stage; pool job); report on_digest() once.
//
// For each entry of `stats`: stat `path` (following links; pool job) and report on_stat(). Duplicates never occur while
// one is pending.
//
// `reports` are for the user: see Report. A finished task's stdout belongs to the shell: keep the body of the last
// on_result() of a task until `finished` (hand it over) or `requeued`/`copy_lost` (throw it away). `records` are lines
// of the transactions log (16.2), already formatted behind the pid. `notices` are sentences for the log.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/resources.hpp"
#include "common/base/time.hpp"
#include "manager/core/task_spec.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::manager {

/// A piece of Effects::text.
struct TextRef {
  std::uint32_t offset = 0, length = 0;
  [[nodiscard]] bool empty() const { return length == 0; }
};

enum class CloseReason : std::uint8_t {
  none,
  bad_version,       ///< not 9..11
  protocol_error,    ///< the shell saw a broken stream
  disconnected,      ///< the peer closed or the socket failed
  silent,            ///< no greeting within the keepalive timeout
  keepalive,         ///< no answer to a check
  transfer_timeout,  ///< a body or a reply took too long
  idle_out,          ///< the worker said it leaves for being idle
  drained,
  factory_surplus,
  released,       ///< the manager shuts down or the user asked
  slow,           ///< fast abort dropped it
  status_client,  ///< a status query was answered
  auth_failed,
};
/// One word or short phrase, the same in logs, reports and records.
const char* close_reason_text(CloseReason reason);

enum class ActionKind : std::uint8_t {
  stage,
  send_task,
  request_results,
  fetch,
  fetch_frame,
  peer_await,
  peer_transfer,
  kill,
  unlink,
  check,
  release,
  exit,
  close
};

/// Action::index of a fetch: not an output of the user but the monitor's summary.
constexpr std::uint32_t summary_output = 0xffffffffU;
/// … of an output that was kept at the worker, for no task.
constexpr std::uint32_t kept_output = 0xfffffffeU;

struct Action {
  ActionKind kind{};
  FileKind file_kind = FileKind::file;     ///< stage
  CloseReason reason = CloseReason::none;  ///< close
  bool cached = false;                     ///< stage, fetch
  ConnId conn;
  TaskId task;                           ///< send_task, kill, fetch; stage: the task that first needs it
  std::uint32_t attempt = 0;             ///< send_task, fetch: passed back unchanged
  FileId file;                           ///< stage
  std::uint32_t index = 0;               ///< fetch: which output of the spec
  TextRef name;                          ///< stage, fetch, unlink: cache name
  TextRef path;                          ///< stage: source; fetch: local target
  TextRef remote;                        ///< stage, fetch: name in the sandbox
  std::uint64_t offset = 0, length = 0;  ///< stage: piece
};

/// SHA-256.
using ContentDigest = std::array<std::uint8_t, 32>;

/// A worker fetches a copy from another one: the action's connection is the target, its name the target's.
struct PeerTransfer {
  std::uint64_t order = 0;
  bool environment = false;  ///< chunks of it; without a valid source: from the manager
  ConnId source;
  TextRef source_name;
  ContentDigest digest{};
  std::uint64_t size = 0;
  unsigned mode = 0;
  Duration limit{0};  ///< from now
};

struct DigestRequest {
  std::uint64_t object = 0;
  FileId file;
  FileKind kind = FileKind::file;  ///< file, piece, buffer
  TextRef path;
  std::uint64_t offset = 0, length = 0;  ///< piece
};

struct StatRequest {
  FileId file;
  TextRef path;
};

/// What was measured of one attempt; negative fields unknown. Units as resource-monitor.md.
struct Measurement {
  double cores = -1;  ///< peak
  double cores_avg = -1;
  std::int64_t memory = -1, virtual_memory = -1, swap_memory = -1, disk = -1, gpus = -1;
  double wall_time_s = -1, cpu_time_s = -1;
  std::int64_t bytes_read = -1, bytes_written = -1, total_files = -1, max_processes = -1, total_processes = -1;
  std::int64_t context_switches = -1;
  std::string exit_type;      ///< "", "normal", "limits", "signal"
  Resources limits_exceeded;  ///< the limits that were broken, negative where not
  double wall_limit_exceeded_s = -1;
  std::int64_t processes_limit_exceeded = -1;
  std::string warning;    ///< limits that were passed and only told: "cores: 3.96 cores used, 1.00 cores allowed"
  std::string time_line;  ///< JSON: [[seconds, cores, memory MB, disk MB, processes], …]; empty: unknown
  bool operator==(const Measurement&) const = default;
  [[nodiscard]] bool known() const { return memory >= 0 || cores >= 0 || disk >= 0 || wall_time_s >= 0; }
};

/// Small overshoots are not another core (manager.md 11.4): 1.05 counts as 1, 2.3 stays.
double without_overshoot(double cores);

enum class TaskState : std::uint8_t {  // numbers of manager.md 2.4
  unknown = 0,
  ready = 1,
  running = 2,
  waiting_retrieval = 3,
  retrieved = 4,
  done = 5,
  cancelled = 6
};
/// "WAITING", "RUNNING", … as logs and JSON print them.
const char* task_state_text(TaskState state);

/// Why a task that was at a worker went back to the queue, or a copy was given up.
enum class RequeueReason : std::uint8_t {
  none,
  worker_lost,
  forsaken,
  fast_abort,
  file_invalidated,
  exhausted,
  input_failed_at_worker,
  worker_drained,
  copy_lost
};
const char* requeue_reason_text(RequeueReason reason);

/// Everything of manager.md 4.3 that is not in the spec. Reported once per task.
struct TaskOutcome {
  protocol::ResultCode result = protocol::ResultCode::unknown;
  int return_status = -1;
  int signal = 0;            ///< from workers that tell; 0 otherwise
  int allocation_label = 0;  ///< 0 first, 1 max
  std::uint32_t try_count = 0, exhausted_attempts = 0, fast_abort_count = 0;
  bool disk_allocation_exhausted = false;
  WallTime submitted, commit_start, commit_end, retrieval, done;  ///< 0 where it never happened
  Duration execute_last{0}, execute_all{0}, execute_exhaustion{0}, execute_failure{0};
  std::uint64_t bytes_sent = 0, bytes_received = 0;
  Resources requested, allocated;
  Measurement measured;
  std::string host, hostname;  ///< ADDRESS:PORT and announced name of the last worker
  std::string message;         ///< one sentence when something went wrong: which file, which limit
  bool replicated = false;     ///< a second copy was started
  bool kept = false;           ///< outputs that may be kept lie at the worker and were not fetched
};

enum class ReportKind : std::uint8_t {
  dispatched,         ///< task, worker, outcome.allocated
  running_elsewhere,  ///< a second copy was started
  requeued,           ///< task went back to the queue: `why`
  copy_lost,          ///< one of two copies ended without result; the other goes on
  finished,           ///< outcome is complete; Machine::task() and spec() of it answer until the next run()
  cancelled,          ///< as finished, result UNKNOWN
  worker_joined,
  worker_left,
  kept_fetched,  ///< `path`: the kept output is at its place
  kept_lost,     ///< `path`: … is gone with the worker that had it
  kept_failed,   ///< `path`: … could not be fetched, and is given up
};

struct Report {
  ReportKind kind{};
  RequeueReason why = RequeueReason::none;
  CloseReason left = CloseReason::none;
  TaskId task;
  ConnId conn;
  std::uint32_t outcome = 0xffffffffU;  ///< index in Effects::outcomes: dispatched, finished, cancelled
  TextRef path;                         ///< kept outputs: local path
};

enum class RecordKind : std::uint8_t { worker, task, category, transfer };
struct Record {
  RecordKind kind{};
  WallTime time;
  TaskId task;
  TextRef text;  ///< without time and pid, without LF
};

enum class NoticeLevel : std::uint8_t { debug, notice, warning };
struct Notice {
  NoticeLevel level{};
  TextRef text;
};

struct Effects {
  std::vector<Action> actions;
  std::vector<StatRequest> stats;
  std::vector<PeerTransfer> transfers;  ///< of peer_transfer actions
  std::vector<DigestRequest> digests;
  std::vector<Report> reports;
  std::vector<TaskOutcome> outcomes;
  std::vector<Record> records;
  std::vector<Notice> notices;
  std::string text;

  [[nodiscard]] std::string_view view(TextRef ref) const {
    return std::string_view(text).substr(ref.offset, ref.length);
  }
  TextRef add(std::string_view words) {
    TextRef ref{static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(words.size())};
    text.append(words);
    return ref;
  }
  void clear() {
    actions.clear();
    stats.clear();
    transfers.clear();
    digests.clear();
    reports.clear();
    outcomes.clear();
    records.clear();
    notices.clear();
    text.clear();
  }
  [[nodiscard]] bool empty() const {
    return actions.empty() && stats.empty() && digests.empty() && reports.empty() && records.empty() && notices.empty();
  }
};

}  // namespace taskmill::manager
