// Addresses, commands, names, environment, life cycle: the small pure parts of the worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/core/address_list.hpp"
#include "worker/core/cache_index.hpp"
#include "worker/core/command_line.hpp"
#include "worker/core/environment.hpp"
#include "worker/core/lifecycle.hpp"
#include "worker/core/paths.hpp"

namespace taskmill::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// --- addresses ---

std::string addresses(std::string_view list, std::string_view port) {
  const auto hosts = parse_address_list(list, port);
  if (!hosts) return "error: " + hosts.error().text;
  std::string text;
  for (const auto& host : *hosts) text += (text.empty() ? "" : " ") + host.text();
  return text;
}

TEST(AddressList, ReadsEveryForm) {
  EXPECT_EQ(addresses("host", "9123"), "host:9123");
  EXPECT_EQ(addresses("h1:9;h2", "11"), "h1:9 h2:11");
  EXPECT_EQ(addresses("h1:9; h2:10;", ""), "h1:9 h2:10");
  EXPECT_EQ(addresses("::1", "9"), "[::1]:9");
  EXPECT_EQ(addresses("[fe80::1]:77;[::2]", "5"), "[fe80::1]:77 [::2]:5");
}

TEST(AddressList, NamesWhatIsWrong) {
  EXPECT_THAT(addresses("h", ""), HasSubstr("no port"));
  EXPECT_THAT(addresses("h", "0"), HasSubstr("invalid port '0'"));
  EXPECT_THAT(addresses("h", "70000"), HasSubstr("70000"));
  EXPECT_THAT(addresses("h:x", "1"), HasSubstr("invalid port 'x'"));
  EXPECT_THAT(addresses(":9", ""), HasSubstr("no host name"));
  EXPECT_THAT(addresses(";;", "1"), HasSubstr("no manager address"));
}

// --- commands ---

TEST(PlainWords, AcceptsOnlyWhatAShellWouldJustExecute) {
  EXPECT_THAT(*plain_words("gzip -k  data/file.root"), ElementsAre("gzip", "-k", "data/file.root"));
  EXPECT_THAT(*plain_words("./run --n=5 a:b"), ElementsAre("./run", "--n=5", "a:b"));
  EXPECT_THAT(*plain_words(" true "), ElementsAre("/bin/true"));
  EXPECT_THAT(*plain_words("false"), ElementsAre("/bin/false"));
  for (const char* needs_shell :
       {"",       "   ",   "a b > c", "a | b",   "a && b",  "a; b",        "a &",  "echo $HOME", "ls *.c", "ls [ab]",
        "ls a?",  "a 'b'", "a \"b\"", "a \\b",   "a `b`",   "# a",         "a #b", "~/x",        "a ~",    "A=b",
        "A=b c",  "a\nb",  "a\tb",    "{ a",     "a {b,c}", "!a",          "a !b", "echo hi",    "cd x",   "exec ls",
        "true 1", "exit",  "if x",    "while a", "test a",  ". a",         ": a",  "time a",     "kill 1", "printf a",
        "%1",     "a (b)", "a <b",    "a^b",     "a\x01",   "caf\xc3\xa9", "-x"}) {
    EXPECT_FALSE(plain_words(needs_shell)) << needs_shell;
  }
}

TEST(WrapCommand, FollowsTheThreeForms) {
  EXPECT_EQ(wrap_command("run {} now", "a 'b'"), "run a 'b' now");
  EXPECT_EQ(wrap_command("run [] now", "a 'b'"), "run 'a '\\''b'\\''' now");
  EXPECT_EQ(wrap_command("nice", "a b"), "nice /bin/sh -c 'a b'");
}

TEST(PathMarks, AreReplacedAndEscaped) {
  EXPECT_EQ(expand_path_marks("cp a %%; echo 5% %%%%d %%", "/x"), "cp a /x; echo 5% %%d /x");
  EXPECT_EQ(expand_path_marks("none", "/x"), "none");
}

// --- names ---

TEST(SandboxPath, IsPlainOrRefused) {
  EXPECT_EQ(sandbox_path("a/b"), "a/b");
  EXPECT_EQ(sandbox_path("./a//b/"), "a/b");
  EXPECT_EQ(sandbox_path("..a/b.."), "..a/b..");
  for (const std::string& bad : {std::string(), std::string("/a"), std::string(".."), std::string("a/../b"),
                                 std::string("."), std::string("a\0b", 3)}) {
    EXPECT_FALSE(sandbox_path(bad)) << bad;
  }
}

// --- environment ---

