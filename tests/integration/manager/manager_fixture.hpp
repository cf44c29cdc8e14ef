// A manager in the test's thread, scripted workers in theirs, and a directory that disappears afterwards.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "manager/api/manager.hpp"
#include "tests/integration/manager/scripted_worker.hpp"

namespace taskmill::test {

class ManagerTest : public ::testing::Test {
 protected:
  ManagerTest() {
    std::string name = (std::filesystem::temp_directory_path() / "manager-test-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    options_.port = 0;
    options_.address = "127.0.0.1";
  }
  ~ManagerTest() override {
    if (manager_) manager_->finish();
    workers_.clear();
    manager_.reset();
    std::filesystem::remove_all(directory_);
  }

  void start() {
    auto created = manager::Manager::create(options_);
    ASSERT_TRUE(created.has_value()) << created.error().text;
    manager_ = std::move(*created);
  }
  ScriptedWorker& worker(ScriptedWorker::Script script) {
    workers_.push_back(std::make_unique<ScriptedWorker>(manager_->port(), std::move(script)));
    return *workers_.back();
  }
  ScriptedWorker& worker(
      std::function<ScriptedResult(const ScriptedTask&, const std::map<std::string, std::string>&)> run) {
    ScriptedWorker::Script script;
    script.run = std::move(run);
    return worker(std::move(script));
  }
  /// Submits, or fails the test.
  TaskId submit(const manager::TaskSpec& spec) {
    auto id = manager_->submit(spec);
    EXPECT_TRUE(id.has_value()) << id.error().text;
    return id.has_value() ? *id : TaskId{};
  }
  /// All that finish, by id, until nothing is left (or 60 s are over).
  std::map<std::uint32_t, manager::FinishedTask> wait_all() {
    std::map<std::uint32_t, manager::FinishedTask> done;
    while (auto task = manager_->wait(std::chrono::seconds(60))) done.emplace(task->id.value(), std::move(*task));
    EXPECT_TRUE(manager_->empty()) << manager_->status("tasks");
    return done;
  }
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return file ? text.str() : "(no file)";
  }
  /// Names left by writing that was not completed.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_)) {
      if (entry.path().filename().string().find(".part-") != std::string::npos) names.push_back(entry.path());
    }
    return names;
  }
  static manager::TaskSpec task(std::string command) {
    manager::TaskSpec spec;
    spec.command = std::move(command);
    spec.resources.cores = 1;
    return spec;
  }

  std::string directory_;
  manager::ManagerOptions options_;
  std::unique_ptr<manager::Manager> manager_;
  std::vector<std::unique_ptr<ScriptedWorker>> workers_;
};

inline ScriptedResult ok(std::string output = {}, std::map<std::string, std::string> files = {}) {
  ScriptedResult result;
  result.output = std::move(output);
  result.files = std::move(files);
  return result;
}

}  // namespace taskmill::test
