// Habits the compiler does not check: what ring 0 may call, descriptors that tasks must not inherit, header
// comments, lengths as a ratchet (they may only shrink), and no trace of any particular machine.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>

#include "tests/tidy/source_tree.hpp"

namespace taskmill::tidy {
namespace {

constexpr std::size_t file_limit = 500;
constexpr std::size_t function_limit = 60;

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> files = load_sources({".hpp", ".cpp"});
  return files;
}

bool is_product(const SourceFile& file) { return !file.path.starts_with("tests/") && !file.path.starts_with("bench/"); }

std::string at(const SourceFile& file, std::size_t offset) {
  return file.path + ":" + std::to_string(line_of(file.code, offset)) + ": ";
}

struct BannedCall {
  const char* pattern;
  const char* why;
};

template <class Bans>
void report_calls(const SourceFile& file, const Bans& bans) {
  for (const auto& ban : bans) {
    const std::regex pattern(ban.pattern);
    for (auto it = std::sregex_iterator(file.code.begin(), file.code.end(), pattern); it != std::sregex_iterator();
         ++it) {
      ADD_FAILURE() << at(file, static_cast<std::size_t>(it->position())) << it->str() << ": " << ban.why;
    }
  }
}

/// Calls of system functions from the name to the closing semicolon. Names that a class may use for its own
/// members count only when written with the global qualifier, as all our system calls are.
std::vector<std::pair<std::size_t, std::string>> calls_of(const SourceFile& file, const std::string& qualified,
                                                          const std::string& anywhere) {
  std::vector<std::pair<std::size_t, std::string>> found;
  const std::regex pattern("(^|[^\\w.>:])(::(" + qualified + ")|(::)?(" + anywhere + "))\\(");
  for (auto it = std::sregex_iterator(file.code.begin(), file.code.end(), pattern); it != std::sregex_iterator();
       ++it) {
    const auto start = static_cast<std::size_t>(it->position());
    found.emplace_back(start, file.code.substr(start, file.code.find(';', start) - start));
  }
  return found;
}

/// "path length" or "path:function length" per line: what was too long when the limit came.
std::map<std::string, std::size_t> load_ratchet() {
  std::map<std::string, std::size_t> ratchet;
  std::ifstream file(std::string(TASKMILL_SOURCE_DIR) + "/tests/tidy/ratchet.txt");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    std::size_t length = 0;
    if (line.empty() || line[0] == '#' || !(words >> name >> length)) continue;
    ratchet[name] = length;
  }
  return ratchet;
}

/// The name in "Type Class::name(arguments) {".
std::string function_name(const std::string& first_line) {
  const auto open = first_line.find('(');
  const auto start = first_line.find_last_of(" *&", open);
  return first_line.substr(start + 1, open - start - 1);
}

std::map<std::string, std::size_t> measure_long_ones() {
  std::map<std::string, std::size_t> too_long;
  for (const auto& file : sources()) {
    if (const auto lines = lines_of(file.text).size(); lines > file_limit) too_long[file.path] = lines;
    if (!is_product(file)) continue;
    for (const auto& function : functions_of(file)) {
      if (function.length > function_limit)
        too_long[file.path + ":" + function_name(function.first_line)] = function.length;
    }
  }
  return too_long;
}

}  // namespace

TEST(Habits, RingZeroTakesNoTimeNoRandomnessAndTouchesNothing) {
  static constexpr std::array<BannedCall, 12> bans = {{
      {"[cC]lock::now\\s*\\(|\\b(steady|wall|aio::)_?now\\s*\\(", "time is an argument"},
      {"\\bgetenv\\b", "settings are arguments"},
      {"\\brandom_device\\b", "seeds are arguments"},
      {"\\bstd::j?thread\\b", "no threads"},
      {"\\bstd::(mutex|async|atomic)\\b", "no threads"},
      {"\\bthread_local\\b", "no threads"},
      {"(^|[^\\w.>:])::(open|read|write|close|socket|connect|stat|unlink|mkdir)\\(", "no system calls"},
      {"\\bstd::(cout|cerr|ifstream|ofstream|filesystem)\\b", "no files, no output"},
      {"\\b(clock_gettime|gettimeofday|time)\\s*\\(\\s*(NULL|nullptr|CLOCK)", "time is an argument"},
      {"\\bsetlocale\\b|\\blocaltime", "no locale, no time zone of the machine"},
      {"\\bstd::(stoi|stol|stoll|stoul|stoull|stod)\\b", "throws on peer input; use common/base/text"},
      {"\\batoi\\b|\\batoll?\\b|\\bsscanf\\b", "hides errors; use common/base/text"},
  }};
  for (const auto& file : sources()) {
    if (ring_of(file.path) == 0) report_calls(file, bans);
  }
}

TEST(Habits, NoCallsThatAreNeverRight) {
  static constexpr std::array<BannedCall, 6> bans = {{
      {"\\bco_(await|return|yield)\\b", "gcc 12 destroys some temporaries twice around co_await"},
      {"\\b(strcpy|strcat|sprintf|vsprintf|gets|tmpnam|mktemp)\\(", "unbounded or racy"},
      {"(^|[^\\w.>:])(::|std::)(system|popen)\\(", "starts a shell; use posix_spawn"},
      {"(^|[^\\w.>:])::pipe\\(", "use pipe2 with O_CLOEXEC"},
      {"(^|[^\\w.>:])::accept\\(", "use accept4 with SOCK_CLOEXEC"},
      {"\\busing namespace std\\b", "name what is used"},
  }};
  for (const auto& file : sources()) {
    if (is_product(file)) report_calls(file, bans);
  }
}

