// A histogram of the invariant mass of opposite-charge lepton pairs, in fixed bins of 1 GeV.
//
// Counts are integers, so partial histograms merge to exactly what one pass over all events gives, in any
// order. Events outside [low, high) are counted as such. The JSON form is canonical: equal histograms give
// equal bytes.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace zpeak {

constexpr double low_gev = 60;
constexpr double high_gev = 120;
constexpr std::size_t bin_count = 60;
constexpr double bin_width_gev = (high_gev - low_gev) / static_cast<double>(bin_count);

/// Momentum of one lepton; pt in GeV.
struct Lepton {
  double pt = 0, eta = 0, phi = 0;
  int charge = 0;
};

/// Mass of the pair in GeV, leptons taken as massless.
double invariant_mass(const Lepton& first, const Lepton& second);

struct Histogram {
  std::array<std::uint64_t, bin_count> counts{};
  std::uint64_t events = 0;        ///< lines read
  std::uint64_t same_charge = 0;   ///< not counted further
  std::uint64_t out_of_range = 0;  ///< opposite charge, mass outside [low, high)

  void add(const Lepton& first, const Lepton& second);
  void merge(const Histogram& other);
  [[nodiscard]] std::uint64_t entries() const;
  /// Position of the maximum in GeV: a parabola through the logarithms of the counts around the highest bin.
  [[nodiscard]] double peak_gev() const;
  [[nodiscard]] std::string to_json() const;
  /// The form that `work_queue_manager analyze` adds by itself (docs/analysis.md): one histogram and three counters.
  [[nodiscard]] std::string to_partial_json() const;
  bool operator==(const Histogram&) const = default;
};

/// Finds the columns of the two leptons by name in a CSV header and reads events from the lines below it.
class EventReader {
 public:
  /// Empty on success, else what is wrong with the header.
  std::string read_header(std::string_view line);
  /// False when the line has too few fields or a field is not a number.
  bool read_event(std::string_view line, Lepton& first, Lepton& second);

 private:
  std::array<std::size_t, 8> columns_{};
  std::vector<std::string_view> fields_;
};

/// Reads a whole CSV (header, then events). Empty on success, else "line N: what is wrong".
std::string fill(std::istream& csv, Histogram& histogram);

}  // namespace zpeak
