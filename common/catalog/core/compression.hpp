// Compressed updates: the byte 0x1A and a zlib stream (catalog.md 3.2).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace taskmill::catalog {

constexpr std::size_t update_limit = (1U << 20) - 1;  ///< largest update text, received or unpacked
constexpr char compressed_mark = '\x1A';

/// Mark and zlib stream.
std::string compress_update(std::string_view text);
/// The text of an update, unpacked when marked. Errors: damaged, or larger than update_limit.
Expected<std::string> unpack_update(std::string_view bytes);

}  // namespace taskmill::catalog
