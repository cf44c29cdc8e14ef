// Drives a manager::Machine by hand: a shell that performs every effect at once and remembers what it did.
//
// Workers are connections with a size; they accept everything and run nothing by themselves. A test says what happens:
// connect, submit, finish a task at its worker, lose a worker, let time pass. After each step() the invariants are
// checked.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "manager/core/machine.hpp"

namespace taskmill::testing {

using namespace taskmill::manager;

inline TaskSpec command(std::string text) {
  TaskSpec spec;
  spec.command = std::move(text);
  return spec;
}
inline TaskSpec request(double cores, std::int64_t memory = -1, std::int64_t disk = -1, std::int64_t gpus = -1) {
  TaskSpec spec = command("true");
  spec.resources = {cores, memory, disk, gpus};
  return spec;
}
inline InputSpec input_file(std::string path, std::string remote, bool cache = true) {
  InputSpec input;
  input.source = std::move(path);
  input.remote = std::move(remote);
  input.cache = cache;
  return input;
}

struct WorkerSize {
  double cores = 4;
  std::int64_t memory = 4000, disk = 8000, gpus = 0;
};

class MachineDriver {
 public:
  explicit MachineDriver(const Config& config = {}) : machine(config, 1, start()) {}

  // What the shell did, in order.
  struct Sent {
    ConnId conn;
    TaskId task;
    std::uint32_t attempt = 0;
    protocol::TaskDescription description;
  };
  std::vector<Sent> sent;         ///< all tasks ever sent
  std::vector<std::string> wire;  ///< "1: stage NAME", "1: task 3", "1: kill 3", …
  std::vector<Report> reports;
  std::map<TaskId, TaskOutcome> outcomes;  ///< of finished and cancelled tasks
  std::vector<std::string> records, notices;
  std::map<std::string, StatResult> disk;      ///< what stat finds; anything else exists with 100 bytes
  std::map<std::string, StageError> broken;    ///< sources that cannot be sent
  std::map<std::string, FetchStatus> fetches;  ///< by local path; default ok
  bool answer_fetches = true;
  bool answer_stages = true, answer_digests = true;
  struct Transfer {
    std::uint64_t order = 0;
    ConnId source, target;
    std::string source_name, name;
    bool over = false;
  };
  std::vector<Transfer> transfers;  ///< all between workers
  std::vector<std::pair<ConnId, StageDone>> pending_stages;
  std::vector<std::pair<std::uint64_t, DigestResult>> pending_digests;
  Now now = start();

  static Now start() { return {Time(std::chrono::seconds(1000)), WallTime(std::chrono::seconds(1700000000))}; }
  void pass(Duration duration) {
    now.time += duration;
    now.wall += duration;
  }

