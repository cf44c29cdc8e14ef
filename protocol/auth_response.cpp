// The only place of ring 0 that calls a library for cryptography.
#include <openssl/evp.h>

#include <array>
#include <memory>

#include "common/base/assert.hpp"
#include "protocol/auth_machine.hpp"

namespace taskmill::protocol {

std::string auth_response(std::string_view password, std::string_view challenge) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  const bool done = context && EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr) == 1 &&
                    EVP_DigestUpdate(context.get(), password.data(), password.size()) == 1 &&
                    EVP_DigestUpdate(context.get(), " ", 1) == 1 &&
                    EVP_DigestUpdate(context.get(), challenge.data(), challenge.size()) == 1 &&
                    EVP_DigestFinal_ex(context.get(), digest.data(), &length) == 1;
  TASKMILL_ASSERT(done);
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(length * 2);
  for (unsigned i = 0; i < length; ++i) {
    hex += digits[digest[i] >> 4];
    hex += digits[digest[i] & 15];
  }
  return hex;
}

}  // namespace taskmill::protocol
