// Identities used across the project. TaskId is the number on the wire (positive, 32 bit).
#pragma once

#include "common/base/strong_type.hpp"

namespace taskmill {

using TaskId = StrongId<struct TaskIdTag, std::uint32_t>;
using WorkerId = StrongId<struct WorkerIdTag, std::uint32_t>;
using ConnId = StrongId<struct ConnIdTag, std::uint32_t>;
using FileId = StrongId<struct FileIdTag, std::uint32_t>;
using SpecId = StrongId<struct SpecIdTag, std::uint32_t>;
using ShapeId = StrongId<struct ShapeIdTag, std::uint32_t>;
using CategoryId = StrongId<struct CategoryIdTag, std::uint32_t>;

}  // namespace taskmill
