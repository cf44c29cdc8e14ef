// TASKMILL_ASSERT states what only a bug of ours can break. It stays on in every build. Input from a
// peer, a file or a user never reaches it.
#pragma once

namespace taskmill {
[[noreturn]] void assert_failed(const char* expression, const char* file, int line);
}

#define TASKMILL_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::taskmill::assert_failed(#expression, __FILE__, __LINE__))
