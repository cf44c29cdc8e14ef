// The project's own sources as the tidy tests see them.
//
// `code` is the text with comments and the contents of string and character literals blanked (same length,
// same lines), so that a rule about code does not trip over prose. Paths are relative to the root.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace taskmill::tidy {

struct SourceFile {
  std::string path;
  std::string text;
  std::string code;
  [[nodiscard]] bool is_header() const { return path.ends_with(".hpp") || path.ends_with(".h"); }
};

struct Include {
  std::string name;      ///< as written between the quotes or angle brackets
  bool quoted = false;   ///< "…" and not <…>
  std::size_t line = 0;  ///< from 1
};

/// A function definition at namespace level: clang-format puts its closing brace alone in column 0.
struct Function {
  std::string first_line;
  std::size_t line = 0;
  std::size_t length = 0;
};

/// All files the project keeps whose name ends in one of `endings`, sorted by path.
std::vector<SourceFile> load_sources(const std::vector<std::string_view>& endings);
std::string blank_comments_and_literals(std::string_view text);
std::vector<Include> includes_of(const SourceFile& file);
std::vector<Function> functions_of(const SourceFile& file);
std::size_t line_of(std::string_view text, std::size_t offset);
std::vector<std::string_view> lines_of(std::string_view text);

/// The ring of a file (docs/architecture.md), -1 when its folder has none.
int ring_of(std::string_view path);

}  // namespace taskmill::tidy
