#include "tests/perf/core_driver.hpp"

namespace taskmill::perf {

void CoreDriver::connect() {
  const ConnId conn(++conns_);
  machine_.on_connected(conn, "10.0.0.1:1", now_);
  protocol::Greeting greeting;
  greeting.version = 11;
  greeting.hostname = "node";
  machine_.on_greeting(conn, greeting, now_);
  for (const std::string_view name : {"workers", "disk", "memory", "gpus", "cores"}) {
    const double value = name == "workers" ? 1 : name == "gpus" ? 0 : name == "cores" ? 4 : 16000;
    machine_.on_resource(conn, protocol::ResourceReport{name, value, value, value}, now_);
  }
  machine_.on_resource_tag(conn, 0, now_);
  machine_.on_info(conn, "end_of_resource_update", "0", now_);
  machine_.on_info(conn, "worker-end-time", "0", now_);
}

TaskSpec CoreDriver::spec(std::uint32_t number) const {
  TaskSpec task;
  task.command = "./analyze --chunk 17";
  task.category = "step" + std::to_string(number % 20);
  task.resources.cores = 1;
  task.resources.memory = 100;
  task.resources.disk = 100;
  task.inputs.resize(1);
  task.inputs[0].kind = FileKind::buffer;
  task.inputs[0].remote = "settings";
  task.inputs[0].digest = "0123456789abcdef0123456789abcdef";
  static const auto data = std::make_shared<const std::string>("a = 1\n");
  task.inputs[0].data = data;
  task.outputs.resize(1);
  task.outputs[0].local = "out/histogram";
  task.outputs[0].remote = "histogram";
  return task;
}

void CoreDriver::submit(std::size_t count) {
  std::vector<TaskSpec> batch;
  for (std::size_t i = 0; i < count; ++i) batch.push_back(spec(made_++));
  around_("submit", [&] {
    if (!machine_.submit_batch(batch, now_).has_value()) std::abort();
  });
}

void CoreDriver::step() {
  around_("match", [&] { machine_.run(now_, effects_); });
  for (const auto& action : effects_.actions) {
    if (action.kind == ActionKind::stage) machine_.on_staged(action.conn, {6, 6, 0}, now_);
    if (action.kind == ActionKind::fetch) {
      Fetched fetched;
      fetched.task = action.task;
      fetched.attempt = action.attempt;
      fetched.index = action.index;
      machine_.on_fetched(action.conn, fetched, now_);
    }
    if (action.kind != ActionKind::send_task) continue;
    wire_.clear();
    around_("dispatch", [&] {
      if (!machine_.describe(action.conn, action.task, action.attempt, description_) ||
          !protocol::task(wire_, description_, 11))
        std::abort();
      machine_.on_task_sent(action.conn, action.task, action.attempt, now_);
    });
    running_.push_back({action.conn, action.task, action.attempt});
  }
}

void CoreDriver::finish(const Running& running) {
  now_.time += Duration(100);
  now_.wall += Duration(100);
  const std::string lines = "available_results\nresult 0 0 0 1000 " + std::to_string(running.task.value()) + "\nend\n";
  session_.expect_results();
  around_("parse", [&] {
    std::span<const char> rest(lines);
    while (!rest.empty()) {
      auto read = session_.next(rest);
      if (read.failed() || read.consumed == 0) std::abort();
      rest = rest.subspan(read.consumed);
    }
  });
  ResultFacts facts;
  facts.task = running.task;
  facts.execution_us = 1000;
  around_("complete", [&] {
    machine_.on_heard(running.conn, now_);
    machine_.on_available_results(running.conn, now_);
    machine_.on_result(running.conn, facts, now_);
    machine_.on_results_end(running.conn, now_);
  });
}

void CoreDriver::start() {
  // The session is a worker's from its greeting on.
  const std::string greeting = "workqueue 11 node Linux x86_64 8.0.0\n";
  if (session_.next({greeting.data(), greeting.size()}).failed()) std::abort();
  for (int i = 0; i < 50; ++i) connect();
  for (int i = 0; i < 100; ++i) submit(100);
  step();
}

void CoreDriver::run(std::uint32_t tasks) {
  for (std::uint32_t done = 0; done < tasks; ++done) {
    if (next_ >= running_.size()) std::abort();
    finish(running_[next_++]);
    step();  // what it wants fetched …
    step();  // … and then the next task
    if (done % 100 == 99) submit(100);
  }
}

}  // namespace taskmill::perf
