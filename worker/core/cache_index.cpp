#include "worker/core/cache_index.hpp"

namespace taskmill::worker {

CacheEntry* CacheIndex::find(std::string_view name) {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

const CacheEntry* CacheIndex::find(std::string_view name) const {
  const auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

CacheEntry& CacheIndex::fresh(std::string_view name) {
  auto at = entries_.find(name);
  if (at == entries_.end()) at = entries_.try_emplace(std::string(name)).first;
  bytes_ -= at->second.size;
  at->second = CacheEntry{};
  return at->second;
}

CacheEntry& CacheIndex::put(std::string_view name, CacheSource source, bool directory, unsigned mode,
                            std::uint64_t size, std::uint64_t entries) {
  CacheEntry& entry = fresh(name);
  entry.source = source;
  entry.directory = directory;
  entry.mode = mode;
  entry.size = size;
  entry.entries = entries;
  bytes_ += size;
  return entry;
}

CacheEntry& CacheIndex::put_failed(std::string_view name, std::string why) {
  CacheEntry& entry = fresh(name);
  entry.state = CacheState::failed;
  entry.text = std::move(why);
  return entry;
}

CacheEntry* CacheIndex::add_recipe(std::string_view name, CacheSource source, std::string_view text, unsigned mode) {
  if (entries_.contains(name)) return nullptr;
  CacheEntry& entry = fresh(name);
  entry.state = CacheState::recipe;
  entry.source = source;
  entry.text = text;
  entry.mode = mode;
  return &entry;
}

void CacheIndex::await(std::string_view name) {
  const CacheEntry* known = find(name);
  if (known != nullptr && known->state != CacheState::failed && known->state != CacheState::recipe) return;
  CacheEntry& entry = fresh(name);
  entry.state = CacheState::awaited;
  entry.source = CacheSource::peer;
}

void CacheIndex::note_fetched(CacheEntry& entry, bool directory, std::uint64_t size, std::uint64_t entries) {
  entry.state = CacheState::present;
  entry.directory = directory;
  entry.entries = entries;
  bytes_ += size - entry.size;
  entry.size = size;
}

bool CacheIndex::erase(std::string_view name) {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return false;
  bytes_ -= at->second.size;
  entries_.erase(at);
  return true;
}

void CacheIndex::clear() {
  entries_.clear();
  bytes_ = 0;
}

}  // namespace taskmill::worker
