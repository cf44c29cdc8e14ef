// Buckets and predictions of manager.md 10.7.
#include "manager/core/bucketing.hpp"

#include <gtest/gtest.h>

namespace taskmill::manager {
namespace {

using Kind = BucketingKind;
using Points = std::vector<double>;

Points repeat(std::initializer_list<std::pair<int, double>> runs) {
  Points points;
  for (const auto& [count, value] : runs) points.insert(points.end(), static_cast<std::size_t>(count), value);
  return points;
}
const Points A = repeat({{7, 200}, {3, 900}});
const Points B = repeat({{3, 900}, {7, 200}});
const Points C = {100, 200, 300, 400, 500, 600, 700, 800, 900, 1000};
const Points mixed = repeat({{4, 100}, {3, 1000}, {2, 4000}, {1, 100}});

BucketPredictor predictor(Kind kind, const Points& points) {
  BucketPredictor p(kind, 1000);
  for (const double v : points) p.add(v);
  return p;
}

void expect_buckets(Kind kind, const Points& points, std::vector<std::pair<double, double>> expected) {
  BucketPredictor p = predictor(kind, points);
  const auto& buckets = p.buckets();
  ASSERT_EQ(buckets.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(buckets[i].value, expected[i].first);
    EXPECT_NEAR(buckets[i].probability, expected[i].second, 1e-6);
  }
}

TEST(Bucketing, BucketsOfTheTable) {
  for (const Kind kind : {Kind::greedy, Kind::det_greedy, Kind::exhaustive, Kind::det_exhaustive}) {
    expect_buckets(kind, A, {{200, .509091}, {900, .490909}});
    expect_buckets(kind, B, {{200, .890909}, {900, .109091}});
    expect_buckets(kind, mixed, {{100, .363636}, {1000, .327273}, {4000, .309091}});
  }
  for (const Kind kind : {Kind::greedy, Kind::det_greedy}) expect_buckets(kind, C, {{1000, 1}});
  for (const Kind kind : {Kind::exhaustive, Kind::det_exhaustive})
    expect_buckets(kind, C, {{100, .018182}, {200, .036364}, {1000, .945455}});
  expect_buckets(Kind::quantized, A, {{900, 1}});
  expect_buckets(Kind::quantized, B, {{900, 1}});
  expect_buckets(Kind::quantized, C, {{1000, 1}});
  expect_buckets(Kind::quantized, mixed, {{4000, 1}});
}

TEST(Bucketing, SamplingPhaseDoubles) {
  Random random(1);
  BucketPredictor p(Kind::greedy, 1000);
  EXPECT_EQ(p.predict(-1, random), 1000);
  EXPECT_EQ(p.predict(0, random), 1000);
  EXPECT_EQ(p.predict(1000, random), 2000);
  EXPECT_EQ(p.predict(1500, random), 2000);
  EXPECT_EQ(p.predict(2000, random), 4000);
  EXPECT_EQ(p.predict(500, random), 1000);
}

TEST(Bucketing, DeterministicPredictions) {
  Random random(1);
  for (const Kind kind : {Kind::det_greedy, Kind::det_exhaustive}) {
    BucketPredictor a = predictor(kind, A);
    EXPECT_EQ(a.predict(-1, random), 200);
    EXPECT_EQ(a.predict(200, random), 900);
    EXPECT_EQ(a.predict(900, random), 1000);
    EXPECT_EQ(a.predict(1000, random), 2000);
    EXPECT_EQ(a.predict(5000, random), 8000);
    BucketPredictor d = predictor(kind, mixed);
    EXPECT_EQ(d.predict(-1, random), 100);
    EXPECT_EQ(d.predict(200, random), 1000);
    EXPECT_EQ(d.predict(1000, random), 4000);
  }
  BucketPredictor c = predictor(Kind::det_exhaustive, C);
  EXPECT_EQ(c.predict(-1, random), 100);
  EXPECT_EQ(c.predict(200, random), 1000);
}

TEST(Bucketing, RandomPredictionsFollowTheProbabilities) {
  Random random(7);
  BucketPredictor a = predictor(Kind::greedy, B);
  int small = 0;
  for (int i = 0; i < 10000; ++i) small += a.predict(-1, random) == 200 ? 1 : 0;
  EXPECT_NEAR(small, 8909, 200);
  EXPECT_EQ(a.predict(200, random), 900);
}

TEST(Bucketing, ManyDifferentPointsStayBounded) {
  Random random(3);
  BucketPredictor p(Kind::greedy, 1000);
  for (int i = 0; i < 20000; ++i) p.add(random.exponential(1000));
  EXPECT_GT(p.predict(-1, random), 0);
  EXPECT_GE(p.buckets().back().value, 8000);
}

}  // namespace
}  // namespace taskmill::manager
