// Pictures of a mass histogram: for a terminal and as an SVG file.
#pragma once

#include <string>

#include "examples/zpeak/histogram.hpp"

namespace zpeak {

/// About 20 lines of UTF-8 text, at most 79 columns wide.
std::string terminal_plot(const Histogram& histogram);
/// A complete SVG document: points with statistical errors over a filled outline, axes, the peak marked.
std::string svg_plot(const Histogram& histogram, const std::string& title);

}  // namespace zpeak
