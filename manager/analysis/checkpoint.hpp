// What an interrupted analysis left behind: a list of partial results and the events in each, one JSON object a line.
//
//   {"format": "taskmill-checkpoint-1", "analysis": HASH}          what the partial results were made by
//   {"file": NAME, "identity": "SIZE|TIME"}                        what a source file was then
//   {"result": PATH, "group": 0, "events": [[NAME, 0, 1000], …]}   one finished chunk or merge
//
// Lines are only ever appended, each in one write, after the result they name is in place and before the results it
// was merged from are removed. So the file is good whenever the process ends, even by SIGKILL.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "manager/analysis/core/event_set.hpp"

namespace taskmill::manager::analysis {

class Checkpoint {
 public:
  /// What of the analysis decides whether old partial results may be used.
  struct Sources {
    std::string fingerprint;  ///< of commands, their inputs, and how results are grouped
    struct File {
      std::string key;       ///< unique name: dataset and path
      std::string identity;  ///< empty for URLs: taken as unchanged
    };
    std::vector<File> files;  ///< by the planner's index
  };
  struct Entry {
    std::string result;
    std::uint32_t group = 0;
    EventSet events;
  };

  Checkpoint() = default;  ///< no checkpoint: append() does nothing
  explicit Checkpoint(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] bool enabled() const { return !path_.empty(); }
  /// Entries whose result is there and whose files have not changed, newest first: what a merged result holds comes
  /// before its parts. Begins the file when there is none. Error: it belongs to another analysis, or cannot be written.
  Expected<std::vector<Entry>> open(Sources sources);
  void append(const Entry& entry);
  /// The analysis is done: nothing is left to be resumed.
  void remove() const;

 private:
  bool write_line(const std::string& line) const;

  std::string path_;
  Sources sources_;
};

}  // namespace taskmill::manager::analysis
