// Messages of the wire as one line of text each, for tests: printed into golden files, compared between ways of
// splitting the same bytes, and shown when an expectation fails.
#pragma once

#include <string>
#include <string_view>

#include "protocol/from_worker.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::testing {

/// Printable, one line: \n \r \0 \\ and \xHH.
std::string escape(std::string_view bytes);
std::string unescape(std::string_view text);

std::string to_text(const protocol::FromWorker& message);
std::string to_text(const protocol::ToWorker& message);
std::string to_text(const protocol::TaskDescription& task);

}  // namespace taskmill::testing
