// Recounts everything from the records and compares. Slow; for tests, after every step.
#include <algorithm>
#include <map>

#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

void check_tasks(const State& s) {
  std::uint64_t waiting = 0;
  std::uint64_t running = 0;
  std::uint64_t retrieving = 0;
  std::uint64_t copies = 0;
  std::map<std::uint32_t, std::uint32_t> shape_references;
  std::map<std::uint32_t, std::pair<std::uint32_t, std::uint32_t>> queued;
  std::map<std::uint32_t, std::uint32_t> spec_users;
  for (std::uint32_t t = 0; t < s.tasks.end(); ++t) {
    if (!s.tasks.alive(t)) continue;
    const TaskRecord& task = s.tasks[t];
    TASKMILL_ASSERT(s.ids.find(task.id.value()) == t);
    ++spec_users[task.spec.value()];
    if (task.shape != no_index) ++shape_references[task.shape];
    const bool over = task.state == TaskState::done || task.state == TaskState::cancelled;
    TASKMILL_ASSERT(over == (task.shape == no_index));
    TASKMILL_ASSERT((task.attempt != no_index) ==
                    (task.state == TaskState::running || task.state == TaskState::waiting_retrieval));
    if (task.state == TaskState::ready) {
      ++waiting;
      TASKMILL_ASSERT(task.where != Where::nowhere);
      if (task.where == Where::fifo) ++queued[task.shape].first;
      if (task.where == Where::heap) ++queued[task.shape].second;
    } else {
      TASKMILL_ASSERT(task.where == Where::nowhere);
    }
    if (task.state == TaskState::running) ++running;
    if (task.state == TaskState::waiting_retrieval) ++retrieving;
    std::uint64_t live = 0;
    for (std::uint32_t a = task.attempt; a != no_index; a = s.attempts[a].sibling) {
      TASKMILL_ASSERT(s.attempts.alive(a) && s.attempts[a].task == t);
      ++live;
    }
    TASKMILL_ASSERT(live <= 2);
    copies += live > 1 ? live - 1 : 0;
  }
  TASKMILL_ASSERT(waiting == s.waiting && running == s.running && retrieving == s.retrieving);
  TASKMILL_ASSERT(copies == s.running_copies);
  std::uint32_t active = 0;
  std::uint32_t unparked = 0;
  for (std::uint32_t i = 0; i < s.ready.end(); ++i) {
    if (!s.ready.alive(i)) continue;
    const Shape& shape = s.ready[i];
    TASKMILL_ASSERT(shape.references == shape_references[i]);
    TASKMILL_ASSERT(shape.in_fifo == queued[i].first && shape.in_heap == queued[i].second);
    TASKMILL_ASSERT(shape.active == (shape.size() > 0));
    std::uint32_t linked = 0;
    for (std::uint32_t t = shape.head; t != no_index; t = s.tasks[t].next) {
      ++linked;
      const std::uint32_t next = s.tasks[t].next;
      TASKMILL_ASSERT(next == no_index ? shape.tail == t : s.tasks[next].prev == t);
      if (next != no_index)
        TASKMILL_ASSERT(ReadyKey({s.tasks[t].priority, s.tasks[t].id.value()})
                            .before({s.tasks[next].priority, s.tasks[next].id.value()}));
    }
    TASKMILL_ASSERT(linked == shape.in_fifo);
    if (shape.active) ++active;
    if (shape.active && !shape.parked) ++unparked;
  }
  TASKMILL_ASSERT(active == s.ready.active().size() && unparked == s.ready.unparked());
  TASKMILL_ASSERT(std::is_sorted(s.ready.active().begin(), s.ready.active().end(),
                                 [](const auto& a, const auto& b) { return a.key.before(b.key); }));
  for (std::uint32_t i = 0; i < s.specs.end(); ++i)
    TASKMILL_ASSERT(!s.specs.alive(SpecId(i)) || s.specs.users(SpecId(i)) == spec_users[i]);
}

void check_reservations(const State& s) {
  for (const auto& [conn, shape] : s.match.reservations) {
    TASKMILL_ASSERT(s.ready.alive(shape) && s.ready[shape].reserved);
    const std::uint32_t slot = s.worker_slot(conn);
    TASKMILL_ASSERT(slot == no_index || s.workers[slot].reserved_for == shape);
  }
}

/// By file and number: how many attempts at a worker name a cached copy.
using InputUsers = std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>;

