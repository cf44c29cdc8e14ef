#include "common/archive/environment_wrapper.hpp"

#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr std::string_view runner_name = ".environment-run";
constexpr std::string_view archive_prefix = ".environment-";
constexpr std::string_view shell_part = "-env -- /bin/sh -c ";

std::string id_of(const EnvironmentWrapper& wrapper) { return wrapper.identity.hex().substr(0, 16); }

/// The reverse of shell_quote() for exactly one word.
std::optional<std::string> shell_unquote(std::string_view word) {
  std::string text;
  while (!word.empty()) {
    if (word.starts_with("\\'")) {
      text += '\'';
      word.remove_prefix(2);
      continue;
    }
    if (word.front() != '\'') {
      // shell_quote() may leave a harmless word as it is.
      text += word.front();
      word.remove_prefix(1);
      continue;
    }
    const std::size_t end = word.find('\'', 1);
    if (end == std::string_view::npos) return std::nullopt;
    text.append(word.substr(1, end - 1));
    word.remove_prefix(end + 1);
  }
  return text;
}

}  // namespace

std::vector<WrappedInput> wrapped_inputs(const EnvironmentWrapper& wrapper) {
  return {{wrapper.runner, std::string(runner_name)}, {wrapper.archive, std::string(archive_prefix) + id_of(wrapper)}};
}

std::string wrap_command(const EnvironmentWrapper& wrapper, const std::string& command) {
  const std::string id = id_of(wrapper);
  return "./" + std::string(runner_name) + " -e " + std::string(archive_prefix) + id + " -i " + wrapper.identity.hex() +
         " -u \"$WORK_QUEUE_SANDBOX\"/" + id + std::string(shell_part) + shell_quote(command);
}

std::optional<std::string> unwrap_command(std::string_view command) {
  if (!command.starts_with("./" + std::string(runner_name) + " -e ")) return std::nullopt;
  const std::size_t at = command.find(shell_part);
  if (at == std::string_view::npos) return std::nullopt;
  return shell_unquote(command.substr(at + shell_part.size()));
}

bool is_wrapped_input(std::string_view remote) {
  return remote == runner_name || (remote.starts_with(archive_prefix) && remote.size() == archive_prefix.size() + 16);
}

}  // namespace taskmill::archive
