#include "manager/app/result_record.hpp"

#include <gtest/gtest.h>

namespace taskmill::manager {
namespace {

using protocol::ResultCode;

TaskOutcome outcome(ResultCode result, int return_status, int signal = 0) {
  TaskOutcome made;
  made.result = result;
  made.return_status = return_status;
  made.signal = signal;
  return made;
}

TEST(FailureCause, IsWhyATaskWasStoppedBeforeTheSignalThatStoppedIt) {
  EXPECT_EQ(failure_cause(outcome(ResultCode::success, 9)), "exit code 9");
  EXPECT_EQ(failure_cause(outcome(ResultCode::success, 9, 9)), "killed by signal 9");
  EXPECT_EQ(failure_cause(outcome(ResultCode::task_max_run_time, 15, 15)), "MAX_WALL_TIME");
  EXPECT_FALSE(is_success(outcome(ResultCode::success, 9, 9)));
  EXPECT_TRUE(is_success(outcome(ResultCode::success, 0)));
}

}  // namespace
}  // namespace taskmill::manager
