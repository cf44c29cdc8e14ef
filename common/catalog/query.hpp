// Asks catalogs for records: never blocks, ends in time, can be cancelled at any moment.
//
// Every catalog of the list is asked at once (merge) or one after the other with a short head start (first answer
// wins); a dead one delays nothing by more than a second. When all fail the pass is repeated after 1, 2, 4, … s until
// `timeout`. Merging keeps of each service the newest record. HTTP_PROXY and redirects are honoured. `expression` only
// reduces traffic: apply the filter again to what comes back (catalog.md 4.4).
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/catalog/core/host_list.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {

struct QueryOptions {
  std::vector<Host> hosts;
  std::string expression = "true";
  Duration timeout = std::chrono::seconds(60);
  Duration host_timeout = std::chrono::seconds(5);
  Duration head_start = std::chrono::milliseconds(700);
  bool merge = true;
  bool repeat = true;  ///< further passes after all failed
};

struct QueryAnswer {
  std::vector<Value> records;  ///< objects only
  std::string servers;         ///< who answered, for messages
};

class Query {
 public:
  using Handler = std::function<void(Expected<QueryAnswer>)>;
  /// `handler` is called exactly once, from the loop, unless cancelled. Keep the object until then; destroying it
  /// cancels.
  static std::unique_ptr<Query> start(boost::asio::io_context& io, QueryOptions options, Handler handler);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

 private:
  struct Impl;
  explicit Query(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// "/query/…" for an expression, written so that old servers can read it too (they stop at a '/' in the base64).
std::string query_path(const std::string& expression);

}  // namespace taskmill::catalog
