#include "examples/zpeak/histogram.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <istream>

namespace zpeak {
namespace {

constexpr std::array<std::string_view, 8> column_names = {"pt1", "eta1", "phi1", "Q1", "pt2", "eta2", "phi2", "Q2"};

void split_fields(std::string_view line, std::vector<std::string_view>& fields) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  fields.clear();
  while (true) {
    const auto comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return;
    line.remove_prefix(comma + 1);
  }
}

bool to_number(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

double invariant_mass(const Lepton& first, const Lepton& second) {
  const double squared =
      2 * first.pt * second.pt * (std::cosh(first.eta - second.eta) - std::cos(first.phi - second.phi));
  return std::sqrt(std::max(0.0, squared));
}

void Histogram::add(const Lepton& first, const Lepton& second) {
  ++events;
  if (first.charge * second.charge >= 0) {
    ++same_charge;
    return;
  }
  const double mass = invariant_mass(first, second);
  if (mass < low_gev || mass >= high_gev) {
    ++out_of_range;
    return;
  }
  ++counts[std::min(bin_count - 1, static_cast<std::size_t>((mass - low_gev) / bin_width_gev))];
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < bin_count; ++i) counts[i] += other.counts[i];
  events += other.events;
  same_charge += other.same_charge;
  out_of_range += other.out_of_range;
}

std::uint64_t Histogram::entries() const {
  std::uint64_t sum = 0;
  for (const auto count : counts) sum += count;
  return sum;
}

double Histogram::peak_gev() const {
  const auto top = static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  const double centre = low_gev + (static_cast<double>(top) + 0.5) * bin_width_gev;
  if (top < 2 || top + 2 >= bin_count || counts[top] == 0) return centre;
  // Least squares for y = a + b x + c x^2 at x = -2 … 2; the maximum lies at -b / 2c.
  double sum_xy = 0, sum_y = 0, sum_xxy = 0;
  for (int x = -2; x <= 2; ++x) {
    const auto count = counts[top + static_cast<std::size_t>(x + 2) - 2];
    const double y = std::log(static_cast<double>(std::max<std::uint64_t>(count, 1)));
    sum_y += y;
    sum_xy += x * y;
    sum_xxy += x * x * y;
  }
  const double slope = sum_xy / 10;
  const double curvature = (sum_xxy - 2 * sum_y) / 14;
  if (curvature >= 0) return centre;
  return centre + std::clamp(-slope / (2 * curvature), -1.5, 1.5) * bin_width_gev;
}

std::string Histogram::to_json() const {
  std::string text = "{\"low_gev\": " + std::to_string(static_cast<int>(low_gev)) +
                     ", \"high_gev\": " + std::to_string(static_cast<int>(high_gev)) +
                     ", \"events\": " + std::to_string(events) + ", \"same_charge\": " + std::to_string(same_charge) +
                     ", \"out_of_range\": " + std::to_string(out_of_range) + ",\n \"counts\": [";
  for (std::size_t i = 0; i < bin_count; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(counts[i]);
  }
  return text + "]}\n";
}

std::string Histogram::to_partial_json() const {
  std::string text =
      R"({"format":"taskmill-histograms-1","histograms":{"mass":{"axes":[{"label":"mass [GeV]","bins":)" +
      std::to_string(bin_count) + ",\"low\":" + std::to_string(static_cast<int>(low_gev)) +
      ",\"high\":" + std::to_string(static_cast<int>(high_gev)) + "}],\"counts\":[";
  for (std::size_t i = 0; i < bin_count; ++i) text += (i > 0 ? "," : "") + std::to_string(counts[i]);
  return text + "]}},\"counters\":{\"events\":" + std::to_string(events) +
         ",\"same_charge\":" + std::to_string(same_charge) + ",\"out_of_range\":" + std::to_string(out_of_range) +
         "}}\n";
}

std::string EventReader::read_header(std::string_view line) {
  split_fields(line, fields_);
  for (std::size_t i = 0; i < column_names.size(); ++i) {
    const auto found = std::find(fields_.begin(), fields_.end(), column_names[i]);
    if (found == fields_.end()) return "the header has no column \"" + std::string(column_names[i]) + "\"";
    columns_[i] = static_cast<std::size_t>(found - fields_.begin());
  }
  return {};
}

bool EventReader::read_event(std::string_view line, Lepton& first, Lepton& second) {
  split_fields(line, fields_);
  std::array<double, 8> values{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (columns_[i] >= fields_.size() || !to_number(fields_[columns_[i]], values[i])) return false;
  }
  first = {values[0], values[1], values[2], static_cast<int>(values[3])};
  second = {values[4], values[5], values[6], static_cast<int>(values[7])};
  return true;
}

std::string fill(std::istream& csv, Histogram& histogram) {
  std::string line;
  EventReader reader;
  if (!std::getline(csv, line)) return "line 1: the input is empty";
  if (auto problem = reader.read_header(line); !problem.empty()) return "line 1: " + problem;
  for (std::uint64_t number = 2; std::getline(csv, line); ++number) {
    if (line.empty()) continue;
    Lepton first, second;
    if (!reader.read_event(line, first, second)) {
      return "line " + std::to_string(number) + ": not an event: " + line.substr(0, 60);
    }
    histogram.add(first, second);
  }
  return {};
}

}  // namespace zpeak
