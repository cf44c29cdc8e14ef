// The machine's cache: what arrives, what must be fetched, what is taken away.
#include <algorithm>
#include <utility>

#include "protocol/format.hpp"
#include "protocol/result_code.hpp"
#include "worker/core/machine.hpp"

namespace taskmill::worker {

void Machine::on_stored(std::string_view name, bool directory, unsigned mode, std::uint64_t size, std::uint64_t entries,
                        Time now) {
  life_.on_work(now);
  keep(name, CacheSource::manager, directory, mode, size, entries);
}

// Whatever was known under this name is replaced; tasks that waited for it go on.
void Machine::keep(std::string_view name, CacheSource source, bool directory, unsigned mode, std::uint64_t size,
                   std::uint64_t entries) {
  CacheEntry* entry = cache_.find(name);
  const auto waiting = entry == nullptr ? std::vector<TaskKey>() : std::exchange(entry->waiting, {});
  cache_.put(name, source, directory, mode, size, entries);
  end_waiting(waiting, true, {});
}

void Machine::on_awaited(std::string_view name, Time now) {
  life_.on_work(now);
  cache_.await(name);
}

bool Machine::on_arrived(std::string_view name, bool directory, unsigned mode, std::uint64_t size,
                         std::uint64_t entries, Time now) {
  life_.on_work(now);
  const CacheEntry* entry = cache_.find(name);
  if (entry == nullptr || entry->state != CacheState::awaited) return false;
  keep(name, CacheSource::peer, directory, mode, size, entries);
  return true;
}

void Machine::on_store_failed(std::string_view name, const std::string& why, Time now, Effects& effects) {
  life_.on_work(now);
  CacheEntry* entry = cache_.find(name);
  const auto waiting = entry == nullptr ? std::vector<TaskKey>() : std::exchange(entry->waiting, {});
  cache_.put_failed(name, why);
  end_waiting(waiting, false, "work_queue_worker: " + why + "\n");
  if (version_ >= 10) protocol::cache_invalid(effects.lines, name, why);
}

void Machine::on_recipe(CacheSource source, std::string_view name, std::string_view text, unsigned mode, bool at_once,
                        Time now, Effects& effects) {
  life_.on_work(now);
  // Version 9 sends `url` again for every task, also when the object is here.
  CacheEntry* entry = cache_.find(name);
  if (entry != nullptr && entry->state == CacheState::failed) {
    cache_.erase(name);
    entry = nullptr;
  }
  if (entry == nullptr) entry = cache_.add_recipe(name, source, text, mode);
  if (at_once && entry != nullptr && entry->state == CacheState::recipe)
    start_fetch(std::string(name), *entry, now, effects);
}

void Machine::on_unlink(std::string_view name, Time, Effects& effects) {
  if (const auto at = evicted_.find(name); at != evicted_.end()) evicted_.erase(at);
  CacheEntry* entry = cache_.find(name);
  if (entry == nullptr) return;
  if (entry->state == CacheState::fetching) {
    if (entry->fetch_id != 0 && fetches_.erase(entry->fetch_id) > 0) effects.cancel_fetch.push_back(entry->fetch_id);
    std::erase(fetch_queue_, std::string(name));
    fetch_done(*entry, false, "removed while it was being fetched");
  } else if (entry->state == CacheState::awaited) {
    end_waiting(std::exchange(entry->waiting, {}), false, "removed before it came");
  }
  effects.remove.push_back({std::string(name), entry->is_heavy()});
  cache_.erase(name);
}

void Machine::start_fetch(const std::string& name, CacheEntry& entry, Time now, Effects& effects) {
  entry.state = CacheState::fetching;
  entry.fetch_id = 0;
  fetch_queue_.push_back(name);
  pump_fetches(now, effects);
}

void Machine::pump_fetches(Time now, Effects& effects) {
  while (!fetch_queue_.empty() && fetches_.size() < config_.parallel_fetches) {
    const std::string name = std::move(fetch_queue_.front());
    fetch_queue_.pop_front();
    CacheEntry* entry = cache_.find(name);
    if (entry == nullptr || entry->state != CacheState::fetching) continue;
    entry->fetch_id = next_fetch_++;
    fetches_[entry->fetch_id] = {name, now + config_.fetch_limit};
    effects.fetch.push_back({name, entry->source, entry->text, entry->mode, entry->fetch_id});
  }
}

void Machine::on_fetched(std::uint64_t fetch_id, bool ok, bool directory, std::uint64_t size, std::uint64_t entries,
                         std::uint64_t duration_us, const std::string& text, Time now, Effects& effects) {
  const auto at = fetches_.find(fetch_id);
  if (at == fetches_.end()) return;
  const std::string name = at->second.name;
  fetches_.erase(at);
  CacheEntry* entry = cache_.find(name);
  if (entry != nullptr && entry->state == CacheState::fetching) {
    if (ok) {
      cache_.note_fetched(*entry, directory, size, entries);
      if (version_ >= 10) protocol::cache_update(effects.lines, name, size, duration_us);
    } else if (version_ >= 10) {
      protocol::cache_invalid(effects.lines, name, text);
    }
    fetch_done(*entry, ok, text);
  }
  pump_fetches(now, effects);
}

void Machine::act_on_fetch_limits(Time now, Effects& effects) {
  std::vector<std::uint64_t> late;
  for (const auto& [id, fetch] : fetches_) {
    if (fetch.limit <= now) late.push_back(id);
  }
  for (const auto id : late) {
    effects.cancel_fetch.push_back(id);
    on_fetched(id, false, false, 0, 0, 0, "took too long", now, effects);
  }
}

// A failed recipe stays: the next task tries again.
void Machine::fetch_done(CacheEntry& entry, bool ok, const std::string& text) {
  entry.fetch_id = 0;
  if (!ok) entry.state = CacheState::recipe;
  end_waiting(std::exchange(entry.waiting, {}), ok, text);
}

// Tasks that waited for an input go on, or end without it.
void Machine::end_waiting(const std::vector<TaskKey>& waiting, bool ok, const std::string& text) {
  for (const auto key : waiting) {
    TaskSlot* task = slot(key);
    if (task == nullptr || task->state != TaskState::awaiting_inputs) continue;
    if (!ok) {
      task->fetches_left = 0;
      withdraw(*task);
      complete(*task,
               no_run(static_cast<int>(protocol::ResultCode::input_missing), 1, version_ >= 10 ? std::string() : text));
    } else if (--task->fetches_left == 0) {
      make_ready(*task);
    }
  }
}

}  // namespace taskmill::worker
