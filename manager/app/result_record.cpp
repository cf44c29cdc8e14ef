#include "manager/app/result_record.hpp"

#include "common/base/json_writer.hpp"

namespace taskmill::manager {
namespace {

void real_field(JsonWriter& json, std::string_view name, double value) {
  if (value >= 0) json.key(name).real(value);
}

void whole_field(JsonWriter& json, std::string_view name, std::int64_t value) {
  if (value >= 0) json.field(name, value);
}

void resources_field(JsonWriter& json, std::string_view name, const Resources& resources) {
  json.key(name).begin_object();
  real_field(json, "cores", resources.cores);
  whole_field(json, "memory", resources.memory);
  whole_field(json, "disk", resources.disk);
  whole_field(json, "gpus", resources.gpus);
  json.end_object();
}

// Which limits were passed, and beside them what was used.
void limits_fields(JsonWriter& json, const Measurement& m) {
  const auto& broken = m.limits_exceeded;
  const auto fields = [&](bool used) {
    json.begin_object();
    if (broken.cores >= 0) real_field(json, "cores", used ? m.cores : broken.cores);
    if (broken.memory >= 0) whole_field(json, "memory", used ? m.memory : broken.memory);
    if (broken.disk >= 0) whole_field(json, "disk", used ? m.disk : broken.disk);
    if (broken.gpus >= 0) whole_field(json, "gpus", used ? m.gpus : broken.gpus);
    if (m.wall_limit_exceeded_s >= 0) real_field(json, "wall_time", used ? m.wall_time_s : m.wall_limit_exceeded_s);
    if (m.processes_limit_exceeded >= 0)
      whole_field(json, "processes", used ? m.max_processes : m.processes_limit_exceeded);
    json.end_object();
  };
  json.key("limits_exceeded");
  fields(false);
  const bool any = broken != Resources{} || m.wall_limit_exceeded_s >= 0 || m.processes_limit_exceeded >= 0;
  if (any) {
    json.key("limits_used");
    fields(true);
  }
  if (!m.warning.empty()) json.field("warning", m.warning);
}

void measured_field(JsonWriter& json, const Measurement& measured) {
  json.key("resources_measured").begin_object();
  real_field(json, "cores", measured.cores);
  real_field(json, "cores_avg", measured.cores_avg);
  whole_field(json, "memory", measured.memory);
  whole_field(json, "virtual_memory", measured.virtual_memory);
  whole_field(json, "swap_memory", measured.swap_memory);
  whole_field(json, "disk", measured.disk);
  whole_field(json, "gpus", measured.gpus);
  real_field(json, "wall_time", measured.wall_time_s);
  real_field(json, "cpu_time", measured.cpu_time_s);
  whole_field(json, "bytes_read", measured.bytes_read);
  whole_field(json, "bytes_written", measured.bytes_written);
  whole_field(json, "total_files", measured.total_files);
  whole_field(json, "max_concurrent_processes", measured.max_processes);
  whole_field(json, "total_processes", measured.total_processes);
  whole_field(json, "context_switches", measured.context_switches);
  json.end_object();
  if (!measured.time_line.empty()) json.key("time_line").raw(measured.time_line);
  limits_fields(json, measured);
}

void time_field(JsonWriter& json, std::string_view name, WallTime time) {
  const auto us = time.time_since_epoch().count();
  if (us > 0) json.key(name).real(static_cast<double>(us) * 1e-6);
}

double seconds(Duration duration) { return static_cast<double>(duration.count()) * 1e-6; }

}  // namespace

void append_result_record(std::string& out, const ResultRecord& record) {
  const auto& outcome = *record.outcome;
  JsonWriter json(out);
  json.begin_object().field("task", static_cast<std::int64_t>(record.task.value()));
  if (record.line > 0) json.field("line", static_cast<std::int64_t>(record.line));
  if (record.spec != nullptr) {
    if (!record.spec->tag.empty()) json.field("tag", record.spec->tag);
    json.field("category", record.spec->category).field("command", record.spec->command);
  }
  json.field("result", protocol::result_text(outcome.result))
      .field("result_code", static_cast<std::int64_t>(outcome.result));
  if (outcome.return_status >= 0) json.field("exit_code", static_cast<std::int64_t>(outcome.return_status));
  if (outcome.signal > 0) json.field("signal", static_cast<std::int64_t>(outcome.signal));
  if (!outcome.message.empty()) json.field("message", outcome.message);
  json.field("output", record.output);
  if (record.output_bytes > record.output.size())
    json.field("output_bytes", static_cast<std::int64_t>(record.output_bytes));
  json.field("tries", static_cast<std::int64_t>(outcome.try_count));
  if (outcome.exhausted_attempts > 0)
    json.field("exhausted_attempts", static_cast<std::int64_t>(outcome.exhausted_attempts));
  if (outcome.replicated) json.key("replicated").boolean(true);
  if (!outcome.host.empty()) json.field("address", outcome.host).field("host", outcome.hostname);
  time_field(json, "submitted", outcome.submitted);
  time_field(json, "started", outcome.commit_end);
  time_field(json, "finished", outcome.done);
  json.key("execution").real(seconds(outcome.execute_last)).key("execution_all").real(seconds(outcome.execute_all));
  json.field("bytes_sent", static_cast<std::int64_t>(outcome.bytes_sent));
  json.field("bytes_received", static_cast<std::int64_t>(outcome.bytes_received));
  resources_field(json, "resources_requested", outcome.requested);
  resources_field(json, "resources_allocated", outcome.allocated);
  measured_field(json, outcome.measured);
  json.end_object();
  out += '\n';
}

bool is_success(const TaskOutcome& outcome) {
  return outcome.result == protocol::ResultCode::success && outcome.return_status == 0;
}

std::string failure_cause(const TaskOutcome& outcome) {
  if (outcome.result != protocol::ResultCode::success) return std::string(protocol::result_text(outcome.result));
  if (outcome.signal > 0) return "killed by signal " + std::to_string(outcome.signal);
  return "exit code " + std::to_string(outcome.return_status);
}

}  // namespace taskmill::manager
