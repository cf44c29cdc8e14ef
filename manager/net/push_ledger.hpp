// What a native worker has pushed and the manager has not yet acknowledged, and which names it does not have at all.
//
// A batch is acknowledged, in order, when the machine has killed (that is, is done with) each of its tasks.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace taskmill::manager {

class PushLedger {
 public:
  /// A batch has come; its tasks follow, then end(). False: it is not the next one.
  bool begin(std::uint64_t sequence);
  void add(std::int64_t task);
  void end();
  /// The machine is done with a task (or never wanted it). False: no result of it was pushed.
  bool settle(std::int64_t task);
  /// An input that travelled inside a task, or an output inside a result: there is no such object at the worker.
  void note_absent(const std::string& name) { absent_.insert(name); }
  /// An object is no longer needed at the worker. False: it is not there, nothing needs to be said.
  bool drop(const std::string& name);

  /// There is something to say.
  [[nodiscard]] bool is_due() const { return acknowledged_ > told_ || !drops_.empty(); }
  /// What to say: up to which batch, and which names.
  std::uint64_t take(std::vector<std::string>& drops);

 private:
  struct Batch {
    std::uint64_t sequence = 0;
    std::size_t left = 0;  ///< tasks, and one for a batch that is still being read
  };
  void advance();

  std::uint64_t last_ = 0, acknowledged_ = 0, told_ = 0;
  std::deque<Batch> batches_;                                  ///< not acknowledged
  std::unordered_map<std::int64_t, std::uint64_t> unsettled_;  ///< task -> batch
  std::unordered_set<std::string> absent_;
  std::vector<std::string> drops_;
};

}  // namespace taskmill::manager
