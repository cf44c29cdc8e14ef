// The scheduler alone, with model workers under a virtual clock: the program large_run of tests/sim.
#include <cstdio>
#include <fstream>

#include "bench/cases.hpp"

namespace taskmill::bench {

void simulation_cases(Context& context) {
  const auto program = context.bin + "/large_run";
  if (std::ifstream(program).fail()) {
    std::printf("\nsimulation: %s is not built\n", program.c_str());
    return;
  }
  const auto tasks = context.quick ? 100'000 : 1'000'000;
  const auto workers = context.quick ? 1000 : 10'000;
  const auto what =
      "simulation, " + figure(workers) + " workers, " + figure(tasks) + " tasks with files and categories";
  const Scratch scratch;
  const auto log = scratch.path("log");
  const double start = now_s();
  Program run({program, std::to_string(tasks), std::to_string(workers)}, log);
  const bool ended = run.wait(120);
  const double elapsed = now_s() - start;
  std::ifstream in(log);
  std::string line;
  std::getline(in, line);
  double wall = 0, cpu = 0;
  unsigned long long count = 0, of = 0;
  if (std::sscanf(line.c_str(), "%llu tasks, %llu workers: %lf s, %lf s of CPU", &count, &of, &wall, &cpu) != 4)
    cpu = 0;
  context.table.add({.what = what,
                     .who = "taskmill",
                     .rate = elapsed > 0 && ended ? tasks / elapsed : 0,
                     .cpu_us = cpu * 1e6 / tasks,
                     .note = ended ? line : "did not end in time"});
  context.scores.add({.what = what,
                      .ours = figure(cpu) + " s of one core",
                      .target = "≤ 10 s on one core",
                      .met = ended ? at_most(cpu, 10) : Met::no});
}

}  // namespace taskmill::bench
