// The half of activation.hpp that runs bash.
#include <unistd.h>

#include <algorithm>

#include "common/archive/activation.hpp"
#include "common/archive/helper_process.hpp"
#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

// The empty argument keeps scripts that look at "$1" from seeing words of the command (environments.md E8).
constexpr std::string_view source_scripts =
    "unset PYTHONPATH PYTHONHOME\n"
    "if [ -e \"$1/bin/activate\" ]; then . \"$1/bin/activate\" \"\" || exit 97; "
    "else CONDA_PREFIX=\"$1\"; PATH=\"$1/bin:$PATH\"; export CONDA_PREFIX PATH; fi\n"
    "if [ -e \"$1/poncho/set_env\" ]; then . \"$1/poncho/set_env\" \"$1\" || exit 97; fi\n";

Variables split_at_nul(std::string_view text) {
  Variables variables;
  for (const std::string_view entry : split(text, '\0')) {
    if (!entry.empty()) variables.emplace_back(entry);
  }
  return variables;
}

Expected<Variables> source_once(const std::string& prefix, const Variables& base, bool& changes_more) {
  HelperPlan plan;
  // umask, limits and the directory are inherited by tasks too; a change there needs the shell every time.
  const std::string script = "before=\"$(umask; ulimit -a; pwd)\"\n" + std::string(source_scripts) +
                             "[ \"$before\" = \"$(umask; ulimit -a; pwd)\" ] || printf 'TASKMILL_MORE=1\\0' >&3\n"
                             "if [ -x /usr/bin/env ]; then exec /usr/bin/env -0 >&3; else exec /bin/env -0 >&3; fi\n";
  plan.argv = {"bash", "--noprofile", "--norc", "-c", script, "activate", prefix};
  plan.environment = base;
  plan.directory = "/";
  auto result = run_helper(plan);
  if (!result) return make_error("activation: " + result.error().text);
  if (result->exit_status != 0) {
    const std::string said = last_line(result->messages);
    return make_error("bin/activate of the environment failed with status " + std::to_string(result->exit_status) +
                      (said.empty() ? "" : ": " + said));
  }
  Variables variables = split_at_nul(result->output);
  if (std::erase(variables, "TASKMILL_MORE=1") > 0) changes_more = true;
  return variables;
}

// Two surroundings that differ in everything a script may build upon.
Variables first_base() {
  return {"PATH=/usr/local/bin:/usr/bin:/bin:/taskmill/probe/one",
          "HOME=/",
          "USER=one",
          "LOGNAME=one",
          "LANG=C",
          "TMPDIR=/tmp",
          "TERM=dumb"};
}
Variables second_base() {
  Variables base{"PATH=/usr/local/bin:/usr/bin:/bin:/taskmill/probe/two",
                 "HOME=/taskmill/home",
                 "USER=two",
                 "LOGNAME=two",
                 "LANG=C.UTF-8",
                 "TMPDIR=/var/tmp",
                 "TERM=vt100"};
  for (const char* list :
       {"LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "MANPATH", "INFOPATH",
        "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "ROOT_INCLUDE_PATH", "PERL5LIB",
        "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS"}) {
    base.push_back(std::string(list) + "=/taskmill/probe/list");
  }
  return base;
}

}  // namespace

Expected<Activation> probe_activation(const std::string& prefix) {
  const Variables base1 = first_base();
  const Variables base2 = second_base();
  bool changes_more = false;
  auto result1 = source_once(prefix, base1, changes_more);
  if (!result1) return result1.error();
  auto result2 = source_once(prefix, base2, changes_more);
  if (!result2) return result2.error();
  Activation activation = derive_activation(base1, *result1, base2, *result2);
  if (changes_more && activation.replayable) {
    activation = {};
    activation.reason = "activation changes the umask, a limit or the working directory";
  }
  if (activation.replayable) {
    for (const char* name : {"PYTHONPATH", "PYTHONHOME"}) {
      const bool ruled = std::any_of(activation.rules.begin(), activation.rules.end(),
                                     [&](const VariableRule& rule) { return rule.name == name; });
      if (!ruled) activation.rules.push_back({name, std::nullopt, false, {}, {}});
    }
  }
  return activation;
}

std::vector<std::string> activation_wrapper(const std::string& prefix) {
  const std::string script = std::string(source_scripts) + "shift\nexec \"$@\"\n";
  return {"bash", "--noprofile", "--norc", "-c", script, "activate", prefix};
}

}  // namespace taskmill::archive
