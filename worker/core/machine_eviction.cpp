// The disk is nearly full: files of the cache that nobody needs go, before anything fails for want of space.
//
// Only what a task has named and no task here names now: a file that was just sent is waiting for its task, and outputs
// wait for the manager. The manager is told (cache-invalid), so that it sends the file again when it is needed; a task
// that it sent before it knew is refused, which brings it back together with the file. Managers of version 9 cannot be
// told: their cache stays.
#include <algorithm>
#include <unordered_set>

#include "protocol/format.hpp"
#include "worker/core/machine.hpp"

namespace taskmill::worker {
namespace {

constexpr int first_that_is_told = 10;
constexpr std::size_t most_remembered = 10'000;

}  // namespace

std::uint64_t Machine::make_room(std::uint64_t bytes, Effects& effects) {
  if (!in_session_ || version_ < first_that_is_told || bytes == 0) return 0;
  std::unordered_set<std::string_view> needed;
  for (const auto& [key, slot] : slots_) {
    if (slot->state == TaskState::complete) continue;
    for (const auto& input : slot->description.inputs) needed.insert(input.cache_name);
  }
  struct Victim {
    const std::string* name = nullptr;
    const CacheEntry* entry = nullptr;
  };
  std::vector<Victim> victims;
  for (const auto& [name, entry] : cache_.entries()) {
    const bool unused = entry.state == CacheState::present && entry.source != CacheSource::output && entry.used > 0;
    if (unused && entry.size > 0 && !needed.contains(name)) victims.push_back({&name, &entry});
  }
  std::sort(victims.begin(), victims.end(),
            [](const Victim& a, const Victim& b) { return a.entry->used < b.entry->used; });
  std::uint64_t freed = 0;
  for (const auto& victim : victims) {
    if (freed >= bytes) break;
    const std::string name = *victim.name;
    freed += victim.entry->size;
    protocol::cache_invalid(effects.lines, name, "taken out of the cache: the disk of this worker is nearly full");
    effects.remove.push_back({name, victim.entry->is_heavy()});
    cache_.erase(name);
    if (evicted_.size() < most_remembered) evicted_.insert(name);
  }
  return freed;
}

bool Machine::needs_evicted(const TaskSlot& slot) const {
  if (evicted_.empty()) return false;
  return std::any_of(slot.description.inputs.begin(), slot.description.inputs.end(), [this](const auto& input) {
    return !input.empty_directory && evicted_.contains(input.cache_name) && cache_.find(input.cache_name) == nullptr;
  });
}

}  // namespace taskmill::worker
