#include "manager/analysis/executor.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/text.hpp"
#include "manager/analysis/description/placeholders.hpp"
#include "manager/analysis/task_lines.hpp"
#include "manager/app/result_record.hpp"
#include "manager/core/machine.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

constexpr const char* tool_name = "analysis_tool";
constexpr const char* index_name = "events.index";
constexpr const char* slice_name = "slice";
constexpr std::size_t max_traces = 2'000'000;
constexpr std::size_t max_failure_causes = 1000;
constexpr double life_margin = 1.25;  // chunks differ: over what one is expected to take

CommandTemplate parsed(const std::string& command, const std::vector<std::string>& names) {
  auto result = CommandTemplate::parse(command, names);
  return result ? *result : CommandTemplate{};  // checked when the description was read
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The number itself, or an object with "events".
std::optional<std::uint64_t> events_in_text(std::string_view text) {
  const auto json = nlohmann::json::parse(trim(text), nullptr, false);
  if (json.is_number_unsigned()) return json.get<std::uint64_t>();
  if (json.is_object() && json.contains("events") && json["events"].is_number_unsigned())
    return json["events"].get<std::uint64_t>();
  return std::nullopt;
}

}  // namespace

Executor::Executor(Description description, ExecutorOptions options, TaskService& service,
                   std::function<void(std::string)> say)
    : description_(std::move(description)),
      options_(std::move(options)),
      service_(service),
      say_(std::move(say)),
      planner_(description_.planner),
      counts_(options_.count_cache),
      checkpoint_(description_.checkpoint),
      preprocess_(parsed(description_.preprocess.command, preprocess_placeholders())),
      process_(parsed(description_.process.command, process_placeholders())),
      accumulate_(parsed(description_.accumulate.command, accumulate_placeholders())) {}

void Executor::pump() {
  take_kept();
  if (planner_.stopping()) withdraw_waiting();
  const auto wanted = service_.wanted_in_flight();
  const auto cores_each = static_cast<std::size_t>(std::max(resources_of(description_.process).cores, 1.0));
  look_at_lives();
  planner_.set_capacity(service_.total_cores() / cores_each);
  while (tasks_.size() < wanted) {
    const auto item = planner_.next();
    if (!item) break;
    const auto spec = make_task(*item);
    if (!spec) continue;
    const auto task = service_.submit(*spec);
    if (!task) {
      planner_.on_failed(item->id, task.error().text);
      continue;
    }
    Running running{*item, item_name(item->kind, submitted_++)};
    say_submitted(*task, running);
    tasks_.emplace(*task, std::move(running));
  }
  fetch_kept();
}

// --- from work items to tasks ---

std::optional<TaskSpec> Executor::make_task(const WorkItem& item) {
  TaskSpec spec;
  CommandTemplate::Values values;
  switch (item.kind) {
    case ItemKind::preprocess:
      make_preprocess(spec, item, values);
      break;
    case ItemKind::process:
      make_process(spec, item, values);
      break;
    case ItemKind::accumulate:
      make_accumulate(spec, item, values);
      break;
  }
  // Coffea's tasks run in the environment, our own built-in programs need none.
  if (!description_.environment_file.empty() && runs_command(item.kind))
    spec.environment_archive = description_.environment_file;
  for (const auto& [name, value] : description_.environment) spec.environment.push_back({name, value});
  return spec;
}

bool Executor::runs_command(ItemKind kind) const {
  if (kind == ItemKind::preprocess) return !description_.preprocess.command.empty();
  return kind == ItemKind::process || !description_.accumulate.command.empty();
}

Resources Executor::resources_of(const PhaseDescription& phase) const {
  Resources resources = description_.resources;
  if (phase.resources.cores >= 0) resources.cores = phase.resources.cores;
  if (phase.resources.memory >= 0) resources.memory = phase.resources.memory;
  if (phase.resources.disk >= 0) resources.disk = phase.resources.disk;
  if (phase.resources.gpus >= 0) resources.gpus = phase.resources.gpus;
  return resources;
}

