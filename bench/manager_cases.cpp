// The manager alone: simulated workers of no cost, in crowds of different sizes.
#include <algorithm>
#include <cstdio>

#include "bench/cases.hpp"
#include "bench/crowd.hpp"
#include "bench/limits.hpp"

namespace taskmill::bench {
namespace {

/// What is asked of a crowd: CPU per task, and what that is of the limit on the machine where it was written down.
struct CrowdTarget {
  Crowd crowd;
  double cpu_us;
  double of_limit;
};

std::string text_of(const Crowd& crowd) {
  return figure(crowd.workers) + (crowd.workers == 1 ? " worker × " : " workers × ") + figure(crowd.cores) +
         (crowd.cores == 1 ? " core" : " cores");
}

/// Tasks to queue so that a run of `seconds` does not use them up.
std::uint64_t enough_tasks(const Stack& stack, double seconds) {
  return static_cast<std::uint64_t>((stack.is_ours() ? 120'000 : 10'000) * std::max(1.0, seconds));
}

Row limit_row(Context& context, const Crowd& crowd) {
  std::vector<Row> rows;
  for (int i = 0; i < context.repeat; ++i) {
    const auto limit = wire_limit(crowd.workers, crowd.cores, std::min(1.0, context.seconds));
    rows.push_back({.who = "limit", .rate = limit.per_second, .cpu_us = limit.cpu_us});
  }
  Row row = median_row(std::move(rows));
  row.note = "a minimal manager of the wire; " + row.note;
  return row;
}

std::string target_text(const CrowdTarget& target) {
  return "≤ " + figure(target.cpu_us) + " µs CPU/task (" + figure(target.of_limit) + " × the limit)";
}

}  // namespace

void manager_cases(Context& context) {
  // The limits beside the targets: 3 µs, 280,000 tasks/s and 10 µs.
  std::vector<CrowdTarget> targets = {{{1, 16}, 8, 2.7}, {{10, 1}, 8, 2.2}, {{context.quick ? 100 : 1000, 1}, 16, 1.6}};
  if (!context.quick) targets.push_back({{5000, 1}, 0, 1.5});
  double large_crowd_us = 0;
  for (const auto& target : targets) {
    const auto what = "manager, text protocol, " + text_of(target.crowd);
    auto limit = limit_row(context, target.crowd);
    limit.what = what;
    context.table.add(limit);
    const auto rows = measure_all(
        context, what,
        [&](const Stack& stack) { return stack.has_manager() && (target.crowd.workers <= 1000 || stack.is_ours()); },
        [&](const Stack& stack) {
          const Load load{.tasks = enough_tasks(stack, context.seconds),
                          .ahead = 2000 + 2ULL * static_cast<std::uint64_t>(target.crowd.workers)};
          return measure_crowd(stack, target.crowd, load, stack.is_ours() ? context.seconds : 2);
        });
    if (!rows.ours) continue;
    const double cpu = rows.ours->cpu_us;
    const auto* peer = rows.best_peer();
    Score score{.what = what,
                .peer = rows.peer_text(rate_and_cpu),
                .limit = rate_and_cpu(limit),
                .ours = rate_and_cpu(*rows.ours),
                .ratio = figure(cpu / limit.cpu_us) + " × the limit" +
                         (peer != nullptr ? ", peer / " + figure(peer->cpu_us / cpu) : std::string()),
                .target = target_text(target),
                .met = at_most(cpu, target.cpu_us, target.of_limit, limit.cpu_us)};
    if (target.cpu_us == 0) {
      score.ratio = figure(cpu / large_crowd_us) + " × that of 1,000 workers";
      score.target = "≤ 1.5 × the CPU/task of 1,000 workers";
      score.met = at_most(cpu, 1.5 * large_crowd_us);
    }
    large_crowd_us = cpu;
    context.scores.add(std::move(score));
  }
}

}  // namespace taskmill::bench
