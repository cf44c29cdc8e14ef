#include <gtest/gtest.h>

#include "common/catalog/core/reader.hpp"
#include "tools/factory/config.hpp"
#include "tools/factory/sizing.hpp"
#include "tools/factory/submit_plan.hpp"
#include "tools/factory/worker_command.hpp"
#include "tools/status/foremen.hpp"
#include "tools/support/array_splitter.hpp"
#include "tools/support/table.hpp"

namespace taskmill::tools {
namespace {

using catalog::read_value;
using catalog::Value;

// --- tables: the text printed by Debian's work_queue_status for the same objects ---

TEST(Table, QueueAtThreeWidths) {
  const auto record = *read_value(
      R"({"project":"spec-demo with a long name","port":19401,"tasks_waiting":6,"tasks_running":0,"tasks_complete":123456789,"workers":0})");
  const Table narrow(queue_columns(), 60);
  EXPECT_EQ(narrow.header(), "PROJECT            HOST                   PORT WAITING RUNNING COMPLETE \n");
  EXPECT_EQ(narrow.row(record), "spec-demo with a l ???                   19401       6       0 23456789 \n");
  const Table usual(queue_columns(), 80);
  EXPECT_EQ(usual.header(), "PROJECT            HOST                   PORT WAITING RUNNING COMPLETE WORKERS \n");
  const Table wide(queue_columns(), 132);
  EXPECT_EQ(wide.row(record),
            "spec-demo with a long name                   ???                                             19401       "
            "6       0 23456789       0 \n");
}

TEST(Table, TasksDropTheLastColumnAt80) {
  const Table table(task_columns(), 80);
  EXPECT_EQ(table.header(), "ID   STATE    PRIORITY HOST       COMMAND            CORES    MEMORY   DISK     \n");
  EXPECT_EQ(
      table.row(*read_value(
          R"({"taskid":3,"state":"WAITING","priority":"3","command":"sleep 30 && echo a long command","cores":2,"memory":2000,"disk":500})")),
      "3    WAITING         3 ???        sleep 30 && echo a 2        2000     500      \n");
}

TEST(Table, WorkersAndCategoriesAndResources) {
  EXPECT_EQ(Table(worker_columns(), 80).header(),
            "HOST       ADDRESS         COMPLETED RUNNING CORE_U CORE_A MEM_U MEM_A DISK_U DISK_A \n");
  EXPECT_EQ(Table(category_columns(), 80).header(),
            "CATEGORY     DISPATCHED    WAITING  FIT-WORKERS  MAX-CORES MAX-MEMORY   MAX-DISK \n");
  EXPECT_EQ(
      Table(resource_columns(), 80).row(*read_value(R"({"project":"p","memory_total":5000,"memory_inuse":1023})")),
      "p                              ???    ???        4        0       ???       ??? \n");
}

TEST(Table, CellsCannotSteerTheTerminal) {
  EXPECT_EQ(Table(task_columns(), 80).row(*read_value(R"({"command":"a\u001b[2J\nb"})")).find('\x1b'),
            std::string::npos);
}

TEST(Table, ColumnsComeFromTheEnvironmentThenTheTerminal) {
  EXPECT_EQ(choose_columns("132", 50), 132);
  EXPECT_EQ(choose_columns("9", 50), 50);
  EXPECT_EQ(choose_columns("x", 0), 80);
  EXPECT_EQ(choose_columns(nullptr, 0), 80);
}

TEST(ArraySplitter, EverySplitGivesTheSameElements) {
  const std::string text = R"( [{"a":"]},\"{","b":[1,2]}, {"c":{}} ,7])";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    std::vector<std::string> found;
    ArraySplitter splitter([&](std::string_view element) {
      found.emplace_back(element);
      return true;
    });
    ASSERT_TRUE(splitter.feed(text.substr(0, cut)) && splitter.feed(text.substr(cut)));
    EXPECT_TRUE(splitter.done());
    EXPECT_EQ(found, (std::vector<std::string>{R"({"a":"]},\"{","b":[1,2]})", R"({"c":{}})", "7"})) << cut;
  }
}

