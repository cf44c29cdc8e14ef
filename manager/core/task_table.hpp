// The records of tasks: 64 bytes for each queued one, more only once it was sent somewhere.
//
//   TaskRecord   every task in the queue; linked by indices into the ready list of its shape
//   History      from the first dispatch on: tries, times and facts that survive attempts
//   Attempt      one assignment of a task to a worker; two of one task only with replication
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/ids.hpp"
#include "common/base/time.hpp"
#include "manager/core/box.hpp"
#include "manager/core/category.hpp"
#include "manager/core/effects.hpp"
#include "manager/core/slab.hpp"

namespace taskmill::manager {

/// Where a READY task is kept.
enum class Where : std::uint8_t {
  nowhere,
  arriving,  ///< enters its shape at the next matching, together with what else arrives, in order
  fifo,      ///< linked into its shape's list
  heap,      ///< in its shape's heap (came out of order)
  files,     ///< waits for the first look at its input files; `next` counts them
  delayed,   ///< waits for its minimum start time
};

struct TaskRecord {
  TaskId id;
  SpecId spec;
  std::uint32_t shape = no_index;
  std::uint32_t prev = no_index, next = no_index;
  std::uint32_t attempt = no_index;  ///< the first of its live attempts
  std::uint32_t history = no_index;
  TaskState state = TaskState::unknown;
  Where where = Where::nowhere;
  Label label = Label::first;
  bool warned = false;  ///< reported as fitting nowhere
  double priority = 0;
  std::int64_t since_us = 0;      ///< Time when it became READY
  std::int64_t submitted_us = 0;  ///< WallTime
};
static_assert(sizeof(TaskRecord) <= 64);

struct History {
  TaskOutcome outcome;   ///< filled as far as known
  Resources shown;       ///< largest use measured in any attempt
  Resources prediction;  ///< bucketing: for the next attempt after an exhaustion
  std::uint32_t environment_failures = 0;
};

/// Name of one input or output at the worker: FileTable::name(file, number).
struct RemoteName {
  std::uint32_t file = no_index;  ///< no_index: an output that is not shared
  std::uint32_t number = 0;
};

enum class AttemptState : std::uint8_t { running, retrieving };

struct Attempt {
  std::uint32_t task = no_index, worker = no_index;
  std::uint32_t serial = 0;
  std::uint32_t sibling = no_index;                  ///< next live attempt of the same task
  std::uint32_t prev = no_index, next = no_index;    ///< at the worker, in order of dispatch
  std::uint32_t older = no_index, newer = no_index;  ///< in the category, while running
  AttemptState state = AttemptState::running;
  bool counted = false;                 ///< its box is part of the worker's use
  bool coprocess = false;               ///< … of its coprocess pool
  bool wrapped = false;                 ///< the command runs under our monitor
  bool awaits_environment = false;      ///< … and the worker has not said yet that it is there
  std::uint8_t environment_inputs = 0;  ///< names behind the outputs: one for native workers, two for others
  bool sent = false;
  bool copied = false;       ///< a second copy was started because of it, or it is one
  bool inputs_done = false;  ///< its inputs were given back
  bool damaged = false;      ///< an output could not be stored
  bool kept = false;         ///< an output stays at the worker, not fetched
  std::uint32_t fetches_left = 0;
  Box box;
  Time started{};  ///< when it was dispatched
  Time result_at{};
  WallTime commit_start{}, commit_end{}, retrieval{};
  Duration transfer{0};
  std::uint64_t bytes_sent = 0, bytes_received = 0;
  protocol::ResultCode result = protocol::ResultCode::unknown;
  int exit_code = -1, signal = 0;
  Duration execution{0};
  Measurement measured;
  std::string message;
  std::vector<RemoteName> names;  ///< inputs, outputs, of the environment, then (wrapped) program and summary
};

}  // namespace taskmill::manager
