// The only place where the shells read the clocks.
#pragma once

#include "common/base/time.hpp"

namespace taskmill::aio {

Time steady_now();
WallTime wall_now();
inline Now now() { return {steady_now(), wall_now()}; }

}  // namespace taskmill::aio
