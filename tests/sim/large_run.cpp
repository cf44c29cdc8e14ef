// large_run [TASKS] [WORKERS]: the whole core with many model workers, timed. Prints one line.
//
// Tasks of 20 categories with 40 kinds of request; each names one environment file shared by all, one calibration file
// of ten, and one chunk of a thousand; each has one output. 0.5 % of the workers are lost on the way.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "tests/support/sim_world.hpp"

using namespace taskmill;
using namespace taskmill::testing;

int main(int argc, char** argv) {
  const auto count = static_cast<std::uint32_t>(argc > 1 ? std::atoi(argv[1]) : 1000000);
  SimOptions o;
  o.workers = static_cast<std::uint32_t>(argc > 2 ? std::atoi(argv[2]) : 10000);
  o.cores = 8;
  o.memory = 16000;
  o.disk = 32000;
  o.mixed_sizes = true;
  o.describe = true;
  o.jitter = false;
  o.lose_worker = 0.005 * o.workers / count;
  o.calm_at = std::chrono::hours(10);
  Random random(5);
  const auto source = [&random](std::uint32_t i, SimTask& t) {
    t.spec.command = "./analyze --chunk " + std::to_string(i % 1000);
    t.spec.category = "step" + std::to_string(i % 20);
    t.spec.resources.cores = 1 + (i % 40) / 30;
    t.spec.resources.memory = static_cast<std::int64_t>(200 + 100 * (i % 20));
    t.spec.inputs.resize(3);
    t.spec.inputs[0].source = "env.tar.zst";
    t.spec.inputs[0].remote = "env";
    t.spec.inputs[1].source = "calib" + std::to_string(i % 10);
    t.spec.inputs[1].remote = "calib";
    t.spec.inputs[2].source = "chunk" + std::to_string(i % 1000);
    t.spec.inputs[2].remote = "chunk";
    t.spec.outputs.resize(1);
    t.spec.outputs[0].local = "out/hist" + std::to_string(i);
    t.spec.outputs[0].remote = "hist";
    t.duration = Duration(static_cast<std::int64_t>(random.exponential(60e6)));
  };
  SimWorld world(o, count, source);
  const auto begin = std::chrono::steady_clock::now();
  const SimResult r = world.run();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double cpu = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  std::printf(
      "%u tasks, %u workers: %.2f s, %.2f s of CPU (%.2f us per task), %llu finished, %llu dispatched, %llu staged, "
      "makespan %.0f s, hash %016llx, %.0f MB\n",
      count, o.workers, seconds, cpu, cpu * 1e6 / count, static_cast<unsigned long long>(r.finished),
      static_cast<unsigned long long>(r.dispatched), static_cast<unsigned long long>(r.staged),
      static_cast<double>(r.makespan.count()) / 1e6, static_cast<unsigned long long>(r.hash),
      static_cast<double>(usage.ru_maxrss) / 1024.0);
  for (const auto& problem : r.problems) std::printf("PROBLEM: %s\n", problem.c_str());
  return r.problems.empty() ? 0 : 1;
}
