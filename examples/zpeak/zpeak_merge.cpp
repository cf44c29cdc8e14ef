// Adds partial histograms and shows the result.
//
//   zpeak_merge [--svg FILE] [--json FILE] [--title TEXT] PARTIAL.json…
//
// Prints the spectrum and the position of the peak. Exit 0; 1 when a file cannot be read or written; 2 for
// wrong arguments.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "examples/zpeak/histogram.hpp"
#include "examples/zpeak/plot.hpp"

namespace {

struct Options {
  std::string svg, json, title = "Z boson";
  std::vector<std::string> partials;
};

bool parse_options(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    std::string* target = argument == "--svg"     ? &options.svg
                          : argument == "--json"  ? &options.json
                          : argument == "--title" ? &options.title
                                                  : nullptr;
    if (target != nullptr) {
      if (++i == argc) return false;
      *target = argv[i];
    } else if (argument.starts_with("--")) {
      return false;
    } else {
      options.partials.push_back(argument);
    }
  }
  return !options.partials.empty();
}

/// Empty on success, else what is wrong.
std::string read_partial(const std::string& name, zpeak::Histogram& histogram) {
  std::ifstream file(name);
  if (!file) return "cannot open it";
  const auto json = nlohmann::json::parse(file, nullptr, false);
  if (!json.is_object()) return "not a JSON object";
  try {
    if (json.contains("format")) {  // a result of `work_queue_manager analyze`
      const auto& mass = json.at("histograms").at("mass");
      if (mass.at("axes").at(0).at("low") != zpeak::low_gev || mass.at("axes").at(0).at("high") != zpeak::high_gev)
        return "other bins";
      mass.at("counts").get_to(histogram.counts);
      json.at("counters").at("events").get_to(histogram.events);
      json.at("counters").at("same_charge").get_to(histogram.same_charge);
      json.at("counters").at("out_of_range").get_to(histogram.out_of_range);
      return {};
    }
    if (json.at("low_gev") != zpeak::low_gev || json.at("high_gev") != zpeak::high_gev) return "other bins";
    json.at("counts").get_to(histogram.counts);
    json.at("events").get_to(histogram.events);
    json.at("same_charge").get_to(histogram.same_charge);
    json.at("out_of_range").get_to(histogram.out_of_range);
  } catch (const nlohmann::json::exception& error) {
    return error.what();
  }
  return {};
}

bool write_file(const std::string& name, const std::string& text) {
  if (name.empty()) return true;
  std::ofstream file(name);
  file << text << std::flush;
  if (!file) std::cerr << "zpeak_merge: cannot write " << name << '\n';
  return static_cast<bool>(file);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse_options(argc, argv, options)) {
    std::cerr << "usage: zpeak_merge [--svg FILE] [--json FILE] [--title TEXT] PARTIAL.json...\n";
    return 2;
  }
  zpeak::Histogram sum;
  for (const auto& name : options.partials) {
    zpeak::Histogram partial;
    if (auto problem = read_partial(name, partial); !problem.empty()) {
      std::cerr << "zpeak_merge: " << name << ": " << problem << '\n';
      return 1;
    }
    sum.merge(partial);
  }
  std::cout << options.title << ": pairs per " << zpeak::bin_width_gev << " GeV of invariant mass\n\n"
            << zpeak::terminal_plot(sum) << '\n'
            << sum.events << " events, " << sum.entries() << " pairs of opposite charge between " << zpeak::low_gev
            << " and " << zpeak::high_gev << " GeV\n";
  std::printf("peak at %.1f GeV (the Z boson: 91.2 GeV)\n", sum.peak_gev());
  return write_file(options.svg, zpeak::svg_plot(sum, options.title)) && write_file(options.json, sum.to_json()) ? 0
                                                                                                                 : 1;
}
