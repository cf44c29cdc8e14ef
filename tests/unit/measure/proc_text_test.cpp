#include "common/measure/core/proc_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taskmill::measure {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Recorded: a python process with children that it waited for.
constexpr const char* python_stat =
    "4711 (python3) S 4700 4711 4600 34816 4711 4194304 9021 70123 3 9 151 22 1203 88 20 0 5 0 987654 412876800 21034 "
    "18446744073709551615 94000 95000 140723 0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 0 0 96000 97000 98000 1407 1408 1409 "
    "1410 0\n";

TEST(ProcText, ReadsTheFieldsOfStat) {
  const auto stat = parse_stat(python_stat);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->pid, 4711);
  EXPECT_EQ(stat->name, "python3");
  EXPECT_EQ(stat->ppid, 4700);
  EXPECT_EQ(stat->group, 4711);
  EXPECT_EQ(stat->session, 4600);
  EXPECT_EQ(stat->user_ticks, 151);
  EXPECT_EQ(stat->system_ticks, 22);
  EXPECT_EQ(stat->children_user_ticks, 1203);
  EXPECT_EQ(stat->children_system_ticks, 88);
  EXPECT_EQ(stat->threads, 5);
  EXPECT_EQ(stat->start_time, 987654u);
  EXPECT_EQ(stat->virtual_size, 412876800);
  EXPECT_EQ(stat->rss_pages, 21034);
  EXPECT_FALSE(stat->is_zombie());
}

TEST(ProcText, NamesMayHoldBlanksParenthesesAndNewlines) {
  for (const std::string name : {"a b", ") R 1 (", "(((", "x\ny) S 9", ""}) {
    std::string text = python_stat;
    text.replace(text.find("python3"), 7, name);
    const auto stat = parse_stat(text);
    ASSERT_TRUE(stat) << name;
    EXPECT_EQ(stat->name, name);
    EXPECT_EQ(stat->ppid, 4700);
    EXPECT_EQ(stat->system_ticks, 22);
  }
}

TEST(ProcText, DamagedStatIsRefused) {
  EXPECT_FALSE(parse_stat(""));
  EXPECT_FALSE(parse_stat("12"));
  EXPECT_FALSE(parse_stat("12 (a"));
  EXPECT_FALSE(parse_stat("x (a) S 1 1 1 0 0 0 0 0 0 0 1 1 1 1 20 0 1 0 1 1 1"));
  const std::string whole = python_stat;
  EXPECT_FALSE(parse_stat(whole.substr(0, 60)));
  EXPECT_FALSE(parse_stat("12 (a) S 1 1 1 0 0 0 0 0 0 0 1 z 1 1 20 0 1 0 1 1 1"));
}

TEST(ProcText, ReadsStatusAndAddsBothKindsOfSwitches) {
  const auto status = parse_status(
      "Name:\tpython3 with: colon\nVmPeak:\t  403200 kB\nVmSize:\t  400000 kB\nVmHWM:\t   84136 kB\nVmRSS:\t   80000 "
      "kB\n"
      "RssAnon:\t   60000 kB\nVmSwap:\t     128 kB\nvoluntary_ctxt_switches:\t15\nnonvoluntary_ctxt_switches:\t4\n");
  EXPECT_EQ(status.peak_rss, 84136 * 1024);
  EXPECT_EQ(status.rss, 80000 * 1024);
  EXPECT_EQ(status.rss_anonymous, 60000 * 1024);
  EXPECT_EQ(status.swap, 128 * 1024);
  EXPECT_EQ(status.peak_virtual, 403200 * 1024);
  EXPECT_EQ(status.context_switches, 19);
}

TEST(ProcText, AZombieHasNoMemoryLines) {
  const auto status = parse_status("Name:\tsh\nState:\tZ (zombie)\nThreads:\t1\n");
  EXPECT_FALSE(status.rss);
  EXPECT_FALSE(status.swap);
  EXPECT_FALSE(status.context_switches);
}

TEST(ProcText, IoNeedsAllFourCounters) {
  const auto io = parse_io(
      "rchar: 100\nwchar: 200\nsyscr: 1\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n");
  ASSERT_TRUE(io);
  EXPECT_EQ(io->chars_read, 100);
  EXPECT_EQ(io->chars_written, 200);
  EXPECT_EQ(io->storage_read, 4096);
  EXPECT_EQ(io->storage_written, 8192);
  EXPECT_FALSE(parse_io("rchar: 100\nwchar: 200\n"));
  EXPECT_FALSE(parse_io(""));
}

TEST(ProcText, ReadsProportionalSizes) {
  const auto rollup = parse_smaps_rollup(
      "55785e026000-7ffc75085000 ---p 00000000 00:00 0                          [rollup]\nRss:                1604 kB\n"
      "Pss:                 310 kB\nPss_Dirty:           116 kB\nSwap:                  4 kB\nSwapPss:               2 "
      "kB\n");
  ASSERT_TRUE(rollup);
  EXPECT_EQ(rollup->rss, 1604 * 1024);
  EXPECT_EQ(rollup->pss, 310 * 1024);
  EXPECT_EQ(rollup->swap_pss, 2 * 1024);
  EXPECT_FALSE(parse_smaps_rollup("")) << "a kernel thread or an ended process";
}

TEST(ProcText, ReadsListsOfChildrenAndCpus) {
  EXPECT_THAT(parse_children("12 13 14 "), ElementsAre(12, 13, 14));
  EXPECT_THAT(parse_children("\n"), IsEmpty());
  EXPECT_THAT(parse_cpu_list("0-2,8,10-11\n"), ElementsAre(0, 1, 2, 8, 10, 11));
  EXPECT_THAT(parse_cpu_list(""), IsEmpty());
  EXPECT_THAT(parse_cpu_list("3-1"), IsEmpty());
  EXPECT_THAT(parse_cpu_list("0-99999999"), IsEmpty());
}

}  // namespace
}  // namespace taskmill::measure
