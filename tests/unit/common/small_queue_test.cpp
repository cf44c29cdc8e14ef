#include "common/base/small_queue.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

#include "common/base/random.hpp"

namespace taskmill {
namespace {

TEST(SmallQueue, BehavesLikeADeque) {
  Random random(3);
  SmallQueue<std::string> queue;
  std::deque<std::string> model;
  for (int i = 0; i < 20000; ++i) {
    // Long phases of filling and of emptying, so that it grows, moves up and runs empty.
    const bool filling = i / 500 % 2 == 0;
    const bool push = random.below(3) == 0 ? !filling : filling;
    if (push) {
      queue.push_back(std::to_string(i));
      model.push_back(std::to_string(i));
    } else if (!model.empty()) {
      queue.pop_front();
      model.pop_front();
    }
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(queue.empty(), model.empty());
    if (!model.empty()) {
      ASSERT_EQ(queue.front(), model.front());
    }
  }
}

TEST(SmallQueue, TakesWhatCanOnlyBeMoved) {
  SmallQueue<std::unique_ptr<int>> queue;
  for (int i = 0; i < 100; ++i) queue.push_back(std::make_unique<int>(i));
  for (int i = 0; i < 100; ++i) {
    const auto item = std::move(queue.front());
    queue.pop_front();
    ASSERT_EQ(*item, i);
  }
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace taskmill