void Executor::fill_common(TaskSpec& spec, const WorkItem& item, const PhaseDescription& phase,
                           CommandTemplate::Values& values) {
  // An explicit request is kept in every allocation mode; the automatic ones take these numbers as the category's
  // maximum.
  if (description_.resources_mode == ResourcesMode::fixed) spec.resources = resources_of(phase);
  if (phase.wall_time_s) spec.max_running_time = Duration(static_cast<std::int64_t>(*phase.wall_time_s * 1e6));
  for (const auto& [local, remote] : phase.inputs) {
    InputSpec input;
    input.source = local;
    input.remote = remote;
    spec.inputs.push_back(std::move(input));
  }
  if (!description_.x509_proxy.empty()) {
    InputSpec proxy;
    proxy.source = description_.x509_proxy;
    proxy.remote = "x509_proxy";
    spec.inputs.push_back(std::move(proxy));
    spec.environment.push_back({"X509_USER_PROXY", "x509_proxy"});
  }
  spec.environment.push_back({"XRD_REQUESTTIMEOUT", std::to_string(description_.xrootd_timeout)});
  if (item.kind == ItemKind::accumulate) return;
  const auto& dataset = dataset_of(item.file);
  values["dataset"] = {dataset.name};
  values["tree"] = {dataset.tree};
  nlohmann::json metadata = nlohmann::json::object();
  for (const auto& [name, value] : dataset.metadata) {
    values["metadata." + name] = {value};
    metadata[name] = value;
  }
  values["metadata"] = {metadata.dump()};
}

// The file under its own base name; a URL goes to the command as it is.
std::string Executor::add_source(TaskSpec& spec, std::uint32_t file) {
  const auto& source = sources_[file];
  if (source.is_url) return source.location;
  InputSpec input;
  input.source = source.location;
  input.remote = "data/" + fs::path(source.location).filename().string();
  const auto remote = input.remote;
  spec.inputs.push_back(std::move(input));
  return remote;
}

void Executor::add_tool(TaskSpec& spec, CommandTemplate::Values& values) {
  InputSpec tool;
  tool.source = options_.analysis_tool;
  tool.remote = tool_name;
  spec.inputs.push_back(std::move(tool));
  values["tool"] = {std::string("./") + tool_name};
}

void Executor::make_preprocess(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values) {
  const auto& phase = description_.preprocess;
  spec.category = "preprocessing";
  fill_common(spec, item, phase, values);
  values["file"] = {add_source(spec, item.file)};
  values["output"] = {"count.json"};
  if (!phase.command.empty()) {
    if (preprocess_.uses("tool")) add_tool(spec, values);
    spec.command = preprocess_.fill(values);
    if (preprocess_.uses("output"))
      spec.outputs.push_back({item_path(item.id, "count"), "count.json", OutputWhen::always, false, false});
    return;
  }
  add_tool(spec, values);
  spec.command = std::string("./") + tool_name + " count " + shell_quote(values["file"][0]) + " --format " +
                 phase.builtin + " --output count.json";
  const auto& tree = dataset_of(item.file).tree;
  if (!tree.empty()) spec.command += " --tree " + shell_quote(tree);
  spec.outputs.push_back({item_path(item.id, "count"), "count.json", OutputWhen::on_success, false, false});
  if (process_.uses("slice")) {
    spec.command += std::string(" --index ") + index_name;
    spec.outputs.push_back({item_path(item.id, "index"), index_name, OutputWhen::on_success, false, false});
  }
}

// Going through all workers for every task would be too much with many of them.
void Executor::look_at_lives() {
  if (pumps_++ % (lives_.size() / 16 + 1) != 0) return;
  lives_ = service_.worker_lives();
  planner_.limit_time(life_to_plan_for(lives_));
}

// A worker that will leave before the chunk is done should not get it, as long as some other one can have it.
Duration Executor::least_life_for(const EventRange& range) const {
  const auto expected = planner_.expected_s(range.count());
  if (!expected) return {};
  const double needed = *expected * life_margin;
  const bool possible = std::any_of(lives_.begin(), lives_.end(), [needed](const WorkerLife& worker) {
    return !worker.left_s || *worker.left_s > 2 * needed;
  });
  return possible ? Duration(static_cast<std::int64_t>(needed * 1e6)) : Duration{};
}

