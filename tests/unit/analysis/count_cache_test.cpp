// Counts of earlier runs: what makes a file the same file.
#include "manager/analysis/count_cache.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

struct CountCacheTest : ::testing::Test {
  CountCacheTest() {
    std::string pattern = (fs::temp_directory_path() / "count-cache.XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
  }
  ~CountCacheTest() override { fs::remove_all(directory); }
  std::string path(const std::string& name) const { return directory + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  std::string copy_root(const std::string& name) const {
    fs::copy_file(std::string(DATA_DIRECTORY) + "/plain.root", path(name), fs::copy_options::overwrite_existing);
    return path(name);
  }
  static void age(const std::string& file) {
    fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(1));
  }
  CountCache cache() const { return CountCache(path("cache")); }
  std::string directory;
};

TEST_F(CountCacheTest, APathIsKnownUntilItsSizeOrTimeChange) {
  const auto file = write("a.csv", "x\n1\n2\n");
  cache().remember(file, "csv", {2, "csv", ""}, "");
  ASSERT_TRUE(cache().find(file, "csv"));
  EXPECT_EQ(cache().find(file, "csv")->events, 2U);
  EXPECT_FALSE(cache().find(file, "csv with another command"));
  age(file);
  EXPECT_FALSE(cache().find(file, "csv"));
}

TEST_F(CountCacheTest, ARootFileIsKnownByItsUuidWhereverItLies) {
  const auto file = copy_root("a.root");
  cache().remember(file, "root|Events", {7, "root", ""}, "");
  age(file);
  ASSERT_TRUE(cache().find(file, "root|Events")) << "touched";
  EXPECT_EQ(cache().find(file, "root|Events")->events, 7U);
  fs::create_directory(path("elsewhere"));
  fs::rename(file, path("elsewhere/b.root"));
  EXPECT_TRUE(cache().find(path("elsewhere/b.root"), "root|Events")) << "moved";
  EXPECT_FALSE(cache().find(path("elsewhere/b.root"), "root|Other")) << "another tree";
}

TEST_F(CountCacheTest, AnotherOrALongerRootFileIsCounted) {
  const auto file = copy_root("a.root");
  cache().remember(file, "root", {7, "root", ""}, "");
  std::ofstream(file, std::ios::app | std::ios::binary) << "more";
  EXPECT_FALSE(cache().find(file, "root")) << "updated: the UUID stays, the size does not";
  std::stringstream bytes;
  bytes << std::ifstream(copy_root("b.root"), std::ios::binary).rdbuf();
  std::string text = bytes.str();
  text[50] = static_cast<char>(text[50] + 1);  // somewhere in the UUID
  EXPECT_FALSE(cache().find(write("c.root", text), "root"));
  EXPECT_FALSE(cache().find(write("d.root", "root"), "root")) << "cut off";
  EXPECT_FALSE(cache().find(path("gone.root"), "root"));
}

}  // namespace
}  // namespace taskmill::manager::analysis
