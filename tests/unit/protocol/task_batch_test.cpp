// Batches of tasks: whatever is shared on the way, the descriptions come back as they were given.
#include "protocol/pb/task_batch.hpp"

#include <gtest/gtest.h>

#include "common/base/random.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/result_code.hpp"
#include "protocol/worker_session.hpp"

namespace taskmill::protocol {
namespace {

// Through the worker's session, in two pieces cut anywhere.
std::optional<ExpandedBatch> receive(const std::string& bytes, std::size_t cut) {
  WorkerSession session({});
  session.allow_frames(true);
  std::string kept, body;
  std::uint32_t kind = 0;
  for (const auto part : {std::string_view(bytes).substr(0, cut), std::string_view(bytes).substr(cut)}) {
    kept += part;
    std::string_view input = kept;
    while (!input.empty()) {
      if (session.body_left() > 0) {
        const auto here = std::min<std::uint64_t>(session.body_left(), input.size());
        body += input.substr(0, here);
        session.body_taken(here);
        input.remove_prefix(here);
        continue;
      }
      const auto step = session.next(input);
      if (step.failed() || step.consumed == 0) break;
      input.remove_prefix(step.consumed);
      if (step.message) kind = std::get<ManagerFrame>(*step.message).kind;
    }
    kept = input;
  }
  auto message = parse_frame<pb::TaskBatch>(kind, body);
  if (!message) return std::nullopt;
  std::string why;
  return expand(std::move(*message), why);
}

void expect_equal(const TaskDescription& got, const TaskDescription& sent) {
  EXPECT_EQ(got.task_id, sent.task_id);
  EXPECT_EQ(got.attempt, sent.attempt);
  EXPECT_EQ(got.command, sent.command);
  EXPECT_EQ(got.argv, sent.argv);
  EXPECT_EQ(got.category, sent.category);
  EXPECT_EQ(got.cores, sent.cores);
  EXPECT_EQ(got.memory, sent.memory);
  EXPECT_EQ(got.disk, sent.disk);
  EXPECT_EQ(got.gpus, sent.gpus);
  EXPECT_EQ(got.env, sent.env);
  EXPECT_EQ(got.end_time_us, sent.end_time_us);
  EXPECT_EQ(got.limits, sent.limits);
  EXPECT_EQ(got.environment, sent.environment);
  ASSERT_EQ(got.inputs.size(), sent.inputs.size());
  for (std::size_t i = 0; i < sent.inputs.size(); ++i) {
    EXPECT_EQ(got.inputs[i].cache_name, sent.inputs[i].cache_name);
    EXPECT_EQ(got.inputs[i].sandbox_name, sent.inputs[i].sandbox_name);
    EXPECT_EQ(got.inputs[i].flags, sent.inputs[i].flags);
    EXPECT_EQ(got.inputs[i].empty_directory, sent.inputs[i].empty_directory);
    EXPECT_EQ(got.inputs[i].content, sent.inputs[i].content);
    EXPECT_EQ(got.inputs[i].mode, sent.inputs[i].mode);
  }
  ASSERT_EQ(got.outputs.size(), sent.outputs.size());
  for (std::size_t i = 0; i < sent.outputs.size(); ++i) {
    EXPECT_EQ(got.outputs[i].cache_name, sent.outputs[i].cache_name);
    EXPECT_EQ(got.outputs[i].sandbox_name, sent.outputs[i].sandbox_name);
    EXPECT_EQ(got.outputs[i].flags, sent.outputs[i].flags);
  }
}

TaskDescription random_task(Random& random, std::int64_t id) {
  TaskDescription task;
  task.task_id = id;
  task.attempt = static_cast<std::uint32_t>(id + 100);
  task.command = random.below(2) == 0 ? "true" : "run " + std::to_string(random.below(3));
  if (random.below(8) == 0) task.argv = {"/bin/echo", "a b", ""};
  task.category = random.below(2) == 0 ? "default" : "a\xff z";
  task.cores = 1 + static_cast<double>(random.below(2)) / 2;
  task.memory = static_cast<double>(random.below(2)) * 100;
  task.disk = 7;
  task.gpus = 0;
  if (random.below(3) == 0) task.env = {"A=1", "B", "C=x=y"};
  if (random.below(3) == 0) task.limits.wall_time = 1.5;
  if (random.below(5) == 0) task.limits.processes = 12;
  if (random.below(4) == 0) task.limits.memory = task.limits.disk = 300;
  if (random.below(5) == 0) {
    task.limits.cores = 1.5;
    task.limits.stop_for_cores = random.below(2) == 0;
  }
  if (random.below(4) == 0) task.environment = std::string(32, 'a') + std::string(32, '7');
  for (std::uint64_t i = random.below(4); i > 0; --i) {
    auto& input = task.inputs.emplace_back();
    input.sandbox_name = "in " + std::to_string(i);
    input.cache_name = "cached-" + std::to_string(i);
    input.flags = file_flag::cache;
    if (random.below(3) > 0) continue;
    input.cache_name = "own-" + std::to_string(id) + "-" + std::to_string(i);
    input.flags = 0;
    if (random.below(2) == 0) continue;
    input.content = std::string(random.below(50), '\0') + "x";
    input.mode = 0640;
  }
  for (std::uint64_t i = random.below(3); i > 0; --i)
    task.outputs.push_back(
        {"out-" + std::to_string(id) + std::to_string(i), "o" + std::to_string(i), file_flag::watch});
  return task;
}

TEST(TaskBatch, ComesBackAsItWasWhereverItIsCut) {
  Random random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<TaskDescription> sent;
    BatchWriter batch;
    for (std::int64_t id = 1; id <= static_cast<std::int64_t>(random.below(30)) + 1; ++id) {
      sent.push_back(random_task(random, id));
      batch.add(sent.back());
    }
    std::string bytes;
    ASSERT_TRUE(batch.flush(bytes, round % 2 == 0));
    EXPECT_TRUE(batch.empty());
    const auto got = receive(bytes, random.below(bytes.size() + 1));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->inline_outputs, inline_output_limit);
    ASSERT_EQ(got->tasks.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) expect_equal(got->tasks[i], sent[i]);
  }
}

