// The rule of the rings, read from the includes: a file may include its own ring or a lower one, manager and
// worker never include each other, and heavy or forbidden headers stay where they are allowed.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string>

#include "tests/tidy/source_tree.hpp"

namespace taskmill::tidy {
namespace {

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> files = load_sources({".hpp", ".cpp", ".h"});
  return files;
}

std::string at(const SourceFile& file, std::size_t line) { return file.path + ":" + std::to_string(line) + ": "; }

bool is_test_or_bench(std::string_view path) { return path.starts_with("tests/") || path.starts_with("bench/"); }

/// Files that protoc writes into the build directory.
bool is_generated(std::string_view include) { return include.ends_with(".pb.h"); }

struct Ban {
  std::string_view prefix;
  std::string_view why;
};

// Ring 0 computes. What could touch the world, take the time or make randomness is not even visible there.
constexpr std::array<Ban, 29> ring_0_bans = {{
    {"boost/asio", "no I/O in ring 0"},
    {"boost/beast", "no I/O in ring 0"},
    {"boost/process", "no processes"},
    {"sys/", "no system calls in ring 0"},
    {"unistd.h", "no system calls"},
    {"fcntl.h", "no system calls"},
    {"poll.h", "no system calls"},
    {"signal.h", "no system calls"},
    {"csignal", "no signals"},
    {"netinet/", "no sockets"},
    {"arpa/", "no sockets"},
    {"netdb.h", "no sockets"},
    {"dirent.h", "no files"},
    {"fstream", "no files"},
    {"filesystem", "no files"},
    {"iostream", "no output"},
    {"cstdio", "no output"},
    {"thread", "no threads"},
    {"mutex", "no threads"},
    {"condition_variable", "no threads"},
    {"future", "no threads"},
    {"atomic", "no threads"},
    {"random", "use common/base/random"},
    {"time.h", "time is handed in"},
    {"spdlog/", "only in programs"},
    {"CLI/", "only in programs"},
    {"nlohmann/", "only in programs"},
    {"openssl/rand.h", "seeds are handed in"},
    {"openssl/ssl.h", "no TLS"},
}};
constexpr std::array<Ban, 4> ring_1_bans = {{
    {"boost/asio", "system calls as small functions, no Asio in ring 1"},
    {"boost/beast", "no Beast in ring 1"},
    {"CLI/", "only in programs"},
    {"spdlog/", "only in programs"},
}};
constexpr std::array<Ban, 1> ring_2_bans = {{{"CLI/", "only in programs"}}};

template <class Bans>
void report_banned(const SourceFile& file, const Bans& bans) {
  for (const auto& include : includes_of(file)) {
    if (include.quoted) continue;
    for (const auto& ban : bans) {
      const bool is_folder = ban.prefix.find('/') != std::string_view::npos;
      const bool hit = is_folder ? include.name.starts_with(ban.prefix) : include.name == ban.prefix;
      const bool only_macros = include.name == "sys/wait.h";  // WIFEXITED; archives_test.py would see waitpid
      if (hit && !only_macros) ADD_FAILURE() << at(file, include.line) << "<" << include.name << ">: " << ban.why;
    }
  }
}

/// <cstdio> may be there for snprintf; and a failed assertion has to be said somewhere.
bool only_formats(const SourceFile& file) {
  if (file.path == "common/base/assert.cpp") return true;
  for (const std::string_view word : {"printf(stdout", "fopen", "puts(", "fputs(", "fwrite(", "fprintf(", " printf("}) {
    if (file.code.find(word) != std::string::npos) return false;
  }
  return true;
}

}  // namespace

TEST(Layers, EveryFolderHasARing) {
  ASSERT_GT(sources().size(), 30U) << "the source tree was not found at " << TASKMILL_SOURCE_DIR;
  for (const auto& file : sources()) {
    EXPECT_NE(ring_of(file.path), -1) << file.path << ": its folder has no ring; name it in tests/tidy/source_tree.cpp";
  }
}

