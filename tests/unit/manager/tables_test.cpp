// The tables under the machine: specs, files, names, refused descriptions, tuning, the monitor's command line, memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "common/base/random.hpp"
#include "manager/core/capacity.hpp"
#include "manager/core/flat_map.hpp"
#include "manager/core/md5.hpp"
#include "manager/core/monitor_command.hpp"
#include "manager/core/spec_table.hpp"
#include "tests/support/machine_driver.hpp"

namespace taskmill::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Md5, KnownDigests) {
  EXPECT_EQ(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(md5_hex("buffer"), "7f2db423a49b305459147332fb01cf87");
  EXPECT_EQ(md5_hex(std::string(119, 'a')).size(), 32U);
  EXPECT_EQ(md5_hex("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a");
}

TEST(CacheNames, KeepTheShapeThatOldToolsKnow) {
  FileTable files;
  const auto name = [&files](const InputSpec& input, std::uint32_t number = 0) {
    std::string out;
    files.name(files.acquire(input), number, out);
    return out;
  };
  EXPECT_EQ(name(input_file("/data/in put.txt", "x")), "file-0-" + md5_hex("/data/in put.txt") + "-in_put.txt");
  EXPECT_EQ(name(input_file("dir/", "x")), "file-0-" + md5_hex("dir/") + "-dir");
  InputSpec url;
  url.kind = FileKind::url;
  url.source = "http://x/y?z";
  EXPECT_EQ(name(url), "url-0-" + md5_hex("http://x/y?z"));
  url.kind = FileKind::command;
  url.source = "curl a > %%";
  EXPECT_EQ(name(url), "cmd-0-" + md5_hex("curl a > %%"));
  InputSpec piece = input_file("big", "p");
  piece.kind = FileKind::piece;
  piece.first = 10;
  piece.last = 19;
  EXPECT_EQ(name(piece), "piece-0-" + md5_hex("big") + "-big-10-10");
  EXPECT_EQ(name(input_file("f", "x", false), 17), "file-17-" + md5_hex("f") + "-f");
}

TEST(SpecTable, EqualSpecsAreStoredOnceAndComeBackWhole) {
  FileTable files;
  SpecTable specs(files);
  TaskSpec spec = request(2, 300, 40, 1);
  spec.command = "run $A";
  spec.tag = "t";
  spec.inputs.push_back(input_file("in", "in"));
  InputSpec buffer;
  buffer.kind = FileKind::buffer;
  buffer.data = std::make_shared<const std::string>("text");
  buffer.remote = "b";
  spec.inputs.push_back(buffer);
  spec.outputs.push_back({"out", "o", OutputWhen::on_failure, true, true});
  spec.environment = {{"A", "1=2"}, {"B", std::nullopt}, {"C", ""}};
  spec.max_retries = 3;
  spec.max_running_time = std::chrono::seconds(5);
  spec.end_time = WallTime(Duration(99));
  spec.may_run_twice = false;
  const SpecId a = specs.acquire(spec, 0, 0, 0, 1);
  const SpecId b = specs.acquire(spec, 0, 0, 0, 1);
  EXPECT_EQ(a, b);
  const TaskSpec back = specs.unpack(a);
  EXPECT_EQ(back.command, spec.command);
  EXPECT_EQ(back.tag, spec.tag);
  EXPECT_EQ(back.environment, spec.environment);
  EXPECT_EQ(back.outputs, spec.outputs);
  EXPECT_EQ(back.inputs[0], spec.inputs[0]);
  EXPECT_EQ(*back.inputs[1].data, "text");
  EXPECT_EQ(back.resources, spec.resources);
  EXPECT_EQ(back.max_retries, 3);
  EXPECT_EQ(back.max_running_time, spec.max_running_time);
  EXPECT_EQ(back.end_time, spec.end_time);
  EXPECT_FALSE(back.may_run_twice);
  spec.command = "other";
  const SpecId c = specs.acquire(spec, 0, 0, 0, 1);
  EXPECT_NE(a, c);
  specs.release(a);
  specs.release(b);
  specs.release(c);
  EXPECT_EQ(specs.live(), 0U);
  EXPECT_EQ(files.live(), 0U);
}

TEST(FlatMap, AgreesWithAnOrdinaryMapUnderRandomUse) {
  taskmill::Random random(4);
  FlatMap<std::uint32_t> map;
  std::map<std::uint32_t, std::uint32_t> model;
  for (int i = 0; i < 20000; ++i) {
    const auto key = static_cast<std::uint32_t>(random.below(300));
    if (random.below(2) == 0) {
      const auto value = static_cast<std::uint32_t>(random.next());
      map.insert(key) = value;
      model[key] = value;
    } else {
      EXPECT_EQ(map.erase(key), model.erase(key) > 0);
    }
    ASSERT_EQ(map.size(), model.size());
  }
  for (const auto& [key, value] : model) EXPECT_EQ(*map.find(key), value);
}

struct Refused {
  const char* what;
  void (*spoil)(TaskSpec&);
  const char* says;
};
class RefusedSpec : public ::testing::TestWithParam<Refused> {};
void PrintTo(const Refused& r, std::ostream* out) { *out << r.what; }

TEST_P(RefusedSpec, SaysWhatIsWrong) {
  TaskSpec spec = request(1);
  spec.inputs.push_back(input_file("in", "in"));
  spec.outputs.push_back({"out", "out"});
  EXPECT_FALSE(Machine::check_spec(spec).has_value());
  GetParam().spoil(spec);
  const auto error = Machine::check_spec(spec);
  ASSERT_TRUE(error.has_value());
  EXPECT_THAT(error->text, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedSpec,
    ::testing::Values(
        Refused{"no command", [](TaskSpec& s) { s.command.clear(); }, "command: is missing"},
        Refused{"absolute input", [](TaskSpec& s) { s.inputs[0].remote = "/etc/x"; }, "absolute"},
        Refused{"input leaves", [](TaskSpec& s) { s.inputs[0].remote = "a/../../b"; }, "leaves the sandbox"},
        Refused{"output leaves", [](TaskSpec& s) { s.outputs[0].remote = ".."; }, "leaves the sandbox"},
        Refused{"empty source", [](TaskSpec& s) { s.inputs[0].source.clear(); }, "no source"},
        Refused{"piece backwards",
                [](TaskSpec& s) {
                  s.inputs[0].kind = FileKind::piece;
                  s.inputs[0].first = 5;
                  s.inputs[0].last = 4;
                },
                "last byte"},
        Refused{"buffer empty", [](TaskSpec& s) { s.inputs[0].kind = FileKind::buffer; }, "without data"},
        Refused{"command without %%",
                [](TaskSpec& s) {
                  s.inputs[0].kind = FileKind::command;
                  s.inputs[0].source = "date";
                },
                "%%"},
        Refused{"inputs clash", [](TaskSpec& s) { s.inputs.push_back(input_file("other", "in")); }, "two inputs"},
        Refused{"outputs clash",
                [](TaskSpec& s) {
                  s.outputs.push_back({"out", "other"});
                },
                "two outputs"},
        Refused{"input is output",
                [](TaskSpec& s) {
                  s.outputs.push_back({"o2", "in"});
                },
                "both an input and an output"},
        Refused{"priority", [](TaskSpec& s) { s.priority = std::numeric_limits<double>::quiet_NaN(); }, "priority"},
        Refused{"category", [](TaskSpec& s) { s.category = "two words"; }, "one word"},
        Refused{"variable",
                [](TaskSpec& s) {
                  s.environment = {{"A=B", "1"}};
                },
                "not a name"},
        Refused{"feature", [](TaskSpec& s) { s.features = {""}; }, "feature"},
        Refused{"output path", [](TaskSpec& s) { s.outputs[0].local.clear(); }, "no local path"}));

TEST(SubmitBatch, IsAllOrNothingAndNamesTheTask) {
  MachineDriver d;
  std::vector<TaskSpec> specs(3, request(1));
  specs[2].command.clear();
  const auto refused = d.machine.submit_batch(specs, d.now);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().text, HasSubstr("task 3 of 3"));
  EXPECT_TRUE(d.machine.empty());
  specs[2] = request(1);
  EXPECT_EQ(d.machine.submit_batch(specs, d.now).value(), TaskId(1));
  EXPECT_EQ(d.machine.stats().tasks_waiting, 3);
}

TEST(Tune, KnowsTheOldNamesAndRefusesOthers) {
  Config config;
  std::string problem;
  EXPECT_TRUE(tune(config, "force-proportional-resources", 0));
  EXPECT_FALSE(config.proportional_resources);
  EXPECT_TRUE(tune(config, "asynchrony-multiplier", 0.5));
  EXPECT_EQ(config.resource_submit_multiplier, 1);
  EXPECT_TRUE(tune(config, "keepalive-interval", 300));
  EXPECT_EQ(config.keepalive_interval, Duration(std::chrono::seconds(300)));
  EXPECT_FALSE(tune(config, "hungry-minimun", 5, &problem));
  EXPECT_THAT(problem, HasSubstr("hungry-minimun"));
  EXPECT_FALSE(tune(config, "hungry-minimum", std::numeric_limits<double>::infinity(), &problem));
}

TEST(MonitorCommand, IsTheObservedLine) {
  Monitoring m;
  m.watchdog = true;
  MonitoredTask task;
  task.id = 5;
  task.command = "sleep 30";
  task.category = "default";
  task.box = {1000, 1000, 1000, 0};
  task.wall_time_s = 2;
  std::string out;
  monitor_command(m, task, out);
  EXPECT_EQ(
      out,
      "./cctools-monitor --no-pprint --with-output-files=cctools-monitor -L 'wall_time: 2.000000' -L 'memory: 1000' "
      "-L 'disk: 1000' -L 'gpus: 0' -L 'cores: 1.000' -V 'task_id: 5' -V 'category: default' --sh \"sleep 30\"");
}

TEST(MonitorCommand, QuotesCommandAndCategoryCompletely) {
  std::string out;
  MonitoredTask task;
  task.command = "echo \"$HOME\" `x` \\";
  task.category = "it's";
  monitor_command({}, task, out);
  EXPECT_THAT(out, HasSubstr("--sh \"echo \\\"\\$HOME\\\" \\`x\\` \\\\\""));
  EXPECT_THAT(out, HasSubstr("-V 'category: it'\\''s'"));
  EXPECT_THAT(out, HasSubstr("--measure-only"));
}

TEST(Monitoring, LegacyWorkersGetTheWrapperAndTheSummaryDecides) {
  Config config;
  config.monitoring.enabled = config.monitoring.watchdog = true;
  config.monitoring.program = "/usr/bin/resource_monitor";
  config.monitoring.process_id = 42;
  MachineDriver d(config);
  d.answer_fetches = false;
  d.connect();
  TaskSpec spec = request(1);
  spec.outputs.push_back({"out", "out"});
  const TaskId task = d.submit(spec);
  d.step();
  EXPECT_THAT(*d.sent[0].description.command, HasSubstr("./cctools-monitor"));
  EXPECT_EQ(d.sent[0].description.inputs.back().sandbox_name, "cctools-monitor");
  EXPECT_EQ(d.sent[0].description.outputs.back().sandbox_name, "cctools-monitor.summary");
  ResultFacts facts;
  facts.exit_code = 2;
  d.finish(task, facts);
  ASSERT_EQ(d.pending_fetches.size(), 1U);  // of an exhausted task only the summary
  const Action& a = d.pending_fetches[0];
  EXPECT_EQ(a.index, summary_output);
  // Asked for by the very name under which the worker was told to keep it.
  EXPECT_THAT(d.wire, Contains(HasSubstr("get " + d.sent[0].description.outputs.back().cache_name)));
  Fetched f;
  f.task = task;
  f.attempt = a.attempt;
  f.index = a.index;
  f.measured.emplace();
  f.measured->memory = 5000;
  f.measured->cores = 1.05;
  f.measured->limits_exceeded.memory = 1000;
  f.limit = "memory: 5000 MB used, 1000 MB allowed";
  f.exit_status = 143;
  d.machine.on_fetched(a.conn, f, d.now);
  d.step();
  EXPECT_EQ(d.outcomes[task].result, protocol::ResultCode::resource_exhaustion);
  EXPECT_EQ(d.outcomes[task].return_status, 143);
  EXPECT_EQ(d.outcomes[task].measured.cores, 1);
  EXPECT_EQ(d.outcomes[task].message, "memory: 5000 MB used, 1000 MB allowed");
}

TEST(RunningTime, GoesOutInTheUnitThatOldWorkersUnderstand) {
  MachineDriver d;
  d.connect();
  TaskSpec spec = request(1);
  spec.max_running_time = std::chrono::milliseconds(6500);
  spec.environment = {{"A", "1"}, {"B", std::nullopt}};
  d.submit(spec);
  d.step();
  EXPECT_EQ(d.sent[0].description.wall_time, 7e6);
  EXPECT_THAT(d.sent[0].description.env, ElementsAre("A=1", "B"));
}

TEST(RunningTime, GoesOutInSecondsToNativeWorkers) {
  MachineDriver d;
  const ConnId native = d.connect();
  d.machine.on_native(native, {.measures = true, .enforces = false}, d.now);
  TaskSpec spec = request(1);
  spec.max_running_time = std::chrono::milliseconds(6500);
  d.submit(spec);
  d.step();
  EXPECT_EQ(d.sent[0].description.wall_time, 7);
}

TEST(Capacity, HasTheOldDefaultsAndFollowsReports) {
  Capacity c;
  EXPECT_EQ(c.figures().tasks, 10);
  EXPECT_EQ(c.figures().memory, 5120);
  for (int i = 0; i < 100; ++i) c.add({1000, 100000, 1000, {1000, 500, 500, 0}});
  EXPECT_EQ(c.figures().tasks, 50);
  EXPECT_EQ(c.figures().cores, 50);
  EXPECT_EQ(c.figures().memory, 25000);
  EXPECT_EQ(c.figures().instantaneous, 50);
}

TEST(WorkersSummary, RoundsDownToAGridOfEighths) {
  MachineDriver d;
  d.connect({.cores = 4, .memory = 3000, .disk = 3100});
  d.connect({.cores = 4, .memory = 3000, .disk = 3100});
  d.connect({.cores = 8, .memory = 5000, .disk = 1000});
  const auto rows = d.machine.workers_summary();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0], (WorkerSummary{2, 4, 2816, 3072, 0}));
  EXPECT_EQ(rows[1], (WorkerSummary{1, 8, 4608, 960, 0}));
}

