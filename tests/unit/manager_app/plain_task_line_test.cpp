// The quick reader of task lines against the full one: what it accepts means the same, what is unusual or wrong it
// declines.
#include "manager/app/plain_task_line.hpp"

#include <gtest/gtest.h>

#include "common/base/random.hpp"
#include "manager/app/task_file.hpp"

namespace taskmill::manager {
namespace {

void expect_equal(const TaskSpec& one, const TaskSpec& other, const std::string& line) {
  EXPECT_EQ(one.command, other.command) << line;
  EXPECT_EQ(one.tag, other.tag) << line;
  EXPECT_EQ(one.category, other.category) << line;
  EXPECT_EQ(one.inputs, other.inputs) << line;
  EXPECT_EQ(one.outputs, other.outputs) << line;
  EXPECT_EQ(one.features, other.features) << line;
  EXPECT_EQ(one.resources, other.resources) << line;
  EXPECT_EQ(one.priority, other.priority) << line;
  EXPECT_EQ(one.max_retries, other.max_retries) << line;
  EXPECT_TRUE(one.environment.empty() && other.environment.empty()) << line;
}

bool accepted(const std::string& line) {
  TaskSpec spec;
  if (!read_plain_task(line, spec)) return false;
  const auto full = parse_task_in_full(line);
  EXPECT_TRUE(full) << line << ": " << (full ? "" : full.error().text);
  if (full) expect_equal(spec, *full, line);
  return true;
}

TEST(PlainTaskLine, ReadsWhatListsUsuallyHold) {
  EXPECT_TRUE(accepted(R"({"command": "true"})"));
  EXPECT_TRUE(accepted(R"({"command":"./sim --seed 3","cores":1,"memory":200,"disk":100,"gpus":0,"tag":"t 1"})"));
  EXPECT_TRUE(accepted(R"({"command": "a", "cores": 0.5, "priority": -1.25, "max_retries": 4, "category": "fit"})"));
  EXPECT_TRUE(
      accepted(R"({"command": "a", "inputs": ["d/x=in", "tool.sh", "a=b=c"], "outputs": ["o/res.dat", "l=r"]})"));
  EXPECT_TRUE(
      accepted(R"({"command": "a", "inputs": [{"file": "d/x", "name": "in", "cache": false}, {"file": "e/y"}]})"));
  EXPECT_TRUE(
      accepted(R"({"command": "a", "outputs": [{"file": "o/1", "name": "out"}], "features": ["big", "gpuX"]})"));
  EXPECT_TRUE(accepted(R"( { "command" : "a" , "inputs" : [ ] , "memory" : 123456789012345 } )"));
}

TEST(PlainTaskLine, DeclinesWhatIsUnusualOrWrong) {
  for (const char* line : {"",
                           "{",
                           "{}",
                           "[]",
                           "true",
                           R"({"command": ""})",
                           R"({"command": "a"} x)",
                           R"({"command": "a",})",
                           R"({"command": "a" "cores": 1})",
                           R"({"command": "a", "cores": -1})",
                           R"({"command": "a", "cores": 1e1})",
                           R"({"command": "a", "cores": 01})",
                           R"({"command": "a", "cores": .5})",
                           R"({"command": "a", "cores": 5.})",
                           R"({"command": "a", "cores": 2000000})",
                           R"({"command": "a", "cores": "1"})",
                           R"({"command": "a", "cores": null})",
                           R"({"command": "a", "memory": 1.5})",
                           R"({"command": "a", "memory": -1})",
                           R"({"command": "a", "memory": 1234567890123456})",
                           R"({"command": "a", "command": "b"})",
                           R"({"command": "a\n"})",
                           R"({"command": "a\u0041"})",
                           "{\"command\": \"\xc3\xa9\"}",
                           "{\"command\": \"a\tb\"}",
                           R"({"command": "a)",
                           R"({"command": "a", "colour": 1})",
                           R"({"command": "a", "env": {}})",
                           R"({"command": "a", "inputs": ["http://h/f"]})",
                           R"({"command": "a", "inputs": ["../x=../y"]})",
                           R"({"command": "a", "inputs": ["dir/"]})",
                           R"({"command": "a", "inputs": [""]})",
                           R"({"command": "a", "inputs": ["x="]})",
                           R"({"command": "a", "inputs": [{"buffer": "x", "name": "y"}]})",
                           R"({"command": "a", "inputs": [{"name": "y"}]})",
                           R"({"command": "a", "inputs": [{"file": "x", "cache": 1}]})",
                           R"({"command": "a", "inputs": ["x",]})",
                           R"({"command": "a", "outputs": [{"file": "x", "when": "failure"}]})",
                           R"({"command": "a", "inputs": "x"})"}) {
    TaskSpec spec;
    EXPECT_FALSE(read_plain_task(line, spec)) << line;
  }
}

// Lines with a few characters changed: accepted or not, never different from the full reader.
TEST(PlainTaskLine, AgreesWithTheFullReaderOnDamagedLines) {
  const std::string whole =
      R"({"command": "./a -n 3", "cores": 1.5, "memory": 100, "inputs": ["d/x=in", {"file": "e/y", "name": "z", "cache": true}],)"
      R"( "outputs": ["o/r"], "priority": 2, "features": ["f"], "tag": "t"})";
  ASSERT_TRUE(accepted(whole));
  Random random(11);
  constexpr std::string_view letters = "{}[]\",:0123456789.-eE \\abcdefilnorstu=/\t\x01\x7f\xc3";
  int good = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string line = whole;
    for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
      const auto at = random.below(line.size());
      const char c = letters[random.below(letters.size())];
      switch (random.below(3)) {
        case 0:
          line[at] = c;
          break;
        case 1:
          line.insert(at, 1, c);
          break;
        default:
          line.erase(at, 1);
      }
    }
    good += accepted(line) ? 1 : 0;
  }
  EXPECT_GT(good, 1000);
}

}  // namespace
}  // namespace taskmill::manager
