#include "tests/tidy/source_tree.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

namespace taskmill::tidy {
namespace {

namespace fs = std::filesystem;

bool is_foreign(std::string_view path) {
  return path.starts_with("build") || path.starts_with(".git/") || path.starts_with(".cache/") ||
         path.find("__pycache__") != std::string_view::npos;
}

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool has_component(std::string_view path, std::string_view component) {
  const std::string wanted = "/" + std::string(component) + "/";
  return ("/" + std::string(path)).find(wanted) != std::string::npos;
}

/// Walks C++ text once; `out` starts as a copy of `in`.
class Blanker {
 public:
  explicit Blanker(std::string_view in) : in_(in), out_(in) {}
  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  void step() {
    if (in_.substr(at_).starts_with("//")) {
      blank_until("\n", 0);
    } else if (in_.substr(at_).starts_with("/*")) {
      blank_until("*/", 2);
    } else if (in_.substr(at_).starts_with("R\"")) {
      const auto open = in_.find('(', at_);
      if (open == std::string_view::npos) return advance();
      const std::string close = ")" + std::string(in_.substr(at_ + 2, open - at_ - 2)) + "\"";
      blank_until(close, close.size());
    } else if (in_[at_] == '"' || (in_[at_] == '\'' && !follows_digit())) {
      quoted(in_[at_]);
    } else {
      advance();
    }
  }
  void advance() { ++at_; }
  [[nodiscard]] bool follows_digit() const {
    return at_ > 0 && std::isxdigit(static_cast<unsigned char>(in_[at_ - 1]));
  }
  void blank_until(std::string_view end, std::size_t included) {
    const auto found = in_.find(end, at_ + 2);
    blank_to(found == std::string_view::npos ? in_.size() : found + included);
  }
  void quoted(char quote) {
    std::size_t end = at_ + 1;
    while (end < in_.size() && in_[end] != quote && in_[end] != '\n') end += in_[end] == '\\' ? 2 : 1;
    ++at_;  // the quotes stay, so that "" is still an expression
    blank_to(std::min(end, in_.size()));
    if (at_ < in_.size()) ++at_;
  }
  void blank_to(std::size_t end) {
    for (; at_ < end; ++at_) {
      if (in_[at_] != '\n') out_[at_] = ' ';
    }
  }

  std::string_view in_;
  std::string out_;
  std::size_t at_ = 0;
};

}  // namespace

std::string blank_comments_and_literals(std::string_view text) { return Blanker(text).run(); }

std::vector<SourceFile> load_sources(const std::vector<std::string_view>& endings) {
  std::vector<SourceFile> files;
  const fs::path root = TASKMILL_SOURCE_DIR;
  auto walk = fs::recursive_directory_iterator(root);
  for (const auto& entry : walk) {
    const std::string path = fs::relative(entry.path(), root).string();
    if (entry.is_directory() && is_foreign(path + "/")) {
      walk.disable_recursion_pending();
      continue;
    }
    if (!entry.is_regular_file()) continue;
    const bool wanted =
        std::any_of(endings.begin(), endings.end(), [&](auto ending) { return path.ends_with(ending); });
    if (!wanted) continue;
    SourceFile file{path, read_all(entry.path()), {}};
    file.code = blank_comments_and_literals(file.text);
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::size_t line_of(std::string_view text, std::size_t offset) {
  return 1 +
         static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
}

std::vector<Include> includes_of(const SourceFile& file) {
  std::vector<Include> found;
  std::size_t number = 0;
  for (const auto line : lines_of(file.text)) {
    ++number;
    if (!line.starts_with("#include ")) continue;
    const auto name = line.substr(9);
    const char close = name.starts_with('"') ? '"' : '>';
    const auto end = name.find(close, 1);
    if (end != std::string_view::npos) found.push_back({std::string(name.substr(1, end - 1)), close == '"', number});
  }
  return found;
}

std::vector<Function> functions_of(const SourceFile& file) {
  static constexpr std::array<std::string_view, 8> not_functions = {"namespace", "struct", "class", "enum",
                                                                    "union",     "extern", "}",     "inline namespace"};
  std::vector<Function> found;
  std::size_t number = 0, open = 0, statement = 0;
  for (const auto line : lines_of(file.code)) {
    ++number;
    const bool column_0 = !line.empty() && line[0] != ' ' && line[0] != '#';
    if (open == 0) {
      if (column_0) statement = number;
      if (line.ends_with(';')) statement = 0;
      if (!line.ends_with('{') || statement == 0) continue;
      const auto first = lines_of(file.text)[statement - 1];
      const bool other =
          std::any_of(not_functions.begin(), not_functions.end(), [&](auto word) { return first.starts_with(word); });
      if (!other && first.find('(') != std::string_view::npos) {
        found.push_back({std::string(first), statement, 0});
        open = statement;
      }
      statement = 0;
    } else if (line == "}") {
      found.back().length = number - open + 1;
      open = 0;
    }
  }
  return found;
}

int ring_of(std::string_view path) {
  static constexpr std::array<std::pair<std::string_view, int>, 18> folders = {{
      {"common/base/", 0},
      {"protocol/", 0},
      {"common/os/", 1},
      {"common/measure/", 1},
      {"common/archive/", 1},
      {"worker/host/", 1},
      {"common/aio/", 2},
      {"common/catalog/", 2},
      {"common/cli/", 3},
      {"manager/api/", 2},
      {"manager/analysis/", 3},
      {"manager/app/", 3},
      {"worker/app/", 3},
      {"tools/", 3},
      {"examples/", 3},
      {"bench/", 3},
      {"tests/", 3},
      {"python/", 3},
  }};
  if (path.starts_with("tests/") || path.starts_with("bench/")) return 3;
  if (has_component(path, "core")) return 0;
  if (has_component(path, "host")) return 1;
  if (has_component(path, "net")) return 2;
  if (has_component(path, "app")) return 3;
  for (const auto& [folder, ring] : folders) {
    if (path.starts_with(folder)) return ring;
  }
  return -1;
}

}  // namespace taskmill::tidy
