// MD5 (RFC 1321), only for cache names that old tools know how to predict (manager.md 4.2). Not for security.
#pragma once

#include <string>
#include <string_view>

namespace taskmill::manager {

/// 32 lower-case hex digits.
std::string md5_hex(std::string_view data);

}  // namespace taskmill::manager
