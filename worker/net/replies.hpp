// Answers to `send_results` and `get`, in the order of the requests.
//
// A result exchange is queued in one go. A `get` of a tree is walked in small steps: the walk pauses while the
// connection is congested, so memory and open files stay bounded however large the tree is. Nothing outside the
// requested object is ever read: links are followed only while they stay inside it, and everything that is not a
// regular file or a directory is "missing".
#pragma once

#include <dirent.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/aio/connection.hpp"
#include "common/os/fd.hpp"

namespace taskmill::worker {

class Replies {
 public:
  /// Sends the result exchange; called when its turn has come.
  using AnswerResults = std::function<void()>;
  Replies(aio::Connection& connection, int cache, AnswerResults answer_results)
      : connection_(connection), cache_(cache), answer_results_(std::move(answer_results)) {}

  void want_results();
  void want_get(std::string name, bool recursive);
  /// True while an answer to a `get` of this name is still to be given.
  [[nodiscard]] bool wants(std::string_view name) const;
  /// Runs `action` when everything asked for before it has been answered: managers send `get X` and `unlink X` in one
  /// write, and the file must outlive its answer.
  void in_turn(std::function<void()> action);
  /// Goes on until there is nothing to say or the connection has enough. Call it after requests and when drained.
  void pump();
  [[nodiscard]] bool idle() const { return requests_.empty(); }
  /// The next pump has something to do at once.
  [[nodiscard]] bool wants_turn() const { return !requests_.empty() && !connection_.is_congested(); }

 private:
  struct Request {
    bool is_get = false;
    std::string name;
    bool recursive = false;
    std::function<void()> action{};  ///< of in_turn
  };
  struct DirCloser {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  struct Level {
    std::unique_ptr<DIR, DirCloser> dir;
    std::string path;  ///< as on the wire, "NAME/sub"
    std::pair<dev_t, ino_t> identity{};
  };

  void begin_get(const Request& request);
  bool step();
  void visit(int directory, const std::string& leaf, const std::string& path, bool recursive);
  void send_regular(os::UniqueFd file, const std::string& path, std::uint64_t size);
  void send_missing(const std::string& path, int error);
  void end_get();
  [[nodiscard]] int root() const { return walk_.empty() ? -1 : ::dirfd(walk_.front().dir.get()); }

  aio::Connection& connection_;
  int cache_;
  AnswerResults answer_results_;
  std::deque<Request> requests_;
  bool walking_ = false;
  std::string root_name_;
  std::vector<Level> walk_;
};

/// A piece of a file into the outbox: copied when it is small, by sendfile otherwise.
void send_range(aio::Connection& connection, os::UniqueFd file, std::uint64_t offset, std::uint64_t length);

}  // namespace taskmill::worker
