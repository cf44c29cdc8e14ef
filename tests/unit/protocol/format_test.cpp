#include "protocol/format.hpp"

#include <gtest/gtest.h>

#include "protocol/limits.hpp"

namespace taskmill::protocol {
namespace {

using namespace std::string_literals;

TEST(Format, TaskBlockIsThatOfTheRecordedConversation) {
  TaskDescription description;
  description.task_id = 1;
  description.command = "cat a.txt b.txt; echo \"$FOO\"; echo result > o; mkdir od; echo 1 > od/x; exit 3";
  description.category = "catA";
  description.cores = 1;
  description.gpus = 0;
  description.memory = 250;
  description.disk = 500;
  description.env = {"FOO=bar baz"};
  description.inputs = {{"file-0-a5e54d1fd7bb69a228ef0dcd2431367e-a.txt", "a.txt", 1, false}, {"", "emptyd", 0, true}};
  description.outputs = {{"file-8-00ba29caee102c5fd3d95cb0a433d523-out.txt", "o", 0}};
  std::string out = "before";
  ASSERT_TRUE(task(out, description, 11));
  EXPECT_EQ(out,
            "beforetask 1\n"
            "cmd 78\ncat a.txt b.txt; echo \"$FOO\"; echo result > o; mkdir od; echo 1 > od/x; exit 3"
            "category catA\n"
            "cores 1.000\ngpus 0\nmemory 250\ndisk 500\n"
            "env 11\nFOO=bar baz\n"
            "infile file-0-a5e54d1fd7bb69a228ef0dcd2431367e-a.txt a.txt 1\n"
            "dir emptyd\n"
            "outfile file-8-00ba29caee102c5fd3d95cb0a433d523-out.txt o 0\n"
            "end\n");
}

TEST(Format, TimesOfATaskHaveSixDecimals) {
  TaskDescription description;
  description.task_id = 3;
  description.end_time_s = 1795411177;
  description.wall_time = 7;
  std::string out;
  ASSERT_TRUE(task(out, description, 9));
  EXPECT_EQ(out, "task 3\nend_time 1795411177.000000\nwall_time 7.000000\nend\n");
}

TEST(Format, LimitsOfATaskSayWhatTheyDo) {
  TaskDescription description;
  description.task_id = 3;
  description.limits.memory = 100;
  description.limits.cores = 1.5;
  description.limits.wall_time = 2.5;
  std::string out;
  ASSERT_TRUE(task(out, description, 11));
  EXPECT_EQ(out, "task 3\nlimit memory 100 stop\nlimit cores 1.500 tell\nlimit wall_time 2.500000 stop\nend\n");
}

TEST(Format, StagingLinesAreThoseOfTheRecordedConversation) {
  std::string out;
  EXPECT_TRUE(put_header(out, "file-0-22c9e09cf3795d024579387b59906c3b-sp%20ace.txt", 11, 0640));
  EXPECT_TRUE(put_url(out, "http://127.0.0.1:18080/sp%20ace.txt", "url-0-7d", 0, 0777));
  EXPECT_TRUE(put_command(out, "echo x > %%; false", "cmd-7", 0, 0777));
  EXPECT_TRUE(legacy_url(out, "url-0-6b", "http://127.0.0.1:18080/a.txt", 0777, 1));
  EXPECT_EQ(out,
            "put file-0-22c9e09cf3795d024579387b59906c3b-sp%2520ace.txt 11 0640\n"
            "puturl http://127.0.0.1:18080/sp%2520ace.txt url-0-7d 0 0777\n"
            "putcmd echo%20x%20%3E%20%25%25;%20false cmd-7 0 0777\n"
            "url url-0-6b 28 0777 1\nhttp://127.0.0.1:18080/a.txt");
}

TEST(Format, SymlinkTargetCarriesTheNulOldWorkersNeed) {
  std::string out;
  EXPECT_TRUE(dir_begin(out, "t2d"));
  EXPECT_TRUE(symlink(out, "link", "f1"));
  dir_end(out);
  EXPECT_EQ(out, "dir t2d\nsymlink link 3\nf1\0end\n"s);
}

TEST(Format, RegistrationIsPlainIntegers) {
  std::string out;
  EXPECT_TRUE(greeting(out, 11, "vm", "Linux", "x86_64", "8.0.0"));
  EXPECT_TRUE(info(out, "worker-id", "worker-272c"));
  EXPECT_TRUE(feature(out, "Tesla V100"));
  alive(out);
  resource(out, "cores", 2, 2, 2);
  resource_tag(out, 0);
  info(out, "worker-end-time", 0);
  EXPECT_EQ(out,
            "workqueue 11 vm Linux x86_64 8.0.0\ninfo worker-id worker-272c\nfeature Tesla%20V100\nalive\n"
            "resource cores 2 2 2\nresource tag 0\ninfo worker-end-time 0\n");
}

TEST(Format, ResultsAndItems) {
  std::string out;
  available_results(out);
  result(out, 0, 3, 30, 4824, 1);
  result(out, 0, 9, 0, 1, 2, "signal=9");
  result(out, 0, 9, 0, 1, 3, "bad\nextra");
  EXPECT_TRUE(update(out, 1, "w.txt", 4, 4));
  EXPECT_TRUE(file_item(out, "c/a b", 7));
  EXPECT_TRUE(dir_item(out, "c/d"));
  EXPECT_TRUE(missing_item(out, "c/e", 2));
  end(out);
  EXPECT_TRUE(cache_update(out, "url-0", 7, 20813));
  EXPECT_TRUE(cache_invalid(out, "cmd-7", "failing to stdout\n"));
  EXPECT_EQ(out,
            "available_results\nresult 0 3 30 4824 1\nresult 0 9 0 1 2 signal=9\nresult 0 9 0 1 3\n"
            "update 1 w.txt 4 4\nfile c/a b 7\ndir c/d 0\nmissing c/e 2\nend\ncache-update url-0 7 20813\n"
            "cache-invalid cmd-7 18\nfailing to stdout\n");
}

TEST(Format, ControlLines) {
  std::string out;
  send_results(out);
  EXPECT_TRUE(get(out, "file-8", true));
  kill(out, -1);
  EXPECT_TRUE(unlink(out, "a b"));
  check(out);
  EXPECT_TRUE(tlq(out, "wqx:1,batch"));
  frame(out, 4, 100);
  release(out);
  exit(out);
  EXPECT_EQ(out,
            "send_results -1\nget file-8 1\nkill -1\nunlink a%20b\ncheck\ntlq wqx:1,batch\nwqx 4 100\nrelease\nexit\n");
}

TEST(Format, NamesWithAnyBytesAreProperlyEscaped) {
  std::string out;
  EXPECT_TRUE(put_header(out, "h\xc3\xa9 {x}~\n", 1, 0644));
  EXPECT_EQ(out, "put h%C3%A9%20%7Bx%7D%7E%0A 1 0644\n");
}

// Nothing may be appended when a line cannot be said.
struct Refusal {
  const char* what;
  bool (*attempt)(std::string& out);
};

TEST(Format, RefusesWhatWouldInjectALineOrMoveAField) {
  const Refusal refusals[] = {
      {"line feed in info", [](std::string& o) { return info(o, "a", "b\nresult 0 0 0 0 1"); }},
      {"empty info", [](std::string& o) { return info(o, "a", " "); }},
      {"blank in host", [](std::string& o) { return greeting(o, 11, "my host", "Linux", "x", "8"); }},
      {"empty host", [](std::string& o) { return greeting(o, 11, "", "Linux", "x", "8"); }},
      {"blank in tlq", [](std::string& o) { return tlq(o, "a b"); }},
      {"line feed in item", [](std::string& o) { return file_item(o, "c/a\nend", 1); }},
      {"carriage return in item", [](std::string& o) { return missing_item(o, "c/a\rb", 1); }},
      {"blank in dir for old managers", [](std::string& o) { return dir_item(o, "c/a b", false); }},
      {"blank in update", [](std::string& o) { return update(o, 1, "a b", 0, 1); }},
      {"NUL in name", [](std::string& o) { return put_header(o, "a\0b"s, 1, 0644); }},
      {"empty name", [](std::string& o) { return put_header(o, "", 1, 0644); }},
      {"blank in cache name", [](std::string& o) { return cache_update(o, "a b", 1, 1); }},
      {"DEL in command", [](std::string& o) { return legacy_command(o, "c", "echo \x7f"); }},
      {"NUL in target", [](std::string& o) { return symlink(o, "l", "a\0b"s); }},
      {"empty target", [](std::string& o) { return symlink(o, "l", ""); }},
  };
  for (const auto& refusal : refusals) {
    std::string out = "kept";
    EXPECT_FALSE(refusal.attempt(out)) << refusal.what;
    EXPECT_EQ(out, "kept") << refusal.what;
  }
}

TEST(Format, RefusesTasksThatCannotBeSaid) {
  const auto refused = [](auto change, int version = 11) {
    TaskDescription description;
    description.task_id = 1;
    description.command = "true";
    change(description);
    std::string out = "kept";
    return !task(out, description, version) && out == "kept";
  };
  EXPECT_TRUE(refused([](auto& t) { t.task_id = 0; }));
  EXPECT_TRUE(refused([](auto& t) { t.task_id = std::int64_t{1} << 31; }));
  EXPECT_TRUE(refused([](auto& t) { t.command = "a\0b"s; }));
  EXPECT_TRUE(refused([](auto& t) { t.category = "x\nenv"; }));
  EXPECT_TRUE(refused([](auto& t) { t.inputs = {{"c", "", 0, false}}; }));
  EXPECT_TRUE(refused([](auto& t) { t.inputs = {{"c d", "x", 0, false}}; }));
  EXPECT_TRUE(refused([](auto& t) { t.inputs = {{"", "a dir", 0, true}}; }));
  EXPECT_TRUE(refused([](auto& t) { t.inputs = {{"c", std::string(max_line, 'x'), 0, false}}; }));
  EXPECT_TRUE(refused([](auto& t) { t.env = {"A=\0"s}; }));
  EXPECT_TRUE(refused([](auto& t) { t.memory = 1e300; }));
  EXPECT_TRUE(refused([](auto& t) { t.coprocess = "f"; }, 9));
  EXPECT_FALSE(refused([](auto& t) { t.coprocess = "f"; }, 10));
}

TEST(Format, LinesReachExactlyTheLimit) {
  std::string out;
  EXPECT_TRUE(tlq(out, std::string(max_line - 4, 'x')));
  EXPECT_EQ(out.size(), max_line + 1);
  EXPECT_FALSE(tlq(out, std::string(max_line - 3, 'x')));
  EXPECT_EQ(out.size(), max_line + 1);
}

TEST(Format, CategoryIsItsFirstWord) {
  TaskDescription description;
  description.task_id = 1;
  description.category = "two words";
  std::string out;
  ASSERT_TRUE(task(out, description, 11));
  EXPECT_EQ(out, "task 1\ncategory two\nend\n");
}

}  // namespace
}  // namespace taskmill::protocol
