// work_queue_bench: our manager and worker, the old ones, and what the machine can do, in one run and one table.
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string_view>
#include <utility>

#include "bench/cases.hpp"
#include "bench/limits.hpp"

namespace {

using namespace taskmill::bench;

constexpr const char* usage =
    R"(usage: work_queue_bench COMMAND [OPTIONS]

Measures our manager and worker, Debian's, and the limits of the machine in the same run.

  manager       our manager against simulated workers of no cost, over real sockets
  connect       many workers connect at the same instant; memory of idle ones
  queue         many queued, finished, or misfitting tasks; memory, submit, a long task list
  latency       first dispatch on an idle manager, round trip of one task
  disturbance   a worker that stops reading, 1,000 results of 1 MB at once
  distance      workers 40 ms away
  worker        our worker under a driver of no cost: `true`, small inputs, outputs
  both          real manager and real worker
  transfer      large and many files to and from simulated workers
  simulation    10,000 workers and 1,000,000 tasks under a virtual clock
  environment   a real environment of 388 MB (bench/make_environment.sh makes it, from PyPI) at its workers:
                time to the first and to the 40th result; not part of all
  all           everything above, then one line per target (about eight minutes)
  compare       the same with one more build of the old programs: --against PREFIX, where
                PREFIX/bin/work_queue_worker, PREFIX/lib/libwork_queue.a and PREFIX/include/cctools are
  curves        how it grows, as SVG files in the directory --svg DIR (default docs/growth)
  limits        only what the machine can do: spawning and the wire

  --quick             smaller crowds and files, one short measurement each (about two minutes)
  --seconds S         length of one measurement (default 1)
  --repeat N          measurements of ours and of the limits, of which the median counts (default 3)
  --against PREFIX    see compare; works with every command
  --only NAME         only this stack: taskmill, debian-9.9, or the last part of PREFIX
  --bin DIR           where our programs are (default: beside this one)
  --json FILE         the rows once more, one JSON object per line
  --write FILE        replace the table of targets in FILE (docs/performance.md)
  --svg DIR           see curves

CPU/task is the time of the program under test, p50 and p99 are of one task at a worker slot, ratio is the rate
relative to the first row of its case. Nothing here is asserted by tests: figures vary between machines, ratios less.
)";

struct Options {
  std::string command, against, only, bin, json, page, svg;
  double seconds = 0;
  int repeat = 0;
  bool quick = false;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) fail(std::string(word) + " needs a value");
      return argv[++i];
    };
    if (word == "--help" || word == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    } else if (word == "--quick")
      options.quick = true;
    else if (word == "--seconds")
      options.seconds = std::atof(value().c_str());
    else if (word == "--repeat")
      options.repeat = std::atoi(value().c_str());
    else if (word == "--write")
      options.page = value();
    else if (word == "--svg")
      options.svg = value();
    else if (word == "--against")
      options.against = value();
    else if (word == "--only")
      options.only = value();
    else if (word == "--bin")
      options.bin = value();
    else if (word == "--json")
      options.json = value();
    else if (options.command.empty() && !word.starts_with("-"))
      options.command = word;
    else
      fail("unknown argument " + std::string(word) + " (try --help)");
  }
  return options;
}

std::string own_directory() {
  char path[PATH_MAX] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) < 0) fail("/proc is not mounted");
  const std::string text = path;
  return text.substr(0, text.rfind('/'));
}

