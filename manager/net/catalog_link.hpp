// Keeps the catalogs informed about this manager, and serves the local catalog when no other is named.
//
// The record is the queue object plus the manager's identity (catalog.md 6.2). It is published at start, every 60 s,
// and earlier (at most every two seconds) when the number of tasks or workers changed enough to matter to a factory.
// With each update the catalogs are asked how many workers the factories of our workers may have (manager.md 14.6).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/catalog/embedded.hpp"
#include "common/catalog/publisher.hpp"
#include "common/catalog/query.hpp"
#include "manager/net/hub.hpp"

namespace taskmill::manager {

class CatalogLink {
 public:
  struct Options {
    std::string catalogs;  ///< -C list; empty: CATALOG_HOST, else our own on localhost:9097
    bool embed = true;     ///< serve the local catalog when none is named
    std::function<void(const std::string&)> log;
    std::function<void(const std::string&)> warn;  ///< workers may not find us
  };
  static Expected<std::unique_ptr<CatalogLink>> make(boost::asio::io_context& io, Hub& hub, Options options);

  /// From the next turn on: what was submitted until then is in the first record.
  void start();
  /// Something about tasks or workers changed.
  void changed();
  /// Says goodbye to every catalog, then calls `done` (within about two seconds).
  void finish(std::function<void()> done);
  [[nodiscard]] std::string where() const { return publisher_->catalogs_text(); }
  [[nodiscard]] bool serving() const { return embedded_ && embedded_->serving(); }

 private:
  CatalogLink(boost::asio::io_context& io, Hub& hub, Options options);
  void publish();
  void look();
  void ask_for_factories();
  [[nodiscard]] std::string record();
  void arm(Duration wait);

  boost::asio::io_context& io_;
  Hub& hub_;
  Options options_;
  boost::asio::steady_timer timer_, look_timer_;
  std::unique_ptr<catalog::Publisher> publisher_;
  std::unique_ptr<catalog::EmbeddedCatalog> embedded_;
  std::vector<catalog::Host> hosts_;
  std::unique_ptr<catalog::Query> factories_;
  std::string uuid_;
  Time published_{}, due_{}, looked_{};
  std::int64_t last_tasks_ = 0, last_workers_ = 0;
  bool finished_ = false, look_armed_ = false;
};

}  // namespace taskmill::manager
