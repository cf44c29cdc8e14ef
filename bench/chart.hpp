// A line chart with logarithmic axes as an SVG file of its own.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace taskmill::bench {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  ///< positive
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  [[nodiscard]] std::string svg() const;
};

}  // namespace taskmill::bench
