// Why a task is not running, in a sentence or two.
#include "manager/core/state.hpp"

namespace taskmill::manager {

namespace {

/// How many connected workers come into question for tasks of a shape, condition by condition.
struct Suitable {
  std::size_t accepting = 0, featured = 0, large = 0;
};

Suitable count_suitable(State& s, const Shape& shape) {
  Suitable found;
  for (std::uint32_t i = 0; i < s.workers.end(); ++i) {
    if (!s.workers.alive(i) || !s.accepts(s.workers[i])) continue;
    ++found.accepting;
    Worker& w = s.workers[i];
    if (!s.has_features(w, shape.key.features)) continue;
    ++found.featured;
    const Box box = s.compute_box(shape, w.largest, s.rules(w), {});
    if (fits_idle(box, shape.key.coprocess ? w.coprocess_total : w.total)) ++found.large;
  }
  return found;
}

}  // namespace

Explanation State::explain(std::uint32_t task) {
  const TaskRecord& record = tasks[task];
  Explanation e{record.state, {}};
  if (record.attempt != no_index) {
    const Attempt& a = attempts[record.attempt];
    const Worker& w = workers[a.worker];
    e.text = a.state == AttemptState::retrieving ? "its outputs are being fetched from " : "it is at ";
    e.text += w.hostname + " (" + w.address + ")";
    if (a.state == AttemptState::running && !a.counted) e.text += ", sent ahead, waiting for room there";
    return e;
  }
  if (record.state != TaskState::ready) {
    e.text = "it is finished";
    return e;
  }
  if (record.where == Where::delayed) {
    e.text = "its minimum start time has not come";
    return e;
  }
  if (record.where == Where::files) {
    e.text = expected_environments.contains(spec_of(record)->environment - 1) ? "its environment is being prepared"
                                                                              : "its input files are being looked at";
    return e;
  }
  if (record.where == Where::arriving) {
    e.text = "it has just entered the queue";
    return e;
  }
  if (config.wait_for_workers > 0) {
    e.text = "dispatch begins when " + std::to_string(config.wait_for_workers) + " workers are connected; there are " +
             std::to_string(connected_workers);
    return e;
  }
  if (connected_workers == 0) {
    e.text = "no worker is connected";
    return e;
  }
  const Shape& shape = ready[record.shape];
  if (category_full(record.shape)) {
    e.text = "its category " + category_of(record).name() + " already runs as many tasks as it may";
    return e;
  }
  const auto [accepting, featured, large] = count_suitable(*this, shape);
  const std::string need = resources_json(waiting_label(record));
  if (accepting == 0) {
    e.text =
        "no connected worker takes tasks now: they are blocked, draining, busy sending or have not reported resources";
  } else if (featured == 0) {
    e.text = "no worker has the features it asks for:";
    for (const auto& feature : feature_sets[shape.key.features]) e.text += " " + feature;
  } else if (large == 0) {
    e.text = "no connected worker is large enough for " + need + "; the largest has " + resources_json(largest);
  } else {
    e.text = "it waits for room: " + std::to_string(large) + " workers are large enough for " + need + ", all are busy";
    const std::uint32_t head = ready.head(record.shape);
    if (head != task && head != no_index)
      e.text += "; task " + std::to_string(tasks[head].id.value()) + " of the same kind comes first";
  }
  return e;
}

}  // namespace taskmill::manager
