// Streaming SHA-256, the identity of archives, trees and chunks.
//
// Uses the block functions of libcrypto directly (they pick the SHA instructions of the processor); the
// general EVP interface would pull several megabytes of providers into the small static programs.
#pragma once

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/archive/bytes.hpp"

namespace taskmill::archive {

/// 32 bytes, printed as 64 hex digits.
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  [[nodiscard]] std::string hex() const;
  static std::optional<Digest> from_hex(std::string_view text);
};

struct DigestHash {
  std::size_t operator()(const Digest& digest) const noexcept;
};

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(Bytes bytes);
  /// The digest of everything so far; the object starts afresh.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(Bytes bytes);
Expected<Digest> sha256_of_file(const std::string& path);

/// Hashes and counts what passes through; count() may be asked from any thread.
class DigestingSource final : public ByteSource {
 public:
  explicit DigestingSource(ByteSource& source) : source_(source) {}
  Expected<Bytes> next() override;
  Digest finish() { return sha_.finish(); }
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  ByteSource& source_;
  Sha256 sha_;
  std::atomic<std::uint64_t> count_ = 0;
};

}  // namespace taskmill::archive
