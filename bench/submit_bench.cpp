// Cost of submitting, and bytes per queued task.
#include <benchmark/benchmark.h>

#include <optional>

#include "manager/core/machine.hpp"

namespace taskmill::manager {
namespace {

const Now now{Time(std::chrono::seconds(1)), WallTime(std::chrono::seconds(1700000000))};

TaskSpec spec_of(int kind, std::uint32_t i) {
  TaskSpec spec;
  spec.command = "./analyze --chunk 17 --output histograms.root";
  spec.resources.cores = 1;
  if (kind >= 1) spec.command = "./analyze --chunk " + std::to_string(i) + " --output histograms.root";
  if (kind >= 2) {
    InputSpec input;
    input.source = "environment.tar.zst";
    input.remote = "environment";
    spec.inputs.push_back(input);
    spec.outputs.push_back({"out/histograms" + std::to_string(i) + ".root", "histograms.root"});
  }
  return spec;
}

// Kind 0: all equal; 1: every command differs; 2: also a shared input and an output of its own.
void BM_SubmitBatch(benchmark::State& state) {
  const auto kind = static_cast<int>(state.range(0));
  const auto count = static_cast<std::uint32_t>(state.range(1));
  std::vector<TaskSpec> specs;
  for (std::uint32_t i = 0; i < count; ++i) specs.push_back(spec_of(kind, i));
  std::size_t bytes = 0;
  std::optional<Machine> machine;
  for (auto _ : state) {
    state.PauseTiming();
    machine.emplace(Config{}, 1, now);
    const std::size_t before = machine->memory_bytes();
    state.ResumeTiming();
    if (!machine->submit_batch(specs, now)) state.SkipWithError("refused");
    state.PauseTiming();
    bytes = machine->memory_bytes() - before;
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * count);
  state.counters["bytes_per_task"] = static_cast<double>(bytes) / count;
  state.counters["ns_per_task"] = benchmark::Counter(static_cast<double>(state.iterations()) * count * 1e-9,
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(BM_SubmitBatch)
    ->ArgNames({"kind", "tasks"})
    ->Args({0, 1000000})
    ->Args({1, 1000000})
    ->Args({2, 1000000})
    ->Unit(benchmark::kMillisecond);

void BM_SubmitMany(benchmark::State& state) {
  for (auto _ : state) {
    Machine machine(Config{}, 1, now);
    if (!machine.submit_many(spec_of(0, 0), 1000000, now)) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(state.iterations() * 1000000);
}
BENCHMARK(BM_SubmitMany)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace taskmill::manager

BENCHMARK_MAIN();
