// What the machine knows about each connected worker.
//
// Workers of equal size share a WorkerType, so a box is computed once per shape and type. A copy of a cached file is a
// CacheEntry; `users` counts attempts at this worker that name it, and a copy is never replaced or removed while it has
// users: a later version gets another name, and the old one waits in `retired`.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/small_queue.hpp"
#include "common/base/time.hpp"
#include "manager/core/box.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/flat_map.hpp"
#include "manager/core/machine.hpp"
#include "manager/core/slab.hpp"

namespace taskmill::manager {

/// Free cores, memory, disk (negated, so that the most free comes first), slot.
using RoomKey = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::uint32_t>;

struct WorkerType {
  Box largest, total;
  std::uint32_t live = 0;  ///< connected workers of this size
};

struct CacheEntry {
  std::uint32_t number = 0;   ///< of its name
  std::uint32_t version = 1;  ///< of the file
  std::uint32_t users = 0;
  std::uint32_t position = 0;  ///< in FileRecord::holders
  bool in_flight = true;
};

struct RetiredCopy {
  std::uint32_t file = no_index, number = 0, users = 0;
};

/// One `stage` action that is not acknowledged yet.
struct Staging {
  std::uint32_t file = no_index;  ///< no_index: an uncached input whose record may be gone
  std::uint32_t number = 0;
  std::uint32_t serial = 0;  ///< attempt that first needed it
  std::uint64_t expected = 0;
  bool patient = false;  ///< size not known beforehand
  TaskId task;
  std::string name, remote;  ///< name: uncached only, remote: for the log
};

struct Worker {
  ConnId conn;
  std::string address, hostname, os, arch, software, worker_id;
  std::uint32_t factory = no_index;
  int version = 0;
  bool greeted = false, foreman = false, draining = false, congested = false, leaving = false;
  bool end_time_known = false, native = false;
  WorkerFacts facts;
  std::int64_t tag = -1;
  std::int64_t end_time_s = 0;
  std::int64_t workers_total = 0, workers_smallest = 0, workers_largest = 0;
  Box reported_total, reported_smallest, reported_largest;  ///< as the lines come in
  Box total, smallest, largest, in_use;                     ///< in force
  Box coprocess_total, coprocess_in_use;
  std::uint32_t type = no_index;
  std::vector<std::string> features;       ///< sorted
  std::vector<std::int8_t> features_memo;  ///< by feature set: -1 unknown, 0 no, 1 yes

  std::uint32_t head = no_index, tail = no_index;  ///< attempts
  std::uint32_t attempts = 0, running = 0, prefetched = 0;
  std::uint32_t tasks_running_said = 0;

  FlatMap<CacheEntry> cache;
  std::vector<RetiredCopy> retired;
  SmallQueue<Staging> stagings;
  SmallQueue<std::uint32_t> kept_fetches;     ///< files of kept outputs that were asked for, in order
  std::set<std::uint32_t> environments_here;  ///< files that it has reported unpacked
  std::uint32_t replies = 0;                  ///< requested and not yet complete
  bool results_requested = false, results_noted = false;
  Time stage_deadline{}, reply_deadline{}, stage_began{};

  Time connected{}, last_heard{}, last_check{};
  bool check_pending = false;
  WallTime connected_wall{};
  Time timer{Time::max()};  ///< earliest pending timer for it
  Time penalty_until{Time::min()};
  std::uint32_t refusals = 0;  ///< forsaken in a row
  bool slow_alarm = false;

  Duration turnaround{0};  ///< what passes between a task's end and its successor's start, seen from here: the least
  std::uint64_t tasks_complete = 0, bytes = 0;
  Duration task_time{0}, transfer_time{0};
  std::int64_t mean_us = 0;  ///< order of TIME; 0 until it completed something

  bool freed = false;                     ///< listed in Matcher::freed
  std::uint32_t available_at = no_index;  ///< position in Matcher::available
  std::uint32_t reserved_for = no_index;  ///< shape for which it is being emptied
  std::int64_t speed_key = 0;             ///< under which it is in the orders of the matcher
  RoomKey room_key{};

  [[nodiscard]] bool introduced() const { return type != no_index && tag >= 0 && end_time_known && workers_total >= 1; }
};

}  // namespace taskmill::manager