TEST(ArraySplitter, StopsWhenToldAndRefusesOtherText) {
  int seen = 0;
  ArraySplitter splitter([&](std::string_view) { return ++seen < 2; });
  EXPECT_TRUE(splitter.feed("[1,2,3,4]"));
  EXPECT_TRUE(splitter.done());
  EXPECT_EQ(seen, 2);
  EXPECT_FALSE(ArraySplitter([](std::string_view) { return true; }).feed("auth password"));
  EXPECT_FALSE(ArraySplitter([](std::string_view) { return true; }).feed("[}"));
}

TEST(Foremen, StandBelowTheirManagers) {
  std::vector<Value> records;
  for (const auto* text : {R"({"project":"f2","address":"1","name":"h","port":3,"my_manager":"1:2"})",
                           R"({"project":"m","address":"1","name":"h","port":1})",
                           R"({"project":"f","address":"1","name":"h","port":2,"my_manager":"h:1"})",
                           R"({"project":"lost","port":9,"my_manager":"x:1"})",
                           R"({"project":"loop","address":"2","port":5,"my_manager":"2:5"})"}) {
    records.push_back(*read_value(text));
  }
  const auto names = [&](const std::function<bool(const Value&)>& wanted) {
    std::vector<std::string> found;
    for (const auto& record : nest_foremen(records, wanted)) found.emplace_back(record.text("project"));
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names([](const Value&) { return true; }), (Names{"m", ">f", "->f2", "lost", "loop"}));
  EXPECT_EQ(names([](const Value& record) { return record.text("project") == "m"; }), (Names{"m", ">f", "->f2"}));
  EXPECT_EQ(names([](const Value& record) { return record.text("project") == "f"; }), Names{});
}

// --- sizing: the table of status-and-factory.md B.5, with the corrections named in sizing.hpp ---

ManagerDemand example() {
  return read_demand(*read_value(
      R"({"protocol":11,"tasks_waiting":10,"tasks_left":5,"tasks_on_workers":4,"capacity_weighted":9,"capacity_cores":16,"tasks_total_cores":40,"tasks_total_memory":20000})"));
}
SizingRules rules() {
  SizingRules result;
  result.min_workers = 0;
  result.max_workers = 1000;
  result.workers_per_cycle = 0;
  return result;
}
std::int64_t needed(const SizingRules& with, const ManagerDemand& manager = example()) {
  return decide({manager}, {}, false, 0, with).needed;
}

TEST(Sizing, DecisionTable) {
  auto r = rules();
  EXPECT_EQ(needed(r), 19);
  r.tasks_per_worker = 4;
  EXPECT_EQ(needed(r), 5);
  r = rules();
  r.worker.cores = 4;
  EXPECT_EQ(needed(r), 10);  // 40 declared cores / 4, where old factories start 19 workers of four cores
  r.worker.memory = 1000;
  EXPECT_EQ(needed(r), 20);
  r = rules();
  r.use_capacity = true;
  EXPECT_EQ(needed(r), 9);
  r.tasks_per_worker = 4;
  EXPECT_EQ(needed(r), 3);  // divided once; old factories say 1
  r = rules();
  r.use_capacity = true;
  r.worker.cores = 4;
  EXPECT_EQ(needed(r), 4);
}

TEST(Sizing, CoresPackTasksThatDeclareNothing) {
  auto r = rules();
  r.worker.cores = 4;
  EXPECT_EQ(needed(r, read_demand(*read_value(R"({"tasks_waiting":19})"))), 5);
}

TEST(Sizing, ManagersAddUpAndForeignWorkersCount) {
  EXPECT_EQ(decide({example(), example()}, {}, false, 0, rules()).needed, 38);
  auto crowded = example();
  crowded.workers = 30;
  const auto decision = decide({crowded}, {}, false, 0, rules());
  EXPECT_EQ(decision.needed, 19);
  EXPECT_EQ(decision.requested, 0);
}

