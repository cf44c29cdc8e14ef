#include "common/catalog/core/expression.hpp"

#include <gtest/gtest.h>

#include "common/catalog/core/reader.hpp"

namespace taskmill::catalog {
namespace {

Value record() {
  return *read_value(
      R"({"type":"foo","project":"spec-demo","port":7,"arr":[1,2,3],"o":{"a":1},"f":1.5,"color":"red"})");
}

Truth test(const std::string& text, bool trusted = false) {
  auto expression = Expression::parse(text, trusted);
  if (!expression) return Truth::failed;
  return expression->test(record());
}

// Each of these was sent to Debian's catalog_server with the record above; it returned the record.
TEST(Expression, KeepsWhatTheOldServerKeeps) {
  for (const auto* text : {R"(like("spec.?dem",project))",
                           R"(like("pec",project))",
                           "len(arr)==3",
                           "arr[0]==1",
                           "arr[-1]==3",
                           R"(o["a"]==1)",
                           "f==1.5",
                           "port==7.0",
                           "port/2==3",
                           "7%4==3",
                           R"("a"+"b"=="ab")",
                           "len(keys(o))==1",
                           "not false",
                           "!false",
                           "true && true",
                           R"(type=="foo" && not (port==8))",
                           "-port==-7",
                           R"(project < "z")",
                           "project!=3",
                           "ceil(f)==2",
                           R"(type=="foo" and project=="x" or true)",
                           "null==null",
                           "arr==[1,2,3]",
                           "port==7 # hi",
                           "-1+2==1",
                           "not true or true",
                           "2*3+1==7",
                           "1+2*3==7",
                           "not (port==8)",
                           "(port==7)",
                           R"(((type=="foo") or (type=="bar")))",
                           "arr[0:2]==[1,2]",
                           "range(3)==[0,1,2]",
                           R"(join(["a","b"],"-")=="a-b")",
                           "[x for x in arr][0]==1",
                           "[x for x in arr if x>1]==[2,3]",
                           R"(items(o)==[["a",1]])",
                           "arr+[4]==[1,2,3,4]",
                           "f>1 and f<2"}) {
    const auto expression = Expression::parse(text);
    ASSERT_TRUE(expression) << text << ": " << expression.error().text;
    EXPECT_TRUE(expression->keeps(record())) << text;
  }
}

TEST(Expression, DropsWhatNoClientCouldShow) {
  for (const auto* text :
       {R"(type=="bar")", "port==8", "nosuch", "nosuch==1", "1", R"("x")", "port", R"(1=="a")", R"(port>"a")", "1/0==1",
        "false and nosuch==1", R"(like("xyz",project))", "listdir(\"/\")==1", R"(fetch("http://localhost/")=="x")",
        "arr[7]==1", R"(type=="bar" and unknown_function(1))"}) {
    const auto expression = Expression::parse(text);
    ASSERT_TRUE(expression) << text;
    EXPECT_FALSE(expression->keeps(record())) << text;
  }
}

TEST(Expression, LostParenthesesNeverLoseRecords) {
  // Sent by a client for: port==2 or (port==7 and color=="red"), and for: not (port==7 and color=="blue").
  EXPECT_EQ(test(R"(port==2 or port==7 and color=="red")"), Truth::doubt);
  EXPECT_EQ(test(R"(not port==7 and color=="blue")"), Truth::doubt);
  EXPECT_EQ(test("10-5-2==3"), Truth::doubt);
  EXPECT_EQ(test("10-5-2==7"), Truth::doubt);
}

TEST(Expression, AnUndefinedNameOnTheLeftOfOrHidesNothing) {
  EXPECT_EQ(test(R"(nosuch==3 || type=="foo")"), Truth::yes);
  EXPECT_EQ(test(R"(type=="foo" || nosuch==3)"), Truth::yes);
}

TEST(Expression, ATrustedFilterMeansWhatItSays) {
  EXPECT_EQ(test(R"(port==7 or port==2 and color=="blue")", true), Truth::yes);
  EXPECT_EQ(test("10-5-2==3", true), Truth::yes);
  EXPECT_EQ(test("not port==8", true), Truth::yes);
  EXPECT_EQ(test("not port==7", true), Truth::no);
  EXPECT_EQ(test(R"(not port==8 and type=="bar")", true), Truth::no);
}

TEST(Expression, RefusesWhatIsNotTheLanguage) {
  for (const auto* text :
       {"", "port==", "(port", "port==7)", "a b", "if true", "o.a==1", "\"open", "like(", "[1,", "==", "1 2"}) {
    EXPECT_FALSE(Expression::parse(text)) << text;
  }
}

TEST(Expression, DeepOrLongTextIsAnErrorAndNotAnOverflow) {
  EXPECT_FALSE(Expression::parse(std::string(100'000, '(')));
  EXPECT_FALSE(Expression::parse(std::string(100'000, '!') + "true"));
  EXPECT_FALSE(Expression::parse(std::string(100'000, '-') + "1"));
  std::string sum = "1";
  for (int i = 0; i < 20'000; ++i) sum += "+1";
  EXPECT_FALSE(Expression::parse(sum));
  std::string brackets = "arr";
  for (int i = 0; i < 5000; ++i) brackets += "[0]";
  EXPECT_FALSE(Expression::parse(brackets));
}

TEST(Expression, ExpensivePatternsAreNotEvaluated) {
  EXPECT_EQ(test(R"(like("((a{1,255}){1,255}){1,255}",project))"), Truth::doubt);
  EXPECT_EQ(test(R"(like("(a)\\1",project))"), Truth::doubt);
}

TEST(Expression, IntegerOverflowIsDoubt) {
  EXPECT_EQ(test("9223372036854775807+port==1"), Truth::doubt);
  EXPECT_EQ(test("port*9223372036854775807==1"), Truth::doubt);
}

TEST(Expression, KnowsTheFilterOfOldWorkers) {
  EXPECT_TRUE(Expression::parse("true")->is_always());
  EXPECT_FALSE(Expression::parse("port==7")->is_always());
}

TEST(Expression, EvaluatesToValuesAndNamesUndefinedSymbols) {
  EXPECT_EQ(*Expression::parse("port+1", true)->evaluate(record()), Value(8));
  EXPECT_EQ(Expression::parse("nosuch", true)->evaluate(record()).error().text, "on line 1, nosuch: undefined symbol");
}

}  // namespace
}  // namespace taskmill::catalog
