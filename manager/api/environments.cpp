#include "manager/api/environments.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "common/aio/clock.hpp"
#include "common/archive/environment_wrapper.hpp"
#include "common/archive/repacker.hpp"
#include "common/base/text.hpp"
#include "manager/core/file_table.hpp"
#include "manager/net/environment_library.hpp"

namespace taskmill::manager {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t most_waiting = 10'000;
constexpr const char* runner_program = "poncho_package_run";

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

std::string default_cache() {
  if (const char* cache = variable("XDG_CACHE_HOME")) return std::string(cache) + "/taskmill/environments";
  if (const char* home = variable("HOME")) return std::string(home) + "/.cache/taskmill/environments";
  return "/tmp/taskmill-environments-" + std::to_string(::geteuid());
}

}  // namespace

Environments::Environments(EnvironmentOptions options, boost::asio::io_context& control)
    : options_(std::move(options)),
      cache_(options_.cache.empty() ? default_cache() : options_.cache),
      library_(std::make_shared<EnvironmentLibrary>(cache_ + "/chunks")),
      control_(control) {}

Expected<std::string> Environments::find_runner() const {
  std::error_code ignored;
  std::vector<fs::path> places;
  if (!options_.runner.empty()) {
    places.emplace_back(options_.runner);
  } else {
    places.push_back(fs::read_symlink("/proc/self/exe", ignored).parent_path() / runner_program);
    const char* path = variable("PATH");
    for (const auto part : split(path != nullptr ? path : "/usr/bin", ':'))
      places.push_back(fs::path(part) / runner_program);
  }
  for (const auto& place : places) {
    if (::access(place.c_str(), X_OK) == 0 && fs::is_regular_file(place, ignored)) {
      return {boost::system::in_place_value, place.string()};
    }
  }
  return make_error(
      "environments need the program poncho_package_run, which is neither beside this program nor in PATH");
}

// On the thread: errors say what is wrong, not with which environment.
Expected<EnvironmentPlan> Environments::prepare(const std::string& path, const std::string& runner) const {
  archive::RepackOptions repack;
  repack.cache = cache_;
  repack.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 8);
  std::error_code failed;
  fs::create_directories(repack.cache, failed);
  if (failed) return make_error("cannot make directory " + repack.cache + ": " + failed.message());
  auto prepared = archive::repack(path, repack);
  if (!prepared) return prepared.error();
  auto offered = library_->add(prepared->path, prepared->plain_digest, safe_base_name(path));
  if (!offered) return offered.error();
  const archive::EnvironmentWrapper wrapper{runner, prepared->path, prepared->plain_digest};
  auto inputs = archive::wrapped_inputs(wrapper);
  EnvironmentPlan plan;
  plan.name = path;
  plan.digest = prepared->plain_digest.hex();
  plan.bytes = prepared->plain_bytes;
  plan.native = *offered;
  plan.runner.source = inputs[0].source;
  plan.runner.remote = inputs[0].remote;
  plan.archive.source = inputs[1].source;
  plan.archive.remote = inputs[1].remote;
  plan.command_head = archive::wrapped_command_head(wrapper);
  return plan;
}

Expected<void> Environments::declare(const TaskSpec& spec, Machine& machine, const std::function<void()>& changed) {
  const std::string& name = spec.environment_archive;
  if (name.empty() || declared_.contains(name)) return {};
  auto runner = find_runner();
  if (!runner) return runner.error();
  if (::access(name.c_str(), R_OK) != 0)
    return make_error("environment " + name + ": cannot be read: " + std::strerror(errno));
  if (!thread_) thread_ = std::make_unique<aio::Pool>(control_, 1, most_waiting);
  auto job = [this, name, runner = *runner, &machine, changed]() -> aio::Pool::Done {
    return [this, name, plan = prepare(name, runner), &machine, changed] {
      if (plan) {
        machine.declare_environment(*plan);
      } else {
        declared_.erase(name);  // a later task tries again
        machine.fail_environment(name, plan.error().text, aio::now());
      }
      changed();
    };
  };
  if (!thread_->submit(std::move(job)))
    return make_error("environment " + name + ": too many others are being prepared");
  machine.expect_environment(name);
  declared_.insert(name);
  return {};
}

}  // namespace taskmill::manager
