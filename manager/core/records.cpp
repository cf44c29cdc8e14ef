// Lines of the transactions log (manager.md 16.2), behind time and pid, and notices. Double blanks are part of the
// format.
#include <cstdio>
#include <cstdlib>

#include "manager/core/state.hpp"

namespace taskmill::manager {

std::string number_text(double value) {
  char text[40];
  for (const int digits : {6, 9, 12, 15, 17}) {
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    if (std::strtod(text, nullptr) == value) break;
  }
  return text;
}

namespace {

class ResourceObject {
 public:
  void add(const char* name, double value, const char* unit) {
    if (value < 0) return;
    if (text_.size() > 1) text_ += ',';
    text_ += '"';
    text_ += name;
    text_ += "\":[" + number_text(value) + ",\"" + unit + "\"]";
  }
  void add(const char* name, std::int64_t value, const char* unit) { add(name, static_cast<double>(value), unit); }
  std::string done() { return std::move(text_) + "}"; }

 private:
  std::string text_ = "{";
};

void add_measured(ResourceObject& object, const Measurement& m) {
  object.add("wall_time", m.wall_time_s, "s");
  object.add("cpu_time", m.cpu_time_s, "s");
  object.add("memory", m.memory, "MB");
  object.add("virtual_memory", m.virtual_memory, "MB");
  object.add("swap_memory", m.swap_memory, "MB");
  object.add("disk", m.disk, "MB");
  object.add("bytes_read", m.bytes_read, "MB");
  object.add("bytes_written", m.bytes_written, "MB");
  object.add("gpus", m.gpus, "gpus");
  object.add("cores", m.cores, "cores");
  object.add("cores_avg", m.cores_avg, "cores");
  object.add("context_switches", m.context_switches, "switches");
  object.add("max_concurrent_processes", m.max_processes, "procs");
  object.add("total_processes", m.total_processes, "procs");
  object.add("total_files", m.total_files, "files");
}

const char* label_text(Label label) { return label == Label::first ? "FIRST_RESOURCES" : "MAX_RESOURCES"; }

double megabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / 1048576.0; }
double seconds(WallTime from, WallTime to) { return to > from ? static_cast<double>((to - from).count()) / 1e6 : 0; }

}  // namespace

std::string resources_json(const Resources& r) {
  ResourceObject object;
  object.add("memory", r.memory, "MB");
  object.add("disk", r.disk, "MB");
  object.add("gpus", r.gpus, "gpus");
  object.add("cores", r.cores, "cores");
  return object.done();
}

std::string measurement_json(const Measurement& measured) {
  ResourceObject object;
  add_measured(object, measured);
  return object.done();
}

void State::add_record(RecordKind kind, TaskId task, std::string_view text) {
  if (!config.transactions) return;
  out.records.push_back({kind, now.wall, task, out.add(text)});
}

void State::notice(NoticeLevel level, std::string_view text) { out.notices.push_back({level, out.add(text)}); }

Resources State::waiting_label(const TaskRecord& task) {
  const SpecView spec = spec_of(task);
  const Resources prediction = task.shape != no_index ? ready[task.shape].key.prediction : Resources{};
  return categories[spec->category].min_label(task.label, spec->resources(), prediction, largest);
}

void State::record_waiting(std::uint32_t task) {
  const TaskRecord& record = tasks[task];
  add_record(RecordKind::task, record.id,
             "TASK " + std::to_string(record.id.value()) + " WAITING " + category_of(record).name() + " " +
                 label_text(record.label) + " " + resources_json(waiting_label(record)));
}

void State::record_task(std::uint32_t task, std::string_view state, std::uint32_t attempt) {
  const TaskRecord& record = tasks[task];
  std::string line = "TASK " + std::to_string(record.id.value()) + " " + std::string(state);
  if (attempt != no_index) {
    const Attempt& a = attempts[attempt];
    line += " " + workers[a.worker].address + " ";
    if (a.state == AttemptState::running)
      line += std::string(" ") + label_text(record.label) + " " + resources_json(to_resources(a.box));
  }
  add_record(RecordKind::task, record.id, line);
}

void State::record_task_end(std::uint32_t task, std::string_view state, const TaskOutcome& o) {
  ResourceObject use;
  use.add("wq_output_time", seconds(o.retrieval, o.done), "s");
  use.add("wq_input_time", seconds(o.commit_start, o.commit_end), "s");
  use.add("wq_output_size", megabytes(o.bytes_received), "MB");
  use.add("wq_input_size", megabytes(o.bytes_sent), "MB");
  add_measured(use, o.measured);
  const TaskRecord& record = tasks[task];
  add_record(RecordKind::task, record.id,
             "TASK " + std::to_string(record.id.value()) + " " + std::string(state) + " " +
                 std::string(protocol::result_text(o.result)) + "  " + std::to_string(o.return_status) + "  " +
                 resources_json(o.measured.limits_exceeded) + " " + use.done());
}

void State::record_worker(const Worker& w, std::string_view text) {
  add_record(RecordKind::worker, {},
             "WORKER " + (w.worker_id.empty() ? std::string("(null)") : w.worker_id) + " " + w.address + "  " +
                 std::string(text));
}

void State::record_resources(const Worker& w) {
  Resources r = to_resources(w.total);
  r.gpus = -1;
  add_record(
      RecordKind::worker, {},
      "WORKER " + (w.worker_id.empty() ? std::string("(null)") : w.worker_id) + " RESOURCES " + resources_json(r));
}

void State::record_category(const Category& c) {
  const std::string start = "CATEGORY " + c.name() + " ";
  const Resources none;
  add_record(RecordKind::category, {}, start + "MAX " + resources_json(c.max_label(Label::max, none, none)));
  add_record(RecordKind::category, {}, start + "MIN " + resources_json(c.min_label(Label::max, none, none, none)));
  add_record(RecordKind::category, {},
             start + "FIRST " + allocation_mode_text(c.settings().mode) + " " +
                 resources_json(c.max_label(Label::first, none, none)));
}

void State::record_transfer(bool input, TaskId task, bool cached, std::uint64_t bytes, Duration time,
                            std::string_view remote) {
  char numbers[80];
  std::snprintf(numbers, sizeof numbers, " %u %d %.6f %.6f ", task.value(), cached ? 1 : 0, megabytes(bytes),
                static_cast<double>(time.count()) / 1e6);
  add_record(RecordKind::transfer, task,
             std::string("TRANSFER ") + (input ? "INPUT" : "OUTPUT") + numbers + std::string(remote));
}

}  // namespace taskmill::manager
