#include "manager/net/status_report.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "common/base/json_writer.hpp"
#include "common/catalog/manager_record.hpp"

namespace taskmill::manager {
namespace {

constexpr std::uint32_t ids_per_slice = 20'000;  // looked up per call, whether alive or not

std::int64_t us(WallTime time) { return time.time_since_epoch().count(); }

// A whole number without a point, else two significant digits (manager.md 17).
std::string priority_text(double priority) {
  std::array<char, 40> text{};
  const bool whole = std::abs(priority) < 1e15 && std::floor(priority) == priority;
  std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%.2g", priority);
  return text.data();
}

// Cores may be fractional; the old tools expect a plain number.
JsonWriter& cores_field(JsonWriter& json, std::string_view name, double cores) {
  json.key(name);
  return std::floor(cores) == cores ? json.number(static_cast<std::int64_t>(cores)) : json.real(cores);
}

void four(JsonWriter& json, std::string_view name, std::int64_t inuse, std::int64_t total, std::int64_t smallest,
          std::int64_t largest) {
  const std::string prefix(name);
  json.field(prefix + "_inuse", inuse).field(prefix + "_total", total);
  json.field(prefix + "_smallest", smallest).field(prefix + "_largest", largest);
}

void resource_keys(JsonWriter& json, const ResourceTotals& r) {
  const auto whole = [](double v) { return static_cast<std::int64_t>(v); };
  four(json, "workers", r.workers_inuse, r.workers_total, r.workers_smallest, r.workers_largest);
  four(json, "cores", whole(r.cores_inuse), whole(r.cores_total), whole(r.cores_smallest), whole(r.cores_largest));
  four(json, "memory", r.memory_inuse, r.memory_total, r.memory_smallest, r.memory_largest);
  four(json, "disk", r.disk_inuse, r.disk_total, r.disk_smallest, r.disk_largest);
  four(json, "gpus", r.gpus_inuse, r.gpus_total, r.gpus_smallest, r.gpus_largest);
}

void allocation(JsonWriter& json, std::string_view name, const Resources& box) {
  json.key(name).begin_object();
  cores_field(json, "cores", box.cores);
  json.field("memory", box.memory).field("disk", box.disk).field("gpus", box.gpus).end_object();
}

// "4" declared, ">4" some task needed more, "~4" measured, "na" unknown (manager.md 17, wable_status).
std::string maximum_text(double declared, double seen, bool broken, bool with_decimals) {
  std::array<char, 48> text{};
  const char* format = with_decimals ? "%s%.3f" : "%s%.0f";
  if (declared >= 0) {
    std::snprintf(text.data(), text.size(), format, "", declared);
  } else if (seen > 0) {
    std::snprintf(text.data(), text.size(), format, broken ? ">" : "~", seen);
  } else {
    return "na";
  }
  return text.data();
}

void category_object(JsonWriter& json, const CategoryView& c) {
  static const CategorySettings none;
  const CategorySettings& settings = c.settings != nullptr ? *c.settings : none;
  const bool broken = c.limits_broken && !c.steady;
  const auto n = [](std::uint64_t v) { return static_cast<std::int64_t>(v); };
  json.begin_object().field("category", c.name);
  json.field("tasks_waiting", n(c.waiting)).field("tasks_running", n(c.running));
  json.field("tasks_on_workers", n(c.on_workers)).field("tasks_dispatched", n(c.dispatched));
  json.field("tasks_done", n(c.done)).field("tasks_failed", n(c.failed)).field("tasks_cancelled", n(c.cancelled));
  json.field("workers_able", n(c.workers_able));
  json.field("max_cores", maximum_text(settings.max.cores, c.seen.cores, broken, true));
  json.field("max_memory",
             maximum_text(static_cast<double>(settings.max.memory), static_cast<double>(c.seen.memory), broken, false));
  json.field("max_disk",
             maximum_text(static_cast<double>(settings.max.disk), static_cast<double>(c.seen.disk), broken, false));
  json.field("max_gpus",
             maximum_text(static_cast<double>(settings.max.gpus), static_cast<double>(c.seen.gpus), broken, false));
  allocation(json, "first_allocation", c.first_box);
  allocation(json, "max_allocation", c.max_box);
  if (c.seen.memory > 0 || c.seen.cores > 0) allocation(json, "max_seen", c.seen);
  json.field("first_allocation_count", n(c.first_count)).field("max_allocation_count", n(c.max_count)).end_object();
}

bool has_tasks(const CategoryView& c) { return c.waiting + c.on_workers + c.done + c.failed + c.dispatched > 0; }

void identity_keys(JsonWriter& json, const StatusIdentity& id) {
  json.field("type", "wq_master");
  if (!id.project.empty()) json.field("project", id.project);
  json.field("starttime", id.starttime_s).field("working_dir", id.working_dir).field("owner", id.owner);
  json.field("version", id.version).field("port", static_cast<std::int64_t>(id.port)).field("priority", id.priority);
  json.field("manager_preferred_connection", id.preferred_connection).field("protocol", 11).key("ssl").boolean(id.ssl);
  json.key("protocols").begin_array().number(9).number(11).end_array();
  json.key("network_interfaces").begin_array();
  for (const auto& interface : catalog::local_interfaces()) {
    json.begin_object().field("family", interface.family).field("address", interface.address);
    json.field("host", interface.address).field("interface", interface.name).end_object();
  }
  json.end_array();
}

void counter_keys(JsonWriter& json, const Stats& s, const StatusIdentity& id) {
  json.field("workers", s.workers_connected).field("workers_connected", s.workers_connected);
  json.field("workers_init", s.workers_init)
      .field("workers_idle", s.workers_idle)
      .field("workers_busy", s.workers_busy);
  json.field("workers_able", s.workers_able).field("workers_joined", s.workers_joined);
  json.field("workers_removed", s.workers_removed).field("workers_released", s.workers_released);
  json.field("workers_idled_out", s.workers_idled_out).field("workers_fast_aborted", s.workers_fast_aborted);
  json.field("workers_lost", s.workers_lost);
  json.field("tasks_waiting", s.tasks_waiting).field("tasks_on_workers", s.tasks_on_workers);
  json.field("tasks_running", s.tasks_running).field("tasks_with_results", s.tasks_with_results);
  json.field("tasks_left", id.tasks_left).field("tasks_submitted", s.tasks_submitted);
  json.field("tasks_dispatched", s.tasks_dispatched).field("tasks_done", s.tasks_done);
  json.field("tasks_failed", s.tasks_failed).field("tasks_cancelled", s.tasks_cancelled);
  json.field("tasks_exhausted_attempts", s.tasks_exhausted_attempts).field("tasks_complete", s.tasks_done);
  json.field("time_when_started", s.time_when_started).field("time_send", s.time_send);
  json.field("time_receive", s.time_receive).field("time_send_good", s.time_send_good);
  json.field("time_receive_good", s.time_receive_good).field("time_status_msgs", s.time_status_msgs);
  json.field("time_internal", s.time_internal).field("time_polling", s.time_polling);
  json.field("time_application", s.time_application).field("time_workers_execute", s.time_workers_execute);
  json.field("time_workers_execute_good", s.time_workers_execute_good);
  json.field("time_workers_execute_exhaustion", s.time_workers_execute_exhaustion);
  json.field("bytes_sent", s.bytes_sent).field("bytes_received", s.bytes_received);
  json.field("bytes_by_peers", s.bytes_by_peers).field("peer_transfers", s.peer_transfers);
  json.field("peer_failures", s.peer_failures);
  json.field("capacity_tasks", s.capacity_tasks).field("capacity_cores", s.capacity_cores);
  json.field("capacity_memory", s.capacity_memory).field("capacity_disk", s.capacity_disk);
  json.field("capacity_gpus", s.capacity_gpus).field("capacity_instantaneous", s.capacity_instantaneous);
  json.field("capacity_weighted", s.capacity_weighted).key("manager_load").real(s.manager_load);
}

void task_object(JsonWriter& json, const TaskView& t, const Machine& machine, std::int64_t now_us) {
  json.begin_object().field("taskid", static_cast<std::int64_t>(t.id.value())).field("state", task_state_text(t.state));
  if (!t.tag.empty()) json.field("tag", t.tag);
  json.field("category", t.category).field("command", t.command);
  if (!t.coprocess.empty()) json.field("coprocess", t.coprocess);
  cores_field(json, "cores", t.allocated.cores);
  json.field("gpus", t.allocated.gpus).field("memory", t.allocated.memory).field("disk", t.allocated.disk);
  json.field("priority", priority_text(t.priority));
  if (t.conn.valid()) {
    if (const auto worker = machine.worker(t.conn))
      json.field("host", worker->hostname).field("address_port", worker->address);
    json.field("time_when_submitted", us(t.submitted)).field("time_when_commit_start", us(t.commit_start));
    json.field("time_when_commit_end", us(t.commit_end)).field("current_time", now_us);
  }
  json.end_object();
}

void worker_object(JsonWriter& json, const WorkerView& w, const Machine& machine, std::int64_t now_us) {
  json.begin_object().field("hostname", w.hostname).field("os", w.os).field("arch", w.arch);
  json.field("address_port", w.address).field("ncpus", static_cast<std::int64_t>(w.resources.cores_total));
  json.field("total_tasks_complete", static_cast<std::int64_t>(w.tasks_complete));
  json.field("total_tasks_running", static_cast<std::int64_t>(w.tasks_here));
  json.field("total_bytes_transferred", static_cast<std::int64_t>(w.bytes_transferred));
  json.field("total_transfer_time", w.transfer_time.count()).field("start_time", us(w.connected));
  json.field("current_time", now_us);
  resource_keys(json, w.resources);
  int n = 0;
  machine.each_task_of(w.conn, [&](const TaskView& task) {
    std::array<char, 48> name{};
    std::snprintf(name.data(), name.size(), "current_task_%03d_id", n);
    json.field(name.data(), static_cast<std::int64_t>(task.id.value()));
    std::snprintf(name.data(), name.size(), "current_task_%03d_command", n++);
    json.field(name.data(), task.command);
  });
  json.end_object();
}

}  // namespace

void append_queue_object(std::string& out, const StatusSource& source) {
  const Stats& s = source.stats;
  JsonWriter json(out);
  json.begin_object();
  identity_keys(json, source.identity);
  counter_keys(json, s, source.identity);
  if (const auto blocked = source.machine.blocked_hosts(); !blocked.empty()) {
    json.key("workers_blocked").begin_array();
    for (const auto& host : blocked) json.text(host);
    json.end_array();
  }
  const std::int64_t any = s.workers_connected > 0 ? 1 : 0;
  four(json, "workers", s.workers_busy, s.workers_connected, any, any);
  four(json, "cores", s.committed_cores, s.total_cores, s.min_cores, s.max_cores);
  four(json, "memory", s.committed_memory, s.total_memory, s.min_memory, s.max_memory);
  four(json, "disk", s.committed_disk, s.total_disk, s.min_disk, s.max_disk);
  four(json, "gpus", s.committed_gpus, s.total_gpus, s.min_gpus, s.max_gpus);
  json.key("categories").begin_array();
  source.machine.each_category([&](const CategoryView& category) {
    if (has_tasks(category)) category_object(json, category);
  });
  json.end_array();
  const auto sum = [](std::int64_t waiting, std::int64_t inuse) { return std::max<std::int64_t>(waiting, 0) + inuse; };
  cores_field(json, "tasks_total_cores", std::max(s.waiting_total.cores, 0.0) + static_cast<double>(s.committed_cores));
  json.field("tasks_total_memory", sum(s.waiting_total.memory, s.committed_memory));
  json.field("tasks_total_disk", sum(s.waiting_total.disk, s.committed_disk));
  json.field("tasks_total_gpus", sum(s.waiting_total.gpus, s.committed_gpus));
  json.end_object();
}

StatusReport::StatusReport(StatusSource source, protocol::StatusKind kind) : source_(std::move(source)), kind_(kind) {}

void StatusReport::separate(std::string& out) {
  if (!std::exchange(first_, false)) out += ',';
}

bool StatusReport::next(std::string& out, std::size_t budget) {
  if (done_) return false;
  const std::size_t limit = out.size() + budget;
  if (!begun_) {
    begun_ = true;
    out += '[';
    if (kind_ == protocol::StatusKind::queue || kind_ == protocol::StatusKind::resources) {
      append_queue_object(out, source_);
      done_ = true;
    } else if (kind_ == protocol::StatusKind::wable) {
      JsonWriter json(out);
      source_.machine.each_category([&](const CategoryView& category) {
        if (!has_tasks(category)) return;
        separate(out);
        JsonWriter one(out);
        category_object(one, category);
      });
      done_ = true;
    }
  }
  if (kind_ == protocol::StatusKind::task) next_tasks(out, limit);
  if (kind_ == protocol::StatusKind::worker) next_workers(out, limit);
  if (done_) out += ']';
  return true;
}

void StatusReport::next_tasks(std::string& out, std::size_t limit) {
  for (std::uint32_t looked = 0; looked < ids_per_slice && out.size() < limit; ++looked) {
    if (next_task_ > source_.last_task_id) {
      done_ = true;
      return;
    }
    const auto view = source_.machine.task(TaskId(next_task_++));
    if (!view) continue;
    separate(out);
    JsonWriter json(out);
    task_object(json, *view, source_.machine, source_.now_us);
  }
}

void StatusReport::next_workers(std::string& out, std::size_t limit) {
  while (out.size() < limit) {
    if (next_worker_ >= source_.workers.size()) {
      done_ = true;
      return;
    }
    const auto view = source_.machine.worker(source_.workers[next_worker_++]);
    if (!view || view->hostname.empty() || view->hostname == "unknown") continue;
    separate(out);
    JsonWriter json(out);
    worker_object(json, *view, source_.machine, source_.now_us);
  }
}

std::optional<protocol::StatusKind> status_kind_of_path(std::string_view path) {
  using protocol::StatusKind;
  constexpr std::array<std::pair<std::string_view, StatusKind>, 10> names{{
      {"/queue_status", StatusKind::queue},
      {"/queue", StatusKind::queue},
      {"/task_status", StatusKind::task},
      {"/tasks", StatusKind::task},
      {"/worker_status", StatusKind::worker},
      {"/workers", StatusKind::worker},
      {"/wable_status", StatusKind::wable},
      {"/categories", StatusKind::wable},
      {"/resources_status", StatusKind::resources},
      {"/resources", StatusKind::resources},
  }};
  path = path.substr(0, path.find('?'));
  for (const auto& [name, kind] : names) {
    if (path == name) return kind;
  }
  return std::nullopt;
}

}  // namespace taskmill::manager
