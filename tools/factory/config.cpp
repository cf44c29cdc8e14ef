#include "tools/factory/config.hpp"

#include <cmath>
#include <cstdio>
#include <map>
#include <optional>

#include "common/base/text.hpp"
#include "common/catalog/core/expression.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::tools {
namespace {

using catalog::Value;

struct RawMember {
  std::string key;
  std::string expression;
};

// Cuts {"key": expression, …} into its members; expressions are read later, because they may use other keys.
class MemberCutter {
 public:
  explicit MemberCutter(std::string_view text) : text_(text) {}

  Expected<std::vector<RawMember>> run() {
    std::vector<RawMember> members;
    skip();
    if (!take('{')) return wrong("a configuration is one object: { \"manager-name\": …, … }");
    for (skip(); !take('}'); skip()) {
      auto key = catalog::read_value(until(':'));
      if (!key || key->as_string() == nullptr) return wrong("a key in double quotes is missing");
      if (!take(':')) return wrong("the ':' behind \"" + *key->as_string() + "\" is missing");
      RawMember member{*key->as_string(), std::string(trim(until(',')))};
      if (member.expression.empty()) return wrong("the value of \"" + member.key + "\" is missing");
      members.push_back(std::move(member));
      skip();
      if (!take(',') && peek() != '}') return wrong("a ',' or '}' is missing behind \"" + members.back().key + "\"");
    }
    return members;
  }

 private:
  Error wrong(const std::string& what) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    return make_error("line " + std::to_string(line) + ": " + what);
  }
  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void skip() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
        ++at_;
      } else {
        return;
      }
    }
  }
  // The text up to `stop` (or a closing brace) outside strings and brackets.
  std::string_view until(char stop) {
    const auto begin = at_;
    int depth = 0;
    bool in_string = false;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (in_string) {
        if (c == '\\')
          ++at_;
        else if (c == '"')
          in_string = false;
        continue;
      }
      if (c == '"') in_string = true;
      if (depth == 0 && (c == stop || c == '}')) break;
      if (c == '(' || c == '[' || c == '{') ++depth;
      if (c == ')' || c == ']' || c == '}') --depth;
      if (c == '#') {
        while (at_ + 1 < text_.size() && text_[at_ + 1] != '\n') ++at_;
      }
    }
    at_ = std::min(at_, text_.size());
    return text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// Evaluates the members; each pass can use what the passes before found.
Expected<Value> evaluate_members(const std::vector<RawMember>& members) {
  Value object{catalog::Object{}};
  std::vector<bool> known(members.size(), false);
  std::string problem;
  for (bool progress = true; progress;) {
    progress = false;
    problem.clear();
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (known[i]) continue;
      auto expression = catalog::Expression::parse(members[i].expression, true);
      if (!expression) return make_error("\"" + members[i].key + "\": " + expression.error().text);
      auto value = expression->evaluate(object);
      if (!value) {
        problem = "\"" + members[i].key + "\": " + value.error().text;
        continue;
      }
      object.set(members[i].key, std::move(*value));
      known[i] = progress = true;
    }
  }
  if (!problem.empty()) return make_error(problem);
  return object;
}

class Applier {
 public:
  Applier(FactoryConfig& config, const Value& object) : config_(config), object_(object) {
    text("manager-name", config_.manager_name);
    text("master-name", config_.manager_name);
    text("foremen-name", config_.foremen_name);
    if (object_.find("min-workers") != nullptr) config_.min_was_given = true;
    number("min-workers", config_.min_workers);
    number("max-workers", config_.max_workers);
    number("workers-per-cycle", config_.workers_per_cycle);
    number("tasks-per-worker", config_.tasks_per_worker);
    number("timeout", config_.timeout);
    number("factory-timeout", config_.factory_timeout);
    flag("capacity", config_.capacity);
    flag("autosize", config_.autosize);
    std::int64_t cores = -1;
    number("cores", cores);
    if (cores >= 0) config_.worker.cores = static_cast<double>(cores);
    number("memory", config_.worker.memory);
    number("disk", config_.worker.disk);
    number("gpus", config_.worker.gpus);
    text("worker-extra-options", config_.extra_options);
    text("condor-requirements", config_.condor_requirements);
    text("factory-name", config_.factory_name);
  }
  std::string problem;

 private:
  void complain(const char* key, const char* wanted) {
    if (problem.empty()) problem = "\"" + std::string(key) + "\" must be " + wanted;
  }
  void text(const char* key, std::string& target) {
    const auto* value = object_.find(key);
    if (value == nullptr) return;
    if (value->as_string() == nullptr) return complain(key, "a string");
    target = *value->as_string();
  }
  void number(const char* key, std::int64_t& target) {
    const auto* value = object_.find(key);
    if (value == nullptr) return;
    const auto number = value->number();
    constexpr double limit = 1e15;
    if (!number || std::fabs(*number) > limit) return complain(key, "a number");
    target = static_cast<std::int64_t>(std::ceil(*number));
  }
  void flag(const char* key, bool& target) {
    const auto* value = object_.find(key);
    if (value == nullptr) return;
    if (const auto* boolean = value->as_bool())
      target = *boolean;
    else if (const auto number_given = value->number())
      target = *number_given != 0;
    else
      complain(key, "0 or 1");
  }
  FactoryConfig& config_;
  const Value& object_;
};

