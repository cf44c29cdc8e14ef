// Event counts of earlier runs, so that a file is counted once: keyed by path, size, modification time, format and
// tree. A ROOT file is also known by its UUID: one that was moved, copied or touched is not counted again.
//
// One JSON line per file in DIRECTORY/event-counts.jsonl, appended; line indexes lie beside it under the key's digest.
// Damaged lines are skipped. Without a usable directory nothing is remembered, and nothing fails.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

namespace taskmill::manager::analysis {

struct KnownCount {
  std::uint64_t events = 0;
  std::string format;
  std::string index_path;  ///< empty: none
};

class CountCache {
 public:
  /// `directory` empty: $XDG_CACHE_HOME/taskmill, else ~/.cache/taskmill.
  explicit CountCache(std::string directory);

  [[nodiscard]] std::optional<KnownCount> find(const std::string& path, const std::string& what) const;
  /// `index_file`: moved into the cache when not empty. Returns where it lies now.
  std::string remember(const std::string& path, const std::string& what, const KnownCount& count,
                       const std::string& index_file);

 private:
  static std::string key_of(const std::string& path, const std::string& what);
  static std::string root_key_of(const std::string& path, const std::string& what);
  void note(const std::string& key, const KnownCount& count);
  std::string directory_;
  std::unordered_map<std::string, KnownCount> known_;
};

}  // namespace taskmill::manager::analysis
