#include "manager/app/analysis_display.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "common/aio/clock.hpp"

namespace taskmill::manager {
namespace {

constexpr std::chrono::seconds plain_period{5};
constexpr std::size_t usual_width = 80;

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : usual_width;
}

}  // namespace

AnalysisDisplay::AnalysisDisplay(bool verbose)
    : verbose_(verbose), live_(::isatty(STDOUT_FILENO) == 1), start_(aio::steady_now()) {}

AnalysisDisplay::~AnalysisDisplay() { leave(); }

Duration AnalysisDisplay::elapsed() const { return aio::steady_now() - start_; }

void AnalysisDisplay::say(const std::string& lines) {
  if (!verbose_) return;
  erase();
  std::cout << lines << "\n";
  draw();
  std::cout.flush();
}

void AnalysisDisplay::update(const analysis::Progress& progress, std::int64_t workers, bool last) {
  progress_ = progress;
  update_times(times_, progress, elapsed());
  if (live_) {
    erase();
    draw();
  } else if (last || elapsed() - printed_ >= plain_period) {
    printed_ = elapsed();
    std::cout << plain_line(progress, elapsed(), workers) << "\n";
  }
  if (last && !live_ && verbose_) {
    for (const auto& line : bar_lines(progress, times_, elapsed(), 0)) std::cout << line << "\n";
  }
  std::cout.flush();
}

void AnalysisDisplay::leave() {
  if (live_ && drawn_ > 0) std::cout << "\x1b[?7h" << std::flush;
  drawn_ = 0;
}

// Lines are cut by the terminal instead of wrapped while bars are drawn, so that a window made narrower does not
// change how many lines there are to take back.
void AnalysisDisplay::erase() {
  if (!live_ || drawn_ == 0) return;
  std::cout << "\x1b[" << drawn_ << "A\x1b[J\x1b[?7h";
  drawn_ = 0;
}

void AnalysisDisplay::draw() {
  if (!live_) return;
  std::cout << "\x1b[?7l";
  for (const auto& line : bar_lines(progress_, times_, elapsed(), terminal_width() - 1)) {
    std::cout << line << "\n";
    ++drawn_;
  }
}

}  // namespace taskmill::manager
