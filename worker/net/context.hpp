// What the shells of the worker share. Facts go to the machine with `effects`; wake() asks for a turn in which they are
// performed. Everything on the control thread.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "common/aio/clock.hpp"
#include "common/aio/pool.hpp"
#include "protocol/capabilities.hpp"
#include "worker/core/environment.hpp"
#include "worker/core/log.hpp"
#include "worker/core/machine.hpp"
#include "worker/host/cache_writer.hpp"
#include "worker/host/capture.hpp"
#include "worker/host/process_table.hpp"
#include "worker/host/sandbox.hpp"
#include "worker/host/workspace.hpp"
#include "worker/net/disposal.hpp"

namespace taskmill::archive {
class EnvironmentLease;
}

namespace taskmill::worker {

class Coprocesses;

struct Context {
  boost::asio::io_context& io;
  Log& log;
  Machine& machine;
  Effects& effects;
  Workspace& space;
  ProcessTable& processes;
  CaptureStore& captures;
  Disposal& disposal;
  aio::Pool& pool;
  const Environment& environment;
  StagePolicy policy;
  std::string task_wrapper;
  bool direct_start = true;                                         ///< simple commands need no shell
  os::UniqueFd null;                                                ///< /dev/null
  protocol::CapabilityHandshake native{protocol::CapabilitySet{}};  ///< with the manager of this session
  std::shared_ptr<std::atomic<bool>> stop = std::make_shared<std::atomic<bool>>(false);
  std::function<void()> wake;
  std::function<void()> sweep;         ///< after the end of any process
  Coprocesses* coprocesses = nullptr;  ///< answer function tasks; nullptr: there are none
  /// The environment with this digest, if it is ready.
  std::function<std::shared_ptr<const archive::EnvironmentLease>(const std::string&)> environment_lease;
  std::uint64_t inline_outputs = 0;  ///< outputs up to this size are pushed inside the result

  [[nodiscard]] Places places() const { return {space.top(), space.cache(), space.trash()}; }
};

}  // namespace taskmill::worker
