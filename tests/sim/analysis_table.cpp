// analysis_table: the table of docs/analysis.md. Twenty thousand files, twelve billion events, 1,600 cores of mixed
// speed under a virtual clock, with the real planner; each line is a whole analysis. The same seed gives the same
// table.
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include "tests/sim/analysis_world.hpp"

using namespace taskmill;
using namespace taskmill::testing;

namespace {

bool all_well = true;

void header(const char* title) {
  std::printf("\n%s\n\n", title);
  std::printf(
      "| what | chunks | splits | makespan h | last 5 %% min | useful core-h | wasted core-h | idle core-h | GB at "
      "manager |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
}

void line(const std::string& name, const std::function<void(AnalysisSimOptions&)>& change) {
  AnalysisSimOptions options;
  options.planner.dynamic_chunksize = manager::analysis::ChunkTargets{120, 1500};
  options.stragglers = SimStragglers::replicate;
  change(options);
  const auto r = simulate_analysis(options);
  std::printf("| %s | %llu | %llu | %.2f | %.1f | %.0f | %.0f | %.0f | %.0f |\n", name.c_str(),
              static_cast<unsigned long long>(r.chunks), static_cast<unsigned long long>(r.splits), r.makespan_s / 3600,
              r.tail_s / 60, r.useful_core_s / 3600, r.wasted_core_s / 3600, r.idle_core_s / 3600, r.link_gb);
  if (r.problem.empty() && r.events == options.events) return;
  std::printf("PROBLEM: %s\n", r.problem.c_str());
  all_well = false;
}

void chunk_sizes() {
  header("Chunk size (tree of 20, second copies of stragglers)");
  for (const unsigned size : {50'000U, 100'000U, 200'000U, 400'000U, 1'000'000U}) {
    line("fixed, " + std::to_string(size), [size](AnalysisSimOptions& o) {
      o.planner.dynamic_chunksize.reset();
      o.planner.chunksize = size;
    });
  }
  for (const double target : {30.0, 60.0, 120.0, 300.0}) {
    line("dynamic, " + std::to_string(static_cast<int>(target)) + " s, 1500 MB", [target](AnalysisSimOptions& o) {
      o.planner.dynamic_chunksize = manager::analysis::ChunkTargets{target, 1500};
    });
  }
}

void tree_widths() {
  header("Width of the reduction tree (dynamic chunks of 120 s)");
  for (const unsigned width : {2U, 5U, 10U, 20U, 50U, 100U}) {
    line(std::to_string(width), [width](AnalysisSimOptions& o) { o.planner.treereduction = width; });
  }
}

void stragglers() {
  header("Stragglers (dynamic chunks of 120 s; 0.2 % of the tasks take twenty times as long)");
  line("left alone", [](AnalysisSimOptions& o) { o.stragglers = SimStragglers::leave; });
  line("fast_terminate_workers = 3", [](AnalysisSimOptions& o) { o.stragglers = SimStragglers::terminate; });
  line("replicate", [](AnalysisSimOptions&) {});
}

}  // namespace

int main() {
  const auto begin = std::chrono::steady_clock::now();
  chunk_sizes();
  tree_widths();
  stragglers();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::fprintf(stderr, "\n18 analyses of 12 billion events in %.1f s\n", seconds);
  return all_well ? 0 : 1;
}
