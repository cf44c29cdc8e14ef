// The cases of work_queue_bench. Each runs every stack that can take part, adds rows to the table (all that was
// measured) and lines to the scoreboard (what was asked for), and is bounded in time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/scoreboard.hpp"
#include "bench/stacks.hpp"
#include "bench/table.hpp"

namespace taskmill::bench {

struct Context {
  std::vector<Stack> stacks;
  std::string bin;     ///< where our programs are
  double seconds = 1;  ///< length of one measurement
  int repeat = 3;      ///< measurements of ours and of limits; the median counts
  bool quick = false;  ///< smaller crowds and files, one measurement each
  Table table;
  Scoreboard scores;
  std::string environment_table;  ///< Markdown; empty: those cases did not run
};

/// Rows of one case, by stack.
struct Rows {
  std::optional<Row> ours;
  std::vector<Row> peers;
  /// "debian-9.9 3,900 tasks/s, 242 us": peers as the scoreboard shows them.
  [[nodiscard]] std::string peer_text(const std::function<std::string(const Row&)>& text) const;
  [[nodiscard]] const Row* best_peer() const;  ///< the highest rate
};

/// Measures ours `context.repeat` times (the median rate counts), old ones once, and adds the rows to the table.
Rows measure_all(Context& context, const std::string& what, const std::function<bool(const Stack&)>& takes_part,
                 const std::function<Row(const Stack&)>& measure);
/// The row with the middle rate of several measurements; its note tells how far the others were.
Row median_row(std::vector<Row> rows);
double median(std::vector<double> values);
/// "3,900 tasks/s, 242 us".
std::string rate_and_cpu(const Row& row);
std::string rate_text(const Row& row);

void manager_cases(Context& context);      ///< simulated workers of no cost
void connect_cases(Context& context);      ///< everybody at the same instant; memory of idle connections
void queue_cases(Context& context);        ///< many queued, many finished, many that fit nowhere; memory; submit
void latency_cases(Context& context);      ///< first dispatch, round trip
void disturbance_cases(Context& context);  ///< a worker that stops reading, 1,000 results at once
void distance_cases(Context& context);     ///< 40 ms of round-trip time
void worker_cases(Context& context);       ///< a real worker under a driver of no cost
void both_cases(Context& context);         ///< real manager, real worker
void transfer_cases(Context& context);     ///< large and many files through the manager
void curve_cases(Context& context, const std::string& directory);  ///< how it grows, as SVG files
void environment_cases(Context& context);  ///< a real environment, brought to workers in every way
void simulation_cases(Context& context);   ///< the core alone under a virtual clock

}  // namespace taskmill::bench
