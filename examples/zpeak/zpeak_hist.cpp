// The task of the Z peak example: events (CSV with a header line) in, a partial histogram (JSON) out.
//
//   zpeak_hist [--analysis] [FILE] > partial.json        without FILE: standard input
//
// --analysis writes the form that `work_queue_manager analyze` adds by itself.
#include <fstream>
#include <iostream>
#include <string_view>

#include "examples/zpeak/histogram.hpp"

int main(int argc, char** argv) {
  const bool analysis = argc > 1 && std::string_view(argv[1]) == "--analysis";
  if (analysis) --argc, ++argv;
  if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
    std::cerr << "usage: zpeak_hist [--analysis] [FILE] > partial.json\n";
    return 2;
  }
  const std::string name = argc == 2 ? argv[1] : "standard input";
  std::ifstream file;
  if (argc == 2) {
    file.open(name);
    if (!file) {
      std::cerr << "zpeak_hist: cannot open " << name << '\n';
      return 1;
    }
  }
  zpeak::Histogram histogram;
  const auto problem = zpeak::fill(argc == 2 ? file : std::cin, histogram);
  if (!problem.empty()) {
    std::cerr << "zpeak_hist: " << name << ": " << problem << '\n';
    return 1;
  }
  std::cout << (analysis ? histogram.to_partial_json() : histogram.to_json()) << std::flush;
  return std::cout ? 0 : 1;
}