TEST(Habits, TheFatProcessNeverForks) {
  for (const auto& file : sources()) {
    // known_use is a small program whose subject is forking; a Launch shares the memory of its parent.
    if (!is_product(file) || file.path == "examples/resources/known_use.cpp" || file.path == "common/os/launch.cpp")
      continue;
    for (const auto& [offset, call] : calls_of(file, "clone", "fork|vfork")) {
      ADD_FAILURE() << at(file, offset) << "use posix_spawn: fork copies the page tables of the whole process";
    }
  }
}

TEST(Habits, EveryDescriptorIsCloseOnExec) {
  for (const auto& file : sources()) {
    if (!is_product(file)) continue;
    for (const auto& [offset, call] : calls_of(file, "open|socket",
                                               "openat|accept4|pipe2|memfd_create|epoll_create1|eventfd|timerfd_create|"
                                               "signalfd|inotify_init1|socketpair|mkostemp")) {
      const auto line = lines_of(file.text)[line_of(file.code, offset) - 1];
      if (line.find("\"/dev/null\"") != std::string_view::npos) continue;  // nothing to leak, often meant for a child
      const bool has_flags = call.find("CLOEXEC") != std::string::npos || call.find("flags") != std::string::npos;
      EXPECT_TRUE(has_flags) << at(file, offset) << "without CLOEXEC a task inherits it:" << call;
    }
  }
}

TEST(Habits, HeadersSayWhatTheyAreAndGuardThemselves) {
  for (const auto& file : sources()) {
    if (!file.path.ends_with(".hpp")) continue;
    EXPECT_TRUE(file.text.starts_with("//"))
        << file.path << ":1: begin with two to ten lines: what this is, how to use it";
    const auto first_code = file.code.find_first_not_of(" \n");
    ASSERT_NE(first_code, std::string::npos) << file.path;
    EXPECT_TRUE(file.code.substr(first_code).starts_with("#pragma once"))
        << at(file, first_code) << "#pragma once comes before everything else";
  }
}

TEST(Habits, FilesAndFunctionsOnlyGetShorter) {
  const auto ratchet = load_ratchet();
  const auto too_long = measure_long_ones();
  for (const auto& [name, length] : too_long) {
    const auto allowed = ratchet.find(name);
    const bool is_function = name.find(':') != std::string::npos;
    const auto limit = allowed != ratchet.end() ? allowed->second : is_function ? function_limit : file_limit;
    EXPECT_LE(length, limit) << name << " has " << length << " lines: split it where it has two subjects";
  }
  for (const auto& [name, length] : ratchet) {
    const auto now = too_long.find(name);
    EXPECT_TRUE(now != too_long.end() && now->second + 10 > length)
        << name << " is shorter than tests/tidy/ratchet.txt says (" << length << "): write the smaller number there";
  }
}

TEST(Habits, NothingNamesAParticularMachine) {
  static const std::regex pattern(
      R"((^|[^\w.])/(work|home/\w+|root)/(main|shared|\w*checkout|\.pyenv)|/tmp/taskmill/)");
  const std::vector<std::string_view> endings = {".hpp", ".cpp",  ".c",     ".md", ".txt",     ".py",
                                                 ".sh",  ".json", ".proto", "run", "bootstrap"};
  for (const auto& file : load_sources(endings)) {
    if (file.path == "tests/tidy/habits_test.cpp") continue;
    std::smatch match;
    if (std::regex_search(file.text, match, pattern)) {
      ADD_FAILURE() << file.path << ":" << line_of(file.text, static_cast<std::size_t>(match.position())) << ": "
                    << match.str();
    }
  }
}

// The tests above are only as good as the reader below them.
TEST(SourceTree, BlanksCommentsAndLiteralsButKeepsLines) {
  EXPECT_EQ(blank_comments_and_literals("a; // now()\nb"), "a;         \nb");
  EXPECT_EQ(blank_comments_and_literals("f(\"now()\", 'x', 1'000)"), "f(\"     \", ' ', 1'000)");
  EXPECT_EQ(blank_comments_and_literals("/* a\n b */c"), "    \n     c");
  EXPECT_EQ(blank_comments_and_literals("R\"(a\"b)\" + c"), "         + c");
  EXPECT_EQ(blank_comments_and_literals("\"a\\\"b\" c"), "\"    \" c");
}

TEST(SourceTree, FindsFunctionsAndTheirLengths) {
  SourceFile file{"x.cpp",
                  "namespace a {\nint f(int x,\n      int y) {\n  return x;\n}\nstruct S {\n  int a;\n};\nint g() { "
                  "return 1; }\n}\n",
                  {}};
  file.code = blank_comments_and_literals(file.text);
  const auto functions = functions_of(file);
  ASSERT_EQ(functions.size(), 1U);
  EXPECT_EQ(functions[0].first_line, "int f(int x,");
  EXPECT_EQ(functions[0].length, 4U);
}

TEST(SourceTree, KnowsTheRings) {
  EXPECT_EQ(ring_of("manager/core/matcher.cpp"), 0);
  EXPECT_EQ(ring_of("common/measure/core/limits.hpp"), 0);
  EXPECT_EQ(ring_of("common/measure/task_meter.cpp"), 1);
  EXPECT_EQ(ring_of("worker/net/connection.cpp"), 2);
  EXPECT_EQ(ring_of("tests/unit/manager/core/x_test.cpp"), 3);
  EXPECT_EQ(ring_of("nowhere/x.cpp"), -1);
}

}  // namespace taskmill::tidy
