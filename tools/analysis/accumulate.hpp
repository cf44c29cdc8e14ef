// Built-in accumulators: several partial results become one file.
//
// histograms: JSON of the form
//     {"format": "taskmill-histograms-1",
//      "histograms": {"mass": {"axes": [{"label": "m [GeV]", "bins": 60, "low": 60, "high": 120}],
//                              "counts": [...], "variances": [...], "underflow": 0, "overflow": 0}},
//      "counters": {"events": 1000}}
//   Everything with the same name is added; integers stay exact integers as long as all summands are. Axes must agree.
// sum: JSON objects (or arrays, nested) of numbers, added place by place; other values must be equal.
// concat: bytes one after the other; with `skip_header` the first line of all files but the first is left out.
//
// Inputs are taken in the order given, so equal inputs in equal order give equal bytes.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::analysis_tool {

enum class Accumulator : unsigned char { histograms, sum, concat };
Expected<Accumulator> find_accumulator(const std::string& name);

/// Writes `output` through a temporary name. The text of the error names the input at fault.
Expected<bool> accumulate(Accumulator kind, const std::string& output, const std::vector<std::string>& inputs,
                          bool skip_header);

}  // namespace taskmill::analysis_tool