bool is_known_key(std::string_view key) {
  static constexpr std::string_view known[] = {"manager-name",
                                               "master-name",
                                               "foremen-name",
                                               "min-workers",
                                               "max-workers",
                                               "workers-per-cycle",
                                               "tasks-per-worker",
                                               "timeout",
                                               "factory-timeout",
                                               "capacity",
                                               "autosize",
                                               "cores",
                                               "memory",
                                               "disk",
                                               "gpus",
                                               "worker-extra-options",
                                               "condor-requirements",
                                               "factory-name"};
  return std::find(std::begin(known), std::end(known), key) != std::end(known);
}

}  // namespace

SizingRules sizing_rules(const FactoryConfig& config) {
  SizingRules rules;
  rules.min_workers = config.min_workers;
  rules.min_was_given = config.min_was_given;
  rules.max_workers = config.max_workers;
  rules.workers_per_cycle = config.workers_per_cycle;
  rules.tasks_per_worker = config.tasks_per_worker;
  rules.use_capacity = config.capacity;
  rules.worker = config.worker;
  return rules;
}

Expected<bool> check_config(const FactoryConfig& config) {
  if (config.manager_name.empty() && config.host.empty()) {
    return make_error("You must either give a project name with -M, or the host and port of a manager");
  }
  if (config.min_workers < 0)
    return make_error("min workers (" + std::to_string(config.min_workers) + ") must not be negative");
  if (config.max_workers < 1)
    return make_error("max workers (" + std::to_string(config.max_workers) + ") must be at least 1");
  if (config.factory_timeout < 0) return make_error("the factory timeout must not be negative");
  if (config.timeout < 1) return make_error("the worker timeout must be at least 1 second");
  if (config.min_workers > config.max_workers) {
    return make_error("min workers (" + std::to_string(config.min_workers) + ") is greater than max workers (" +
                      std::to_string(config.max_workers) + ")");
  }
  for (const auto* name : {&config.manager_name, &config.foremen_name}) {
    if (name->empty()) continue;
    if (auto regex = catalog::Regex::whole(*name); !regex) return regex.error();
  }
  return true;
}

Expected<FactoryConfig> apply_config_file(const FactoryConfig& base, const std::string& text,
                                          std::vector<std::string>& notes) {
  auto members = MemberCutter(text).run();
  if (!members) return members.error();
  auto object = evaluate_members(*members);
  if (!object) return object.error();
  FactoryConfig config = base;
  const Applier applier(config, *object);
  if (!applier.problem.empty()) return make_error(applier.problem);
  for (const auto& member : *members) {
    if (!is_known_key(member.key)) notes.push_back("\"" + member.key + "\" is not a key of factories; ignored");
  }
  if (config.min_workers > config.max_workers && config.min_workers >= 0 && config.max_workers >= 1) {
    config.min_workers = config.max_workers;
  }
  if (auto checked = check_config(config); !checked) return checked.error();
  return config;
}

std::string describe_config(const FactoryConfig& config) {
  std::string out;
  const auto line = [&out](const char* key, const std::string& value) {
    out += std::string(key) + ": " + value + "\n";
  };
  if (!config.manager_name.empty()) line("manager-name", config.manager_name);
  if (!config.foremen_name.empty()) line("foremen-name", config.foremen_name);
  line("max-workers", std::to_string(config.max_workers));
  line("min-workers", std::to_string(config.min_workers));
  line("workers-per-cycle", std::to_string(config.workers_per_cycle));
  const auto one_per_core = std::max<std::int64_t>(1, static_cast<std::int64_t>(config.worker.cores));
  line("tasks-per-worker", std::to_string(config.tasks_per_worker > 0 ? config.tasks_per_worker : one_per_core));
  line("timeout", std::to_string(config.timeout) + " s");
  if (config.factory_timeout > 0) line("factory-timeout", std::to_string(config.factory_timeout) + " s");
  if (config.worker.cores > 0) {
    char cores[40];
    std::snprintf(cores, sizeof cores, "%.3f", config.worker.cores);
    line("cores", cores);
  }
  if (config.worker.memory > 0) line("memory", std::to_string(config.worker.memory) + " MB");
  if (config.worker.disk > 0) line("disk", std::to_string(config.worker.disk) + " MB");
  if (config.worker.gpus > 0) line("gpus", std::to_string(config.worker.gpus));
  if (!config.extra_options.empty()) line("worker-extra-options", config.extra_options);
  if (!config.condor_requirements.empty()) line("condor-requirements", config.condor_requirements);
  if (!config.factory_name.empty()) line("factory-name", config.factory_name);
  return out;
}

}  // namespace taskmill::tools