TEST(TaskEnvironment, LaterWinsAndOnlyTheWorkersOwnIsInherited) {
  const Environment environment({"PATH=/bin", "DISPLAY=:1", "CORES=9", "A=old", "GONE=x", "junk"}, "/ws", "/ws/tmp",
                                false);
  Ledger ledger;
  ledger.offer({4, 100, 100, 0});
  const auto claim = ledger.take({2000, 10, 0, 0});
  const std::vector<std::string> entries = {"A=new", "B=1", "B=2\nx", "CORES=77", "TMPDIR=/evil", "GONE"};
  Environment::Block block;
  environment.build({entries, claim, "/ws/t.1", "/ws/t.1/.tmp"}, block);
  EXPECT_EQ(value_in(block, "PATH"), "/bin");
  EXPECT_EQ(value_in(block, "A"), "new");
  EXPECT_EQ(value_in(block, "B"), "2\nx");
  EXPECT_EQ(value_in(block, "CORES"), "2");
  EXPECT_EQ(value_in(block, "CORES_LIST"), "0,1");
  EXPECT_EQ(value_in(block, "MEMORY"), "10");
  EXPECT_EQ(value_in(block, "TMPDIR"), "/ws/t.1/.tmp");
  EXPECT_EQ(value_in(block, "PWD"), "/ws/t.1");
  EXPECT_EQ(value_in(block, "WORK_QUEUE_SANDBOX"), "/ws");
  EXPECT_EQ(value_in(block, "WORKER_TMPDIR"), "/ws/tmp");
  std::set<std::string> names;
  for (const char* entry : block.pointers) {
    if (entry == nullptr) continue;
    const std::string_view text(entry);
    EXPECT_TRUE(names.insert(std::string(text.substr(0, text.find('=')))).second) << text;
  }
  for (const char* absent : {"DISPLAY", "GONE", "DISK", "GPUS", "junk"}) EXPECT_FALSE(names.contains(absent)) << absent;
}

TEST(TaskEnvironment, GpusAreNamedAsTheyWereGivenToTheWorker) {
  const Environment environment({"CUDA_VISIBLE_DEVICES=3,GPU-aaaa"}, "/ws", "/ws/tmp", false, {"3", "GPU-aaaa"});
  Ledger ledger;
  ledger.offer({4, 100, 100, 2});
  const auto first = ledger.take({1000, 10, 0, 1});
  const auto second = ledger.take({1000, 10, 0, 1});
  const std::vector<std::string> none;
  Environment::Block block;
  environment.build({none, second, "/ws/t.1", "/ws/t.1/.tmp"}, block);
  EXPECT_EQ(value_in(block, "GPUS"), "1");
  EXPECT_EQ(value_in(block, "GPUS_LIST"), "1");
  EXPECT_EQ(value_in(block, "CUDA_VISIBLE_DEVICES"), "GPU-aaaa");
  EXPECT_EQ(value_in(block, "CUDA_DEVICE_ORDER"), "PCI_BUS_ID");
  environment.build({none, first, "/ws/t.2", "/ws/t.2/.tmp"}, block);
  EXPECT_EQ(value_in(block, "CUDA_VISIBLE_DEVICES"), "3");
}

TEST(TaskEnvironment, APresetSandboxVariableIsKept) {
  const Environment environment({"WORK_QUEUE_SANDBOX=/outer"}, "/ws", "/ws/tmp", false);
  Environment::Block block;
  environment.build_base(block);
  EXPECT_EQ(value_in(block, "WORK_QUEUE_SANDBOX"), "/outer");
}

TEST(TaskEnvironment, HoldsWhatAShellWouldHandOn) {
  const std::vector<std::string> inherited = {"A=1", "a-b=2", "BASH_FUNC_f%%=() { :; }", "=x", "9=x"};
  const Environment environment(inherited, "/ws", "/ws/tmp", true);
  Ledger ledger;
  ledger.offer({1, 1, 1, 0});
  const auto claim = ledger.take({});
  Environment::Block block;
  const std::vector<std::string> plain = {"c.d=3", "_e9=4"};
  environment.build({plain, claim, "/ws/t.1", "/ws/t.1/.tmp"}, block);
  EXPECT_FALSE(block.shell_differs);
  EXPECT_EQ(value_in(block, "_e9"), "4");
  for (const char* name : {"a-b", "BASH_FUNC_f%%", "", "9", "c.d"}) EXPECT_EQ(value_in(block, name), "") << name;
  for (const char* name : {"IFS=:", "OPTIND=3", "PPID=1"}) {
    const std::vector<std::string> special = {name};
    environment.build({special, claim, "/ws/t.1", "/ws/t.1/.tmp"}, block);
    EXPECT_TRUE(block.shell_differs) << name;
  }
  environment.build({plain, claim, "/ws/t.1", "/ws/t.1/.tmp"}, block);
  EXPECT_FALSE(block.shell_differs) << "that was another task";
}

// --- cache index ---

TEST(CacheIndex, CountsBytesAndKeepsTheFirstRecipe) {
  CacheIndex cache;
  cache.put("a", CacheSource::manager, false, 0644, 10, 1);
  cache.put("b", CacheSource::manager, true, 0755, 5, 3);
  cache.put("a", CacheSource::manager, false, 0644, 20, 1);
  EXPECT_EQ(cache.bytes(), 25U);
  EXPECT_NE(cache.add_recipe("u", CacheSource::url, "http://1", 0644), nullptr);
  EXPECT_EQ(cache.add_recipe("u", CacheSource::url, "http://2", 0644), nullptr);
  EXPECT_EQ(cache.find("u")->text, "http://1");
  cache.note_fetched(*cache.find("u"), false, 7, 1);
  EXPECT_EQ(cache.bytes(), 32U);
  EXPECT_TRUE(cache.erase("a"));
  EXPECT_FALSE(cache.erase("a"));
  EXPECT_EQ(cache.bytes(), 12U);
}

