#include "common/aio/pace.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace taskmill::aio {
namespace {

using std::chrono::seconds;

// Takes what is allowed, in pieces of at most `slice`, and waits as told.
struct Mover {
  Pace& pace;
  Time now{};
  double moved = 0;

  void until(Time end, std::size_t slice) {
    while (now < end) {
      const auto allowed = std::min(pace.allowance(now), slice);
      pace.spend(allowed);
      moved += static_cast<double>(allowed);
      if (allowed == 0) now += pace.wait();
    }
  }
};

TEST(Pace, KeepsItsRateWhateverTheSlices) {
  for (const double rate : {10.0, 1000.0, 1e6, 1e9, 1e13}) {
    for (const std::size_t slice : {std::size_t{1}, std::size_t{1000}, std::size_t{1} << 20, std::size_t{1} << 40}) {
      if (rate / static_cast<double>(slice) > 1e5) continue;  // too many steps
      Pace pace(rate);
      Mover mover{pace};
      mover.until(Time{} + seconds(10), slice);
      EXPECT_LE(mover.moved, rate * 10.1 + static_cast<double>(slice) + 1) << rate << " " << slice;
      EXPECT_GE(mover.moved, rate * 9) << rate << " " << slice;
    }
  }
}

TEST(Pace, WhatWasOverdrawnIsPaidBackAndIdlenessIsNotSaved) {
  Pace pace(1000);
  EXPECT_GT(pace.allowance(Time{}), 0U);
  pace.spend(5000);
  EXPECT_EQ(pace.allowance(Time{} + seconds(4)), 0U);
  EXPECT_GT(pace.wait(), std::chrono::milliseconds(900));
  EXPECT_GT(pace.allowance(Time{} + seconds(6)), 0U);
  EXPECT_LE(pace.allowance(Time{} + seconds(1000)), 50U) << "a twentieth of a second at once";
}

}  // namespace
}  // namespace taskmill::aio
