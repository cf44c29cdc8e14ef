#include "manager/app/plain_task_line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string>

#include "common/base/text.hpp"

namespace taskmill::manager {
namespace {

// Reads JSON left to right. Every function is false when the text is not what it reads; nothing is ever put back.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  void skip_blanks() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip_blanks();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  [[nodiscard]] char peek() {
    skip_blanks();
    return rest_.empty() ? '\0' : rest_.front();
  }
  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }
  /// A text without escapes, of printable ASCII.
  bool text(std::string_view& value) {
    if (!take('"')) return false;
    std::size_t length = 0;
    while (length < rest_.size() && rest_[length] != '"') {
      const char c = rest_[length];
      if (c == '\\' || c < ' ' || c > '~') return false;
      ++length;
    }
    if (length == rest_.size()) return false;
    value = rest_.substr(0, length);
    rest_.remove_prefix(length + 1);
    return true;
  }
  bool word(std::string_view expected) {
    skip_blanks();
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  /// Digits, perhaps with a sign and a fraction; `whole`: only digits.
  bool number(bool whole, std::string_view& value) {
    skip_blanks();
    std::size_t length = !whole && rest_.starts_with('-') ? 1 : 0;
    const std::size_t first = length;
    while (length < rest_.size() && is_digit(rest_[length])) ++length;
    if (length == first || length - first > 15 || (rest_[first] == '0' && length > first + 1)) return false;
    if (length < rest_.size() && rest_[length] == '.') {
      const std::size_t point = length++;
      while (length < rest_.size() && is_digit(rest_[length])) ++length;
      if (whole || length == point + 1 || length - first > 17) return false;
    }
    if (length < rest_.size() && (rest_[length] == 'e' || rest_[length] == 'E')) return false;
    value = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return true;
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  std::string_view rest_;
};

bool read_whole(Cursor& in, std::int64_t& target) {
  std::string_view digits;
  if (!in.number(true, digits)) return false;
  return std::from_chars(digits.data(), digits.data() + digits.size(), target).ec == std::errc{};
}

bool read_number(Cursor& in, double least, double most, double& target) {
  std::string_view digits;
  if (!in.number(false, digits)) return false;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), target).ec != std::errc{}) return false;
  return target >= least && target <= most;
}

bool read_text(Cursor& in, std::string& target) {
  std::string_view value;
  if (!in.text(value)) return false;
  target = value;
  return true;
}

/// Calls `each` at every element of a list.
template <class Each>
bool read_list(Cursor& in, Each each) {
  if (!in.take('[')) return false;
  if (in.take(']')) return true;
  do {
    if (!each()) return false;
  } while (in.take(','));
  return in.take(']');
}

/// Calls `each(name)` at every field of an object; names are not repeated and `each` refuses what it does not know.
template <std::size_t Count, class Each>
bool read_object(Cursor& in, const std::array<std::string_view, Count>& names, Each each) {
  std::uint32_t seen = 0;
  if (!in.take('{')) return false;
  if (in.take('}')) return true;
  do {
    std::string_view name;
    if (!in.text(name) || !in.take(':')) return false;
    const auto found = static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    if (found == Count || (seen >> found & 1U) != 0) return false;
    seen |= 1U << found;
    if (!each(found)) return false;
  } while (in.take(','));
  return in.take('}');
}

struct PlainFile {
  std::string_view local, remote;
  bool cache = true;
};

/// The last component of a path; empty (declined) where the full reader has to think.
std::string_view last_component(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool read_file(Cursor& in, bool input, PlainFile& file) {
  if (in.peek() == '"') {
    std::string_view text;
    if (!in.text(text) || text.find("://") != std::string_view::npos) return false;
    const auto equals = text.rfind('=');
    const bool named = equals != std::string_view::npos && equals != 0;
    file.local = named ? text.substr(0, equals) : text;
    file.remote = named ? text.substr(equals + 1) : last_component(text);
  } else {
    static constexpr std::array<std::string_view, 3> names = {"file", "name", "cache"};
    bool has_name = false;
    const bool read = read_object(in, names, [&](std::size_t field) {
      if (field == 0) return in.text(file.local);
      if (field == 1) return has_name = in.text(file.remote);
      if (!input) return false;  // an output that stays at the worker: rare
      file.cache = in.word("true");
      return file.cache || in.word("false");
    });
    if (!read) return false;
    if (!has_name) file.remote = last_component(file.local);
  }
  return !file.local.empty() && !file.remote.empty() && is_safe_relative_path(file.remote);
}

bool read_inputs(Cursor& in, TaskSpec& spec) {
  return read_list(in, [&] {
    PlainFile file;
    if (!read_file(in, true, file)) return false;
    auto& input = spec.inputs.emplace_back();
    input.source = file.local;
    input.remote = file.remote;
    input.cache = file.cache;
    return true;
  });
}

bool read_outputs(Cursor& in, TaskSpec& spec) {
  return read_list(in, [&] {
    PlainFile file;
    if (!read_file(in, false, file)) return false;
    auto& output = spec.outputs.emplace_back();
    output.local = file.local;
    output.remote = file.remote;
    return true;
  });
}

bool read_features(Cursor& in, TaskSpec& spec) {
  return read_list(in, [&] { return read_text(in, spec.features.emplace_back()); });
}

enum Field : std::size_t {
  command,
  cores,
  memory,
  disk,
  gpus,
  inputs,
  outputs,
  category,
  tag,
  priority,
  retries,
  features
};
constexpr std::array<std::string_view, 12> field_names = {"command", "cores",    "memory",      "disk",
                                                          "gpus",    "inputs",   "outputs",     "category",
                                                          "tag",     "priority", "max_retries", "features"};

bool read_field(Cursor& in, std::size_t field, TaskSpec& spec) {
  switch (field) {
    case command:
      return read_text(in, spec.command);
    case cores:
      return read_number(in, 0, 1e6, spec.resources.cores);
    case memory:
      return read_whole(in, spec.resources.memory);
    case disk:
      return read_whole(in, spec.resources.disk);
    case gpus:
      return read_whole(in, spec.resources.gpus);
    case inputs:
      return read_inputs(in, spec);
    case outputs:
      return read_outputs(in, spec);
    case category:
      return read_text(in, spec.category);
    case tag:
      return read_text(in, spec.tag);
    case priority:
      return read_number(in, -1e15, 1e15, spec.priority);
    case retries: {
      std::int64_t count = 0;
      if (!read_whole(in, count)) return false;
      spec.max_retries = static_cast<int>(std::min<std::int64_t>(count, 1000000));
      return true;
    }
    default:
      return read_features(in, spec);
  }
}

}  // namespace

bool read_plain_task(std::string_view line, TaskSpec& spec) {
  Cursor in(line);
  return read_object(in, field_names, [&](std::size_t field) { return read_field(in, field, spec); }) && in.at_end() &&
         !spec.command.empty();
}

}  // namespace taskmill::manager