void Executor::make_process(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values) {
  spec.category = "processing";
  spec.min_running_time = least_life_for(item.range);
  fill_common(spec, item, description_.process, values);
  const auto file = add_source(spec, item.file);
  const auto first = std::to_string(item.range.first);
  const auto last = std::to_string(item.range.last);
  values["file"] = {file};
  values["first"] = {first};
  values["last"] = {last};
  values["count"] = {std::to_string(item.range.count())};
  values["output"] = {"partial"};
  values["slice"] = {slice_name};
  if (process_.uses("tool") || process_.uses("slice")) add_tool(spec, values);
  spec.command = process_.fill(values);
  if (process_.uses("slice")) {
    std::string cut = std::string("./") + tool_name + " slice " + shell_quote(file) + " --first " + first + " --last " +
                      last + " --output " + slice_name;
    if (const auto& index = index_paths_[item.file]; !index.empty()) {
      InputSpec input;
      input.source = index;
      input.remote = index_name;
      spec.inputs.push_back(std::move(input));
      cut += std::string(" --index ") + index_name;
    }
    spec.command = cut + " && { " + spec.command + "\n}";
  }
  // It stays where it was made, for a merge there.
  spec.outputs.push_back({result_path(item.id), "partial", OutputWhen::on_success, false, true, keeps_partials()});
  // Nobody would notice before the merge that what is kept is not there.
  if (keeps_partials())
    spec.command =
        "{ " + spec.command + "\n} && { [ -e partial ] || { echo 'the command has not written {output}'; false; }; }";
}

void Executor::make_accumulate(TaskSpec& spec, const WorkItem& item, CommandTemplate::Values& values) {
  const auto& phase = description_.accumulate;
  spec.category = "accumulating";
  fill_common(spec, item, phase, values);
  auto& names = values["inputs"];
  for (std::size_t i = 0; i < item.inputs.size(); ++i) {
    InputSpec input;
    input.source = partial_path(item.inputs[i]);
    input.remote = "part-" + std::to_string(i);
    names.push_back(input.remote);
    spec.inputs.push_back(std::move(input));
  }
  values["output"] = {"merged"};
  if (description_.planner.result_per_dataset) values["dataset"] = {planner_.dataset_name(item.group)};
  if (phase.command.empty() || accumulate_.uses("tool")) add_tool(spec, values);
  if (!phase.command.empty()) {
    spec.command = accumulate_.fill(values);
  } else {
    spec.command = std::string("./") + tool_name + " accumulate --kind " + phase.builtin;
    if (phase.builtin == "concat" && description_.skip_header) spec.command += " --skip-header";
    spec.command += " merged";
    for (const auto& name : names) spec.command += " " + name;
  }
  spec.outputs.push_back({result_path(item.id), "merged", OutputWhen::on_success, false, true});
  if (item.place == 0) return;
  spec.outputs.back().keep = true;
  spec.features.push_back(Machine::feature_of_place(place_names_[item.place]));
  spec.command = "{ " + spec.command + "\n} && [ -e merged ]";
  spec.priority = 1;  // what lies at a worker can be lost with it
}

// --- from finished tasks to facts ---

void Executor::on_finished(TaskId task, const TaskOutcome& outcome, std::string_view stdout_text) {
  take_kept();  // first: a merge may have failed because its inputs are lost
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return;
  const Running running = std::move(found->second);
  tasks_.erase(found);
  say_finished(task, running, outcome);
  const bool ok = outcome.result == protocol::ResultCode::success && outcome.return_status == 0;
  keep_trace(running, outcome, ok);
  if (ok) return succeed(running, outcome, stdout_text);
  if (outcome.kept) service_.forget(result_path(running.item.id));
  const auto reason = failure_text(outcome, stdout_text);
  if (failures_.size() < max_failure_causes) {
    auto& group = failures_[{running.item.kind, failure_cause(outcome)}];
    if (++group.count == 1) group.example = running.name + ": " + reason;
  }
  if (outcome.result == protocol::ResultCode::resource_exhaustion) {
    planner_.on_exhausted(running.item.id, reason);
  } else {
    planner_.on_failed(running.item.id, reason);
  }
}

void Executor::succeed(const Running& running, const TaskOutcome& outcome, std::string_view stdout_text) {
  const auto& item = running.item;
  if (item.kind == ItemKind::preprocess) return count_done(running, stdout_text);
  const auto path = result_path(item.id);
  const double wall = static_cast<double>(outcome.execute_last.count()) * 1e-6;
  const auto location = place_of(outcome.host);
  std::optional<PartialId> partial;
  if (item.kind == ItemKind::process) {
    partial =
        planner_.on_processed(item.id, wall, static_cast<double>(outcome.measured.memory), location, outcome.kept);
  } else {
    partial = planner_.on_accumulated(item.id, location, outcome.kept);
  }
  if (!partial) return drop_file(path);
  paths_.emplace(*partial, path);
  if (outcome.kept) kept_.emplace(path, *partial);
  if (keeps_for_checkpoint(item.kind)) checkpoint_.append({path, item.group, planner_.events_of(*partial)});
  drop_partials(item.inputs);  // last: a manager that is killed before can still resume from them
}

