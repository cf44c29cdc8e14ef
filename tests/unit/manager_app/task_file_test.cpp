#include "manager/app/task_file.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace taskmill::manager {
namespace {

std::string problem_of(std::string_view json) {
  const auto task = parse_task(json);
  return task ? "no problem" : task.error().text;
}

TEST(TaskFile, ReadsEveryField) {
  const auto task = parse_task(R"({"command": "./sim in.dat", "tag": "t", "category": "c",
    "inputs": ["data/in.dat", "tool.sh=sim", "http://h/f.txt", {"piece": "big", "first": 0, "last": 9, "name": "p"},
               {"buffer": "text", "name": "b.txt", "cache": false}, {"command": "make %%", "name": "made"}, {"empty_directory": "out/deep"}],
    "outputs": ["res.dat", "local/log.txt=log", {"file": "err", "when": "failure", "watch": true, "cache": true}],
    "env": {"A": "b", "N": 3, "GONE": null}, "features": ["gpuX"], "cores": 2, "memory": 500, "disk": 100, "gpus": 1,
    "priority": 1.5, "max_retries": 3, "max_running_time": 1.5, "min_running_time": 2, "end_time": 10, "algorithm": "files",
    "coprocess": "lib", "may_run_twice": false})");
  ASSERT_TRUE(task) << task.error().text;
  ASSERT_EQ(task->inputs.size(), 7U);
  EXPECT_EQ(task->inputs[0].remote, "in.dat");
  EXPECT_EQ(task->inputs[1].source, "tool.sh");
  EXPECT_EQ(task->inputs[1].remote, "sim");
  EXPECT_EQ(task->inputs[2].kind, FileKind::url);
  EXPECT_EQ(task->inputs[2].remote, "f.txt");
  EXPECT_EQ(task->inputs[3].last, 9U);
  EXPECT_EQ(*task->inputs[4].data, "text");
  EXPECT_FALSE(task->inputs[4].cache);
  EXPECT_EQ(task->inputs[6].remote, "out/deep");
  ASSERT_EQ(task->outputs.size(), 3U);
  EXPECT_EQ(task->outputs[1].local, "local/log.txt");
  EXPECT_EQ(task->outputs[1].remote, "log");
  EXPECT_EQ(task->outputs[2].when, OutputWhen::on_failure);
  EXPECT_EQ(task->environment.size(), 3U);
  EXPECT_EQ(task->resources, (Resources{2, 500, 100, 1}));
  EXPECT_EQ(task->max_running_time, Duration(1'500'000));
  EXPECT_EQ(task->algorithm, Algorithm::files);
  EXPECT_FALSE(task->may_run_twice);
}

TEST(TaskFile, NamesTheFieldAndTheRemedy) {
  EXPECT_EQ(problem_of("{\"command\": \"x\", \"memroy\": 5}"), "memroy: unknown field; did you mean \"memory\"?");
  EXPECT_EQ(problem_of("{}"), "command: is missing");
  EXPECT_EQ(problem_of("[]"), "a JSON object is expected, e.g. {\"command\": \"echo hello\"}");
  EXPECT_EQ(problem_of("{\"command\": \"x\", \"outputs\": [{\"file\": \"a\", \"when\": \"never\"}]}"),
            "outputs[0].when: unknown; use always, success or failure");
  EXPECT_EQ(problem_of("{\"command\": \"x\", \"cores\": -1}"), "cores: a number from 0 to 1000000 is expected");
  EXPECT_EQ(problem_of("{\"command\": \"x\", \"memory\": 1.5}"), "memory: a whole number of at least 0 is expected");
  EXPECT_NE(problem_of("{\"command\": \"x\", \"inputs\": [\"a=../b\"]}")
                .find("inputs[0]: \"../b\" is no name inside a sandbox"),
            std::string::npos);
  EXPECT_NE(problem_of("{\"command\": \"x\", \"inputs\": [{\"file\": \"a\", \"url\": \"b\"}]}").find("exactly one of"),
            std::string::npos);
  EXPECT_NE(problem_of("{\"command\": \"x\", \"inputs\": [{\"piece\": \"a\", \"first\": 5, \"last\": 2}]}")
                .find("first <= last"),
            std::string::npos);
  EXPECT_NE(problem_of("{\"command\": \"x\", \"inputs\": [{\"command\": \"date\", \"name\": \"d\"}]}").find("needs %%"),
            std::string::npos);
  EXPECT_EQ(problem_of(R"({"command": "x", "memory": 5, "memory": 6})"), "memory: given twice; keep one");
  EXPECT_EQ(problem_of(R"({"command": "x", "env": {"A": "1", "A": "2"}})"), "A: given twice; keep one");
  EXPECT_NE(problem_of("{\"command\": 5}").find("command: text is expected"), std::string::npos);
  EXPECT_NE(problem_of("{\"command\": \"x\", \"env\": {\"A=B\": \"c\"}}").find("no variable name"), std::string::npos);
}

TEST(TaskFile, ReportsEveryWrongLineAndKeepsTheOthers) {
  std::istringstream in(
      "# a comment\n{\"command\": \"a\"}\n\n{\"command\": }\r\n{\"command\": \"b\"}\n{\"comand\": \"c\"}");
  const auto list = read_task_list(in, "tasks.jsonl");
  ASSERT_EQ(list.tasks.size(), 2U);
  EXPECT_EQ(list.tasks[1].line, 5U);
  ASSERT_EQ(list.problems.size(), 2U);
  EXPECT_EQ(list.problems[0],
            "tasks.jsonl:4: not JSON; one object per line is expected, e.g. {\"command\": \"echo hello\"}");
  EXPECT_TRUE(list.problems[1].starts_with("tasks.jsonl:6: "));
}

TEST(TaskFile, AppliesATemplateToEachLine) {
  std::istringstream in("a.txt\nit's b\n\n");
  const auto list = tasks_for_each_line(in, "files", {"gzip", "-k", "{}", "out{#}"});
  ASSERT_EQ(list.tasks.size(), 2U);
  EXPECT_EQ(list.tasks[0].spec.command, "gzip -k 'a.txt' out1");
  EXPECT_EQ(list.tasks[1].spec.command, "gzip -k 'it'\\''s b' out2");
  std::istringstream plain("x\n");
  EXPECT_EQ(tasks_for_each_line(plain, "files", {"echo"}).tasks[0].spec.command, "echo 'x'");
}

}  // namespace
}  // namespace taskmill::manager