TEST(Memory, QueuedTasksStaySmall) {
  const std::uint32_t count = 100000;
  MachineDriver shared;
  const std::size_t before = shared.machine.memory_bytes();
  ASSERT_TRUE(shared.machine.submit_many(request(1), count, shared.now).has_value());
  EXPECT_LT((shared.machine.memory_bytes() - before) / count, 128U);
  MachineDriver different;
  TaskSpec spec = request(1);
  for (std::uint32_t i = 0; i < count; ++i) {
    spec.command = "./analyze --input /store/data/run" + std::to_string(i) + ".root --output histograms";
    ASSERT_TRUE(different.machine.submit(spec, different.now).has_value());
  }
  EXPECT_LT((different.machine.memory_bytes() - before) / count, 450U);
}

TEST(Memory, FinishedTasksLeaveNothing) {
  MachineDriver d;
  d.connect({.cores = 1});
  std::size_t after_first = 0;
  for (int i = 0; i < 3000; ++i) {
    TaskSpec spec = request(1);
    spec.command = "true " + std::to_string(i);
    const TaskId task = d.submit(spec);
    d.machine.run(d.now, d.effects);
    ResultFacts facts;
    facts.task = task;
    d.machine.on_result(ConnId(1), facts, d.now);
    d.machine.run(d.now, d.effects);
    if (i == 500) after_first = d.machine.memory_bytes();
  }
  EXPECT_EQ(d.machine.stats().tasks_done, 3000);
  EXPECT_LE(d.machine.memory_bytes(), after_first + 4096);
}

}  // namespace
}  // namespace taskmill::testing
