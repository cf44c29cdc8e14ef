// What the user sees, to the column.
#include <gtest/gtest.h>

#include <algorithm>

#include "manager/analysis/bars.hpp"
#include "manager/analysis/task_lines.hpp"

namespace taskmill::manager::analysis {
namespace {

constexpr Duration second{1'000'000};

// Columns on a terminal: code points, for nothing here is wide.
std::size_t columns(const std::string& line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Progress counted_two_files() {
  Progress progress;
  progress.files_total = progress.files_counted = 2;
  progress.events_known = 400224;
  progress.accumulations_expected = 1;
  return progress;
}

BarTimes counted_in(Duration time) {
  BarTimes times;
  times.preprocessing = Duration(0);
  times.preprocessing_end = time;
  return times;
}

TEST(Bars, LookAsDocumented) {
  const auto lines = bar_lines(counted_two_files(), counted_in(6 * second), 6 * second, 0);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0],
            "Preprocessing 100% ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━      2/2 [ 0:00:06 < 0:00:00 | 0.3  file/s ]");
  EXPECT_EQ(lines[1],
            "    Submitted   0%                                  0/400224 [ 0:00:00 < -:--:-- | ?   event/s ]");
  EXPECT_EQ(lines[2],
            "    Processed   0%                                  0/400224 [ 0:00:00 < -:--:-- | ?   event/s ]");
  EXPECT_EQ(lines[3],
            "  Accumulated   0%                                       0/1 [ 0:00:00 < -:--:-- | ?   tasks/s ]");
}

TEST(Bars, StayAlignedWithLargeNumbers) {
  auto progress = counted_two_files();
  progress.events_known = 12'000'000'000;
  progress.events_submitted = 9'000'000'000;
  progress.events_processed = 8'999'999'999;
  const auto lines = bar_lines(progress, counted_in(6 * second), 6 * second, 0);
  for (const auto& line : lines) {
    EXPECT_EQ(line.find(" [ ") != std::string::npos, true);
    EXPECT_EQ(columns(line.substr(0, line.find(" [ "))), columns(lines[0].substr(0, lines[0].find(" [ "))));
  }
}

TEST(Bars, FitEveryWidthAndKeepTheCountsAsLongAsTheyCan) {
  auto progress = counted_two_files();
  progress.events_submitted = 100'000;
  progress.events_processed = 90'000;
  auto times = counted_in(6 * second);
  times.processing = 6 * second;
  for (std::size_t width = 1; width <= 120; ++width) {
    for (const auto& line : bar_lines(progress, times, 10 * second, width)) {
      EXPECT_LE(columns(line), width) << line;
      EXPECT_TRUE(width < 18 + 14 || line.find('/') != std::string::npos) << width;
    }
  }
}

TEST(Bars, NeverClaimHundredPercentBeforeTheEnd) {
  auto progress = counted_two_files();
  progress.events_processed = 400223;
  EXPECT_NE(bar_lines(progress, {}, second, 0)[2].find(" 99%"), std::string::npos);
  progress.events_processed = 400224;
  EXPECT_NE(bar_lines(progress, {}, second, 0)[2].find("100%"), std::string::npos);
}

TEST(TaskLines, LookAsDocumented) {
  WorkItem count;
  EXPECT_EQ(submitted_line(TaskId(1), count, item_name(count.kind, 0)),
            "submitted preprocessing task id 1 item pre_0, with 1 file");
  TaskOutcome outcome;
  outcome.result = protocol::ResultCode::success;
  outcome.return_status = 0;
  outcome.hostname = "localhost";
  outcome.try_count = 1;
  outcome.allocated = {2, 1000, 2000, 0};
  outcome.measured.cores = 0.3;
  outcome.measured.memory = 120;
  outcome.measured.disk = 6;
  outcome.measured.gpus = 0;
  outcome.measured.wall_time_s = 3.1;
  EXPECT_EQ(finished_lines(TaskId(2), count, item_name(count.kind, 1), outcome),
            "preprocessing task id 2 item pre_1 with 1 events on localhost. return code 0 (success)\n"
            "    allocated cores: 2.0, memory: 1000 MB, disk 2000 MB, gpus: 0.0\n"
            "    measured cores: 0.3, memory: 120 MB, disk 6 MB, gpus: 0.0, runtime 3.1 s");
  WorkItem chunk;
  chunk.kind = ItemKind::process;
  chunk.range = {0, 100056};
  EXPECT_EQ(submitted_line(TaskId(3), chunk, item_name(chunk.kind, 2)),
            "submitted processing task id 3 item p_2, with 100056 event");
}

}  // namespace
}  // namespace taskmill::manager::analysis