/// 5,000 simulated workers need that many descriptors here and in the manager, which inherits the limit.
void raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void print_limits(Context& context) {
  for (const auto& [workers, cores] : {std::pair{1, 16}, {10, 1}, {1000, 1}}) {
    const auto limit = wire_limit(workers, cores, context.seconds);
    context.table.add(
        {.what = "a minimal manager of the wire, " + std::to_string(workers) + " × " + std::to_string(cores),
         .who = "limit",
         .rate = limit.per_second,
         .cpu_us = limit.cpu_us});
  }
  for (const int at_once : {1, 4, 16}) {
    const auto limit = spawn_limit(at_once, context.seconds);
    context.table.add({.what = "posix_spawn of /bin/true, " + std::to_string(at_once) + " at a time",
                       .who = "limit",
                       .rate = limit.per_second,
                       .p50_ms = limit.p50_s * 1e3,
                       .p99_ms = limit.p99_s * 1e3});
  }
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

/// "2026-05-01 12:00, AMD EPYC, 2 cores, load 0.31": what the figures below were measured on.
std::string describe_machine() {
  const auto stamp = std::time(nullptr);
  char date[32] = {};
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M", std::localtime(&stamp));
  double load = 0;
  ::getloadavg(&load, 1);
  char text[256];
  std::snprintf(text, sizeof text, "%s, %s, %ld cores, load average %.1f at the start", date, processor().c_str(),
                ::sysconf(_SC_NPROCESSORS_ONLN), load);
  return text;
}

bool run_command(const Options& options, Context& context) {
  const auto& command = options.command;
  if (command == "curves") {
    curve_cases(context, options.svg.empty() ? "docs/growth" : options.svg);
    return true;
  }
  struct Entry {
    std::string_view name;
    void (*run)(Context&);
  };
  static constexpr Entry entries[] = {{"manager", manager_cases},   {"connect", connect_cases},
                                      {"queue", queue_cases},       {"latency", latency_cases},
                                      {"worker", worker_cases},     {"both", both_cases},
                                      {"transfer", transfer_cases}, {"disturbance", disturbance_cases},
                                      {"distance", distance_cases}, {"simulation", simulation_cases}};
  const bool all = command == "all" || command == "compare";
  bool known = all;
  if (command == "environment") {
    environment_cases(context);
    return true;
  }
  if (command == "limits") {
    print_limits(context);
    return true;
  }
  for (const auto& entry : entries) {
    if (!all && command != entry.name) continue;
    known = true;
    entry.run(context);
  }
  return known;
}

/// What was typed, without the directories of programs and files.
std::string command_line(int argc, char** argv) {
  std::string text = "work_queue_bench";
  for (int i = 1; i < argc; ++i) text += std::string(" ") + argv[i];
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  if (options.command.empty()) {
    std::fputs(usage, stderr);
    return 2;
  }
  if (options.command == "compare" && options.against.empty()) fail("compare needs --against PREFIX");
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  clean_up_on_exit();
  const Scratch scratch;
  Context context;
  context.bin = options.bin.empty() ? own_directory() : options.bin;
  context.quick = options.quick;
  context.seconds = options.seconds > 0 ? options.seconds : options.quick ? 0.5 : 1;
  context.repeat = options.repeat > 0 ? options.repeat : options.quick ? 1 : 3;
  context.stacks = {our_stack(context.bin), debian_stack(context.bin)};
  if (!options.against.empty()) context.stacks.push_back(foreign_stack(options.against, scratch));
  if (!options.only.empty())
    std::erase_if(context.stacks, [&](const Stack& stack) { return stack.label() != options.only; });
  const auto machine = describe_machine();
  std::printf("%s\n", machine.c_str());
  const double start = now_s();
  if (!run_command(options, context)) {
    std::fputs(usage, stderr);
    fail("unknown command " + options.command);
  }
  if (!context.scores.empty()) std::printf("\n%s", context.scores.markdown().c_str());
  std::printf("\n%.0f s\n", now_s() - start);
  if (!options.json.empty()) context.table.write_json(options.json);
  if (options.page.empty()) return 0;
  const auto measured = "`" + command_line(argc, argv) + "`, " + machine + ". Medians of ";
  if (!context.environment_table.empty()) {
    const auto text = measured + std::to_string(context.repeat) + " runs.\n\n" + context.environment_table;
    const auto problem =
        write_between(options.page, "<!-- environment: begin (work_queue_bench environment --write) -->",
                      "<!-- environment: end -->", text);
    if (!problem.empty()) fail("--write " + problem);
    return 0;
  }
  const auto heading = measured + std::to_string(context.repeat) + " measurements of ours and of the limits.";
  if (const auto problem = context.scores.write(options.page, heading); !problem.empty()) fail("--write " + problem);
  return 0;
}