TEST(TaskBatch, SendsWhatTasksShareOnce) {
  TaskDescription task;
  task.command = std::string(500, 'c');
  task.category = "default";
  task.inputs.push_back({std::string(100, 'n'), "data", file_flag::cache});
  const auto size_of = [&task](std::int64_t count) {
    BatchWriter batch;
    for (std::int64_t id = 1; id <= count; ++id) {
      task.task_id = id;
      batch.add(task);
    }
    std::string bytes;
    batch.flush(bytes, false);
    return bytes.size();
  };
  EXPECT_LT(size_of(101) - size_of(1), 100 * 16U);
}

TEST(TaskBatch, ThatBreaksARuleIsRefusedWhole) {
  const auto refused = [](const std::function<void(pb::TaskBatch&)>& spoil) {
    pb::TaskBatch batch;
    batch.add_tasks()->set_task_id(1);
    batch.add_templates()->set_command("true");
    batch.mutable_tasks(0)->set_template_(1);
    std::string why;
    EXPECT_TRUE(expand(batch, why));
    spoil(batch);
    const bool taken = expand(batch, why).has_value();
    EXPECT_NE(taken, !why.empty());
    return !taken;
  };
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_tasks(0)->set_task_id(0); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_tasks(0)->set_task_id(1LL << 31); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_tasks(0)->set_template_(2); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_tasks(0)->set_cores(-1); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_tasks(0)->add_variables()->set_name("A=B"); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) { b.mutable_templates(0)->add_inputs()->set_content("x"); }));
  EXPECT_TRUE(refused([](pb::TaskBatch& b) {  // small on the wire, huge when filled in
    for (int i = 0; i < 2000; ++i) b.mutable_templates(0)->add_inputs()->set_cache_name("n");
    for (int i = 0; i < 2000; ++i) *b.add_tasks() = b.tasks(0);
  }));
}

}  // namespace
}  // namespace taskmill::protocol
