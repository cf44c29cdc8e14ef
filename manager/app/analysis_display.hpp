// The terminal of an analysis: bars at the bottom with lines scrolling above, or a plain line every few seconds when
// standard output is no terminal.
#pragma once

#include <string>

#include "manager/analysis/bars.hpp"

namespace taskmill::manager {

class AnalysisDisplay {
 public:
  explicit AnalysisDisplay(bool verbose);
  ~AnalysisDisplay();
  AnalysisDisplay(const AnalysisDisplay&) = delete;
  AnalysisDisplay& operator=(const AnalysisDisplay&) = delete;

  /// Lines of the verbose output; nothing without --verbose.
  void say(const std::string& lines);
  void update(const analysis::Progress& progress, std::int64_t workers, bool last);
  /// The bars stay where they are; what comes next is written below them.
  void leave();
  [[nodiscard]] bool live() const { return live_; }
  [[nodiscard]] Duration elapsed() const;

 private:
  void erase();
  void draw();

  bool verbose_, live_;
  Time start_;
  Duration printed_{0};
  analysis::Progress progress_;
  analysis::BarTimes times_;
  int drawn_ = 0;  ///< lines on the terminal that erase() takes back
};

}  // namespace taskmill::manager