void count_users(const State& s, const Attempt& attempt, InputUsers& users) {
  if (attempt.inputs_done) return;
  const SpecView spec = s.spec_of(s.tasks[attempt.task]);
  const std::uint32_t outputs_end = spec->inputs + spec->outputs;
  for (std::uint32_t n = 0; n < outputs_end + attempt.environment_inputs; ++n) {
    if (n >= spec->inputs && n < outputs_end) continue;
    const RemoteName& name = attempt.names[n];
    const FileRecord& file = s.files[FileId(name.file)];
    if (file.cached && file.kind != FileKind::empty_directory) ++users[{name.file, name.number}];
  }
}

void check_workers(const State& s) {
  std::uint64_t greeted = 0;
  std::uint32_t attempts = 0;
  Box total;
  Box used_total;
  std::map<std::uint32_t, std::uint32_t> types;
  std::map<std::uint32_t, std::uint64_t> running_in;
  for (std::uint32_t i = 0; i < s.workers.end(); ++i) {
    if (!s.workers.alive(i)) continue;
    const Worker& w = s.workers[i];
    TASKMILL_ASSERT(s.conns.find(w.conn.value()) == i);
    if (w.greeted) ++greeted;
    if (w.type != no_index) {
      ++types[w.type];
      total += w.total;
    }
    Box used;
    Box co_used;
    std::uint32_t here = 0;
    std::uint32_t ahead = 0;
    std::uint32_t running = 0;
    InputUsers users;
    for (std::uint32_t a = w.head; a != no_index; a = s.attempts[a].next) {
      const Attempt& attempt = s.attempts[a];
      TASKMILL_ASSERT(s.attempts.alive(a) && attempt.worker == i);
      ++here;
      if (attempt.counted) (attempt.coprocess ? co_used : used) += attempt.box;
      if (attempt.state == AttemptState::running) {
        ++running;
        ++running_in[s.spec_of(s.tasks[attempt.task])->category];
        if (!attempt.counted) ++ahead;
      }
      count_users(s, attempt, users);
    }
    TASKMILL_ASSERT(here == w.attempts && ahead == w.prefetched && running == w.running);
    TASKMILL_ASSERT(used == w.in_use && co_used == w.coprocess_in_use);
    used_total += used;
    attempts += here;
    w.cache.each([&](std::uint32_t file, const CacheEntry& entry) {
      TASKMILL_ASSERT(s.files.alive(FileId(file)));
      TASKMILL_ASSERT(s.files[FileId(file)].holders.at(entry.position) == i);
      if (!s.config.monitoring.enabled) TASKMILL_ASSERT((entry.users == users[{file, entry.number}]));
    });
    if (w.available_at != no_index) TASKMILL_ASSERT(s.match.available.at(w.available_at) == i);
    const bool listed = std::find(s.match.freed.begin(), s.match.freed.end(), i) != s.match.freed.end();
    TASKMILL_ASSERT(listed == w.freed);
  }
  TASKMILL_ASSERT(greeted == s.connected_workers);
  TASKMILL_ASSERT(attempts == s.attempts.live());
  TASKMILL_ASSERT(total == s.sum_total && used_total == s.sum_in_use);
  for (std::uint32_t t = 0; t < s.types.size(); ++t) TASKMILL_ASSERT(s.types[t].live == types[t]);
  for (std::uint32_t c = 0; c < s.categories.size(); ++c)
    TASKMILL_ASSERT(s.categories[c].count.running == running_in[c]);
  TASKMILL_ASSERT(s.match.by_speed.size() == s.match.available.size());
}

void check_factories(const State& s) {
  std::vector<std::uint32_t> connected(s.factories.size());
  for (std::uint32_t i = 0; i < s.workers.end(); ++i)
    if (s.workers.alive(i) && s.workers[i].factory != no_index) ++connected.at(s.workers[i].factory);
  for (std::size_t i = 0; i < s.factories.size(); ++i) TASKMILL_ASSERT(s.factories[i].connected == connected[i]);
  TASKMILL_ASSERT(s.factory_names.size() == s.factories.size());
  // Slots of workers are used again: there are as many as were ever connected at once.
  TASKMILL_ASSERT(s.factories.size() <= std::max<std::size_t>(most_idle_factories, s.workers.end()));
}

void check_files(const State& s) {
  for (std::uint32_t i = 0; i < s.files.end(); ++i) {
    if (!s.files.alive(FileId(i))) continue;
    const FileRecord& file = s.files[FileId(i)];
    TASKMILL_ASSERT(file.references > 0 || !file.holders.empty() || file.known == FileKnown::pending);
    for (const std::uint32_t slot : file.holders)
      TASKMILL_ASSERT(s.workers.alive(slot) && s.workers[slot].cache.find(i) != nullptr);
  }
}

}  // namespace

void State::check_invariants() const {
  check_tasks(*this);
  check_workers(*this);
  check_factories(*this);
  check_reservations(*this);
  check_files(*this);
}

}  // namespace taskmill::manager