  ConnId connect(const WorkerSize& size = {}, const std::string& host = "node", int version = 11,
                 std::int64_t end_time = 0, const std::vector<std::string>& features = {}) {
    const ConnId conn(next_conn_++);
    machine.on_connected(conn, "10.0.0." + std::to_string(conn.value()) + ":1000", now);
    protocol::Greeting greeting;
    greeting.version = version;
    greeting.hostname = host;
    greeting.os = "Linux";
    greeting.arch = "x86_64";
    machine.on_greeting(conn, greeting, now);
    machine.on_info(conn, "worker-id", "worker-" + std::to_string(conn.value()), now);
    for (const auto& feature : features) machine.on_feature(conn, feature, now);
    resize(conn, size);
    machine.on_info(conn, "worker-end-time", std::to_string(end_time), now);
    return conn;
  }
  /// One of ours, that fetches from others and serves them.
  ConnId connect_peer(const std::string& host = "node") {
    const ConnId conn = connect({}, host);
    WorkerFacts facts;
    facts.peers = true;
    machine.on_native(conn, facts, now);
    machine.on_peer_listening(conn, now);
    return conn;
  }
  /// The same, and it unpacks environments.
  ConnId connect_environment_peer(const std::string& host = "node") {
    const ConnId conn = connect({}, host);
    WorkerFacts facts;
    facts.peers = facts.environments = true;
    machine.on_native(conn, facts, now);
    machine.on_peer_listening(conn, now);
    return conn;
  }
  void end_transfer(Transfer& transfer, bool ok, bool blame = true) {
    transfer.over = true;
    machine.on_peer_done(transfer.target, {transfer.order, ok, blame, ok ? "" : "broken"}, now);
    step();
  }
  void end_stage(std::size_t index) {
    const auto [conn, done] = pending_stages[index];
    pending_stages.erase(pending_stages.begin() + static_cast<std::ptrdiff_t>(index));
    machine.on_staged(conn, done, now);
    step();
  }
  [[nodiscard]] std::size_t times_said(const std::string& words) const {
    std::size_t count = 0;
    for (const auto& line : wire) count += line.find(words) != std::string::npos ? 1 : 0;
    return count;
  }
  void resize(ConnId conn, const WorkerSize& size) {
    const auto report = [&](std::string_view name, double v) {
      machine.on_resource(conn, protocol::ResourceReport{name, v, v, v}, now);
    };
    report("workers", 1);
    report("disk", static_cast<double>(size.disk));
    report("memory", static_cast<double>(size.memory));
    report("gpus", static_cast<double>(size.gpus));
    report("cores", size.cores);
    machine.on_resource_tag(conn, 0, now);
    machine.on_info(conn, "end_of_resource_update", "0", now);
  }

  TaskId submit(const TaskSpec& spec) { return machine.submit(spec, now).value(); }

  /// Runs until nothing more happens at this instant.
  void step() {
    for (int round = 0; round < 100; ++round) {
      machine.run(now, effects);
      machine.check_invariants();
      if (effects.empty()) return;
      perform();
      machine.check_invariants();
    }
  }

