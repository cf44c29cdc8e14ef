// work_queue_bench: our manager and worker, the old ones, and what the machine can do, in one run and one table.
#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

#include "bench/cases.hpp"

namespace {

using namespace taskmill::bench;

constexpr const char* usage =
    R"(usage: work_queue_bench COMMAND [OPTIONS]

Measures our manager and worker, Debian's, and the limits of the machine in the same run.

  manager       our manager against simulated workers of no cost, over real sockets
  connect       many workers connect at the same instant
  queue-depth   CPU per task and memory with 1,000 to 1,000,000 tasks queued
  disturbance   tasks that fit nowhere, a worker that stops reading, 40 ms of round-trip time
  worker        our worker under a driver of no cost: `true`, small inputs, outputs, round trip
  both          real manager and real worker
  transfer      large and many files to and from simulated workers
  limits        only the limits: spawning, the wire, sendfile
  all           everything above, about ten minutes
  compare       everything above with one more build of the old programs: --against PREFIX, where
                PREFIX/bin/work_queue_worker, PREFIX/lib/libwork_queue.a and PREFIX/include/cctools are

  --quick             smaller crowds and files, one second per measurement
  --seconds S         length of one measurement (default 3)
  --against PREFIX    see compare
  --only NAME         only this stack: taskmill, debian-9.9, or the last part of PREFIX
  --bin DIR           where our programs are (default: beside this one)
  --json FILE         the rows once more, one JSON object per line

CPU/task is the time of the program under test, p50 and p99 are of one task at a worker slot, ratio is the rate
relative to the first row of its case. Nothing here is asserted by tests: figures vary between machines, ratios less.
)";

struct Options {
  std::string command, against, only, bin, json;
  double seconds = 0;
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
  Context only_limits;
  only_limits.seconds = context.seconds;
  only_limits.quick = context.quick;
  manager_cases(only_limits);
  both_cases(only_limits);
  transfer_cases(only_limits);
}

void describe_machine() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const auto stamp = std::time(nullptr);
  char date[32] = {};
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M", std::localtime(&stamp));
  std::printf("%s, %s, %ld cores\n", date, host, ::sysconf(_SC_NPROCESSORS_ONLN));
}

bool run_command(const std::string& command, Context& context) {
  struct Entry {
    std::string_view name;
    void (*run)(Context&);
  };
  static constexpr Entry entries[] = {{"manager", manager_cases},         {"connect", connect_cases},
                                      {"queue-depth", queue_depth_cases}, {"disturbance", disturbance_cases},
                                      {"worker", worker_cases},           {"both", both_cases},
                                      {"transfer", transfer_cases}};
  const bool all = command == "all" || command == "compare";
  bool known = all;
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
  const auto bin = options.bin.empty() ? own_directory() : options.bin;
  Scratch scratch;
  Context context;
  context.quick = options.quick;
  context.seconds = options.seconds > 0 ? options.seconds : options.quick ? 1 : 3;
  context.stacks = {our_stack(bin), debian_stack(bin)};
  if (!options.against.empty()) context.stacks.push_back(foreign_stack(options.against, scratch));
  if (!options.only.empty())
    std::erase_if(context.stacks, [&](const Stack& stack) { return stack.label() != options.only; });
  describe_machine();
  if (!run_command(options.command, context)) {
    std::fputs(usage, stderr);
    fail("unknown command " + options.command);
  }
  if (!options.json.empty()) context.table.write_json(options.json);
  return 0;
}