// --- life cycle ---

constexpr Time start{Duration{1'000'000}};
Time at(double seconds) { return start + Duration(static_cast<Duration::rep>(seconds * 1e6)); }

LifecycleConfig config(int idle, int connect) {
  LifecycleConfig config;
  config.idle_timeout = std::chrono::seconds(idle);
  config.connect_timeout = std::chrono::seconds(connect);
  return config;
}

TEST(Lifecycle, BacksOffByDoublingUpToItsCeiling) {
  Lifecycle life(config(900, 100'000), start);
  Time now = start;
  EXPECT_EQ(life.next_attempt(), start);
  for (const int wait : {2, 4, 8, 16, 32, 60, 60}) {
    life.on_pass_failed(now);
    const auto next = *life.next_attempt();
    EXPECT_LE(next - now, std::chrono::seconds(wait));
    EXPECT_GE(next - now, std::chrono::milliseconds(wait * 900));
    now = next;
  }
  life.on_session_started("m", now);
  EXPECT_FALSE(life.next_attempt());
  life.on_session_ended(SessionEnd::lost, now);
  EXPECT_LE(*life.next_attempt() - now, std::chrono::seconds(1));
}

TEST(Lifecycle, GivesUpAtItsDeadlineAndNotInASession) {
  Lifecycle life(config(900, 10), start);
  life.check(at(9));
  EXPECT_FALSE(life.stopping());
  life.on_session_started("m", at(9.5));
  life.check(at(50));
  EXPECT_FALSE(life.stopping());
  life.on_session_ended(SessionEnd::lost, at(50));
  life.check(at(59));
  EXPECT_FALSE(life.stopping());
  life.check(at(60));
  EXPECT_EQ(life.stop_reason(), "could not connect after 10 seconds.");
}

TEST(Lifecycle, LooksOnceHoweverShortItsPatience) {
  for (const int none : {0, -1}) {
    Lifecycle life(config(900, none), start);
    life.check(at(0.1));
    EXPECT_FALSE(life.stopping());
    life.on_pass_failed(at(0.2));
    EXPECT_EQ(life.stop_reason(), "could not connect after " + std::to_string(none) + " seconds.");
  }
}

TEST(Lifecycle, AnIdleWorkerGivesEveryManagerOneChance) {
  Lifecycle life(config(100, 900), start);
  life.on_session_started("a", start);
  EXPECT_EQ(life.idle_deadline(), at(100));
  life.on_session_ended(SessionEnd::idle, at(100));
  EXPECT_EQ(life.next_attempt(), at(100));
  EXPECT_TRUE(life.idle_search());
  EXPECT_TRUE(life.was_tried("a"));
  EXPECT_FALSE(life.was_tried("b"));
  life.on_session_started("b", at(101));
  EXPECT_EQ(life.idle_deadline(), at(131)) << "a short chance only";
  life.on_session_ended(SessionEnd::idle, at(131));
  life.on_pass_failed(at(131));
  EXPECT_EQ(life.stop_reason(), "no other managers available");
}

TEST(Lifecycle, WorkForgetsTheIdleSearch) {
  Lifecycle life(config(100, 900), start);
  life.on_session_started("a", start);
  life.on_session_ended(SessionEnd::idle, at(100));
  life.on_session_started("b", at(101));
  life.on_work(at(102));
  EXPECT_FALSE(life.idle_search());
  EXPECT_FALSE(life.was_tried("a"));
  EXPECT_EQ(life.idle_deadline(), at(202));
}

TEST(Lifecycle, SingleShotOrdersAndWallTimeEndIt) {
  auto single = config(100, 900);
  single.single_shot = true;
  Lifecycle once(single, start);
  once.on_session_started("a", start);
  once.on_session_ended(SessionEnd::other_version, at(1));
  EXPECT_FALSE(once.stopping());
  once.on_session_started("a", at(1));
  once.on_session_ended(SessionEnd::released, at(2));
  EXPECT_TRUE(once.stopping());

  Lifecycle ordered(config(100, 900), start);
  ordered.on_session_started("a", start);
  ordered.on_session_ended(SessionEnd::exit_ordered, at(1));
  EXPECT_TRUE(ordered.stopping());

  auto limited = config(100, 900);
  limited.wall_time = std::chrono::seconds(50);
  Lifecycle short_life(limited, start);
  short_life.on_session_started("a", start);
  short_life.check(at(49));
  EXPECT_FALSE(short_life.stopping());
  short_life.check(at(50));
  EXPECT_TRUE(short_life.stopping());
}

}  // namespace
}  // namespace taskmill::worker
