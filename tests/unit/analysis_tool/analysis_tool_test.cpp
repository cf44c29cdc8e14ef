// The built-ins of an analysis: counting, slicing, accumulating; with files that lie.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/random.hpp"
#include "tools/analysis/accumulate.hpp"
#include "tools/analysis/event_count.hpp"

namespace taskmill::analysis_tool {
namespace {

namespace fs = std::filesystem;

class AnalysisTool : public ::testing::Test {
 protected:
  AnalysisTool() {
    directory_ = fs::temp_directory_path() / ("analysis_tool_test." + std::to_string(::getpid()));
    fs::create_directories(directory_);
  }
  ~AnalysisTool() override { fs::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& content) const {
    const auto path = (directory_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  std::string slice(const std::string& path, const LineIndex& index, std::uint64_t first, std::uint64_t last) const {
    const auto out = (directory_ / "slice").string();
    const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const auto done = slice_lines(path, index, first, last, fd);
    ::close(fd);
    return done ? read(out) : "error: " + done.error().text;
  }
  fs::path directory_;
};

std::string data(const std::string& name) { return std::string(TEST_DATA) + "/" + name; }

TEST_F(AnalysisTool, CountsTreeEntriesUnderEveryCompressionOfRoot) {
  for (const char* name : {"zlib.root", "lzma.root", "lz4.root", "zstd.root", "plain.root"}) {
    const auto count = count_events(data(name), Format::root, "");
    ASSERT_TRUE(count) << count.error().text;
    EXPECT_EQ(count->events, 1234U) << name;
    EXPECT_EQ(count->tree, "Events");
    EXPECT_EQ(count->uuid.size(), 32U);
    const auto other = count_events(data(name), Format::root, "dir/Other");
    ASSERT_TRUE(other) << other.error().text;
    EXPECT_EQ(other->events, 77U);
  }
}

TEST_F(AnalysisTool, AsksWhichTreeWhenThereAreSeveral) {
  const auto count = count_events(data("two_trees.root"), Format::root, "");
  ASSERT_FALSE(count);
  EXPECT_NE(count.error().text.find("which tree? it holds a (TTree), b (TTree)"), std::string::npos)
      << count.error().text;
  EXPECT_EQ(count_events(data("two_trees.root"), Format::root, "b")->events, 5U);
  EXPECT_FALSE(count_events(data("two_trees.root"), Format::root, "c"));
}

TEST_F(AnalysisTool, CountsRowsFromAParquetFooter) {
  const auto count = count_events(data("groups.parquet"), Format::parquet, "");
  ASSERT_TRUE(count) << count.error().text;
  EXPECT_EQ(count->events, 2500U);
  EXPECT_EQ(count->row_groups, (std::vector<std::uint64_t>{1000, 1000, 500}));
}

// Cut anywhere or changed anywhere, a binary file gives an answer or an error, never a crash.
TEST_F(AnalysisTool, SurvivesDamagedBinaryFiles) {
  Random random(11);
  for (const char* name : {"zlib.root", "zstd.root", "plain.root", "groups.parquet"}) {
    const std::string whole = read(data(name));
    ASSERT_FALSE(whole.empty());
    const auto format = *find_format("auto", data(name));
    int errors = 0;
    for (int round = 0; round < 300; ++round) {
      std::string damaged = whole;
      if (round % 3 == 0) damaged.resize(random.below(whole.size()));
      for (int i = 0; i < 4 && !damaged.empty(); ++i) {
        const auto at = random.below(2) == 0 ? random.below(std::min<std::size_t>(damaged.size(), 400))
                                             : random.below(damaged.size());
        damaged[at] = static_cast<char>(random.below(256));
      }
      const auto count = count_events(write("damaged", damaged), format, "Events");
      if (!count) ++errors;
    }
    EXPECT_GT(errors, 20) << name;
  }
}

TEST_F(AnalysisTool, CountsLinesWithQuotesEmptyLinesAndNoFinalLineEnd) {
  const auto path = write("a.csv", "x,y\n1,2\n\n3,\"two\nlines\"\r\n  \n5,6");
  const auto count = count_events(path, Format::csv, "", 1);
  ASSERT_TRUE(count);
  EXPECT_EQ(count->events, 3U);
  EXPECT_EQ(slice(path, count->index, 1, 2), "x,y\n3,\"two\nlines\"\r\n");
  EXPECT_EQ(slice(path, count->index, 2, 3), "x,y\n5,6");
  const auto lines = count_events(write("a.jsonl", "{\"a\":\"\\\"\"}\n{}\n"), Format::jsonl, "");
  EXPECT_EQ(lines->events, 2U);
  EXPECT_FALSE(count_events(write("empty.csv", ""), Format::csv, ""));
  EXPECT_EQ(count_events(write("empty.jsonl", ""), Format::jsonl, "")->events, 0U);
}

TEST_F(AnalysisTool, SlicesAreTheLinesThemselvesWithAndWithoutAnIndex) {
  std::string content = "header\n";
  std::vector<std::string> lines;
  for (int i = 0; i < 2500; ++i) {
    lines.push_back("event " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 7), '.') + "\n");
    content += lines.back();
  }
  const auto path = write("many.csv", content);
  const auto count = count_events(path, Format::csv, "", 100);
  ASSERT_TRUE(count);
  const auto index = LineIndex::from_text(count->index.to_text());
  ASSERT_TRUE(index) << index.error().text;
  Random random(5);
  for (int round = 0; round < 50; ++round) {
    const auto first = random.below(2501);
    const auto last = first + random.below(2501 - first);
    std::string expected = "header\n";
    for (auto i = first; i < last; ++i) expected += lines[i];
    EXPECT_EQ(slice(path, *index, first, last), expected);
    if (round < 5) {
      EXPECT_EQ(slice(path, LineIndex{}, first, last), expected);
    }
  }
  EXPECT_EQ(slice(path, *index, 0, 2501).substr(0, 6), "error:");
  write("many.csv", content + "one more\n");
  EXPECT_NE(slice(path, *index, 0, 5).find("has changed since its index was made"), std::string::npos);
}

TEST_F(AnalysisTool, RefusesADamagedIndex) {
  const auto good = count_events(write("a.csv", "x\n1\n2\n3\n"), Format::csv, "", 2)->index.to_text();
  ASSERT_TRUE(LineIndex::from_text(good));
  for (const auto& bad : {std::string(), std::string("junk"), good.substr(0, good.size() - 2), good + "7\n",
                          std::string("taskmill-line-index 1\nformat csv\nevents -1\nheader 0\nsize 0\nstep 1\n")}) {
    EXPECT_FALSE(LineIndex::from_text(bad)) << bad;
  }
}

TEST_F(AnalysisTool, AddsHistogramsExactly) {
  const auto one =
      R"({"format":"taskmill-histograms-1","histograms":{"m":{"axes":[{"label":"m","bins":2,"low":0,"high":2}],)"
      R"("counts":[1,9007199254740993],"overflow":1}},"counters":{"events":5}})";
  const auto two =
      R"({"format":"taskmill-histograms-1","histograms":{"m":{"axes":[{"label":"m","bins":2,"low":0,"high":2}],)"
      R"("counts":[2,3],"overflow":0},"n":{"axes":[],"counts":[0.5]}},"counters":{"events":7,"bad":1}})";
  const auto out = (directory_ / "sum.json").string();
  ASSERT_TRUE(accumulate(Accumulator::histograms, out, {write("1", one), write("2", two)}, false));
  EXPECT_EQ(
      read(out),
      R"({"format":"taskmill-histograms-1","histograms":{"m":{"axes":[{"label":"m","bins":2,"low":0,"high":2}],)"
      R"("counts":[3,9007199254740996],"overflow":1},"n":{"axes":[],"counts":[0.5]}},"counters":{"events":12,"bad":1}})"
      "\n");
}

TEST_F(AnalysisTool, NamesTheFileAndTheHistogramThatDoNotFit) {
  const auto first =
      write("first", R"({"format":"taskmill-histograms-1","histograms":{"m":{"axes":[1],"counts":[1]}}})");
  const auto other =
      write("other", R"({"format":"taskmill-histograms-1","histograms":{"m":{"axes":[2],"counts":[1]}}})");
  const auto out = (directory_ / "out").string();
  const auto result = accumulate(Accumulator::histograms, out, {first, other}, false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().text, other + ": histogram \"m\" has other axes than before");
  EXPECT_FALSE(fs::exists(out));
  EXPECT_FALSE(accumulate(Accumulator::histograms, out, {write("junk", "[")}, false));
  EXPECT_FALSE(accumulate(Accumulator::histograms, out, {write("wrong", "{}")}, false));
  EXPECT_FALSE(accumulate(Accumulator::sum, out, {(directory_ / "absent").string()}, false));
}

TEST_F(AnalysisTool, SumsNumbersAndConcatenatesFiles) {
  const auto out = (directory_ / "out").string();
  ASSERT_TRUE(accumulate(
      Accumulator::sum, out,
      {write("a", R"({"n":1,"x":[1,2.5],"unit":"GeV"})"), write("b", R"({"n":2,"x":[3,4],"unit":"GeV","new":7})")},
      false));
  EXPECT_EQ(read(out), "{\"n\":3,\"x\":[4,6.5],\"unit\":\"GeV\",\"new\":7}\n");
  EXPECT_FALSE(accumulate(Accumulator::sum, out, {write("a", R"({"u":"GeV"})"), write("b", R"({"u":"MeV"})")}, false));
  ASSERT_TRUE(accumulate(Accumulator::concat, out, {write("a", "h\n1\n"), write("b", "h\n2\n"), write("c", "")}, true));
  EXPECT_EQ(read(out), "h\n1\n2\n");
}

TEST_F(AnalysisTool, TellsFormatsApart) {
  EXPECT_EQ(*find_format("auto", data("zlib.root")), Format::root);
  EXPECT_EQ(*find_format("auto", data("groups.parquet")), Format::parquet);
  EXPECT_EQ(*find_format("auto", write("x.csv", "a\n")), Format::csv);
  EXPECT_EQ(*find_format("auto", write("x.dat", "{\"a\":1}\n")), Format::jsonl);
  EXPECT_FALSE(find_format("auto", write("passwd", "root:x:0:0\n")));
  EXPECT_FALSE(find_format("xml", data("zlib.root")));
}

}  // namespace
}  // namespace taskmill::analysis_tool
