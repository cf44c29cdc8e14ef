#include "manager/analysis/checkpoint.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "common/os/fd.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* format_name = "taskmill-checkpoint-1";

using FileNumbers = std::unordered_map<std::string, std::uint32_t>;

// The events of an entry, or nothing when it speaks of a file that is unknown now, or not the same any more.
bool read_events(const Json& ranges, const FileNumbers& numbers, EventSet& events) {
  if (!ranges.is_array() || ranges.empty()) return false;
  for (const auto& range : ranges) {
    if (!range.is_array() || range.size() != 3 || !range[0].is_string() || !range[1].is_number_unsigned() ||
        !range[2].is_number_unsigned())
      return false;
    const auto known = numbers.find(range[0].get<std::string>());
    if (known == numbers.end()) return false;
    if (!events.add(known->second, {range[1].get<std::uint64_t>(), range[2].get<std::uint64_t>()})) return false;
  }
  return true;
}

}  // namespace

Expected<std::vector<Checkpoint::Entry>> Checkpoint::open(Sources sources) {
  sources_ = std::move(sources);
  std::vector<Entry> entries;
  if (!enabled()) return {boost::system::in_place_value, std::move(entries)};
  FileNumbers numbers;
  for (std::uint32_t i = 0; i < sources_.files.size(); ++i) numbers.emplace(sources_.files[i].key, i);
  std::ifstream in(path_, std::ios::binary);
  bool has_header = false;
  for (std::string line; std::getline(in, line);) {
    const auto json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;  // the last line of a process that was killed may be cut short
    if (json.contains("format")) {
      has_header = true;
      if (json.value("format", "") != format_name || json.value("analysis", "") != sources_.fingerprint)
        return make_error(path_ +
                          ": this checkpoint belongs to another analysis (commands, their inputs or the grouping of "
                          "results have changed); remove it, or name another one");
    } else if (json.contains("file") && json["file"].is_string()) {
      const auto known = numbers.find(json["file"].get<std::string>());
      if (known != numbers.end() && sources_.files[known->second].identity != json.value("identity", ""))
        numbers.erase(known);
    } else if (has_header && json.contains("result") && json["result"].is_string() && json.contains("events")) {
      Entry entry{json["result"].get<std::string>(), json.value("group", 0U), {}};
      if (read_events(json["events"], numbers, entry.events) && fs::exists(entry.result))
        entries.push_back(std::move(entry));
    }
  }
  in.close();
  if (has_header) {
    // Ends a line that was cut short.
    if (!write_line("")) return make_error(path_ + ": cannot write the checkpoint: " + errno_code().message());
  } else {
    std::string header = Json{{"format", format_name}, {"analysis", sources_.fingerprint}}.dump();
    for (const auto& file : sources_.files)
      header += "\n" + Json{{"file", file.key}, {"identity", file.identity}}.dump();
    if (!write_line(header)) return make_error(path_ + ": cannot write the checkpoint: " + errno_code().message());
  }
  std::reverse(entries.begin(), entries.end());
  return {boost::system::in_place_value, std::move(entries)};
}

void Checkpoint::append(const Entry& entry) {
  if (!enabled()) return;
  Json json = {{"result", entry.result}, {"group", entry.group}, {"events", Json::array()}};
  for (const auto& [file, ranges] : entry.events.files()) {
    for (const auto& range : ranges) json["events"].push_back({sources_.files[file].key, range.first, range.last});
  }
  (void)write_line(json.dump());  // a full disk costs the checkpoint, not the run
}

void Checkpoint::remove() const {
  std::error_code ignored;
  if (enabled()) fs::remove(path_, ignored);
}

bool Checkpoint::write_line(const std::string& line) const {
  const os::UniqueFd file(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  const std::string text = line + "\n";
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace taskmill::manager::analysis
