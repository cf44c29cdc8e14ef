// Finds managers for a worker (or a factory) through the catalog, without ever blocking.
//
//   auto finder = Finder::make(io, {.catalogs = "", .project = "coffea-.*"});   // error: bad pattern or list
//   finder->find([&](Expected<std::vector<ManagerCandidate>> managers) {
//     if (!managers) log(managers.error().text);        // no catalog answered: say it, back off, find again
//     else if (managers->empty()) …                     // catalog is fine, nobody matches
//     else try (*managers)[0], then the next, …         // each one's hosts in order, with port, ssl, protocol
//   });
//   finder->forget();       // after every candidate failed: the next find() asks anew
//   finder->cancel();       // at once; the handler is not called
//
// A find() asks the catalogs of the list (next one within a second when one is dead), ends after `timeout` at the
// latest, and calls its handler exactly once, from the event loop, unless cancelled. A good answer is kept for
// `reuse`. Destroying the finder cancels. One find() at a time: a second one replaces the handler of the first.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/catalog/core/candidates.hpp"

namespace taskmill::catalog {

struct FinderOptions {
  std::string catalogs{};  ///< -C list; empty: CATALOG_HOST, else localhost:9097
  std::string project{};   ///< extended regular expression for the whole project name
  ConnectionMode mode = ConnectionMode::unset;
  std::int64_t stale_after_seconds = 15 * 60;
  std::uint64_t seed = 0;  ///< spreads workers over managers; give each worker another one
  Duration timeout = std::chrono::seconds(10);
  Duration reuse = std::chrono::seconds(60);
};

class Finder {
 public:
  using Handler = std::function<void(Expected<std::vector<ManagerCandidate>>)>;

  static Expected<std::unique_ptr<Finder>> make(boost::asio::io_context& io, FinderOptions options);
  virtual ~Finder() = default;

  virtual void find(Handler handler) = 0;
  virtual void cancel() = 0;
  virtual void forget() = 0;
  /// The catalogs asked, for messages: "localhost:9097".
  [[nodiscard]] virtual std::string catalogs_text() const = 0;
};

}  // namespace taskmill::catalog
