// The end of an analysis: results at their place, the accounting beside them, snapshots and checkpoints.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/json_writer.hpp"
#include "manager/analysis/executor.hpp"
#include "manager/analysis/task_lines.hpp"
#include "tools/analysis/accumulate.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

std::string write_atomically(const std::string& path, const std::string& text) {
  const auto temporary = path + ".part";
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << text;
    if (!file.flush()) return path + ": cannot write: " + errno_code().message();
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  return error ? path + ": cannot write: " + error.message() : std::string();
}

void write_ranges(JsonWriter& json, const char* name, const EventSet::Ranges& ranges) {
  json.key(name).begin_array();
  for (const auto& range : ranges) {
    json.begin_array()
        .number(static_cast<std::int64_t>(range.first))
        .number(static_cast<std::int64_t>(range.last))
        .end_array();
  }
  json.end_array();
}

// "out.json" → "out.Zmumu.json"
std::string with_part(const std::string& path, const std::string& part) {
  const fs::path whole(path);
  return (whole.parent_path() / (whole.stem().string() + "." + part + whole.extension().string())).string();
}

}  // namespace

bool Executor::complete() const {
  for (std::uint32_t file = 0; file < planner_.file_count(); ++file) {
    if (is_missing_events(file)) return false;
  }
  return std::none_of(planner_.losses().begin(), planner_.losses().end(),
                      [](const Loss& loss) { return loss.kind == ItemKind::accumulate; });
}

bool Executor::succeeded() const {
  if (planner_.stopping()) return false;
  const auto is_skipped = [](const Loss& loss) { return loss.kind == ItemKind::preprocess; };
  return std::all_of(planner_.losses().begin(), planner_.losses().end(), is_skipped);
}

bool Executor::is_missing_events(std::uint32_t file) const {
  const auto events = planner_.events_in(file);
  return !events || !planner_.processed().missing(file, *events).empty();
}

// Why events of a file are not in the result. Losses come with their evidence; what is left was not tried.
std::string Executor::why_missing(std::uint32_t file) const {
  std::uint64_t lost = 0;
  std::string reason;
  for (const auto& loss : planner_.losses()) {
    if (loss.kind == ItemKind::accumulate || loss.file != file) continue;
    lost += loss.range.count();
    if (loss.kind == ItemKind::preprocess) return "not counted: " + loss.reason;
    reason = "given up, see losses";
  }
  std::uint64_t missing = 0;
  for (const auto& gap : planner_.processed().missing(file, planner_.events_in(file).value_or(0)))
    missing += gap.count();
  if (lost == missing && !reason.empty()) return reason;
  if (!reason.empty()) reason += "; ";
  if (!planner_.failure().empty()) return reason + "not processed: a bad file stopped the run";
  return reason + (planner_.stopping() ? "not processed: the run was interrupted" : "beyond maxchunks");
}

// One file per group. Several partial results of a group (after a second Ctrl-C, or for a snapshot) are merged here
// when a built-in can do it, in the order they were made; else they become files of their own.
Expected<std::vector<std::string>> Executor::write_groups(const std::string& path, bool all_groups) const {
  std::map<std::uint32_t, std::vector<std::string>> groups;
  for (const auto partial : planner_.results()) groups[planner_.group_of(partial)].push_back(partial_path(partial));
  const auto kind = analysis_tool::find_accumulator(description_.accumulate.builtin);
  std::vector<std::string> written;
  const std::uint32_t count =
      description_.planner.result_per_dataset ? static_cast<std::uint32_t>(description_.datasets.size()) : 1;
  std::error_code error;
  for (std::uint32_t group = 0; group < count; ++group) {
    const auto target = description_.planner.result_per_dataset ? with_part(path, planner_.dataset_name(group)) : path;
    const auto& parts = groups[group];
    if (parts.empty() && all_groups) fs::remove(target, error);  // not the result of an earlier run
    if (parts.size() > 1 && kind && analysis_tool::accumulate(*kind, target, parts, description_.skip_header)) {
      written.push_back(target);
      continue;
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto name = i == 0 ? target : with_part(target, "part" + std::to_string(i + 1));
      // A copy: the partial result stays for a checkpoint; it is removed with the work directory.
      fs::copy_file(parts[i], name + ".part", fs::copy_options::overwrite_existing, error);
      if (!error) fs::rename(name + ".part", name, error);
      if (error) return make_error(name + ": cannot write the result: " + error.message());
      written.push_back(name);
    }
  }
  return {boost::system::in_place_value, std::move(written)};
}

std::string Executor::write_results() {
  std::error_code error;
  const auto parent = fs::path(description_.output).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  give_up_kept();
  auto written = write_groups(description_.output, true);
  if (!written) return written.error().text;
  result_files_ = std::move(*written);
  const auto problem = write_atomically(description_.output + ".events.json", accounting_text(result_files_));
  if (!problem.empty()) return problem;
  if (checkpoint_.enabled() && !succeeded()) return {};  // the rest can be done by another run
  checkpoint_.remove();
  if (!options_.keep_partials) fs::remove_all(options_.work_directory, error);
  return {};
}

std::string Executor::accounting_text(const std::vector<std::string>& results) const {
  std::string text;
  JsonWriter json(text);
  const auto progress = planner_.progress();
  json.begin_object().field("format", "taskmill-accounting-1").field("analysis", description_.name);
  json.key("results").begin_array();
  for (const auto& file : results) json.text(file);
  json.end_array().key("complete").boolean(complete());
  json.field("events_known", static_cast<std::int64_t>(progress.events_known));
  json.field("events_in_result", static_cast<std::int64_t>(planner_.processed().count()));
  json.field("splits", static_cast<std::int64_t>(progress.splits))
      .field("retries", static_cast<std::int64_t>(progress.retries));
  json.key("files").begin_array();
  for (std::uint32_t file = 0; file < planner_.file_count(); ++file) {
    const auto events = planner_.events_in(file);
    json.begin_object()
        .field("dataset", planner_.dataset_name(planner_.dataset_of(file)))
        .field("file", planner_.file_name(file));
    if (events) json.field("events", static_cast<std::int64_t>(*events));
    const auto found = planner_.processed().files().find(file);
    write_ranges(json, "in_result", found == planner_.processed().files().end() ? EventSet::Ranges{} : found->second);
    if (events) write_ranges(json, "missing", planner_.processed().missing(file, *events));
    if (is_missing_events(file)) json.field("why", why_missing(file));
    json.end_object();
    text += '\n';
  }
  json.end_array().key("losses").begin_array();
  for (const auto& loss : planner_.losses()) {
    json.begin_object().field("phase", phase_name(loss.kind));
    if (loss.kind != ItemKind::accumulate) json.field("file", planner_.file_name(loss.file));
    if (loss.range.count() > 0) write_ranges(json, "events", {loss.range});
    json.field("reason", loss.reason).end_object();
    text += '\n';
  }
  json.end_array().end_object();
  return text + "\n";
}

std::string Executor::write_snapshot(const std::string& path) const {
  if (!description_.accumulate.command.empty())
    return "needs a built-in accumulator; this analysis has its own command";
  const auto written = write_groups(path, false);
  if (!written) return written.error().text;
  return written->empty() ? std::string() : write_atomically(path + ".events.json", accounting_text(*written));
}

}  // namespace taskmill::manager::analysis