TEST(Sizing, UnknownProtocolsNeedNothingAndBigNumbersStayBig) {
  EXPECT_EQ(needed(rules(), read_demand(*read_value(R"({"protocol":10,"tasks_waiting":5})"))), 0);
  EXPECT_EQ(needed(rules(), read_demand(*read_value(R"({"tasks_waiting":5})"))), 5);
  EXPECT_EQ(needed(rules(), read_demand(*read_value(R"({"protocol":12,"protocols":[11,12],"tasks_waiting":5})"))), 5);
  EXPECT_EQ(needed(rules(), read_demand(*read_value(R"({"protocol":11,"tasks_waiting":3000000000})"))), 1000);
  EXPECT_EQ(
      needed(rules(),
             read_demand(*read_value(R"({"tasks_waiting":9223372036854775807,"tasks_left":9223372036854775807})"))),
      1000);
  EXPECT_EQ(needed(rules(), read_demand(*read_value(R"({"tasks_waiting":-5})"))), 0);
}

TEST(Sizing, NewWorkersPerCycleCountTheOnesStillWaiting) {
  auto r = rules();
  r.workers_per_cycle = 5;
  EXPECT_EQ(decide({example()}, {}, false, 0, r).requested, 5);
  EXPECT_EQ(decide({example()}, {}, false, 3, r).requested, 2);
  EXPECT_EQ(decide({example()}, {}, false, 7, r).requested, 0);
  auto busy = example();
  busy.workers = 7;
  EXPECT_EQ(decide({busy}, {}, false, 7, r).requested, 5);
}

TEST(Sizing, TheDefaultMinimumNeedsAManager) {
  SizingRules r;
  EXPECT_EQ(decide({}, {}, false, 0, r).requested, 0);
  r.min_was_given = true;
  EXPECT_EQ(decide({}, {}, false, 0, r).requested, 5);
}

TEST(Sizing, ForemenTakeTheRunningTasks) {
  auto foreman = example();
  foreman.workers = 3;
  const auto decision = decide({example()}, {foreman}, true, 0, rules());
  EXPECT_EQ(decision.needed, 15 + 19);
  EXPECT_EQ(decision.connected, 2);
}

TEST(Sizing, BlockedHostsAreListsOrText) {
  EXPECT_EQ(read_demand(*read_value(R"({"workers_blocked":["a","b"]})")).blocked_hosts,
            (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read_demand(*read_value(R"({"workers_blocked":"a b"})")).blocked_hosts,
            (std::vector<std::string>{"a", "b"}));
}

// --- configuration file ---

Expected<FactoryConfig> load(const std::string& text) {
  FactoryConfig base;
  base.manager_name = "base";
  std::vector<std::string> notes;
  return apply_config_file(base, text, notes);
}

TEST(FactoryConfigFile, ValuesMayUseOtherKeys) {
  const auto config = load(
      "# sizes\n{ \"memory\": cores*100, \"cores\": 4, \"max-workers\": 2.5, \"manager-name\": \"a|b\", \"capacity\": "
      "1, }");
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->worker.memory, 400);
  EXPECT_EQ(config->worker.cores, 4);
  EXPECT_EQ(config->max_workers, 3);
  EXPECT_EQ(config->min_workers, 3);
  EXPECT_EQ(config->manager_name, "a|b");
  EXPECT_TRUE(config->capacity);
}

TEST(FactoryConfigFile, ErrorsNameKeyOrLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "one object"},
      {"[1]", "one object"},
      {"{\"cores\": }", "\"cores\""},
      {"{\n\"a\" 1}", "line 2"},
      {"{\"cores\": nosuch}", "nosuch"},
      {"{\"cores\": memory, \"memory\": cores}", "undefined"},
      {"{\"manager-name\": 7}", "\"manager-name\" must be a string"},
      {"{\"cores\": \"x\"}", "\"cores\" must be a number"},
      {"{\"min-workers\": -1}", "min workers"},
      {"{\"max-workers\": 0}", "max workers"},
      {"{\"factory-timeout\": -1}", "factory timeout"},
      {"{\"manager-name\": \"[a\"}", "regular expression"},
  };
  for (const auto& [text, part] : cases) {
    const auto config = load(text);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().text.find(part), std::string::npos) << text << ": " << config.error().text;
  }
}

