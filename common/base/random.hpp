// Our own small generator: the same seed gives the same numbers on every machine, so a simulation or a
// decision can be replayed (the distributions of the standard library differ between implementations).
// xoshiro256** seeded by splitmix64 (Blackman and Vigna, 2018).
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace taskmill {

class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t next();
  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [0, 1).
  double uniform();
  /// Exponential with the given mean.
  double exponential(double mean);
  /// `length` letters a-z.
  std::string letters(std::size_t length);

 private:
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace taskmill
