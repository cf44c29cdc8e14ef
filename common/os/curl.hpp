// The one way in which Taskmill fetches URLs: curl, started with a list of words (no shell), a fixed list of schemes,
// errors of the server being errors, and an end for transfers that stand still.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::os {

/// The command that fetches `url` into `target`; an empty target means its standard output. Messages go to standard
/// error. Error: curl is not installed.
Expected<std::vector<std::string>> curl_words(const std::string& url, const std::string& target);

}  // namespace taskmill::os