TEST(FactoryConfigFile, UnknownKeysAreNamed) {
  FactoryConfig base;
  base.manager_name = "p";
  std::vector<std::string> notes;
  ASSERT_TRUE(apply_config_file(base, R"({"max-worker": 3})", notes));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("max-worker"), std::string::npos);
}

TEST(FactoryConfigFile, IsDescribedAfterLoading) {
  EXPECT_EQ(
      describe_config(*load(
          R"({"manager-name":"spec.*","max-workers":2,"min-workers":1,"timeout":10,"cores":1,"memory":100,"worker-extra-options":"-d wq"})")),
      "manager-name: spec.*\nmax-workers: 2\nmin-workers: 1\nworkers-per-cycle: 5\ntasks-per-worker: 1\ntimeout: 10 "
      "s\ncores: 1.000\n"
      "memory: 100 MB\nworker-extra-options: -d wq\n");
}

// --- commands ---

TEST(WorkerCommand, IsMadeOfWords) {
  FactoryConfig config;
  config.manager_name = "zz|echo X";
  config.timeout = 20;
  config.factory_name = "fac \"1\"";
  config.password_file = "/a/b/pw";
  config.worker = {1, 200, 200, 1};
  config.extra_options = "-d wq -o 'my file'";
  config.features = {"gpuX"};
  config.wrappers = {"nice -n 1", "env -i"};
  config.ssl = true;
  config.task_wrapper = "time -p";
  const auto words = worker_words(config, "127.0.0.1:9097", config.worker);
  ASSERT_TRUE(words);
  EXPECT_EQ(*words, (std::vector<std::string>{"env",
                                              "-i",
                                              "nice",
                                              "-n",
                                              "1",
                                              "./work_queue_worker",
                                              "-M",
                                              "zz|echo X",
                                              "-t",
                                              "20",
                                              "-C",
                                              "127.0.0.1:9097",
                                              "--from-factory",
                                              "fac \"1\"",
                                              "-P",
                                              "pwfile",
                                              "--cores=1",
                                              "--memory=200",
                                              "--disk=200",
                                              "--gpus=1",
                                              "--ssl",
                                              "--task-wrapper",
                                              "time -p",
                                              "-d",
                                              "wq",
                                              "-o",
                                              "my file",
                                              "--feature",
                                              "gpuX"}));
  EXPECT_NE(quote_words(*words).find("'zz|echo X'"), std::string::npos);
}

TEST(WorkerCommand, HostAndPort) {
  FactoryConfig config;
  config.host = "h";
  config.port = 9123;
  EXPECT_EQ(quote_words(*worker_words(config, "c:1", {})), "./work_queue_worker h 9123 -t 300 -C c:1");
}

TEST(Words, SplitLikeAShell) {
  EXPECT_EQ(*split_words(R"(a 'b c' "d \"e" f\ g '' h'i'j)"),
            (std::vector<std::string>{"a", "b c", "d \"e", "f g", "", "hij"}));
  EXPECT_TRUE(split_words("  ")->empty());
  EXPECT_FALSE(split_words("a 'b"));
}

const std::string& no_environment(const char*) {
  static const std::string empty;
  return empty;
}

std::string submit_line(const std::string& type, Resources worker, const std::vector<std::string>& options = {}) {
  return quote_words(submit_words(*queue_system(type, &no_environment), job_resources(worker), "wq1", options, "w.sh"));
}

TEST(SubmitPlan, CommandsOfEachSystem) {
  const Resources sized{2, 500, 600, -1};
  EXPECT_EQ(submit_line("slurm", sized, {"-p", "long"}),
            "sbatch --mem=500M -N 1 -n 1 -c 2 -D . -e /dev/null --export=ALL -o /dev/null -J wq1 -p long ./w.sh");
  EXPECT_EQ(submit_line("slurm", {}),
            "sbatch -N 1 -n 1 -c 1 -D . -e /dev/null --export=ALL -o /dev/null -J wq1 ./w.sh");
  EXPECT_EQ(submit_line("pbs", sized),
            "qsub -l nodes=1:ppn=2,mem=500mb,file=600mb -j oe -V -o /dev/null -N wq1 ./w.sh");
  EXPECT_EQ(submit_line("uge", sized), "qsub -l h_vmem=500M -pe smp 2 -cwd -j y -V -o /dev/null -N wq1 ./w.sh");
  EXPECT_EQ(submit_line("sge", sized), submit_line("uge", sized));
  EXPECT_EQ(submit_line("lsf", sized), "bsub -M 500MB -n 2 -e /dev/null -env all -o /dev/null -J wq1 ./w.sh");
  EXPECT_EQ(submit_line("moab", sized), "msub -d . -j oe -V -o /dev/null -N wq1 ./w.sh");
  EXPECT_FALSE(queue_system("nosuch", &no_environment));
}

