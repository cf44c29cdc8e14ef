// The start of an analysis: files and known counts, and what an interrupted run left behind.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "manager/analysis/executor.hpp"
#include "manager/analysis/file_identity.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

// "result-RUN-NUMBER" → RUN; 0 for other names.
std::uint64_t run_of(const std::string& name) {
  unsigned long long run = 0;
  return std::sscanf(name.c_str(), "result-%llu-", &run) == 1 ? run : 0;
}

void append_phase(std::string& text, const PhaseDescription& phase) {
  text += phase.builtin + "\n" + phase.command + "\n";
  for (const auto& [local, remote] : phase.inputs) text += local + "=" + remote + " " + file_identity(local) + "\n";
}

}  // namespace

std::string Executor::start() {
  std::error_code error;
  fs::create_directories(options_.work_directory, error);
  if (error) return "cannot make the work directory " + options_.work_directory + ": " + error.message();
  for (const auto& dataset : description_.datasets) {
    const auto number = planner_.add_dataset(dataset.name);
    for (const auto& file : dataset.files) {
      std::optional<KnownCount> known;
      if (!file.is_url) known = counts_.find(file.location, counting_of(dataset));
      planner_.add_file(number, file.location, known ? std::optional(known->events) : std::nullopt);
      sources_.push_back(file);
      index_paths_.push_back(known ? known->index_path : "");
    }
  }
  const auto problem = restore();
  clean_work_directory();
  return problem;
}

std::string Executor::counting_of(const DatasetDescription& dataset) const {
  return description_.preprocess.builtin + "|" + dataset.tree + "|" + description_.preprocess.command;
}

/// What partial results depend on besides the events: they are of no use when any of it changes.
Checkpoint::Sources Executor::checkpoint_sources() const {
  Checkpoint::Sources sources;
  std::string text;
  append_phase(text, description_.process);
  append_phase(text, description_.accumulate);
  text += description_.environment_file + " " + file_identity(description_.environment_file) + "\n";
  for (const auto& [name, value] : description_.environment) text += name + "=" + value + "\n";
  text += description_.planner.result_per_dataset ? "per dataset\n" : "one\n";
  if (description_.planner.deterministic)
    text += fmt::format("{} {}\n", description_.planner.chunksize, description_.planner.treereduction);
  for (const auto& dataset : description_.datasets) {
    text += dataset.name + "\n" + dataset.tree + "\n";
    for (const auto& [name, value] : dataset.metadata) text += name + "=" + value + "\n";
    for (const auto& file : dataset.files)
      sources.files.push_back(
          {dataset.name + ":" + file.location, file.is_url ? std::string() : file_identity(file.location)});
  }
  sources.fingerprint = short_hash(text);
  return sources;
}

std::string Executor::restore() {
  const auto entries = checkpoint_.open(checkpoint_sources());
  if (!entries) return entries.error().text;
  for (const auto& entry : *entries) {
    PartialId id;
    if (planner_.restore(entry.group, entry.events, id)) paths_.emplace(id, entry.result);
  }
  if (const auto events = planner_.processed().count(); events > 0)
    say_(fmt::format("resumed from {}: {} events are done", description_.checkpoint, events));
  return {};
}

// Results of earlier runs that no checkpoint speaks of; new ones get a run number of their own.
void Executor::clean_work_directory() {
  std::vector<std::string> kept;
  for (const auto& [id, path] : paths_) kept.push_back(path);
  std::sort(kept.begin(), kept.end());
  std::vector<std::string> stale;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.work_directory, error)) {
    const auto name = entry.path().filename().string();
    const auto run = run_of(name);
    if (run == 0) continue;
    run_number_ = std::max(run_number_, run + 1);
    if (!std::binary_search(kept.begin(), kept.end(), entry.path().string())) stale.push_back(entry.path().string());
  }
  for (const auto& path : stale) fs::remove(path, error);
}

}  // namespace taskmill::manager::analysis
