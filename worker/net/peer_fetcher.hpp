// Fetches objects from other workers when the manager says so (docs/extensions.md, capability `peer`).
//
// Each object is a job under its cache name: its sources are tried in order, what has come is kept when a source
// breaks off, and the next one goes on behind it, also of a later order. The bytes go from the socket into a temporary
// file; the pool makes the digest of what is there while the rest comes. Only an object with the right digest gets its
// name. Every order is answered exactly once, unless the session ends before.
//
// Nothing here blocks: a source that is silent for `silence_limit`, or an order past its deadline, is given up.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "protocol/pb/extension.pb.h"
#include "worker/net/context.hpp"

namespace taskmill::worker {

class PeerFetcher {
 public:
  struct Events {
    std::function<void(const pb::PeerDone&)> done;
    /// A complete object is below in/ under the temporary name: give it its name. Not empty: why that failed.
    std::function<std::string(const pb::PeerFetch&, const std::string& temporary)> adopt;
  };
  PeerFetcher(Context& context, Events events);
  ~PeerFetcher();
  PeerFetcher(const PeerFetcher&) = delete;
  PeerFetcher& operator=(const PeerFetcher&) = delete;

  void fetch(const pb::PeerFetch& order);
  /// The object came another way or is not wanted any more.
  void forget(const std::string& cache_name);
  /// The session is over: nothing is answered, nothing kept.
  void reset();

 private:
  class Job;
  void answer_at_once(const pb::PeerFetch& order, bool ok, const std::string& error);
  void end(const std::string& cache_name);

  Context& context_;
  Events events_;
  std::map<std::string, std::shared_ptr<Job>> jobs_;
};

}  // namespace taskmill::worker
