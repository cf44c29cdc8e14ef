// The end of an analysis: results at their place, the accounting beside them, snapshots and checkpoints.
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
  if (!planner_.losses().empty()) return false;
  for (std::uint32_t file = 0; file < planner_.file_count(); ++file) {
    const auto events = planner_.events_in(file);
    if (!events) return false;
    if (!description_.planner.maxchunks && !planner_.processed().missing(file, *events).empty()) return false;
  }
  return true;
}

std::string Executor::write_results() {
  std::error_code error;
  const auto parent = fs::path(description_.output).parent_path();
  if (!parent.empty()) fs::create_directories(parent, error);
  const auto results = planner_.results();
  std::map<std::uint32_t, int> of_group;
  for (const auto partial : results) {
    const auto group = planner_.group_of(partial);
    std::string target = description_.output;
    if (description_.planner.result_per_dataset) target = with_part(target, planner_.dataset_name(group));
    if (const int serial = of_group[group]++; serial > 0)
      target = with_part(target, "part" + std::to_string(serial + 1));
    // A copy: the partial result stays for a checkpoint; it is removed with the work directory.
    fs::copy_file(partial_path(partial), target, fs::copy_options::overwrite_existing, error);
    if (error) return target + ": cannot write the result: " + error.message();
  }
  const auto problem = write_atomically(description_.output + ".events.json", accounting_text());
  if (!problem.empty()) return problem;
  if (!options_.keep_partials && description_.checkpoint.empty()) fs::remove_all(options_.work_directory, error);
  return {};
}

std::string Executor::accounting_text() const {
  std::string text;
  JsonWriter json(text);
  const auto progress = planner_.progress();
  json.begin_object().field("format", "taskmill-accounting-1").field("analysis", description_.name);
  json.key("complete").boolean(complete());
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
    return "a snapshot needs a built-in accumulator; this analysis has its own command";
  const auto kind = analysis_tool::find_accumulator(description_.accumulate.builtin);
  if (!kind) return kind.error().text;
  std::vector<std::string> inputs;
  for (const auto partial : planner_.results()) inputs.push_back(partial_path(partial));
  if (inputs.empty()) return {};
  const auto done = analysis_tool::accumulate(*kind, path, inputs, description_.skip_header);
  return done ? std::string() : done.error().text;
}

// A checkpoint is a list of partial results and the events in them; the files lie in the work directory, which must
// survive with it. Only the newest entry per event counts, so a merged result replaces its parts.
void Executor::append_checkpoint(PartialId partial) {
  if (description_.checkpoint.empty()) return;
  nlohmann::json entry = {{"result", partial_path(partial)}, {"group", planner_.group_of(partial)}};
  for (const auto& [file, ranges] : planner_.events_of(partial).files()) {
    for (const auto& range : ranges) entry["events"].push_back({planner_.file_name(file), range.first, range.last});
  }
  std::ofstream(description_.checkpoint, std::ios::app) << entry.dump() + "\n";
}

void Executor::read_checkpoint() {
  if (description_.checkpoint.empty()) return;
  std::map<std::string, std::uint32_t> numbers;
  for (std::uint32_t file = 0; file < planner_.file_count(); ++file) numbers.emplace(planner_.file_name(file), file);
  std::vector<nlohmann::json> entries;
  std::ifstream in(description_.checkpoint);
  for (std::string line; std::getline(in, line);) {
    auto entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object() && entry.contains("result") && entry.contains("events")) entries.push_back(std::move(entry));
  }
  // Newest first: what a merged result holds is not taken again from its parts.
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto path = entry->value("result", "");
    EventSet events;
    bool usable = fs::exists(path);
    // NOLINTBEGIN(clang-analyzer-cplusplus.Move): the set is a new one in every round
    for (const auto& range : (*entry)["events"]) {
      const auto known = range.is_array() && range.size() == 3 && range[0].is_string()
                             ? numbers.find(range[0].get<std::string>())
                             : numbers.end();
      usable = usable && known != numbers.end() && range[1].is_number_unsigned() && range[2].is_number_unsigned() &&
               events.add(known->second, {range[1].get<std::uint64_t>(), range[2].get<std::uint64_t>()});
    }
    PartialId id;
    if (!usable || !planner_.restore(entry->value("group", 0U), std::move(events), id)) continue;
    // NOLINTEND(clang-analyzer-cplusplus.Move)
    std::error_code error;
    const auto kept = path + ".restored";
    fs::rename(path, kept, error);
    restored_.emplace_back(kept, id);
  }
  std::error_code error;
  for (const auto& [path, id] : restored_) fs::rename(path, partial_path(id), error);
  fs::remove(description_.checkpoint, error);
  for (const auto& [path, id] : restored_) append_checkpoint(id);
}

}  // namespace taskmill::manager::analysis