  /// The worker says the task is over; results are exchanged and outputs fetched.
  void finish(TaskId task, ResultFacts facts = {}) {
    const Sent* where = at_worker(task);
    if (where == nullptr) return;
    finish_at(where->conn, task, std::move(facts));
  }
  void finish_at(ConnId conn, TaskId task, ResultFacts facts = {}) {
    facts.task = task;
    machine.on_heard(conn, now);
    machine.on_available_results(conn, now);
    step();
    machine.on_result(conn, facts, now);
    machine.on_results_end(conn, now);
    step();
  }
  /// The last time it was sent; null if never.
  [[nodiscard]] const Sent* at_worker(TaskId task) const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it)
      if (it->task == task) return &*it;
    return nullptr;
  }
  [[nodiscard]] std::vector<std::uint32_t> order() const {
    std::vector<std::uint32_t> ids;
    for (const Sent& s : sent) ids.push_back(s.task.value());
    return ids;
  }
  [[nodiscard]] std::size_t sent_to(ConnId conn) const {
    std::size_t count = 0;
    for (const Sent& s : sent) count += s.conn == conn ? 1 : 0;
    return count;
  }
  [[nodiscard]] bool said(const std::string& words) const {
    for (const auto& line : wire)
      if (line.find(words) != std::string::npos) return true;
    return false;
  }
  [[nodiscard]] std::size_t count(ReportKind kind) const {
    std::size_t n = 0;
    for (const Report& report : reports) n += report.kind == kind ? 1 : 0;
    return n;
  }

  Machine machine;
  Effects effects;
  std::vector<Action> pending_fetches;

 private:
  void log(const Action& a, const std::string& words) { wire.push_back(std::to_string(a.conn.value()) + ": " + words); }

  void perform() {
    // The machine may be called while we walk: take what this run produced first.
    Effects mine;
    std::swap(mine, effects);
    for (const Report& report : mine.reports) {
      reports.push_back(report);
      if (report.kind == ReportKind::finished || report.kind == ReportKind::cancelled)
        outcomes[report.task] = mine.outcomes.at(report.outcome);
    }
    for (const Record& record : mine.records) records.emplace_back(mine.view(record.text));
    for (const Notice& notice : mine.notices) notices.emplace_back(mine.view(notice.text));
    for (const Action& action : mine.actions) perform(action, mine);
    for (const StatRequest& request : mine.stats)
      machine.on_stat(request.file, on_disk(std::string(mine.view(request.path))), now);
    for (const DigestRequest& request : mine.digests) {
      const StatResult source = on_disk(std::string(mine.view(request.path)));
      DigestResult result;
      result.size = source.size;
      result.mtime_ns = source.mtime_ns;
      if (answer_digests) {
        machine.on_digest(request.object, result, now);
      } else {
        pending_digests.emplace_back(request.object, result);
      }
    }
  }
  [[nodiscard]] StatResult on_disk(const std::string& path) const {
    if (const auto at = disk.find(path); at != disk.end()) return at->second;
    StatResult result;
    result.found = true;
    result.size = 100;
    result.mtime_ns = 1;
    return result;
  }
  void perform(const Action& a, const Effects& from) {
    const std::string name(from.view(a.name));
    switch (a.kind) {
      case ActionKind::stage: {
        log(a, "stage " + name);
        const std::string source(from.view(a.path));
        if (const auto at = broken.find(source); at != broken.end()) {
          machine.on_stage_failed(a.conn, at->second, now);
        } else {
          const StatResult found = on_disk(source);
          const StageDone done{found.size, found.size, found.mtime_ns};
          if (answer_stages) {
            machine.on_staged(a.conn, done, now);
          } else {
            pending_stages.emplace_back(a.conn, done);
          }
        }
        break;
      }
      case ActionKind::peer_await:
        log(a, "await " + name);
        break;
      case ActionKind::peer_transfer: {
        const PeerTransfer& t = from.transfers.at(a.index);
        transfers.push_back({t.order, t.source, a.conn, std::string(from.view(t.source_name)), name, false});
        log(a, "fetch " + name + " from " + std::to_string(t.source.value()));
        break;
      }
      case ActionKind::send_task: {
        Sent s{a.conn, a.task, a.attempt, {}};
        if (!machine.describe(a.conn, a.task, a.attempt, s.description)) {
          log(a, "skip " + std::to_string(a.task.value()));
          break;
        }
        log(a, "task " + std::to_string(a.task.value()));
        machine.on_task_sent(a.conn, a.task, a.attempt, now);
        sent.push_back(std::move(s));
        break;
      }
      case ActionKind::request_results:
        log(a, "send_results");
        break;
      case ActionKind::fetch: {
        log(a, "get " + name);
        Fetched f;
        f.task = a.task;
        f.attempt = a.attempt;
        f.index = a.index;
        f.bytes = 10;
        f.size = 10;
        f.mtime_ns = 7;
        if (const auto at = fetches.find(std::string(from.view(a.path))); at != fetches.end()) {
          f.status = at->second;
          f.error = std::string(from.view(a.path)) + ": not there";
        }
        if (answer_fetches) {
          machine.on_fetched(a.conn, f, now);
        } else {
          pending_fetches.push_back(a);
        }
        break;
      }
      case ActionKind::kill:
        log(a, "kill " + std::to_string(a.task.value()));
        break;
      case ActionKind::unlink:
        log(a, "unlink " + name);
        break;
      case ActionKind::check:
        log(a, "check");
        break;
      case ActionKind::release:
        log(a, "release");
        break;
      case ActionKind::exit:
        log(a, "exit");
        machine.on_closed(a.conn, CloseReason::disconnected, now);
        break;
      case ActionKind::close:
        log(a, std::string("close ") + close_reason_text(a.reason));
        break;
      case ActionKind::fetch_frame:
        break;
    }
  }
  std::uint32_t next_conn_ = 1;
};

}  // namespace taskmill::testing
