// Makes cached objects from URLs, commands and paths, in the background: each in its own process, its output captured,
// the object built under a temporary name and renamed when it is complete.
//
// URLs are given to curl as one argument (no shell), with a fixed list of schemes and with errors of the server
// being errors. What went wrong is told in words.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>
#include <string>
#include <unordered_map>

#include "worker/net/context.hpp"

namespace taskmill::worker {

class Fetcher {
 public:
  explicit Fetcher(Context& context) : context_(context) {}
  void start(const FetchOrder& order);
  void cancel(std::uint64_t id);

 private:
  using Wait = boost::asio::posix::stream_descriptor;
  struct Job {
    FetchOrder order;
    std::string temporary;  ///< below in/
    Capture capture;
    std::unique_ptr<Wait> wait;
    Time started{};
    bool cancelled = false;
  };
  void on_end(std::uint64_t id);
  void fail(const FetchOrder& order, const std::string& why);
  bool adopt(Job& job, std::string& why, bool& directory, std::uint64_t& size, std::uint64_t& entries);
  std::vector<std::string> words_of(const FetchOrder& order, const std::string& target, std::string& why);

  Context& context_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Job>> jobs_;
};

}  // namespace taskmill::worker
