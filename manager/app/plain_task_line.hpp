// Task lines of the common shape, read in one pass: a million of them are a matter of a second.
//
// Plain means: one flat object of known fields, each once; texts of printable ASCII without escapes; numbers without
// exponent; inputs and outputs as "local=remote" or {"file", "name", "cache"}. Anything else, and anything wrong, is
// declined and goes to the full reader (task_file.cpp), which understands it or says what is wrong. What is accepted
// here means the same there; plain_task_line_test.cpp compares both.
#pragma once

#include <string_view>

#include "manager/core/task_spec.hpp"

namespace taskmill::manager {

/// False: declined; `spec` is then in no particular state.
bool read_plain_task(std::string_view line, TaskSpec& spec);

}  // namespace taskmill::manager
