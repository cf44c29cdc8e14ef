// The manager's work per task, path by path, for tests/perf/check_counts.py to count its instructions:
//
//   hot_paths PATH TASKS     runs TASKS tasks through the core and the wire; the work of PATH is done inside the
//                            function measured(), which valgrind is told to collect
//
//   parse      the lines of one result, from bytes to messages
//   complete   the same as facts, into the machine
//   match      the runs of the machine: what is fetched, and what the freed worker gets next
//   dispatch   the task's description, packed for the wire
//   submit     tasks in batches of 100
#include <cstdio>
#include <cstdlib>

#include "tests/perf/core_driver.hpp"

/// Has a name that valgrind finds, and is never inlined.
extern "C" [[gnu::noinline]] void measured(const std::function<void()>& work) {
  work();
  asm volatile("" ::: "memory");
}

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: hot_paths parse|complete|match|dispatch|submit TASKS\n");
    return 2;
  }
  const std::string_view path = argv[1];
  taskmill::perf::CoreDriver driver(
      [path](std::string_view part, const std::function<void()>& work) { part == path ? measured(work) : work(); });
  driver.start();
  driver.run(static_cast<std::uint32_t>(std::atoi(argv[2])));
  return 0;
}