void Executor::count_done(const Running& running, std::string_view stdout_text) {
  const auto& item = running.item;
  const auto path = item_path(item.id, "count");
  const std::string written = fs::exists(path) ? read_text(path) : std::string(stdout_text);
  const auto events = events_in_text(written);
  std::error_code ignored;
  fs::remove(path, ignored);
  if (!events) {
    planner_.on_failed(item.id, "the preprocessing command did not give a number of events: \"" +
                                    std::string(trim(written).substr(0, 80)) + "\"");
    return;
  }
  const auto index = item_path(item.id, "index");
  const bool has_index = fs::exists(index);
  const auto& source = sources_[item.file];
  index_paths_[item.file] = has_index ? index : "";
  if (!source.is_url) {
    index_paths_[item.file] = counts_.remember(source.location, counting_of(dataset_of(item.file)),
                                               {*events, description_.preprocess.builtin, ""}, has_index ? index : "");
  }
  planner_.on_counted(item.id, *events);
}

// Also later: a lost worker may bring back what ran when the stop came.
void Executor::withdraw_waiting() {
  std::vector<TaskId> chunks;
  for (const auto& [task, running] : tasks_) {
    if (running.item.kind != ItemKind::accumulate) chunks.push_back(task);
  }
  for (const auto task : chunks) service_.cancel_waiting(task);
}

void Executor::stop() {
  planner_.stop_submitting();
  pump();
}

// --- small things ---

void Executor::keep_trace(const Running& running, const TaskOutcome& outcome, bool succeeded) {
  if (traces_.size() >= max_traces) return;
  TaskTrace trace;
  trace.kind = running.item.kind;
  trace.succeeded = succeeded;
  trace.exhausted = outcome.result == protocol::ResultCode::resource_exhaustion;
  trace.start = outcome.commit_end;
  trace.end = outcome.commit_end + outcome.execute_last;
  trace.events = running.item.kind == ItemKind::process ? running.item.range.count() : 0;
  trace.memory_mb = static_cast<double>(outcome.measured.memory);
  trace.cores = outcome.allocated.cores;
  trace.exhausted_s = static_cast<double>(outcome.execute_exhaustion.count()) * 1e-6;
  trace.lost_s = static_cast<double>(outcome.execute_failure.count()) * 1e-6;
  trace.host = host_index(outcome.hostname);
  traces_.push_back(trace);
}

std::uint32_t Executor::host_index(const std::string& host) {
  const auto [found, fresh] = host_numbers_.emplace(host, static_cast<std::uint32_t>(hosts_.size()));
  if (fresh) hosts_.push_back(host);
  return found->second;
}

std::uint32_t Executor::place_of(const std::string& worker) {
  const auto [at, fresh] = places_.emplace(worker, static_cast<std::uint32_t>(places_.size() + 1));
  if (fresh) {
    place_names_.resize(at->second + 1);
    place_names_.back() = worker;
  }
  return at->second;
}

const std::string& Executor::partial_path(PartialId partial) const { return paths_.at(partial); }

std::string Executor::result_path(ItemId item) const {
  return fmt::format("{}/result-{}-{}", options_.work_directory, run_number_, item.value());
}

std::string Executor::item_path(ItemId item, std::string_view kind) const {
  return options_.work_directory + "/" + std::string(kind) + "-" + std::to_string(item.value());
}

const DatasetDescription& Executor::dataset_of(std::uint32_t file) const {
  return description_.datasets[planner_.dataset_of(file)];
}

// With a checkpoint, a fixed order of additions can only be resumed from chunks: those stay until the end.
bool Executor::keeps_for_checkpoint(ItemKind kind) const {
  return checkpoint_.enabled() && (!description_.planner.deterministic || kind == ItemKind::process);
}

void Executor::drop_partials(const std::vector<PartialId>& partials) {
  if (checkpoint_.enabled() && description_.planner.deterministic) return;
  for (const auto partial : partials) {
    drop_file(partial_path(partial));
    paths_.erase(partial);
  }
}

void Executor::drop_file(const std::string& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
  service_.forget(path);
  kept_.erase(path);
}

void Executor::say_submitted(TaskId task, const Running& running) {
  say_(submitted_line(task, running.item, running.name));
}

void Executor::say_finished(TaskId task, const Running& running, const TaskOutcome& outcome) {
  say_(finished_lines(task, running.item, running.name, outcome));
}

}  // namespace taskmill::manager::analysis
