// Which commands need no shell.
//
// A task's command is text for /bin/sh. Starting a shell costs about as much as the rest of a short task, so commands
// that a shell would only split at blanks and execute are executed directly. The rule is narrow on purpose: only
// letters, digits and @%+=:,./-_ (no quotes, expansions, redirections, patterns, comments, control operators); a first
// word that is no builtin or reserved word of any common shell and no assignment; no leading '~'. `true` and `false`
// alone are the programs in /bin. Anything else is left to the shell, and so is any direct start that fails, because
// the shell then prints its own message and exit code.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace taskmill::worker {

/// The words of a command that may run without a shell; nullopt when it needs one.
std::optional<std::vector<std::string>> plain_words(std::string_view command);

/// --task-wrapper: `{}` stands for the raw command, `[]` for the command as one quoted word; with neither, the command
/// is given to the wrapper as "/bin/sh -c COMMAND".
std::string wrap_command(std::string_view wrapper, std::string_view command);

/// The words as a command for /bin/sh that does nothing but run them.
std::string quoted_command(const std::vector<std::string>& words);

/// Command objects: each "%%" is the path, each "%%%%" a literal "%%".
std::string expand_path_marks(std::string_view command, std::string_view path);

}  // namespace taskmill::worker
