#include "common/base/text.hpp"

#include <gtest/gtest.h>

#include "common/base/random.hpp"

namespace taskmill {
namespace {

TEST(PercentCoding, MatchesTheVectorsOfTheWireSpec) {
  EXPECT_EQ(percent_encode("a b"), "a%20b");
  EXPECT_EQ(percent_encode("50%"), "50%25");
  EXPECT_EQ(percent_encode("it's"), "it%27s");
  EXPECT_EQ(percent_encode("{x}~"), "%7Bx%7D%7E");
  EXPECT_EQ(percent_encode("a/b:c;d&e+f#g?h=i"), "a/b:c;d&e+f#g?h=i");
  EXPECT_EQ(percent_encode("\xC3\xA9"), "%C3%A9");
  EXPECT_EQ(percent_encode("\n"), "%0A");
}

TEST(PercentCoding, LeavesExactly84ByteValuesUnchanged) {
  int unchanged = 0;
  for (int byte = 1; byte < 256; ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    if (percent_encode(raw) == raw) ++unchanged;
    EXPECT_EQ(percent_decode(percent_encode(raw)), raw) << byte;
  }
  EXPECT_EQ(unchanged, 84);
}

TEST(PercentCoding, RefusesBrokenEscapes) {
  EXPECT_FALSE(percent_decode("%"));
  EXPECT_FALSE(percent_decode("a%2"));
  EXPECT_FALSE(percent_decode("%G0"));
  EXPECT_EQ(percent_decode("%2f"), "/");
}

TEST(Base64, RoundTripsEveryLength) {
  Random random(7);
  for (std::size_t length = 0; length < 40; ++length) {
    std::string raw(length, '\0');
    for (char& c : raw) c = static_cast<char>(random.below(256));
    EXPECT_EQ(base64_decode(base64_encode(raw)), raw);
  }
  EXPECT_EQ(base64_encode("true"), "dHJ1ZQ==");
  EXPECT_EQ(base64_decode("dHJ1ZQ"), "true");
  EXPECT_FALSE(base64_decode("dHJ1Z"));
  EXPECT_FALSE(base64_decode("dH 1"));
}

TEST(Numbers, TakeWholeStringsOnly) {
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_EQ(parse_int("+5"), 5);
  EXPECT_FALSE(parse_int("12x"));
  EXPECT_FALSE(parse_int(""));
  EXPECT_FALSE(parse_int("99999999999999999999"));
  EXPECT_EQ(parse_number("1.500000"), 1.5);
  EXPECT_FALSE(parse_number("inf"));
  EXPECT_FALSE(parse_number("nan"));
  EXPECT_FALSE(parse_number("1.5.2"));
  EXPECT_EQ(parse_octal("0755"), 0755U);
  EXPECT_FALSE(parse_octal("8"));
}

TEST(Numbers, UnderstandMetricAndTimeSuffixes) {
  EXPECT_EQ(parse_metric("10K"), 10240);
  EXPECT_EQ(parse_metric("2g"), std::int64_t{2} << 30);
  EXPECT_FALSE(parse_metric("x"));
  EXPECT_FALSE(parse_metric("9000000000P"));
  EXPECT_EQ(parse_duration_seconds("5m"), 300);
  EXPECT_EQ(parse_duration_seconds("2H"), 7200);
  EXPECT_EQ(parse_duration_seconds("30"), 30);
  EXPECT_FALSE(parse_duration_seconds("m"));
}

TEST(Paths, StayInsideTheirRoot) {
  for (const char* good : {"a", "a/b", "a/.hidden", "...", "a b/c"}) EXPECT_TRUE(is_safe_relative_path(good)) << good;
  for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/."}) {
    EXPECT_FALSE(is_safe_relative_path(bad)) << bad;
  }
  EXPECT_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_name("a/b"));
}

TEST(Tokens, AreSeparatedByAnyRunOfBlanks) {
  std::string_view rest = "  put  a 5 ";
  EXPECT_EQ(next_token(rest), "put");
  EXPECT_EQ(next_token(rest), "a");
  EXPECT_EQ(next_token(rest), "5");
  EXPECT_EQ(next_token(rest), "");
}

TEST(Quoting, MakesOneShellWord) { EXPECT_EQ(shell_quote("it's $x"), "'it'\\''s $x'"); }

TEST(RandomNumbers, RepeatForOneSeedAndFillTheRange) {
  Random a(42);
  Random b(42);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(), b.next());
  std::array<int, 10> seen{};
  for (int i = 0; i < 10000; ++i) ++seen[a.below(10)];
  for (const int count : seen) EXPECT_GT(count, 800);
  EXPECT_EQ(a.letters(63).size(), 63U);
}

}  // namespace
}  // namespace taskmill
