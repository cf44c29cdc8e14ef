// Flags of files that only native peers know, beside those of the old wire (result_code.hpp).
#pragma once

namespace taskmill::protocol::file_flag {

/// An output that stays in the worker's cache: nobody wants its contents inside a pushed result.
constexpr int stays = 128;

}  // namespace taskmill::protocol::file_flag
