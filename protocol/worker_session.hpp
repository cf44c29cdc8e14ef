// The worker's side of one connection. See session.hpp for how to drive it.
//
// Directory frames and task blocks are assembled here: the caller gets entries with full relative paths and whole
// TaskDescriptions. Bodies of `cmd` and `env` and symlink targets are small and collected here, bounded by
// limits.hpp; file bodies are announced and left to the caller. Bytes of a collected body are consumed as they
// come, so the caller's buffer need not hold more than one line.
//
// `ManagerAuthenticated` is reported once, after a password exchange; without a password there is none. With a
// password, take_output() holds our first line from the beginning.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocol/auth_machine.hpp"
#include "protocol/session.hpp"
#include "protocol/to_worker.hpp"

namespace taskmill::protocol {

class WorkerSession {
 public:
  struct Config {
    bool has_password = false;
    std::string password{};
    std::string challenge{};
    int version = 11;  ///< version we greeted with: decides between puturl/putcmd and url/thirdget
  };
  explicit WorkerSession(Config config);
  WorkerSession(WorkerSession&&) noexcept;
  WorkerSession& operator=(WorkerSession&&) noexcept;
  ~WorkerSession();

  Step<ToWorker> next(std::span<const char> input);
  [[nodiscard]] std::uint64_t body_left() const { return body_left_; }
  void body_taken(std::uint64_t count);
  std::string take_output();
  [[nodiscard]] bool authenticated() const;
  void allow_frames(bool allowed) { frames_allowed_ = allowed; }

 private:
  struct Assembly;  ///< the task block, directory frame or small body being collected
  Step<ToWorker> on_auth_line(std::string_view line, std::size_t consumed);
  Step<ToWorker> on_line(std::string_view line, std::size_t consumed);
  Step<ToWorker> collect(std::span<const char> input);

  Config config_;
  std::unique_ptr<AuthMachine> auth_;
  std::unique_ptr<Assembly> assembly_;
  std::string output_;
  std::string line_;
  std::uint64_t body_left_ = 0;
  bool frames_allowed_ = false;
};

}  // namespace taskmill::protocol