TEST(Layers, NobodyIncludesAHigherRing) {
  for (const auto& file : sources()) {
    for (const auto& include : includes_of(file)) {
      if (!include.quoted || is_generated(include.name)) continue;
      const int ring = ring_of(include.name);
      EXPECT_LE(ring, ring_of(file.path)) << at(file, include.line) << "ring " << ring_of(file.path) << " includes \""
                                          << include.name << "\" of ring " << ring;
    }
  }
}

TEST(Layers, QuotedIncludesStartAtTheRootAndExist) {
  const std::filesystem::path root = TASKMILL_SOURCE_DIR;
  for (const auto& file : sources()) {
    for (const auto& include : includes_of(file)) {
      if (!include.quoted || is_generated(include.name)) continue;
      EXPECT_TRUE(std::filesystem::exists(root / include.name))
          << at(file, include.line) << "no \"" << include.name
          << "\" below the root; includes are written from the root";
    }
  }
}

TEST(Layers, ManagerAndWorkerNeverMeet) {
  for (const auto& file : sources()) {
    if (is_test_or_bench(file.path)) continue;
    for (const auto& include : includes_of(file)) {
      const bool crossing = (file.path.starts_with("manager/") && include.name.starts_with("worker/")) ||
                            (file.path.starts_with("worker/") && include.name.starts_with("manager/"));
      EXPECT_FALSE(crossing) << at(file, include.line) << "includes \"" << include.name << "\" of the other end";
    }
  }
}

TEST(Layers, NothingIncludesTestsOrBenchmarks) {
  for (const auto& file : sources()) {
    if (is_test_or_bench(file.path)) continue;
    for (const auto& include : includes_of(file)) {
      EXPECT_FALSE(include.quoted && is_test_or_bench(include.name)) << at(file, include.line) << include.name;
    }
  }
}

TEST(Layers, ForbiddenHeadersStayOutOfLowerRings) {
  for (const auto& file : sources()) {
    const int ring = ring_of(file.path);
    if (ring == 0) {
      auto bans = ring_0_bans;
      if (only_formats(file)) {
        std::replace_if(
            bans.begin(), bans.end(), [](const Ban& ban) { return ban.prefix == "cstdio"; }, bans.front());
      }
      report_banned(file, bans);
    }
    if (ring == 1) report_banned(file, ring_1_bans);
    if (ring == 2) report_banned(file, ring_2_bans);
  }
}

TEST(Layers, HeavyHeadersAreIncludedInSourceFilesOnly) {
  for (const auto& file : sources()) {
    if (!file.is_header() || is_test_or_bench(file.path)) continue;
    for (const auto& include : includes_of(file)) {
      const bool heavy = include.name.starts_with("CLI/") || include.name == "nlohmann/json.hpp" ||
                         include.name.starts_with("spdlog/") || include.name.starts_with("boost/beast");
      EXPECT_FALSE(heavy) << at(file, include.line) << "<" << include.name << "> costs every includer seconds";
    }
  }
}

TEST(Layers, ASourceFileIncludesItsOwnHeaderFirst) {
  // This also proves that the header is self-contained; headers without a source file are compiled alone
  // (tests/tidy/CMakeLists.txt).
  std::map<std::string, const SourceFile*> by_path;
  for (const auto& file : sources()) by_path[file.path] = &file;
  for (const auto& file : sources()) {
    if (!file.path.ends_with(".cpp")) continue;
    const std::string header = file.path.substr(0, file.path.size() - 3) + "hpp";
    if (by_path.find(header) == by_path.end()) continue;
    const auto includes = includes_of(file);
    ASSERT_FALSE(includes.empty()) << file.path;
    EXPECT_EQ(includes.front().name, header) << at(file, includes.front().line) << "own header first";
  }
}

}  // namespace taskmill::tidy
