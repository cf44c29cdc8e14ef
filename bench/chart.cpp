#include "bench/chart.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "bench/scoreboard.hpp"

namespace taskmill::bench {
namespace {

constexpr double width = 640, height = 360, left = 80, right = 150, top = 40, bottom = 50;
constexpr std::array<const char*, 4> colours = {"#0b6e99", "#c2571a", "#3f7d3a", "#7a4a8c"};

/// Decades that hold all values.
struct Axis {
  double low = 1, high = 10, from, to;  ///< values, and where they are drawn
  [[nodiscard]] double place(double value) const {
    return from + (to - from) * (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low));
  }
};

Axis axis_of(const std::vector<double>& values, double from, double to) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  Axis axis{.from = from, .to = to};
  if (values.empty()) return axis;
  axis.low = std::pow(10, std::floor(std::log10(*least)));
  axis.high = std::pow(10, std::ceil(std::log10(*most)));
  if (axis.high <= axis.low) axis.high = axis.low * 10;
  return axis;
}

std::string line(double x1, double y1, double x2, double y2, const char* colour) {
  char text[256];
  std::snprintf(text, sizeof text, R"(<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>)", x1, y1, x2, y2,
                colour);
  return std::string(text) + "\n";
}

std::string label(double x, double y, const std::string& words, const char* anchor, const char* more = "") {
  char text[256];
  std::snprintf(text, sizeof text, R"(<text x="%.1f" y="%.1f" text-anchor="%s" %s>)", x, y, anchor, more);
  return text + words + "</text>\n";
}

std::string draw(const Series& series, const Axis& x, const Axis& y, const char* colour) {
  std::string points, dots;
  for (const auto& [at, value] : series.points) {
    char text[128];
    std::snprintf(text, sizeof text, "%.1f,%.1f ", x.place(at), y.place(value));
    points += text;
    std::snprintf(text, sizeof text, R"(<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>)", x.place(at), y.place(value),
                  colour);
    dots += std::string(text) + "\n";
  }
  std::string out = R"(<polyline fill="none" stroke-width="2" stroke=")" + std::string(colour) + R"(" points=")" +
                    points + "\"/>\n" + dots;
  if (series.points.empty()) return out;
  const auto& [at, value] = series.points.back();
  const std::string fill = R"(fill=")" + std::string(colour) + R"(" font-weight="bold")";
  return out + label(x.place(at) + 8, y.place(value) + 4, series.name, "start", fill.c_str());
}

}  // namespace

std::string Chart::svg() const {
  std::vector<double> xs, ys;
  for (const auto& one : series) {
    for (const auto& [at, value] : one.points) {
      xs.push_back(at);
      ys.push_back(value);
    }
  }
  const Axis x = axis_of(xs, left, width - right);
  const Axis y = axis_of(ys, height - bottom, top);
  std::string out =
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360" font-family="sans-serif" font-size="12">)"
      "\n<rect width=\"640\" height=\"360\" fill=\"#ffffff\"/>\n";
  out += label(left, 22, title, "start", R"(font-size="15" font-weight="bold")");
  for (double decade = x.low; decade <= x.high * 1.01; decade *= 10) {
    out += line(x.place(decade), top, x.place(decade), height - bottom, "#e4e4e4");
    out += label(x.place(decade), height - bottom + 18, figure(decade), "middle");
  }
  for (double decade = y.low; decade <= y.high * 1.01; decade *= 10) {
    out += line(left, y.place(decade), width - right, y.place(decade), "#e4e4e4");
    out += label(left - 8, y.place(decade) + 4, figure(decade), "end");
  }
  out += label((left + width - right) / 2, height - 10, x_label, "middle");
  out += label(18, (top + height - bottom) / 2, y_label, "middle", R"svg(transform="rotate(-90 18 175)")svg");
  for (std::size_t i = 0; i < series.size(); ++i) out += draw(series[i], x, y, colours[i % colours.size()]);
  return out + "</svg>\n";
}

}  // namespace taskmill::bench
