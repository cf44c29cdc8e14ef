#include "worker/core/command_line.hpp"

#include <algorithm>
#include <array>

#include "common/base/text.hpp"

namespace taskmill::worker {
namespace {

// Builtins and reserved words of POSIX sh, dash, bash, ksh, zsh and busybox; sorted.
constexpr std::array<std::string_view, 97> shell_words = {
    ".",        ":",       "[",       "[[",      "alias",     "autoload",  "bg",       "bind",     "break",
    "builtin",  "caller",  "case",    "cd",      "chdir",     "command",   "compgen",  "complete", "compopt",
    "continue", "coproc",  "declare", "dirs",    "disown",    "do",        "done",     "echo",     "elif",
    "else",     "emulate", "enable",  "esac",    "eval",      "exec",      "exit",     "export",   "false",
    "fc",       "fg",      "fi",      "float",   "for",       "foreach",   "function", "getconf",  "getopts",
    "hash",     "help",    "history", "if",      "in",        "integer",   "jobs",     "kill",     "let",
    "limit",    "local",   "logout",  "mapfile", "newgrp",    "nocorrect", "noglob",   "popd",     "print",
    "printf",   "pushd",   "pwd",     "read",    "readarray", "readonly",  "repeat",   "return",   "select",
    "set",      "setopt",  "shift",   "shopt",   "source",    "suspend",   "test",     "then",     "time",
    "times",    "trap",    "true",    "type",    "typeset",   "ulimit",    "umask",    "unalias",  "unlimit",
    "unset",    "until",   "wait",    "wh",      "whence",    "where",     "while"};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("@%+=:,./-_").find(c) != std::string_view::npos;
}

}  // namespace

std::optional<std::vector<std::string>> plain_words(std::string_view command) {
  for (const char c : command) {
    if (!is_plain(c) && c != ' ') return std::nullopt;
  }
  std::vector<std::string> words;
  while (true) {
    const auto word = next_token(command);
    if (word.empty()) break;
    words.emplace_back(word);
  }
  if (words.empty()) return std::nullopt;
  const std::string& first = words.front();
  // Alone, these builtins do nothing that the programs of the same name do not do.
  if (words.size() == 1 && (first == "true" || first == "false")) return std::vector{"/bin/" + first};
  if (first.find('=') != std::string::npos || first.front() == '%' || first.front() == '-') return std::nullopt;
  if (std::binary_search(shell_words.begin(), shell_words.end(), std::string_view(first))) return std::nullopt;
  return words;
}

std::string wrap_command(std::string_view wrapper, std::string_view command) {
  const auto replace = [wrapper](std::string_view mark, std::string_view text) {
    std::string out;
    std::string_view rest = wrapper;
    for (auto at = rest.find(mark); at != std::string_view::npos; at = rest.find(mark)) {
      out.append(rest.substr(0, at)).append(text);
      rest.remove_prefix(at + mark.size());
    }
    return out.append(rest);
  };
  if (wrapper.find("{}") != std::string_view::npos) return replace("{}", command);
  if (wrapper.find("[]") != std::string_view::npos) return replace("[]", shell_quote(command));
  return std::string(wrapper) + " /bin/sh -c " + shell_quote(command);
}

std::string quoted_command(const std::vector<std::string>& words) {
  std::string command;
  for (const auto& word : words) command += (command.empty() ? "" : " ") + shell_quote(word);
  return command;
}

std::string expand_path_marks(std::string_view command, std::string_view path) {
  std::string out;
  while (!command.empty()) {
    if (command.starts_with("%%%%")) {
      out += "%%";
      command.remove_prefix(4);
    } else if (command.starts_with("%%")) {
      out += path;
      command.remove_prefix(2);
    } else {
      out += command.front();
      command.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace taskmill::worker
