// A place where workers are started. Calls return at once; answers come from the loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/aio/pool.hpp"
#include "common/base/result.hpp"
#include "tools/factory/config.hpp"

namespace taskmill::tools {

/// What all kinds need: where they work, whom they tell.
struct BatchContext {
  boost::asio::io_context& io;
  aio::Pool& pool;        ///< for submit programs
  std::string directory;  ///< the scratch directory, absolute
  std::string catalogs;
  std::vector<std::string> files;  ///< names of worker, pwfile and wrapper inputs in the directory
  std::function<void(const std::string&)> log;
};

class Batch {
 public:
  virtual ~Batch() = default;
  /// Starts one worker; `done` gets a name for it, or why not.
  virtual void submit(const FactoryConfig& config, const std::vector<std::string>& blocked_hosts,
                      std::function<void(Expected<std::string>)> done) = 0;
  /// Learns what has ended.
  virtual void refresh(std::function<void()> done) = 0;
  /// Workers that are alive or waiting in a queue.
  [[nodiscard]] virtual std::int64_t alive() const = 0;
  /// Ends all of them; `done` when nothing of them is left (or cannot be helped).
  virtual void remove_all(std::function<void()> done) = 0;
};

std::unique_ptr<Batch> make_local_batch(BatchContext context);
std::unique_ptr<Batch> make_condor_batch(BatchContext context);
/// Null when there is no such type, or its description is incomplete (reason in `why`).
std::unique_ptr<Batch> make_queue_batch(BatchContext context, const std::string& type, std::string& why);
/// Writes the commands to `directory`/dryrun.log and counts them as alive.
std::unique_ptr<Batch> make_dry_batch(BatchContext context);

/// argv run in `directory`, with stderr in the answer; PATH is searched. Blocks: for the pool.
Result<std::string> run_program(const std::string& directory, const std::vector<std::string>& argv, int& exit_status);

/// Entry of the small helper every local worker is started through: asks the kernel for SIGTERM when the factory dies,
/// then becomes the worker. Returns only on failure.
int become_worker(int argc, char** argv);

}  // namespace taskmill::tools
