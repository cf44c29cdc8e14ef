#include "common/archive/environment_wrapper.hpp"

namespace taskmill::archive {

namespace {

constexpr std::string_view runner_name = ".environment-run";
constexpr std::string_view archive_prefix = ".environment-";
constexpr std::string_view shell_part = "-env -- /bin/sh -c ";

std::string id_of(const EnvironmentWrapper& wrapper) { return wrapper.identity.hex().substr(0, 16); }

}  // namespace

std::vector<WrappedInput> wrapped_inputs(const EnvironmentWrapper& wrapper) {
  return {{wrapper.runner, std::string(runner_name)}, {wrapper.archive, std::string(archive_prefix) + id_of(wrapper)}};
}

std::string wrapped_command_head(const EnvironmentWrapper& wrapper) {
  const std::string id = id_of(wrapper);
  return "./" + std::string(runner_name) + " -e " + std::string(archive_prefix) + id + " -i " + wrapper.identity.hex() +
         " -u \"$WORK_QUEUE_SANDBOX\"/" + id + std::string(shell_part);
}

}  // namespace taskmill::archive
