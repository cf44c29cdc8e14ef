// Library processes that answer function tasks (worker.md 12): a command is started some times over, each copy says its
// name and port on its stdout ("LENGTH\n" and JSON) and then serves, on 127.0.0.1, one function call per connection:
//
//   FUNCTION TASKID LENGTH\n<input>    →    LENGTH\n<result>
//
// One call at a time goes to each copy. A copy that ends, or whose call is given up, is started again; its call ends at
// once with what is known. Input and result pass through in pieces. All run in the workspace, as children that end with
// the worker.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "worker/net/context.hpp"

namespace taskmill::worker {

class Coprocesses {
 public:
  Coprocesses(Context& context, std::string command, std::size_t count);
  ~Coprocesses();

  /// With the name they gave, or with what went wrong.
  using Started = std::function<void(const std::string& name, const std::string& problem)>;
  /// Starts all. `done` is called once.
  void start(Started done);

  enum class Outcome : std::uint8_t {
    answered,
    unreachable,  ///< nothing was asked: another worker may be luckier
    broken,       ///< it ended, or spoke nonsense, in the middle of the call
    cancelled,
  };
  struct Call {
    TaskKey key = 0;
    std::string function;
    std::int64_t task_id = 0;
    os::UniqueFd input;
    int output = -1;  ///< the result is written there; must stay open until the end of the call
    std::function<void(Outcome)> done;
  };
  /// At most as many at a time as there are copies. `done` is never called from inside.
  void call(Call call);
  /// Ends a call: its copy is killed and started anew.
  void cancel(TaskKey key);
  [[nodiscard]] std::size_t count() const { return copies_.size(); }

 private:
  class Copy;
  void on_introduced(const std::string& name, const std::string& problem);
  void pump();

  Context& context_;
  std::string command_;
  std::vector<std::shared_ptr<Copy>> copies_;
  std::vector<Call> waiting_;  ///< for a copy that is being started again
  Started started_;
  std::size_t silent_ = 0;  ///< copies that have not introduced themselves yet
};

}  // namespace taskmill::worker
