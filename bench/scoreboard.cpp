#include "bench/scoreboard.hpp"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

namespace taskmill::bench {
namespace {

constexpr const char* figures_begin = "<!-- figures: begin (work_queue_bench all --write) -->";
constexpr const char* figures_end = "<!-- figures: end -->";

const char* text_of(Met met) {
  switch (met) {
    case Met::yes:
      return "yes";
    case Met::by_ratio:
      return "by ratio";
    case Met::no:
      return "**no**";
    default:
      return "?";
  }
}

}  // namespace

std::string Scoreboard::markdown() const {
  std::string text =
      "| what | peer | limit | ours | ratio | target | met |\n| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const auto& score : scores_) {
    for (const auto* cell : {&score.what, &score.peer, &score.limit, &score.ours, &score.ratio, &score.target})
      text += "| " + (cell->empty() ? "-" : *cell) + " ";
    text += std::string("| ") + text_of(score.met) + " |\n";
  }
  return text;
}

std::string Scoreboard::write(const std::string& file, const std::string& heading) const {
  return write_between(file, figures_begin, figures_end, heading + "\n\n" + markdown());
}

std::string write_between(const std::string& file, const std::string& begin_mark, const std::string& end_mark,
                          const std::string& text) {
  std::ifstream in(file);
  if (!in) return file + ": cannot be read; the page must hold \"" + begin_mark + "\" and \"" + end_mark + "\"";
  std::string page(std::istreambuf_iterator<char>(in), {});
  const auto begin = page.find(begin_mark);
  const auto end = page.find(end_mark, begin == std::string::npos ? 0 : begin);
  if (begin == std::string::npos || end == std::string::npos)
    return file + ": no place for the table: the lines \"" + begin_mark + "\" and \"" + end_mark + "\" are missing";
  page.replace(begin, end - begin, begin_mark + "\n\n" + text + "\n");
  std::ofstream out(file, std::ios::trunc);
  out << page;
  return out.flush() ? std::string() : file + ": cannot be written";
}

std::string figure(double value) {
  if (!std::isfinite(value)) return "-";
  char text[64];
  const double size = std::fabs(value);
  if (size < 100) {
    std::snprintf(text, sizeof text, size < 0.995 ? "%.2f" : size < 9.95 ? "%.1f" : "%.0f", value);
    std::string digits = text;
    if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
    return digits;
  }
  std::snprintf(text, sizeof text, "%.0f", value);
  std::string digits = text;
  for (auto at = static_cast<int>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

Met at_most(double value, double most, double factor, double reference) {
  if (!(value > 0)) return Met::unknown;
  if (value <= most) return Met::yes;
  return factor > 0 && reference > 0 && value <= factor * reference ? Met::by_ratio : Met::no;
}

Met at_least(double value, double least) {
  if (!(value > 0)) return Met::unknown;
  return value >= least ? Met::yes : Met::no;
}

}  // namespace taskmill::bench
