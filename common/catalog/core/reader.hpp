// Reads a constant JX document: standard JSON, and what the old parser also takes (# comments, trailing commas, a
// negated literal, a final ';', text behind the first value). Of a repeated key the first one counts.
#pragma once

#include <cstddef>
#include <string_view>

#include "common/base/result.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {

struct ReaderLimits {
  std::size_t depth = 64;
  std::size_t values = 100'000;  ///< values in one document: bounds the memory a small text can claim
};

Expected<Value> read_value(std::string_view text, ReaderLimits limits = {});

/// A record as updates and replies carry it: an object, or (legacy) lines of "key value".
Expected<Value> read_record(std::string_view text, ReaderLimits limits = {});

}  // namespace taskmill::catalog
