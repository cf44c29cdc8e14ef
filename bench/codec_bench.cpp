// Cost of the wire: per line read by either end, per task written, and how many allocations that takes.
#include <benchmark/benchmark.h>

#include "protocol/format.hpp"
#include "protocol/manager_session.hpp"
#include "protocol/worker_session.hpp"
#include "tests/perf/counted_allocations.hpp"

namespace {

using namespace taskmill::protocol;

// Feeds `stream` again and again, skipping bodies as a connection would. Returns the messages of one round.
template <class Session>
std::size_t read_all(Session& session, std::string_view stream) {
  std::size_t messages = 0;
  std::span<const char> input(stream);
  while (!input.empty()) {
    if (const auto left = session.body_left(); left > 0) {
      const auto count = std::min<std::size_t>(left, input.size());
      session.body_taken(count);
      input = input.subspan(count);
      continue;
    }
    auto step = session.next(input);
    if (step.failed()) std::abort();
    input = input.subspan(step.consumed);
    messages += step.message ? 1 : 0;
    benchmark::DoNotOptimize(step);
  }
  return messages;
}

class Count {
 public:
  explicit Count(benchmark::State& state) : state_(state), before_(allocations.load()) {}
  void finish(std::size_t items, const char* unit) const {
    const auto total = static_cast<double>(items);
    state_.SetItemsProcessed(static_cast<std::int64_t>(items));
    state_.counters[std::string("time/") + unit] =
        benchmark::Counter(total, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state_.counters[std::string("allocs/") + unit] = static_cast<double>(allocations.load() - before_) / total;
  }

 private:
  benchmark::State& state_;
  std::uint64_t before_;
};

void manager_reads_async_lines(benchmark::State& state) {
  std::string stream;
  for (int i = 0; i < 100; ++i) {
    alive(stream);
    resource(stream, "cores", 16, 16, 16);
    info(stream, "tasks_running", 12);
    available_results(stream);
  }
  ManagerSession session({});
  read_all(session, stream);
  const Count count(state);
  std::size_t lines = 0;
  for (auto _ : state) lines += read_all(session, stream);
  count.finish(lines, "line");
}
BENCHMARK(manager_reads_async_lines);

// What one finished task without outputs costs the manager: the results exchange.
void manager_reads_results(benchmark::State& state) {
  std::string stream;
  for (int i = 1; i <= 100; ++i) {
    result(stream, 0, 0, 30, 48'240, i);
    stream += "hello data\nbuffer databar baz\n";
    info(stream, "tasks_running", 3);
  }
  end(stream);
  ManagerSession session({});
  const Count count(state);
  std::size_t lines = 0;
  for (auto _ : state) {
    session.expect_results();
    lines += read_all(session, stream);
  }
  count.finish(lines, "line");
}
BENCHMARK(manager_reads_results);

void manager_reads_fetched_outputs(benchmark::State& state) {
  const std::string name = "file-8-00ba29caee102c5fd3d95cb0a433d523-out.txt";
  std::string stream;
  for (int i = 0; i < 98; ++i) file_item(stream, name + "/part/histogram.root", 0);
  end(stream);
  ManagerSession session({});
  const Count count(state);
  std::size_t lines = 0;
  for (auto _ : state) {
    session.expect_get(name);
    lines += read_all(session, stream);
  }
  count.finish(lines, "line");
}
BENCHMARK(manager_reads_fetched_outputs);

void worker_reads_control_lines(benchmark::State& state) {
  std::string stream;
  for (int i = 1; i <= 100; ++i) {
    check(stream);
    send_results(stream);
    get(stream, "file-8-00ba29caee102c5fd3d95cb0a433d523-out.txt");
    kill(stream, i);
    unlink(stream, "file-2-1e28f14990fb38332a310126990a7f0e-empty.txt");
  }
  WorkerSession session({});
  read_all(session, stream);
  const Count count(state);
  std::size_t lines = 0;
  for (auto _ : state) lines += read_all(session, stream);
  count.finish(lines, "line");
}
BENCHMARK(worker_reads_control_lines);

TaskDescription typical_task() {
  TaskDescription task;
  task.task_id = 123'456;
  task.command = "./process_chunk.py --begin 120000 --end 130000 events.root histogram.json";
  task.category = "processing";
  task.cores = 1;
  task.gpus = 0;
  task.memory = 2000;
  task.disk = 4000;
  task.env = {"OMP_NUM_THREADS=1"};
  task.inputs = {{"file-0-a5e54d1fd7bb69a228ef0dcd2431367e-process_chunk.py", "process_chunk.py", 1, false},
                 {"file-0-7f2db423a49b305459147332fb01cf87-events.root", "events.root", 1, false}};
  task.outputs = {{"file-9-00ba29caee102c5fd3d95cb0a433d523-histogram.json", "histogram.json", 0}};
  return task;
}

void manager_writes_a_task(benchmark::State& state) {
  const auto description = typical_task();
  std::string out;
  if (!task(out, description, 11)) std::abort();
  const Count count(state);
  std::size_t tasks = 0;
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(task(out, description, 11));
    ++tasks;
  }
  count.finish(tasks, "task");
}
BENCHMARK(manager_writes_a_task);

void worker_reads_a_task(benchmark::State& state) {
  std::string stream;
  for (int i = 0; i < 100; ++i) {
    if (!task(stream, typical_task(), 11)) std::abort();
  }
  WorkerSession session({});
  const Count count(state);
  std::size_t tasks = 0;
  for (auto _ : state) tasks += read_all(session, stream);
  count.finish(tasks, "task");
}
BENCHMARK(worker_reads_a_task);

}  // namespace

BENCHMARK_MAIN();
