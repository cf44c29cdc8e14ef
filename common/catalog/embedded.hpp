// The catalog inside a manager: serves localhost:9097 if nobody else does.
//
//   EmbeddedCatalog catalog(io, {});
//   catalog.on_serving = [&] { publisher->publish(record); };   // we are the catalog now: put ourselves in
//   catalog.start();
//
// Any number of managers on a machine share one catalog: the first to bind the ports (TCP P, UDP P, TCP P+1) serves,
// the others try again every second and keep a copy of its records, so that nothing is missing when they
// take over. Publishing goes through a Publisher as for any other catalog. Use it only when should_embed() says
// so: no catalog was named by option or environment.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/base/time.hpp"

namespace taskmill::catalog {

struct EmbeddedOptions {
  std::string address = "127.0.0.1";  ///< loopback only: discovery is local unless somebody asks for more
  std::uint16_t port = 9097;          ///< and port + 1
  Duration retry = std::chrono::seconds(1);
  Duration copy_every = std::chrono::seconds(10);
};

/// True when neither `catalogs_option` (-C) nor CATALOG_HOST names a catalog.
bool should_embed(const std::string& catalogs_option);
/// The options for that case: CATALOG_PORT is obeyed.
EmbeddedOptions embedded_defaults();

class EmbeddedCatalog {
 public:
  EmbeddedCatalog(boost::asio::io_context& io, EmbeddedOptions options);
  ~EmbeddedCatalog();
  EmbeddedCatalog(const EmbeddedCatalog&) = delete;
  EmbeddedCatalog& operator=(const EmbeddedCatalog&) = delete;

  void start();
  /// Frees the ports and ends all connections.
  void stop();
  [[nodiscard]] bool serving() const;

  std::function<void()> on_serving;
  std::function<void(const std::string&)> on_log;
  /// The ports are taken and whoever has them is no catalog; told once until that changes.
  std::function<void(const std::string&)> on_problem;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace taskmill::catalog
