// ROOT's compressed blocks: nine bytes of header, then zlib, LZMA, LZ4 or zstd data.
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace taskmill::analysis_tool {

/// The first block of `bytes`, decompressed (at most 16 MiB by format).
Expected<std::string> decompress_first_block(std::string_view bytes);

}  // namespace taskmill::analysis_tool
