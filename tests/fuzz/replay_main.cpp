// Runs a fuzz target without a fuzzer: every seed below the given directories, then the same number of steps of a
// deterministic mutation from them. So the targets are built and exercised by every test run.
//
//   replay_TARGET MUTATIONS DIRECTORY…
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::string> read_seeds(const std::vector<std::string>& directories) {
  std::vector<std::filesystem::path> paths;
  for (const auto& directory : directories) {
    if (!std::filesystem::is_directory(directory)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
      if (entry.is_regular_file()) paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> seeds;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return seeds;
}

// mt19937's numbers are the same everywhere; distributions are not, so none are used.
std::string mutate(std::string text, const std::vector<std::string>& seeds, std::mt19937& random) {
  static const std::vector<std::string> words = {"\n", " ", "\r",    std::string(1, '\0'),   "%",   "..",  "/",
                                                 "-1", "0", "end\n", "99999999999999999999", "%2F", "\xff"};
  for (auto steps = 1 + random() % 4; steps > 0; --steps) {
    const std::size_t at = text.empty() ? 0 : random() % text.size();
    switch (random() % 6) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ static_cast<char>(1U << (random() % 8)));
        break;
      case 1:
        text.erase(at, random() % 16);
        break;
      case 2:
        text.insert(at, words[random() % words.size()]);
        break;
      case 3:
        text.insert(at, text.substr(at, random() % 64));
        break;
      case 4:
        text.resize(at);
        break;
      default: {
        const auto& other = seeds[random() % seeds.size()];
        text.insert(at, other.substr(other.empty() ? 0 : random() % other.size(), random() % 256));
      }
    }
  }
  return text;
}

void run(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::cerr << "usage: " << arguments[0] << " MUTATIONS DIRECTORY...\n";
    return 2;
  }
  const auto mutations = std::strtoul(arguments[1], nullptr, 10);
  const auto seeds = read_seeds({arguments + 2, arguments + count});
  if (seeds.empty()) {
    std::cerr << arguments[0] << ": no seeds found\n";
    return 2;
  }
  for (const auto& seed : seeds) run(seed);
  std::mt19937 random(20'26);
  for (unsigned long i = 0; i < mutations; ++i) run(mutate(seeds[i % seeds.size()], seeds, random));
  std::cout << seeds.size() << " seeds and " << mutations << " mutations passed\n";
  return 0;
}
