// One line per target: peers, limit and ours side by side, the ratio, the target, and whether it is met.
//
// Targets that were written as absolute figures on one machine carry the ratio to the limit (or peer) that they mean
// there; a figure that misses the absolute one on a slower machine and holds the ratio is "by ratio".
#pragma once

#include <string>
#include <vector>

namespace taskmill::bench {

enum class Met : unsigned char { yes, by_ratio, no, unknown };

struct Score {
  std::string what{};   ///< the line
  std::string peer{};   ///< figures of the old programs, "-" when none can take part
  std::string limit{};  ///< what the machine can do
  std::string ours{};
  std::string ratio{};
  std::string target{};
  Met met = Met::unknown;
};

class Scoreboard {
 public:
  void add(Score score) { scores_.push_back(std::move(score)); }
  [[nodiscard]] bool empty() const { return scores_.empty(); }
  /// As a Markdown table.
  [[nodiscard]] std::string markdown() const;
  /// Replaces what stands between the two marker comments of `file`. Error text, or empty.
  [[nodiscard]] std::string write(const std::string& file, const std::string& heading) const;

 private:
  std::vector<Score> scores_;
};

/// Replaces what stands between two marker comments of a page. Error text, or empty.
[[nodiscard]] std::string write_between(const std::string& file, const std::string& begin_mark,
                                        const std::string& end_mark, const std::string& text);

/// "1,234", "12.3", "0.57": three digits that matter.
std::string figure(double value);
/// Met::yes within `most`; else by_ratio within `factor` times the reference (0: there is none).
Met at_most(double value, double most, double factor = 0, double reference = 0);
Met at_least(double value, double least);

}  // namespace taskmill::bench
