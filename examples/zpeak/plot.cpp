#include "examples/zpeak/plot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace zpeak {
namespace {

constexpr int text_rows = 16;

std::uint64_t highest(const Histogram& histogram) {
  return std::max<std::uint64_t>(1, *std::max_element(histogram.counts.begin(), histogram.counts.end()));
}

/// 1, 2 or 5 times a power of ten: about `parts` steps up to `top`.
double nice_step(double top, int parts) {
  const double rough = top / parts;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

template <class... Values>
void print(std::string& text, const char* format, Values... values) {
  char line[512];
  const int length = std::snprintf(line, sizeof line, format, values...);
  text.append(line, static_cast<std::size_t>(std::clamp(length, 0, static_cast<int>(sizeof line) - 1)));
}

/// The drawing area of the SVG and how data is placed in it.
struct Frame {
  double left = 80, right = 860, top = 60, bottom = 500;
  double count_max = 1;
  [[nodiscard]] double x(double gev) const { return left + (gev - low_gev) / (high_gev - low_gev) * (right - left); }
  [[nodiscard]] double y(double count) const { return bottom - count / count_max * (bottom - top); }
};

void draw_axes(std::string& svg, const Frame& frame) {
  print(svg, "<path d=\"M%.1f %.1fV%.1fH%.1f\" fill=\"none\" stroke=\"#333\"/>\n", frame.left, frame.top, frame.bottom,
        frame.right);
  for (double gev = low_gev; gev <= high_gev; gev += 10) {
    print(svg,
          "<path d=\"M%.1f %.1fv6\" stroke=\"#333\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.0f</text>\n",
          frame.x(gev), frame.bottom, frame.x(gev), frame.bottom + 22, gev);
  }
  const double step = nice_step(frame.count_max, 6);
  for (double count = 0; count <= frame.count_max; count += step) {
    print(svg,
          "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.0f</text>\n",
          frame.left, frame.y(count), frame.right, frame.left - 8, frame.y(count) + 5, count);
  }
  print(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">invariant mass of the pair [GeV]</text>\n", frame.right,
        frame.bottom + 48);
  print(svg, "<text transform=\"translate(24 %.1f) rotate(-90)\" text-anchor=\"end\">pairs per %.0f GeV</text>\n",
        frame.top, bin_width_gev);
}

void draw_counts(std::string& svg, const Histogram& histogram, const Frame& frame) {
  print(svg, "<path fill=\"#cfe3f7\" stroke=\"#2a6fb0\" d=\"M%.1f %.1f", frame.x(low_gev), frame.bottom);
  for (std::size_t i = 0; i < bin_count; ++i) {
    print(svg, "V%.1fH%.1f", frame.y(static_cast<double>(histogram.counts[i])),
          frame.x(low_gev + static_cast<double>(i + 1) * bin_width_gev));
  }
  print(svg, "V%.1fZ\"/>\n", frame.bottom);
  for (std::size_t i = 0; i < bin_count; ++i) {
    const auto count = static_cast<double>(histogram.counts[i]);
    if (count == 0) continue;
    const double x = frame.x(low_gev + (static_cast<double>(i) + 0.5) * bin_width_gev);
    print(svg, "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#123\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", x,
          frame.y(count - std::sqrt(count)), frame.y(count + std::sqrt(count)), x, frame.y(count));
  }
}

}  // namespace

std::string terminal_plot(const Histogram& histogram) {
  static constexpr std::string_view eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const auto top = static_cast<double>(highest(histogram));
  std::string text;
  for (int row = text_rows - 1; row >= 0; --row) {
    if (row % 4 == 3) {
      print(text, "%8.0f ┤", top * (row + 1) / text_rows);
    } else {
      print(text, "%8s │", "");
    }
    for (const auto count : histogram.counts) {
      const double filled = static_cast<double>(count) / top * text_rows - row;
      text += eighths[static_cast<std::size_t>(std::clamp(std::lround(filled * 8), 0L, 8L))];
    }
    text += '\n';
  }
  text += "       0 └";
  for (std::size_t i = 0; i < bin_count; ++i) text += i % 10 == 0 ? "┬" : "─";
  text += "┬\n          ";
  for (int gev = static_cast<int>(low_gev); gev < static_cast<int>(high_gev); gev += 10) print(text, "%-10d", gev);
  print(text, "%.0f GeV\n", high_gev);
  return text;
}

std::string svg_plot(const Histogram& histogram, const std::string& title) {
  Frame frame;
  const auto top = static_cast<double>(highest(histogram));
  frame.count_max = top + 3 * std::sqrt(top);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 560\" font-family=\"sans-serif\" font-size=\"15\">\n"
      "<rect width=\"900\" height=\"560\" fill=\"#fff\"/>\n";
  draw_axes(svg, frame);
  draw_counts(svg, histogram, frame);
  const double peak = histogram.peak_gev();
  print(svg,
        "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#b03030\" stroke-dasharray=\"5 4\"/>"
        "<text x=\"%.1f\" y=\"%.1f\" fill=\"#b03030\">peak at %.1f GeV</text>\n",
        frame.x(peak), frame.bottom, frame.top, frame.x(peak) + 8, frame.top + 14, peak);
  svg += "<text x=\"80\" y=\"34\" font-size=\"19\">" + title + "</text>\n";
  print(
      svg,
      "<text x=\"860\" y=\"34\" text-anchor=\"end\" fill=\"#666\">%llu pairs, CMS Open Data, Run2011A</text>\n</svg>\n",
      static_cast<unsigned long long>(histogram.entries()));
  return svg;
}

}  // namespace zpeak
