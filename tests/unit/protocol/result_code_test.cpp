#include "protocol/result_code.hpp"

#include <gtest/gtest.h>

namespace taskmill::protocol {
namespace {

using enum ResultCode;

TEST(ResultCodes, AMissingOutputHidesSuccessButNoHarderFailure) {
  EXPECT_EQ(combine_results(success, output_missing), output_missing);
  EXPECT_EQ(combine_results(unknown, output_missing), output_missing);
  EXPECT_EQ(combine_results(resource_exhaustion, output_missing), resource_exhaustion);
  EXPECT_EQ(combine_results(signal, input_missing), signal);
}

TEST(ResultCodes, HardCodesReplaceWhateverWasThere) {
  EXPECT_EQ(combine_results(resource_exhaustion, task_timeout), task_timeout);
  EXPECT_EQ(combine_results(output_missing, rmonitor_error), rmonitor_error);
}

TEST(ResultCodes, TextsAreThoseOfTheOldPrograms) {
  EXPECT_EQ(result_text(input_missing), "INPUT_MISS");
  EXPECT_EQ(result_text(task_timeout), "END_TIME");
  EXPECT_EQ(result_text(task_max_run_time), "MAX_WALL_TIME");
  EXPECT_EQ(result_text(static_cast<ResultCode>(99)), "UNKNOWN");
}

}  // namespace
}  // namespace taskmill::protocol
