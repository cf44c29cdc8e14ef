// Cost of one task in the manager core, from dispatch to the end, without a shell: what matching, bookkeeping and
// learning take, for different numbers of queued tasks, workers and kinds of request.
//
//   matcher_bench                       everything
//   matcher_bench --benchmark_filter=Completion
#include <benchmark/benchmark.h>

#include "manager/core/machine.hpp"

namespace taskmill::manager {
namespace {

struct Core {
  explicit Core(const Config& config = {}) : machine(config, 1, now) {}
  Now now{Time(std::chrono::seconds(1)), WallTime(std::chrono::seconds(1700000000))};
  Machine machine;
  Effects effects;
  std::uint32_t conns = 0;

  void connect(double cores) {
    const ConnId conn(++conns);
    machine.on_connected(conn, "10.0.0.1:1", now);
    protocol::Greeting greeting;
    greeting.version = 11;
    greeting.hostname = "node";
    machine.on_greeting(conn, greeting, now);
    for (const char* name : {"workers", "disk", "memory", "gpus", "cores"}) {
      const std::string_view text(name);
      const double value = text == "workers" ? 1 : text == "gpus" ? 0 : text == "cores" ? cores : cores * 1000;
      machine.on_resource(conn, protocol::ResourceReport{text, value, value, value}, now);
    }
    machine.on_resource_tag(conn, 0, now);
    machine.on_info(conn, "end_of_resource_update", "0", now);
    machine.on_info(conn, "worker-end-time", "0", now);
  }
  static TaskSpec spec(double cores) {
    TaskSpec s;
    s.command = "true";
    s.resources.cores = cores;
    return s;
  }
};

// One completion: the result of the oldest running task arrives, and whatever comes next is sent.
void completions(benchmark::State& state, Core& core) {
  std::vector<std::pair<ConnId, TaskId>> running;
  std::size_t next = 0;
  const auto collect = [&] {
    for (const Action& a : core.effects.actions)
      if (a.kind == ActionKind::send_task) running.emplace_back(a.conn, a.task);
  };
  core.machine.run(core.now, core.effects);
  collect();
  for (auto _ : state) {
    if (next >= running.size()) {
      state.SkipWithError("no task is running");
      return;
    }
    const auto [conn, task] = running[next++];
    core.now.time += Duration(10);
    core.now.wall += Duration(10);
    ResultFacts facts;
    facts.task = task;
    core.machine.on_available_results(conn, core.now);
    core.machine.on_result(conn, facts, core.now);
    core.machine.on_results_end(conn, core.now);
    core.machine.run(core.now, core.effects);
    collect();
    if (next > 100000) {
      running.erase(running.begin(), running.begin() + static_cast<std::ptrdiff_t>(next));
      next = 0;
    }
  }
  state.SetItemsProcessed(state.iterations());
}

constexpr benchmark::IterationCount fixed = 100000;

void BM_CompletionByQueuedTasks(benchmark::State& state) {
  Core core;
  for (int i = 0; i < 10; ++i) core.connect(1);
  (void)core.machine.submit_many(Core::spec(1), static_cast<std::size_t>(state.range(0)) + fixed + 100, core.now);
  completions(state, core);
}
BENCHMARK(BM_CompletionByQueuedTasks)->Arg(1000)->Arg(10000)->Arg(100000)->Arg(1000000)->Iterations(fixed);

void BM_CompletionByWorkers(benchmark::State& state) {
  Core core;
  for (int i = 0; i < state.range(0); ++i) core.connect(1);
  (void)core.machine.submit_many(Core::spec(1), fixed + 100 + static_cast<std::size_t>(state.range(0)), core.now);
  completions(state, core);
}
BENCHMARK(BM_CompletionByWorkers)->Arg(1)->Arg(100)->Arg(1000)->Arg(10000)->Iterations(fixed);

void BM_CompletionByKindsOfRequest(benchmark::State& state) {
  Core core;
  for (int i = 0; i < 100; ++i) core.connect(8);
  const auto kinds = static_cast<std::size_t>(state.range(0));
  for (std::size_t i = 0; i < kinds; ++i) {
    TaskSpec s = Core::spec(1);
    s.resources.memory = static_cast<std::int64_t>(1 + i);
    (void)core.machine.submit_many(s, (fixed + 2000) / kinds + 10, core.now);
  }
  completions(state, core);
}
BENCHMARK(BM_CompletionByKindsOfRequest)->Arg(1)->Arg(20)->Arg(200)->Arg(2000)->Iterations(fixed);

void BM_CompletionBehindUnfittableTasks(benchmark::State& state) {
  Core core;
  for (int i = 0; i < 100; ++i) core.connect(1);
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    TaskSpec s = Core::spec(static_cast<double>(100 + i));
    s.priority = 10;
    (void)core.machine.submit(s, core.now);
  }
  (void)core.machine.submit_many(Core::spec(1), fixed + 200, core.now);
  completions(state, core);
}
BENCHMARK(BM_CompletionBehindUnfittableTasks)->Arg(0)->Arg(10)->Arg(100)->Arg(500)->Iterations(fixed);

}  // namespace
}  // namespace taskmill::manager

BENCHMARK_MAIN();
