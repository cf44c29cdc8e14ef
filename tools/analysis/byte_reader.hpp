// Bounded reading of binary structures: every access is checked, a failure is sticky and tested once at the end
// of a structure. Big-endian (ROOT) and little-endian (Parquet) numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace taskmill::analysis_tool {

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - position_; }
  void fail() { ok_ = false; }

  void skip(std::uint64_t count) {
    if (!ok_ || count > left()) return fail();
    position_ += static_cast<std::size_t>(count);
  }
  std::string_view take(std::uint64_t count) {
    if (!ok_ || count > left()) {
      fail();
      return {};
    }
    const auto view = bytes_.substr(position_, static_cast<std::size_t>(count));
    position_ += static_cast<std::size_t>(count);
    return view;
  }
  std::uint64_t big(int bytes) {
    std::uint64_t value = 0;
    for (const char c : take(static_cast<std::uint64_t>(bytes))) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::uint64_t little(int bytes) {
    std::uint64_t value = 0;
    int shift = 0;
    for (const char c : take(static_cast<std::uint64_t>(bytes))) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(c)) << shift;
      shift += 8;
    }
    return value;
  }

 private:
  std::string_view bytes_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace taskmill::analysis_tool
