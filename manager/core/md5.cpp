#include "manager/core/md5.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace taskmill::manager {
namespace {

constexpr std::array<std::uint32_t, 64> sines = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr std::array<int, 16> shifts = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

using Digest = std::array<std::uint32_t, 4>;

void add_block(Digest& digest, const char* block) {
  std::array<std::uint32_t, 16> words;
  std::memcpy(words.data(), block, 64);  // little endian hosts only, asserted below
  auto [a, b, c, d] = digest;
  for (unsigned i = 0; i < 64; ++i) {
    std::uint32_t f = 0;
    unsigned g = 0;
    switch (i / 16) {
      case 0:
        f = (b & c) | (~b & d);
        g = i;
        break;
      case 1:
        f = (d & b) | (~d & c);
        g = (5 * i + 1) % 16;
        break;
      case 2:
        f = b ^ c ^ d;
        g = (3 * i + 5) % 16;
        break;
      default:
        f = c ^ (b | ~d);
        g = (7 * i) % 16;
        break;
    }
    const std::uint32_t sum = a + f + sines[i] + words[g];
    a = d;
    d = c;
    c = b;
    b += std::rotl(sum, shifts[(i / 16) * 4 + i % 4]);
  }
  digest[0] += a;
  digest[1] += b;
  digest[2] += c;
  digest[3] += d;
}

}  // namespace

std::string md5_hex(std::string_view data) {
  static_assert(std::endian::native == std::endian::little);
  Digest digest = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  std::size_t at = 0;
  for (; at + 64 <= data.size(); at += 64) add_block(digest, data.data() + at);
  std::array<char, 128> tail{};
  const std::size_t rest = data.size() - at;
  if (rest > 0) std::memcpy(tail.data(), data.data() + at, rest);
  tail[rest] = static_cast<char>(0x80);
  const std::size_t padded = rest < 56 ? 64 : 128;
  const std::uint64_t bits = static_cast<std::uint64_t>(data.size()) * 8;
  std::memcpy(tail.data() + padded - 8, &bits, 8);
  add_block(digest, tail.data());
  if (padded == 128) add_block(digest, tail.data() + 64);

  std::string hex(32, '0');
  for (std::size_t i = 0; i < 16; ++i) {
    const std::uint32_t byte = (digest[i / 4] >> (8 * (i % 4))) & 0xffU;
    hex[2 * i] = "0123456789abcdef"[byte >> 4U];
    hex[2 * i + 1] = "0123456789abcdef"[byte & 15U];
  }
  return hex;
}

}  // namespace taskmill::manager
