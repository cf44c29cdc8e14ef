// What `source bin/activate` does to the environment variables, found out once and replayed for every task
// without a shell (environments.md sections 1 and 2, step 6).
//
// probe_activation() sources bin/activate (and poncho/set_env) in two different surroundings. Where the
// outcome follows a simple rule (a constant, or something put before or behind the old value) the rules are
// the result; where it depends on anything else, or a script changes more than variables, the result says
// so and the caller sources the scripts per task (activation_wrapper).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

/// Environment as NAME=VALUE strings.
using Variables = std::vector<std::string>;

struct VariableRule {
  std::string name;
  /// Value when the variable is not set before (or always, unless around_old); nullopt: it is removed.
  std::optional<std::string> value;
  /// A variable that is set before becomes before + old + after.
  bool around_old = false;
  std::string before;
  std::string after;

  bool operator==(const VariableRule&) const = default;
};

struct Activation {
  std::vector<VariableRule> rules;
  /// False: the rules are not enough, source the scripts for each task.
  bool replayable = false;
  std::string reason;  ///< why not, one line

  bool operator==(const Activation&) const = default;
};

/// `prefix`: absolute path of an unpacked environment. Without bin/activate: CONDA_PREFIX and PATH. Fails
/// when activation itself fails.
Expected<Activation> probe_activation(const std::string& prefix);

/// Pure: derives the rules from two runs. `base` are the variables before, `result` those after.
Activation derive_activation(const Variables& base1, const Variables& result1, const Variables& base2,
                             const Variables& result2);

/// May the rules be applied to these variables? Not when another environment is active in them.
bool can_replay(const Activation& activation, const Variables& variables);
/// Pure: the variables of a task.
Variables apply_activation(const Activation& activation, Variables variables);

/// The words that run `argv` inside the environment by way of bash; argv follows them.
std::vector<std::string> activation_wrapper(const std::string& prefix);

/// Text form, kept beside the unpacked tree.
std::string to_text(const Activation& activation);
std::optional<Activation> activation_from_text(std::string_view text);

}  // namespace taskmill::archive
