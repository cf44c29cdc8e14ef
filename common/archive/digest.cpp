// The low-level functions are marked deprecated in OpenSSL 3 in favour of EVP; see the header for why
// they are used here.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/archive/digest.hpp"

#include <openssl/sha.h>

#include <cstring>

namespace taskmill::archive {

namespace {
constexpr char hex_digits[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}
}  // namespace

std::string Digest::hex() const {
  std::string text;
  text.reserve(64);
  for (const std::uint8_t byte : bytes) {
    text.push_back(hex_digits[byte >> 4U]);
    text.push_back(hex_digits[byte & 15U]);
  }
  return text;
}

std::optional<Digest> Digest::from_hex(std::string_view text) {
  if (text.size() != 64) return std::nullopt;
  Digest digest;
  for (std::size_t i = 0; i < 32; ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

std::size_t DigestHash::operator()(const Digest& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.bytes.data(), sizeof value);
  return value;
}

struct Sha256::State {
  SHA256_CTX context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256_Init(&state_->context); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(Bytes bytes) { SHA256_Update(&state_->context, bytes.data(), bytes.size()); }

Digest Sha256::finish() {
  Digest digest;
  SHA256_Final(digest.bytes.data(), &state_->context);
  SHA256_Init(&state_->context);
  return digest;
}

Digest sha256(Bytes bytes) {
  Sha256 sha;
  sha.update(bytes);
  return sha.finish();
}

Expected<Digest> sha256_of_file(const std::string& path) {
  auto source = FileSource::open(path);
  if (!source) return source.error();
  DigestingSource hashing(**source);
  for (;;) {
    auto piece = hashing.next();
    if (!piece) return piece.error();
    if (piece->empty()) return hashing.finish();
  }
}

Expected<Bytes> DigestingSource::next() {
  auto piece = source_.next();
  if (piece) {
    sha_.update(*piece);
    count_.fetch_add(piece->size(), std::memory_order_relaxed);
  }
  return piece;
}

}  // namespace taskmill::archive
