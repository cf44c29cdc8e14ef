#include "manager/analysis/description/description.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "manager/analysis/description/command_template.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

class DescriptionFile : public ::testing::Test {
 protected:
  DescriptionFile() {
    directory_ = fs::temp_directory_path() / ("description_test." + std::to_string(::getpid()));
    fs::create_directories(directory_ / "more");
    for (const char* name : {"a.csv", "b.csv", "more/c.csv", "hist"}) std::ofstream(directory_ / name) << "x\n1\n";
  }
  ~DescriptionFile() override { fs::remove_all(directory_); }
  Expected<Description> parse(std::string_view text) const {
    return parse_description("z.toml", directory_.string(), text);
  }
  std::string problem(std::string_view text) const {
    const auto result = parse(text);
    return result ? "no problem" : result.error().text;
  }
  fs::path directory_;
};

constexpr const char* minimal = R"(
[fileset]
data = "a.csv"
[process]
command = "./hist {file} {first} {last} -o {output}"
inputs = ["hist"]
)";

TEST_F(DescriptionFile, ReadsAMinimalOneWithDefaults) {
  const auto description = parse(minimal);
  ASSERT_TRUE(description) << description.error().text;
  EXPECT_EQ(description->name, "z");
  ASSERT_EQ(description->datasets.size(), 1U);
  EXPECT_EQ(description->datasets[0].files[0].location, (directory_ / "a.csv").string());
  EXPECT_EQ(description->preprocess.builtin, "auto");
  EXPECT_EQ(description->accumulate.builtin, "histograms");
  EXPECT_EQ(description->planner.chunksize, 100000U);
  EXPECT_EQ(description->process.inputs[0].second, "hist");
}

TEST_F(DescriptionFile, ReadsEverythingFromTomlAndJsonAlike) {
  const auto toml = parse(R"(
name = "full"
chunksize = 500
maxchunks = 7
dynamic_chunksize = {wall_time = 60, memory = 800}
treereduction = 5
retries = 1
split_on_exhaustion = false
resources_mode = "max-throughput"
cores = 2
memory = 1000
fast_terminate_workers = 3
output = "out.json"
environment = {THREADS = 2}
[fileset.mu]
files = ["*.csv", "root://host//store/f.root"]
treename = "Events"
metadata = {particle = "muon", year = 2011}
[preprocess]
command = "count {file}"
[process]
command = "./hist {file} --year {metadata.year} {output}"
memory = 2000
[accumulate]
builtin = "sum"
)");
  ASSERT_TRUE(toml) << toml.error().text;
  EXPECT_EQ(toml->datasets[0].files.size(), 3U);
  EXPECT_TRUE(toml->datasets[0].files[2].is_url);
  EXPECT_EQ(toml->datasets[0].metadata, (Pairs{{"particle", "muon"}, {"year", "2011"}}));
  EXPECT_EQ(toml->planner.maxchunks, 7U);
  EXPECT_EQ(toml->planner.dynamic_chunksize->memory_mb, 800.0);
  EXPECT_EQ(toml->process.resources.memory, 2000);
  EXPECT_EQ(toml->stragglers, StragglerPolicy::terminate);
  const auto json = parse(R"({"fileset": {"data": {"files": "more"}}, "chunksize": 5,
    "process": {"command": "./hist {file} {output}"}})");
  ASSERT_TRUE(json) << json.error().text;
  EXPECT_EQ(json->datasets[0].files[0].location, (directory_ / "more/c.csv").string());
  EXPECT_EQ(json->planner.chunksize, 5U);
}

TEST_F(DescriptionFile, ReadsTheFilesetsOfCoffea) {
  const auto json = parse(R"({"fileset": {
      "old": ["a.csv", "b.csv"],
      "treename": {"treename": "Events", "files": ["a.csv"]},
      "new": {"files": {"a.csv": "Events", "b.csv": "Events"}, "metadata": {"xsec": 1.5}}},
    "skipbadfiles": true, "xrootdtimeout": 90, "resources_mode": "max-seen", "x509_proxy": false,
    "process": {"command": "./hist {file} {tree} {output}"}})");
  ASSERT_TRUE(json) << json.error().text;
  ASSERT_EQ(json->datasets.size(), 3U);
  EXPECT_EQ(json->datasets[0].files.size(), 2U);
  EXPECT_EQ(json->datasets[1].tree, "Events");
  EXPECT_EQ(json->datasets[2].tree, "Events");
  EXPECT_EQ(json->datasets[2].files.size(), 2U);
  EXPECT_EQ(json->datasets[2].metadata, (Pairs{{"xsec", "1.5"}}));
  EXPECT_TRUE(json->planner.skip_bad_files);
  EXPECT_EQ(json->xrootd_timeout, 90);
  EXPECT_EQ(json->resources_mode, ResourcesMode::automatic);
  EXPECT_NE(problem(R"({"fileset": {"d": {"files": {"a.csv": "A", "b.csv": "B"}}},
    "process": {"command": "./hist {output}"}})")
                .find("z.toml:1: fileset.d.files: all files of a dataset"),
            std::string::npos);
}

