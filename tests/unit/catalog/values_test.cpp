#include <gtest/gtest.h>

#include "common/catalog/core/compression.hpp"
#include "common/catalog/core/host_list.hpp"
#include "common/catalog/core/http_client.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {
namespace {

std::string round(const std::string& text) {
  auto value = read_value(text);
  return value ? print(*value) : "error: " + value.error().text;
}

TEST(Reader, TakesWhatTheOldParserTakes) {
  EXPECT_EQ(round("{ \"a\" : 1 , # note\n \"b\":[1,2,],\"c\":-3.5,}; rest"), R"({"a":1,"b":[1,2],"c":-3.5})");
  EXPECT_EQ(round("[true,false,null]"), "[true,false,null]");
}

TEST(Reader, OfARepeatedKeyTheFirstCounts) {
  EXPECT_EQ(round(R"({"a":1,"b":2,"a":3})"), R"({"a":1,"b":2})");
  std::string many = "{";
  for (int i = 0; i < 200; ++i) many += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  const auto value = read_value(many + "\"k5\":-1,\"k150\":-1}");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->as_object()->size(), 200U);
  EXPECT_EQ(value->integer("k5"), 5);
  EXPECT_EQ(value->integer("k150"), 150);
}

TEST(Reader, RefusesWhatIsNotConstantOrNotJson) {
  for (const auto* text : {R"({"a":b})", R"({"a":1+1})", R"({"a":f(1)})", "{", "[1 2]", R"({"a" 1})", R"({a:1})",
                           "\"\\x\"", "\"\\ud800\\u0041\"", "1e999", "--1", "-\"x\"", ""}) {
    EXPECT_FALSE(read_value(text)) << text;
  }
}

TEST(Reader, BoundsDepthAndCount) {
  EXPECT_FALSE(read_value(std::string(1'000'000, '[')));
  std::string many = "[";
  for (int i = 0; i < 1000; ++i) many += "1,";
  EXPECT_FALSE(read_value(many + "]", {.depth = 10, .values = 500}));
  EXPECT_TRUE(read_value(many + "]", {.depth = 10, .values = 5000}));
}

TEST(Reader, ReadsTheLegacyLineFormat) {
  auto record = read_record("type chirp\nport 9094\nload 1.5\nname a host\n");
  ASSERT_TRUE(record);
  EXPECT_EQ(print(*record), R"({"type":"chirp","port":9094,"load":1.5,"name":"a host"})");
  EXPECT_TRUE(read_record("  {\"a\":1}"));  // a leading blank does not hide an object
  EXPECT_FALSE(read_record("[1]"));
  EXPECT_FALSE(read_record(std::string("\0 x", 3)));  // random bytes are no record
  EXPECT_FALSE(read_record("k\x80y value"));
  EXPECT_FALSE(read_record(""));
}

