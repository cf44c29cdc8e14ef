#include "manager/app/progress.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "manager/app/result_record.hpp"

namespace taskmill::manager {
namespace {

TaskOutcome outcome(protocol::ResultCode result, int status) {
  TaskOutcome made;
  made.result = result;
  made.return_status = status;
  made.try_count = 1;
  made.hostname = "node01";
  made.allocated = {2, 1000, 2000, 0};
  made.execute_last = made.execute_all = Duration(3'100'000);
  return made;
}

std::size_t columns(const std::string& text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

TEST(Progress, PrintsFinishedTasksAsTheFieldDoes) {
  TaskSpec spec;
  auto done = outcome(protocol::ResultCode::success, 0);
  done.measured.cores = 0.3;
  done.measured.memory = 120;
  done.measured.disk = 6;
  EXPECT_EQ(finished_lines(TaskId(7), spec, done),
            "task id 7 on node01. return code 0 (success)\n"
            "    allocated cores: 2.0, memory: 1000 MB, disk 2000 MB, gpus: 0.0\n"
            "    measured cores: 0.3, memory: 120 MB, disk 6 MB, gpus: 0.0, runtime 3.1 s");
}

TEST(Progress, TaskThatNeverStartedUsedNothing) {
  EXPECT_EQ(finished_lines(TaskId(7), {}, outcome(protocol::ResultCode::input_missing, 1)),
            "task id 7 on node01. did not run (INPUT_MISS)");
}

TEST(Progress, NeverPrintsMinusOne) {
  TaskSpec spec;
  auto done = outcome(protocol::ResultCode::input_missing, -1);
  done.allocated = {};
  done.try_count = 0;
  done.message = "in.dat: No such file or directory";
  const auto text = finished_lines(TaskId(1), spec, done);
  EXPECT_EQ(text.find("-1"), std::string::npos) << text;
  EXPECT_NE(text.find("did not run (INPUT_MISS"), std::string::npos) << text;
  EXPECT_EQ(measured_line({}, {}, Duration(1'000'000)).find("-1"), std::string::npos);
}

TEST(Progress, FitsAnyWidth) {
  ProgressNumbers numbers{1000, 250, 3, 16, 731, 4, 16, Duration(50'000'000)};
  for (std::size_t width = 20; width < 160; ++width) EXPECT_LE(columns(progress_line(numbers, width)), width) << width;
  EXPECT_NE(progress_line(numbers, 0).find("250/1000 [ 0:00:50 < 0:02:30 | 5.0 tasks/s ]"), std::string::npos);
  EXPECT_NE(progress_line({}, 80).find("0/0"), std::string::npos);
}

TEST(Summary, GroupsFailuresByCauseWithAnExample) {
  TaskSpec spec;
  spec.command = "./sim";
  Summary summary;
  summary.add(TaskId(1), spec, outcome(protocol::ResultCode::success, 0), "");
  for (unsigned i = 2; i < 5; ++i)
    summary.add(TaskId(i), spec, outcome(protocol::ResultCode::success, 3), "some\nsegmentation violation\n");
  summary.add(TaskId(5), spec, outcome(protocol::ResultCode::output_missing, 0), "");
  Stats stats;
  stats.bytes_sent = 1500000;
  const auto text = summary.text(Duration(10'000'000), stats, 2);
  EXPECT_EQ(text,
            "1 of 7 tasks succeeded, 4 failed, 2 not finished\n"
            "  3 × exit code 3, e.g. task 2 on node01: ./sim\n"
            "        segmentation violation\n"
            "  1 × OUTPUT_MISS, e.g. task 5 on node01: ./sim\n"
            "moved 1.5 MB to workers and 0 B back; wall time 0:00:10, core time 0:00:31\n");
  EXPECT_EQ(summary.failed(), 4U);
}

TEST(ResultRecords, AreOneValidJsonLineWithoutUnknownNumbers) {
  TaskSpec spec;
  spec.command = "echo \"hi\"";
  spec.tag = "t";
  const auto done = outcome(protocol::ResultCode::success, 0);
  std::string line;
  append_result_record(line, {TaskId(3), 8, &spec, &done, "hi\n\xff", 4});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["task"], 3);
  EXPECT_EQ(json["line"], 8);
  EXPECT_EQ(json["result"], "SUCCESS");
  EXPECT_EQ(json["exit_code"], 0);
  EXPECT_EQ(json["resources_allocated"]["memory"], 1000);
  EXPECT_TRUE(json["resources_measured"].empty());
  EXPECT_EQ(line.find("-1"), std::string::npos);
}

}  // namespace
}  // namespace taskmill::manager