TEST(SubmitPlan, UnsetCoresBecomeOneForJobAndWorker) {
  EXPECT_EQ(job_resources({}).cores, 1);
  EXPECT_EQ(job_resources({8, -1, -1, -1}).cores, 8);
}

TEST(SubmitPlan, AnswersOfEachSystem) {
  EXPECT_EQ(parse_job_id("Your job 123 (\"x\") has been submitted\n"), "123");
  EXPECT_EQ(parse_job_id("sbatch: note\nSubmitted batch job 77\n"), "77");
  EXPECT_EQ(parse_job_id("Job <9> is submitted to default queue <normal>.\n"), "9");
  EXPECT_EQ(parse_job_id("4711.head.cluster\n"), "4711.head.cluster");
  EXPECT_EQ(parse_job_id("error: no\n"), std::nullopt);
  EXPECT_EQ(parse_job_id("1;rm -rf /\n"), std::nullopt);
}

TEST(SubmitPlan, StatusFiles) {
  EXPECT_FALSE(parse_status_file("").started);
  EXPECT_EQ(parse_status_file("start 5\nalive 35\n").last_sign, 35);
  const auto stopped = parse_status_file("start 5\nstop 3 40\n");
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.exit_status, 3);
}

TEST(SubmitPlan, CondorDescription) {
  FactoryConfig config;
  config.worker = {2, 500, 600, -1};
  config.condor_requirements = "(Memory > 3)";
  config.batch_options = "+A = 1\\n+B = 2";
  const auto text = condor_description(config, {"work_queue_worker", "pwfile"},
                                       {"./work_queue_worker", "-M", "it's \"x\" y"}, {"bad.host"});
  EXPECT_NE(text.find(R"(arguments = "'./work_queue_worker' '-M' 'it''s ""x"" y'")"), std::string::npos) << text;
  EXPECT_NE(text.find("transfer_input_files = work_queue_worker,pwfile\n"), std::string::npos);
  EXPECT_NE(text.find("requirements = ((Memory > 3)) && (machine != \"bad.host\")\n"), std::string::npos);
  EXPECT_NE(text.find("request_cpus = 2\nrequest_memory = 500\nrequest_disk = 614400\n"), std::string::npos);
  EXPECT_NE(text.find("+A = 1\n+B = 2\nqueue\n"), std::string::npos);
  config.autosize = true;
  EXPECT_NE(
      condor_description(config, {}, {}, {}).find("request_cpus = ifThenElse(2 > TotalSlotCpus, 2, TotalSlotCpus)\n"),
      std::string::npos);
}

TEST(SubmitPlan, CondorLog) {
  auto event = parse_condor_line(
      "000 (017.000.000) 11/23 05:17:34 Job submitted from host: "
      "<10.0.0.1:9618?addrs=10.0.0.1-9618&alias=head.site&noUDP>");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, CondorEvent::Kind::submitted);
  EXPECT_EQ(event->cluster, "17");
  EXPECT_EQ(event->schedd, "head.site");
  EXPECT_EQ(parse_condor_line("005 (017.000.000) 11/23 Job terminated.")->kind, CondorEvent::Kind::ended);
  EXPECT_EQ(parse_condor_line("009 (017.000.000) 11/23 Job was aborted.")->kind, CondorEvent::Kind::removed);
  EXPECT_FALSE(parse_condor_line("\t(1) Normal termination"));
  EXPECT_EQ(parse_condor_cluster("Submitting job(s).\n1 job(s) submitted to cluster 17.\n"), "17");
}

}  // namespace
}  // namespace taskmill::tools
