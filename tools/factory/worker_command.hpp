// The command that starts one worker, as words: no text from a user or a file is ever read by a shell
// (status-and-factory.md B.6; D10).
#pragma once

#include <string>
#include <vector>

#include "tools/factory/config.hpp"

namespace taskmill::tools {

/// Splits like a shell does, with quotes and backslashes, but expands nothing. The error names the open quote.
Expected<std::vector<std::string>> split_words(const std::string& text);

/// 'a' 'b c': one line that any POSIX shell reads back as the same words. Plain words stay unquoted.
std::string quote_words(const std::vector<std::string>& words);

/// `catalogs`: for -C. `resources` as they are to be announced (may differ from the config: what the batch system was
/// asked for); values below 0 are left out.
Expected<std::vector<std::string>> worker_words(const FactoryConfig& config, const std::string& catalogs,
                                                const Resources& resources);

}  // namespace taskmill::tools
