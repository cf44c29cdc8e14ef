// A manager core with 50 workers of 4 cores and 10,000 queued tasks in 20 categories, one cached input and one output
// each, driven by hand: what tests/perf counts.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "manager/core/machine.hpp"
#include "protocol/format.hpp"
#include "protocol/manager_session.hpp"

namespace taskmill::perf {

using namespace taskmill::manager;

struct Running {
  ConnId conn;
  TaskId task;
  std::uint32_t attempt = 0;
};

class CoreDriver {
 public:
  using Around = std::function<void(std::string_view part, const std::function<void()>& work)>;
  /// Every part of the work (parse, complete, match, dispatch, submit) is done through `around`.
  explicit CoreDriver(Around around) : around_(std::move(around)) {}
  void start();                   ///< workers connect, 10,000 tasks are queued, the first ones are sent
  void run(std::uint32_t tasks);  ///< so many tasks end and are replaced

 private:
  void connect();
  void submit(std::size_t count);
  void step();
  void finish(const Running& running);
  [[nodiscard]] TaskSpec spec(std::uint32_t number) const;

  Around around_;
  Now now_{Time(std::chrono::seconds(1)), WallTime(std::chrono::seconds(1700000000))};
  Machine machine_{Config{}, 1, now_};
  Effects effects_;
  protocol::TaskDescription description_;
  protocol::ManagerSession session_{protocol::ManagerSession::Config{}};
  std::string wire_;
  std::vector<Running> running_;
  std::size_t next_ = 0;
  std::uint32_t conns_ = 0, made_ = 0;
};

}  // namespace taskmill::perf
