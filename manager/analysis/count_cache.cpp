#include "manager/analysis/count_cache.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "manager/analysis/file_identity.hpp"
#include "tools/analysis/event_count.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

std::string default_directory() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return std::string(cache) + "/taskmill";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return std::string(home) + "/.cache/taskmill";
  return {};
}

}  // namespace

CountCache::CountCache(std::string directory) : directory_(std::move(directory)) {
  if (directory_.empty()) directory_ = default_directory();
  if (directory_.empty()) return;
  std::error_code ignored;
  fs::create_directories(directory_, ignored);
  std::ifstream file(directory_ + "/event-counts.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.is_object()) continue;
    const auto key = json.find("key");
    const auto events = json.find("events");
    if (key == json.end() || !key->is_string() || events == json.end() || !events->is_number_unsigned()) continue;
    KnownCount count{events->get<std::uint64_t>(), json.value("format", ""), json.value("index", "")};
    known_[key->get<std::string>()] = std::move(count);
  }
}

std::string CountCache::key_of(const std::string& path, const std::string& what) {
  const auto identity = file_identity(path);
  return identity.empty() ? std::string() : path + "|" + identity + "|" + what;
}

std::string CountCache::root_key_of(const std::string& path, const std::string& what) {
  const auto identity = analysis_tool::root_identity(path);
  return identity.empty() ? std::string() : "uuid " + identity + "|" + what;
}

std::optional<KnownCount> CountCache::find(const std::string& path, const std::string& what) const {
  if (known_.empty()) return std::nullopt;
  auto found = known_.find(key_of(path, what));
  if (found == known_.end()) found = known_.find(root_key_of(path, what));
  if (found == known_.end()) return std::nullopt;
  if (!found->second.index_path.empty() && !fs::exists(found->second.index_path)) return std::nullopt;
  return found->second;
}

std::string CountCache::remember(const std::string& path, const std::string& what, const KnownCount& count,
                                 const std::string& index_file) {
  const auto key = key_of(path, what);
  if (directory_.empty() || key.empty()) return index_file;
  KnownCount stored = count;
  stored.index_path = index_file;
  if (!index_file.empty()) {
    const auto target = directory_ + "/index-" + short_hash(key);
    std::error_code error;
    fs::copy_file(index_file, target, fs::copy_options::overwrite_existing, error);
    if (!error) stored.index_path = target;
  }
  note(key, stored);
  if (const auto root = root_key_of(path, what); !root.empty()) note(root, stored);
  return stored.index_path;
}

void CountCache::note(const std::string& key, const KnownCount& count) {
  std::ofstream file(directory_ + "/event-counts.jsonl", std::ios::app);
  nlohmann::json json = {{"key", key}, {"events", count.events}, {"format", count.format}};
  if (!count.index_path.empty()) json["index"] = count.index_path;
  file << json.dump() + "\n";
  known_[key] = count;
}

}  // namespace taskmill::manager::analysis
