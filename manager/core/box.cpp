#include "manager/core/box.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {
namespace {

using Wide = __int128;

std::int64_t millicores(double cores) {
  if (cores < 0) return -1;
  return static_cast<std::int64_t>(std::ceil(std::min(cores, 1e9) * 1000.0 - 1e-6));
}

/// A request with cores in thousandths; negative unspecified.
struct Ask {
  std::array<std::int64_t, 4> v{};
};

Ask to_ask(const Resources& r) { return {{millicores(r.cores), r.memory, r.disk, r.gpus}}; }
std::array<std::int64_t, 4> to_array(const Box& b) { return {b.cores, b.memory, b.disk, b.gpus}; }

/// The most demanding request as the fraction part/whole of the worker; part 0: nothing is asked.
struct Share {
  std::int64_t part = 0, whole = 1;
};

Share largest_share(const Ask& ask, const std::array<std::int64_t, 4>& worker) {
  Share best;
  for (std::size_t i = 0; i < 4; ++i) {
    if (worker[i] <= 0 || ask.v[i] <= 0) continue;
    if (Wide{ask.v[i]} * best.whole > Wide{best.part} * worker[i]) best = {ask.v[i], worker[i]};
  }
  return best;
}

/// floor(amount * share), the share rounded up to 1/n when whole tasks are wanted.
std::int64_t portion(std::int64_t amount, const Share& share, bool whole_tasks, double divisor) {
  if (divisor == 1.0) {
    if (whole_tasks) return amount / (share.whole / share.part);
    return static_cast<std::int64_t>(Wide{amount} * share.part / share.whole);
  }
  const double ratio = whole_tasks ? 1.0 / static_cast<double>(share.whole / share.part)
                                   : static_cast<double>(share.part) / static_cast<double>(share.whole);
  return static_cast<std::int64_t>(std::floor(static_cast<double>(amount) * ratio / divisor + 1e-9));
}

void give_proportion(Ask& ask, const Box& worker, const Share& share, const BoxRules& rules) {
  const bool gpus_only = ask.v[at_cores] < 0 && ask.v[at_gpus] > 0;
  // Cores are handed out whole: the portion is taken of the count, not of thousandths.
  const std::int64_t cores = portion(worker.cores / milli, share, rules.whole_tasks, 1.0) * milli;
  ask.v[at_cores] = gpus_only ? 0 : std::max({milli, ask.v[at_cores], cores});
  ask.v[at_gpus] = std::max<std::int64_t>(ask.v[at_gpus], 0);
  ask.v[at_memory] =
      std::max({std::int64_t{1}, ask.v[at_memory], portion(worker.memory, share, rules.whole_tasks, 1.0)});
  ask.v[at_disk] =
      std::max({std::int64_t{1}, ask.v[at_disk], portion(worker.disk, share, rules.whole_tasks, rules.multiplier)});
}

void give_whole(Ask& ask, const Box& worker) {
  if (ask.v[at_cores] <= 0) ask.v[at_cores] = ask.v[at_gpus] > 0 ? 0 : worker.cores;
  if (ask.v[at_gpus] <= 0) ask.v[at_gpus] = 0;
  if (ask.v[at_memory] <= 0) ask.v[at_memory] = worker.memory;
  if (ask.v[at_disk] <= 0) ask.v[at_disk] = worker.disk;
}

}  // namespace

Box& Box::operator+=(const Box& other) {
  cores += other.cores;
  memory += other.memory;
  disk += other.disk;
  gpus += other.gpus;
  return *this;
}

Box& Box::operator-=(const Box& other) {
  cores -= other.cores;
  memory -= other.memory;
  disk -= other.disk;
  gpus -= other.gpus;
  return *this;
}

Resources to_resources(const Box& box) {
  return {static_cast<double>(box.cores) / 1000.0, box.memory, box.disk, box.gpus};
}

Box to_box(const Resources& r) {
  return {std::max<std::int64_t>(millicores(r.cores), 0), std::max<std::int64_t>(r.memory, 0),
          std::max<std::int64_t>(r.disk, 0), std::max<std::int64_t>(r.gpus, 0)};
}

Box box_for(const Box& worker, const Resources& max_label, const Resources& min_label, const BoxRules& rules,
            const Box& in_use) {
  const Ask label = to_ask(max_label);
  const auto size = to_array(worker);
  Ask ask = label;
  bool whole = true;
  if (rules.proportional) {
    const Share share = largest_share(label, size);
    if (share.part > 0 && share.part <= share.whole) {
      whole = false;
      give_proportion(ask, worker, share, rules);
    }
  }
  // Less than one core counts as nothing asked, as everywhere in section 9.
  if (ask.v[at_cores] < milli && ask.v[at_memory] < 1 && ask.v[at_disk] < 1 && ask.v[at_gpus] < 1) whole = true;
  for (std::size_t i = 0; i < 4; ++i) {
    if (ask.v[i] > 0 && ask.v[i] >= size[i]) whole = true;
  }
  if (whole) {
    give_whole(ask, worker);
  } else if (rules.ramp_down) {
    ask.v[at_cores] = ask.v[at_gpus] > 0 ? 0 : worker.cores - in_use.cores;
    ask.v[at_memory] = worker.memory - in_use.memory;
    ask.v[at_disk] = worker.disk - in_use.disk;
    ask.v[at_gpus] = std::max<std::int64_t>(ask.v[at_gpus], 0);
  }
  const Ask least = to_ask(min_label);
  for (std::size_t i = 0; i < 4; ++i) ask.v[i] = std::max({ask.v[i], least.v[i], std::int64_t{0}});
  return {ask.v[at_cores], ask.v[at_memory], ask.v[at_disk], ask.v[at_gpus]};
}

bool fits_idle(const Box& box, const Box& total) {
  return box.cores <= total.cores && box.memory <= total.memory && box.disk <= total.disk && box.gpus <= total.gpus;
}

bool fits(const Box& box, const Box& total, const Box& in_use, double multiplier) {
  if (!fits_idle(box, total)) return false;
  if (in_use.disk + box.disk > total.disk) return false;
  if (multiplier == 1.0) {
    return in_use.cores + box.cores <= total.cores && in_use.memory + box.memory <= total.memory &&
           in_use.gpus + box.gpus <= total.gpus;
  }
  const auto stretched = [multiplier](std::int64_t amount) {
    return static_cast<std::int64_t>(std::ceil(static_cast<double>(amount) * multiplier - 1e-9));
  };
  const std::int64_t cores = stretched(total.cores / milli) * milli;
  return in_use.cores + box.cores <= cores && in_use.memory + box.memory <= stretched(total.memory) &&
         in_use.gpus + box.gpus <= stretched(total.gpus);
}

Resources from_four(const Four& f) {
  return {f[0], static_cast<std::int64_t>(f[1]), static_cast<std::int64_t>(f[2]), static_cast<std::int64_t>(f[3])};
}

Resources overridden(const Resources& base, const Resources& by) {
  Resources out = base;
  if (by.cores > -1) out.cores = by.cores;
  if (by.memory > -1) out.memory = by.memory;
  if (by.disk > -1) out.disk = by.disk;
  if (by.gpus > -1) out.gpus = by.gpus;
  return out;
}

Resources raised(const Resources& base, const Resources& to) {
  return {std::max(base.cores, to.cores), std::max(base.memory, to.memory), std::max(base.disk, to.disk),
          std::max(base.gpus, to.gpus)};
}

}  // namespace taskmill::manager
