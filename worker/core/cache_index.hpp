// What is in the cache, by name: plain objects, recipes not yet carried out (URL, command), and failures.
//
// The manager decides what is here; entries live until it unlinks them, the session ends, or the disk is nearly full
// and they have not been used for longest (machine_eviction.cpp). Sizes are counted as they come, so that nobody has to
// walk the cache. Holds no files: those are in host/cache_dir.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace taskmill::worker {

using TaskKey = std::uint64_t;  ///< identity of a task inside this process; never reused, unlike the wire's id

enum class CacheState : std::uint8_t {
  present,   ///< the object is in the cache directory
  recipe,    ///< known how to make it, nobody needed it yet (or the last attempt failed)
  fetching,  ///< being made
  awaited,   ///< the manager has said that it will come: from it, or from another worker
  failed,    ///< it was announced but could not be stored; `text` says why
};

enum class CacheSource : std::uint8_t { manager, url, command, copy, output, peer };

struct CacheEntry {
  CacheState state = CacheState::present;
  CacheSource source = CacheSource::manager;
  std::string text;  ///< URL, command, or why it failed
  unsigned mode = 0644;
  bool directory = false;
  bool guarded = false;       ///< its files were made read-only because tasks share them by hard link
  std::uint64_t size = 0;     ///< bytes of all regular files
  std::uint64_t entries = 1;  ///< files and directories
  std::uint64_t fetch_id = 0;
  std::uint64_t used = 0;        ///< larger: used later; 0: no task has named it yet
  std::vector<TaskKey> waiting;  ///< tasks that need it, while fetching or awaited
  /// Deleting it takes the file system some milliseconds.
  [[nodiscard]] bool is_heavy() const { return directory || size > (std::uint64_t{16} << 20U); }
};

class CacheIndex {
 public:
  CacheEntry* find(std::string_view name);
  [[nodiscard]] const CacheEntry* find(std::string_view name) const;
  /// Adds or replaces an object that is in the cache now.
  CacheEntry& put(std::string_view name, CacheSource source, bool directory, unsigned mode, std::uint64_t size,
                  std::uint64_t entries);
  CacheEntry& put_failed(std::string_view name, std::string why);
  /// A recipe for a known name is ignored (wire 7.3): returns nullptr then.
  CacheEntry* add_recipe(std::string_view name, CacheSource source, std::string_view text, unsigned mode);
  /// An object that is to come; nothing happens if one is here or being made.
  void await(std::string_view name);
  void note_fetched(CacheEntry& entry, bool directory, std::uint64_t size, std::uint64_t entries);
  bool erase(std::string_view name);
  /// A task names it.
  void touch(CacheEntry& entry) { entry.used = ++uses_; }
  [[nodiscard]] const auto& entries() const { return entries_; }
  void clear();

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t count() const { return entries_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  CacheEntry& fresh(std::string_view name);
  std::unordered_map<std::string, CacheEntry, Hash, std::equal_to<>> entries_;
  std::uint64_t bytes_ = 0, uses_ = 0;
};

}  // namespace taskmill::worker
