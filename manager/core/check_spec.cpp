// What is refused at submission, with one line that names the field and the remedy (manager.md 4.2).
#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "common/base/text.hpp"
#include "manager/core/machine.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::manager {
namespace {

constexpr std::size_t max_name = 1000;  // encoded up to three times as long, it still fits a control line
constexpr std::size_t max_command = 32U << 20U;

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// For a message of one line: the beginning, without what would break it.
std::string shown_text(std::string_view text) {
  std::string out(text.substr(0, 200));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

/// "inputs[2]"
std::string element(std::string_view list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

std::optional<Error> check_remote(const std::string& field, std::string_view remote) {
  const std::string shown = field + ": the name \"" + shown_text(remote) + "\"";
  if (remote.empty()) return make_error(field + ": the name in the sandbox is empty: give one");
  if (remote.front() == '/')
    return make_error(shown + " is absolute: names in the sandbox are relative to the task's directory");
  if (!is_safe_relative_path(remote))
    return make_error(shown + " leaves the sandbox or has an empty part: use a plain relative path without \"..\"");
  if (has_control(remote)) return make_error(shown + " holds a control character: remove it");
  if (remote.size() > max_name) return make_error(shown + " is longer than " + std::to_string(max_name) + " bytes");
  return std::nullopt;
}

std::optional<Error> check_input(const std::string& field, const InputSpec& input) {
  if (auto error = check_remote(field, input.remote)) return error;
  const std::string name = field + ": \"" + input.remote + "\"";
  if (input.kind != FileKind::buffer && input.kind != FileKind::empty_directory) {
    if (input.source.empty()) return make_error(name + " has no source: give a path, URL or command");
    if (has_control(input.source)) return make_error(name + " has a control character in its source");
    if (input.source.size() > max_name + 300)
      return make_error(name + " has a source longer than " + std::to_string(max_name + 300) + " bytes");
  }
  switch (input.kind) {
    case FileKind::buffer:
      if (!input.data) return make_error(name + " is a buffer without data: set `data`");
      break;
    case FileKind::piece:
      if (input.last < input.first) return make_error(name + " is a piece whose last byte lies before its first");
      break;
    case FileKind::command:
      if (input.source.find("%%") == std::string::npos)
        return make_error(name + " needs %% in its command, which stands for the file to make");
      break;
    case FileKind::empty_directory:
      if (input.remote.find(' ') != std::string::npos)
        return make_error(name + " is an empty directory: its name cannot hold a blank on this wire");
      break;
    default:
      break;
  }
  return std::nullopt;
}

bool same_source(const InputSpec& a, const InputSpec& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == FileKind::buffer) return a.data == b.data || (a.data && b.data && *a.data == *b.data);
  return a.source == b.source && (a.kind != FileKind::piece || (a.first == b.first && a.last == b.last));
}

std::optional<Error> check_clashes(const TaskSpec& spec) {
  if (spec.inputs.size() + spec.outputs.size() < 2) return std::nullopt;
  std::unordered_map<std::string_view, const InputSpec*> inputs;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const InputSpec& input = spec.inputs[i];
    const auto [at, fresh] = inputs.try_emplace(input.remote, &input);
    if (!fresh && !same_source(*at->second, input))
      return make_error(element("inputs", i) + ": two inputs with different sources are both called \"" + input.remote +
                        "\": rename one");
  }
  std::unordered_map<std::string_view, const OutputSpec*> locals;
  std::unordered_map<std::string_view, const OutputSpec*> remotes;
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const OutputSpec& output = spec.outputs[i];
    const std::string field = element("outputs", i) + ": ";
    if (inputs.contains(output.remote))
      return make_error(field + "\"" + output.remote +
                        "\" is both an input and an output: give the output another name");
    const auto [at, fresh] = locals.try_emplace(output.local, &output);
    if (!fresh && at->second->remote != output.remote)
      return make_error(field + "two outputs are stored as \"" + output.local + "\": store one elsewhere");
    if (!remotes.try_emplace(output.remote, &output).second && !(!fresh && at->second->remote == output.remote))
      return make_error(field + "the output \"" + output.remote + "\" is named twice: name it once");
  }
  return std::nullopt;
}

std::optional<Error> check_words(const TaskSpec& spec) {
  if (spec.category.empty() || spec.category.size() > 255 || has_control(spec.category) ||
      spec.category.find(' ') != std::string::npos)
    return make_error("category: \"" + shown_text(spec.category) + "\" must be one word of at most 255 bytes");
  for (const auto& variable : spec.environment) {
    if (variable.name.empty() || variable.name.find('=') != std::string::npos ||
        variable.name.find('\0') != std::string::npos)
      return make_error("env: \"" + shown_text(variable.name) +
                        "\" is not a name: a variable's must be non-empty without '='");
    if (variable.name == protocol::environment_variable)
      return make_error("env: " + variable.name + " is reserved: name an environment instead");
    if (variable.value && variable.value->find('\0') != std::string::npos)
      return make_error("env." + variable.name + ": the value holds a NUL byte");
  }
  for (const auto& feature : spec.features) {
    if (feature.empty() || has_control(feature))
      return make_error("features: one is empty or holds a control character");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> Machine::check_spec(const TaskSpec& spec) {
  if (spec.command.empty()) return make_error("command: is missing, the task needs one");
  if (spec.command.size() > max_command)
    return make_error("command: is longer than 32 MB: put it into an input file and run that");
  if (spec.command.find('\0') != std::string::npos) return make_error("command: must not hold a NUL byte");
  if (!std::isfinite(spec.priority)) return make_error("priority: is not a finite number");
  if (std::isnan(spec.resources.cores)) return make_error("cores: is not a number");
  if (auto error = check_words(spec)) return error;
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    if (auto error = check_input(element("inputs", i), spec.inputs[i])) return error;
  }
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const OutputSpec& output = spec.outputs[i];
    const std::string field = element("outputs", i);
    if (auto error = check_remote(field, output.remote)) return error;
    if (output.local.empty())
      return make_error(field + ": \"" + output.remote + "\" has no local path: say where to store it");
    if (output.local.find('\0') != std::string::npos)
      return make_error(field + ": \"" + output.remote + "\" has a NUL in its local path");
  }
  return check_clashes(spec);
}

}  // namespace taskmill::manager
