#include "manager/api/environments.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "common/archive/repacker.hpp"
#include "common/base/text.hpp"

namespace taskmill::manager {
namespace {

namespace fs = std::filesystem;
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

Expected<const archive::EnvironmentWrapper*> Environments::wrapper_for(const std::string& path) {
  const auto known = wrappers_.find(path);
  if (known != wrappers_.end()) return &known->second;
  auto runner = find_runner();
  if (!runner) return runner.error();
  archive::RepackOptions repack;
  repack.cache = options_.cache.empty() ? default_cache() : options_.cache;
  repack.threads = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 8);
  std::error_code failed;
  fs::create_directories(repack.cache, failed);
  if (failed) return make_error("cannot make directory " + repack.cache + ": " + failed.message());
  auto prepared = archive::repack(path, repack);
  if (!prepared) return make_error("environment " + path + ": " + prepared.error().text);
  archive::EnvironmentWrapper wrapper{*runner, prepared->path, prepared->plain_digest};
  return &wrappers_.emplace(path, std::move(wrapper)).first->second;
}

Expected<void> Environments::apply(TaskSpec& spec) {
  if (spec.environment_archive.empty()) return {};
  auto wrapper = wrapper_for(spec.environment_archive);
  if (!wrapper) return wrapper.error();
  for (auto& wrapped : archive::wrapped_inputs(**wrapper)) {
    InputSpec input;
    input.source = std::move(wrapped.source);
    input.remote = std::move(wrapped.remote);
    spec.inputs.push_back(std::move(input));
  }
  spec.command = archive::wrap_command(**wrapper, spec.command);
  spec.environment_archive.clear();
  return {};
}

void Environments::restore(TaskSpec& spec) const {
  if (wrappers_.empty()) return;
  auto command = archive::unwrap_command(spec.command);
  if (!command) return;
  for (const auto& [name, wrapper] : wrappers_) {
    const auto inputs = archive::wrapped_inputs(wrapper);
    const bool ours = std::any_of(spec.inputs.begin(), spec.inputs.end(),
                                  [&](const InputSpec& input) { return input.remote == inputs.back().remote; });
    if (ours) spec.environment_archive = name;
  }
  spec.command = std::move(*command);
  std::erase_if(spec.inputs, [](const InputSpec& input) { return archive::is_wrapped_input(input.remote); });
}

}  // namespace taskmill::manager
