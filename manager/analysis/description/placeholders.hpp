// The names that may stand in braces in the commands of each phase (docs/analysis.md explains them).
#pragma once

#include <string>
#include <vector>

namespace taskmill::manager::analysis {

/// {file}: the file's name in the sandbox, or its URL. {slice}: csv and jsonl only, a file with just the chunk's
/// events.
inline std::vector<std::string> process_placeholders() {
  return {"file", "slice", "dataset", "first", "last", "count", "output", "tree", "tool", "metadata", "metadata.*"};
}
/// The command prints the number of events, or JSON with "events".
inline std::vector<std::string> preprocess_placeholders() {
  return {"file", "dataset", "output", "tree", "tool", "metadata", "metadata.*"};
}
inline std::vector<std::string> accumulate_placeholders() { return {"inputs", "output", "tool", "dataset"}; }

}  // namespace taskmill::manager::analysis
