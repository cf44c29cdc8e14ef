#include "manager/app/task_file.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <istream>
#include <nlohmann/json.hpp>
#include <optional>

#include "common/base/nearest_word.hpp"
#include "common/base/text.hpp"
#include "common/base/unique_keys.hpp"
#include "manager/app/plain_task_line.hpp"

namespace taskmill::manager {
namespace {

using Json = nlohmann::json;

constexpr double max_seconds = 1e12;

/// The first problem of a task; later ones are ignored.
struct Problem {
  std::string text;
  void report(const std::string& field, const std::string& what) {
    if (text.empty()) text = field + ": " + what;
  }
};

// Typed access to one JSON object that remembers which fields it was asked for.
class Fields {
 public:
  Fields(const Json& object, std::string path, Problem& problem)
      : object_(object), path_(std::move(path)), problem_(problem) {}

  const Json* find(const char* name) {
    known_.emplace_back(name);
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  void text(const char* name, std::string& target) {
    const auto* value = find(name);
    if (value == nullptr) return;
    if (!value->is_string()) return complain(name, "text is expected");
    target = value->get<std::string>();
    if (target.find('\0') != std::string::npos) complain(name, "must not hold a NUL byte");
  }
  void flag(const char* name, bool& target) {
    const auto* value = find(name);
    if (value == nullptr) return;
    if (!value->is_boolean()) return complain(name, "true or false is expected");
    target = value->get<bool>();
  }
  std::optional<double> number(const char* name, double least, double most) {
    const auto* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_number()) {
      const auto number = value->get<double>();
      if (std::isfinite(number) && number >= least && number <= most) return number;
    }
    complain(name, "a number from " + written(least) + " to " + written(most) + " is expected");
    return std::nullopt;
  }
  void whole(const char* name, std::int64_t least, std::int64_t& target) {
    const auto* value = find(name);
    if (value == nullptr) return;
    if (value->is_number_integer() && value->get<std::int64_t>() >= least) {
      target = value->get<std::int64_t>();
      return;
    }
    complain(name, "a whole number of at least " + std::to_string(least) + " is expected");
  }
  void seconds(const char* name, Duration& target) {
    if (const auto value = number(name, 0, max_seconds))
      target = Duration(static_cast<std::int64_t>(std::ceil(*value * 1e6)));
  }
  void epoch_seconds(const char* name, WallTime& target) {
    if (const auto value = number(name, 0, max_seconds))
      target = WallTime(Duration(static_cast<std::int64_t>(std::ceil(*value * 1e6))));
  }
  void done() {
    for (const auto& [name, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      const auto near = nearest_word(name, known_);
      return complain(name, near.empty() ? "unknown field" : "unknown field; did you mean \"" + near + "\"?");
    }
  }
  void complain(const std::string& name, const std::string& what) { problem_.report(path_ + name, what); }

 private:
  static std::string written(double value) {
    const auto whole = static_cast<std::int64_t>(value);
    return std::to_string(whole);
  }
  const Json& object_;
  std::string path_;
  Problem& problem_;
  std::vector<std::string> known_;
};

std::string base_name(const std::string& path) {
  auto name = std::filesystem::path(path).filename().string();
  if (name.empty()) name = std::filesystem::path(path).parent_path().filename().string();
  return name;
}

bool looks_like_url(std::string_view text) {
  const auto colon = text.find("://");
  return colon != std::string_view::npos && colon > 1 && text.find_first_of("/=") > colon;
}

/// "local=remote", or "local" alone: the remote name is its last component.
std::pair<std::string, std::string> split_names(const std::string& text) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return {text, base_name(text)};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

void check_remote(const std::string& where, const std::string& remote, Problem& problem) {
  if (!is_safe_relative_path(remote)) {
    problem.report(
        where,
        "\"" + remote +
            "\" is no name inside a sandbox (relative, without \"..\"); name it with \"local=remote\" or \"name\"");
  }
}

InputSpec short_input(const std::string& text) {
  InputSpec input;
  if (looks_like_url(text)) {
    input.kind = FileKind::url;
    input.source = text;
    input.remote = base_name(text);
    return input;
  }
  std::tie(input.source, input.remote) = split_names(text);
  return input;
}

InputSpec long_input(const Json& json, const std::string& where, Problem& problem) {
  Fields fields(json, where + ".", problem);
  InputSpec input;
  int sources = 0;
  const auto take = [&](const char* name, FileKind kind, std::string& target) {
    std::string value;
    fields.text(name, value);
    if (!json.contains(name)) return;
    ++sources;
    input.kind = kind;
    target = std::move(value);
  };
  std::string content;
  take("file", FileKind::file, input.source);
  take("directory", FileKind::file, input.source);
  take("url", FileKind::url, input.source);
  take("command", FileKind::command, input.source);
  take("piece", FileKind::piece, input.source);
  take("buffer", FileKind::buffer, content);
  take("empty_directory", FileKind::empty_directory, input.source);
  if (sources != 1)
    problem.report(where, "needs exactly one of file, directory, buffer, piece, url, command, empty_directory");
  if (input.kind == FileKind::buffer) input.data = std::make_shared<const std::string>(std::move(content));
  if (input.kind == FileKind::piece) {
    std::int64_t first = -1;
    std::int64_t last = -1;
    fields.whole("first", 0, first);
    fields.whole("last", 0, last);
    if (first < 0 || last < first)
      problem.report(where, "a piece needs first and last byte, both included, 0 <= first <= last");
    input.first = static_cast<std::uint64_t>(std::max<std::int64_t>(first, 0));
    input.last = static_cast<std::uint64_t>(std::max<std::int64_t>(last, 0));
  }
  if (input.kind == FileKind::command && input.source.find("%%") == std::string::npos) {
    problem.report(where + ".command", "needs %% where the name of the file to make stands");
  }
  input.remote = input.kind == FileKind::buffer || input.kind == FileKind::command ? "" : base_name(input.source);
  if (input.kind == FileKind::empty_directory) input.remote = input.source;
  fields.text("name", input.remote);
  fields.flag("cache", input.cache);
  fields.done();
  return input;
}

OutputSpec long_output(const Json& json, const std::string& where, Problem& problem) {
  Fields fields(json, where + ".", problem);
  OutputSpec output;
  fields.text("file", output.local);
  fields.text("directory", output.local);
  if (output.local.empty()) problem.report(where, "needs \"file\": where the output goes");
  output.remote = base_name(output.local);
  fields.text("name", output.remote);
  std::string when = "always";
  fields.text("when", when);
  if (when == "success")
    output.when = OutputWhen::on_success;
  else if (when == "failure")
    output.when = OutputWhen::on_failure;
  else if (when != "always")
    problem.report(where + ".when", "unknown; use always, success or failure");
  fields.flag("watch", output.watch);
  fields.flag("cache", output.cache);
  fields.done();
  return output;
}

template <class Each>
void each_element(Fields& fields, const char* name, Problem& problem, Each each) {
  const auto* list = fields.find(name);
  if (list == nullptr) return;
  if (!list->is_array()) return problem.report(name, "a list is expected");
  for (std::size_t i = 0; i < list->size(); ++i) each((*list)[i], std::string(name) + "[" + std::to_string(i) + "]");
}

void read_files(Fields& fields, TaskSpec& spec, Problem& problem) {
  each_element(fields, "inputs", problem, [&](const Json& json, const std::string& where) {
    if (json.is_string())
      spec.inputs.push_back(short_input(json.get<std::string>()));
    else if (json.is_object())
      spec.inputs.push_back(long_input(json, where, problem));
    else
      return problem.report(where, "a file name or an object is expected");
    check_remote(where, spec.inputs.back().remote, problem);
  });
  each_element(fields, "outputs", problem, [&](const Json& json, const std::string& where) {
    OutputSpec output;
    if (json.is_string())
      std::tie(output.local, output.remote) = split_names(json.get<std::string>());
    else if (json.is_object())
      output = long_output(json, where, problem);
    else
      return problem.report(where, "a file name or an object is expected");
    check_remote(where, output.remote, problem);
    spec.outputs.push_back(std::move(output));
  });
}

void read_environment(Fields& fields, TaskSpec& spec, Problem& problem) {
  const auto* object = fields.find("env");
  if (object == nullptr) return;
  if (!object->is_object()) return problem.report("env", "an object of names and values is expected");
  for (const auto& [name, value] : object->items()) {
    if (name.empty() || name.find('=') != std::string::npos)
      problem.report("env", "\"" + name + "\" is no variable name");
    if (value.is_null())
      spec.environment.push_back({name, std::nullopt});
    else if (value.is_string())
      spec.environment.push_back({name, value.get<std::string>()});
    else if (value.is_number() || value.is_boolean())
      spec.environment.push_back({name, value.dump()});
    else
      problem.report("env." + name, "text, a number or null (unset) is expected");
  }
}

void read_resources(Fields& fields, TaskSpec& spec) {
  if (const auto cores = fields.number("cores", 0, 1e6)) spec.resources.cores = *cores;
  fields.whole("memory", 0, spec.resources.memory);
  fields.whole("disk", 0, spec.resources.disk);
  fields.whole("gpus", 0, spec.resources.gpus);
}

void read_policy(Fields& fields, TaskSpec& spec) {
  if (const auto priority = fields.number("priority", -1e15, 1e15)) spec.priority = *priority;
  std::int64_t retries = 0;
  fields.whole("max_retries", 0, retries);
  spec.max_retries = static_cast<int>(std::min<std::int64_t>(retries, 1000000));
  fields.seconds("max_running_time", spec.max_running_time);
  fields.seconds("min_running_time", spec.min_running_time);
  fields.epoch_seconds("end_time", spec.end_time);
  fields.epoch_seconds("start_time_min", spec.start_time_min);
  fields.flag("may_run_twice", spec.may_run_twice);
  std::string algorithm;
  fields.text("algorithm", algorithm);
  static constexpr std::pair<std::string_view, Algorithm> algorithms[] = {
      {"", Algorithm::unset},    {"fcfs", Algorithm::fcfs}, {"files", Algorithm::files},
      {"time", Algorithm::time}, {"rand", Algorithm::rand}, {"worst", Algorithm::worst}};
  const auto found = std::find_if(std::begin(algorithms), std::end(algorithms),
                                  [&](const auto& entry) { return entry.first == algorithm; });
  if (found == std::end(algorithms))
    return fields.complain("algorithm", "unknown; use fcfs, files, time, rand or worst");
  spec.algorithm = found->second;
}

}  // namespace

Expected<TaskSpec> parse_task(std::string_view text) {
  TaskSpec spec;
  if (read_plain_task(text, spec)) return spec;
  return parse_task_in_full(text);
}

Expected<TaskSpec> parse_task_in_full(std::string_view text) {
  UniqueKeys<Json> keys;
  const auto json = Json::parse(text, std::ref(keys), false);
  if (json.is_discarded())
    return make_error("not JSON; one object per line is expected, e.g. {\"command\": \"echo hello\"}");
  if (!json.is_object()) return make_error("a JSON object is expected, e.g. {\"command\": \"echo hello\"}");
  if (!keys.twice.empty()) return make_error(keys.twice + ": given twice; keep one");
  Problem problem;
  Fields fields(json, "", problem);
  TaskSpec spec;
  fields.text("command", spec.command);
  fields.text("tag", spec.tag);
  fields.text("category", spec.category);
  fields.text("coprocess", spec.coprocess);
  fields.text("environment", spec.environment_archive);
  each_element(fields, "features", problem, [&](const Json& feature, const std::string& where) {
    if (!feature.is_string()) return problem.report(where, "text is expected");
    spec.features.push_back(feature.get<std::string>());
  });
  read_files(fields, spec, problem);
  read_environment(fields, spec, problem);
  read_resources(fields, spec);
  read_policy(fields, spec);
  fields.done();
  if (spec.command.empty()) problem.report("command", "is missing");  // last: a misspelt name says more
  if (!problem.text.empty()) return make_error(problem.text);
  return spec;
}

namespace {

template <class MakeTask>
TaskList read_lines(std::istream& in, const std::string& name, const PrepareTask& prepare, MakeTask make_task) {
  TaskList list;
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    auto task = make_task(line, number);
    if (!task) continue;
    std::string problem = *task ? std::string() : task->error().text;
    if (problem.empty() && prepare) problem = prepare(**task);
    if (!problem.empty()) {
      list.problems.push_back(name + ":" + std::to_string(number) + ": " + problem);
      continue;
    }
    list.tasks.push_back({std::move(**task), number});
  }
  if (in.bad()) list.problems.push_back(name + ": cannot be read to its end");
  return list;
}

std::string with_line(const std::vector<std::string>& words, const std::string& line, std::size_t number) {
  std::string command;
  bool used = false;
  for (const auto& word : words) {
    if (!command.empty()) command += ' ';
    for (std::size_t i = 0; i < word.size(); ++i) {
      if (word.compare(i, 2, "{}") == 0) {
        command += shell_quote(line);
        used = true;
        ++i;
      } else if (word.compare(i, 3, "{#}") == 0) {
        command += std::to_string(number);
        i += 2;
      } else {
        command += word[i];
      }
    }
  }
  return used ? command : command + " " + shell_quote(line);
}

}  // namespace

TaskList read_task_list(std::istream& in, const std::string& name, const PrepareTask& prepare) {
  return read_lines(in, name, prepare, [](const std::string& line, std::size_t) -> std::optional<Expected<TaskSpec>> {
    const auto text = trim(line);
    if (text.empty() || text.front() == '#') return std::nullopt;
    return parse_task(text);
  });
}

TaskList tasks_for_each_line(std::istream& in, const std::string& name, const std::vector<std::string>& words,
                             const PrepareTask& prepare) {
  return read_lines(in, name, prepare,
                    [&](const std::string& line, std::size_t number) -> std::optional<Expected<TaskSpec>> {
                      if (trim(line).empty()) return std::nullopt;
                      TaskSpec spec;
                      spec.command = with_line(words, line, number);
                      spec.tag = line;
                      return Expected<TaskSpec>(std::move(spec));
                    });
}

}  // namespace taskmill::manager
