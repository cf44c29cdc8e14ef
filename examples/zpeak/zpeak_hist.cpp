// The task of the Z peak example: events (CSV with a header line) in, a partial histogram (JSON) out.
//
//   zpeak_hist [FILE] > partial.json        without FILE: standard input
#include <fstream>
#include <iostream>

#include "examples/zpeak/histogram.hpp"

int main(int argc, char** argv) {
  if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
    std::cerr << "usage: zpeak_hist [FILE] > partial.json\n";
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
  std::cout << histogram.to_json() << std::flush;
  return std::cout ? 0 : 1;
}