TEST(Printer, WritesTextThatOldClientsCanRead) {
  EXPECT_EQ(print(Value("jos\xC3\xA9")), "\"jos\xC3\xA9\"");
  EXPECT_EQ(print(Value("\xFF"
                        "a")),
            "\"\xEF\xBF\xBD"
            "a\"");
  EXPECT_EQ(print(Value("a\x01\"\\\n\x7F")), R"("a\u0001\"\\\n\u007f")");
  EXPECT_EQ(print(Value("\xED\xA0\x80")), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // a surrogate is not UTF-8
  EXPECT_EQ(round(R"("\u00e9\ud83d\ude00")"), "\"\xC3\xA9\xF0\x9F\x98\x80\"");
  // Debian's catalog_query rejects a whole reply with a NUL in it.
  EXPECT_EQ(round(R"({"a\u0000b":"\u0000"})"),
            "{\"a\xEF\xBF\xBD"
            "b\":\"\xEF\xBF\xBD\"}");
  EXPECT_EQ(print(Value(1500.0)), "1500");
  EXPECT_EQ(print(Value(0.1)), "0.1");
  EXPECT_EQ(round("9223372036854775807"), "9223372036854775807");
}

TEST(Compression, RoundTripsAndRefusesBombs) {
  const std::string text(100'000, 'x');
  EXPECT_EQ(*unpack_update(compress_update(text)), text);
  EXPECT_EQ(*unpack_update("{\"a\":1}"), "{\"a\":1}");
  EXPECT_EQ(unpack_update(compress_update(std::string(1 << 20, 'x'))).error().text,
            "the update unpacks to more than 1 MiB");
  EXPECT_TRUE(unpack_update(compress_update(std::string((1 << 20) - 1, 'x'))));
  EXPECT_FALSE(unpack_update(compress_update(std::string(300 << 20, 'x'))));
  auto cut = compress_update(text);
  cut.resize(cut.size() - 3);
  EXPECT_EQ(unpack_update(cut).error().text, "the compressed update is damaged");
  EXPECT_FALSE(unpack_update("\x1A"));
  EXPECT_FALSE(unpack_update("\x1Anonsense"));
}

TEST(HostList, ReadsAllForms) {
  auto hosts = parse_host_list("a, b:1,[::1]:2,::1", 9097);
  ASSERT_TRUE(hosts);
  EXPECT_EQ(hosts_text(*hosts), "a:9097,b:1,[::1]:2,[::1]:9097");
}

TEST(HostList, NamesTheWrongItem) {
  for (const auto* list : {"", ",", "a:0", "a:x", "a:70000", "[::1", "[::1]x", ":9", "a b"}) {
    EXPECT_FALSE(parse_host_list(list, 9097)) << list;
  }
  EXPECT_NE(parse_host_list("good,bad:port", 9097).error().text.find("'bad:port'"), std::string::npos);
}

TEST(Regex, WholeMatchesAlternativesAsAGroup) {
  auto regex = Regex::whole("a|b");
  ASSERT_TRUE(regex);
  EXPECT_TRUE(regex->matches("a"));
  EXPECT_TRUE(regex->matches("b"));
  EXPECT_FALSE(regex->matches("axyz"));
  EXPECT_FALSE(regex->matches("xyzb"));
  EXPECT_TRUE(Regex::whole("^proj.*$")->matches("proj-a"));
  EXPECT_FALSE(Regex::whole("proj")->matches("proj-a"));
  EXPECT_FALSE(Regex::whole("[a"));
  EXPECT_FALSE(Regex::whole("(a"));
  EXPECT_FALSE(Regex::whole("a)|(b"));
}

std::string read_http(const std::vector<std::string>& pieces, bool end = true) {
  HttpReader reader;
  for (const auto& piece : pieces) {
    if (!reader.feed(piece)) return "error: " + reader.problem();
  }
  if (end && !reader.finish()) return "error: " + reader.problem();
  return reader.done() ? std::to_string(reader.status()) + " " + reader.take_body() : "open";
}

TEST(HttpReader, ReadsRepliesOfEveryAge) {
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\nServer: x\n\n[\n\n]\n"}), "200 [\n\n]\n");
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"}, false), "200 abc");
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"}, false),
            "200 abcde");
  EXPECT_EQ(read_http({"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, false), "200 ");
}

TEST(HttpReader, CutsAreErrors) {
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"}),
            "error: the connection ended in the middle of the reply");
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\r\n"}), "error: the connection ended in the middle of the reply");
  EXPECT_EQ(read_http({"SSH-2.0\r\n"}), "error: this is not HTTP");
  EXPECT_EQ(read_http({std::string(100'000, 'x')}), "error: a header line is too long");
  EXPECT_EQ(read_http({"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"}), "error: wrong Content-Length");
}

TEST(HttpReader, EverySplitGivesTheSame) {
  const std::string reply =
      "HTTP/1.1 302 Found\r\nLocation: http://b:1/x\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
  for (std::size_t i = 1; i < reply.size(); ++i) {
    EXPECT_EQ(read_http({reply.substr(0, i), reply.substr(i)}), "302 0123456789") << i;
  }
}

TEST(Http, ProxyAndUrls) {
  EXPECT_EQ(choose_proxy("http://proxy:3128;DIRECT")->text(), "proxy:3128");
  EXPECT_FALSE(choose_proxy("DIRECT;http://proxy:3128"));
  EXPECT_FALSE(choose_proxy(""));
  EXPECT_EQ(parse_url("http://h:5/a/b")->path, "/a/b");
  EXPECT_FALSE(parse_url("https://h/"));
  EXPECT_FALSE(parse_url("http://h/a\r\nEvil: 1"));
}

}  // namespace
}  // namespace taskmill::catalog