TEST_F(DescriptionFile, WatchesTasksUnlessToldNotTo) {
  const auto with = [this](const std::string& line) {
    const auto description = parse(line + minimal);
    return description ? description->resource_monitor : ResourceMonitor::off;
  };
  EXPECT_EQ(with("resources_mode = \"fixed\"\n"), ResourceMonitor::watchdog);
  EXPECT_EQ(with("resources_mode = \"fixed\"\nresource_monitor = \"measure\"\n"), ResourceMonitor::measure);
  EXPECT_EQ(with("resources_mode = \"fixed\"\nresource_monitor = \"off\"\n"), ResourceMonitor::off);
  EXPECT_EQ(with("resource_monitor = \"off\"\n"), ResourceMonitor::watchdog);
  EXPECT_EQ(problem("resource_monitor = \"on\"\n" + std::string(minimal)),
            "z.toml:1: resource_monitor: unknown; use off, measure or watchdog");
  EXPECT_EQ(problem("x509_proxy = true\n" + std::string(minimal)),
            "z.toml:1: x509_proxy: the path of a proxy file, or false, is expected");
}

TEST_F(DescriptionFile, NamesLineKeyAndRemedyOfAProblem) {
  EXPECT_EQ(problem("name = \"x\"\nchunksise = 5\n" + std::string(minimal)),
            "z.toml:2: chunksise: unknown key; did you mean \"chunksize\"?");
  EXPECT_EQ(problem("chunksize = 0\n" + std::string(minimal)),
            "z.toml:1: chunksize: a whole number of at least 1 is expected");
  EXPECT_EQ(problem("chunksize = \n"), problem("chunksize = \n"));
  EXPECT_TRUE(problem("a = = b").starts_with("z.toml:1: not TOML: "));
  EXPECT_EQ(problem("{\n\"fileset\": 5}"), "z.toml:2: fileset: a table is expected");
  EXPECT_TRUE(problem("{\n\"a\": }").starts_with("z.toml:2: not JSON: "));
  EXPECT_EQ(problem("{\n\"chunksize\": 5,\n\"chunksize\": 6}"), "z.toml:3: chunksize: given twice; keep one");
  EXPECT_NE(problem("[fileset]\nd = \"none.csv\"\n[process]\ncommand = \"x {output}\"")
                .find("z.toml:2: fileset.d: there is no file"),
            std::string::npos);
  EXPECT_NE(problem("[fileset]\nd = \"a.csv\"\n[process]\ncommand = \"x {outputs}\"")
                .find("z.toml:4: process.command: unknown placeholder {outputs}"),
            std::string::npos);
  EXPECT_NE(problem("[fileset]\nd = \"a.csv\"\n[process]\ncommand = \"x\"").find("does not mention {output}"),
            std::string::npos);
  EXPECT_NE(problem("[fileset]\nd = \"http://h/f\"\n[process]\ncommand = \"x {output}\"")
                .find("built-in counters read local files only"),
            std::string::npos);
  EXPECT_NE(problem("deterministic = true\ndynamic_chunksize = {memory = 5}\n" + std::string(minimal))
                .find("needs a fixed chunksize"),
            std::string::npos);
}

TEST(CommandTemplate, QuotesValuesAndKeepsBraces) {
  const auto parsed =
      CommandTemplate::parse("awk '{{print}}' {file} {inputs} > {output}", {"file", "inputs", "output"});
  ASSERT_TRUE(parsed) << parsed.error().text;
  EXPECT_EQ(parsed->fill({{"file", {"it's a.csv"}}, {"inputs", {"a", "b c"}}, {"output", {"o.json"}}}),
            "awk '{print}' 'it'\\''s a.csv' a 'b c' > o.json");
  EXPECT_TRUE(parsed->uses("file"));
  EXPECT_FALSE(parsed->uses("print"));
  EXPECT_FALSE(CommandTemplate::parse("{", {}));
  EXPECT_FALSE(CommandTemplate::parse("}", {}));
  EXPECT_TRUE(CommandTemplate::parse("{metadata.x}", {"metadata.*"}));
}

}  // namespace
}  // namespace taskmill::manager::analysis
