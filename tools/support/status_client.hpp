// Asks one manager for its status: connection, TLS and password if wanted, one request line, and the JSON array of
// the reply, element by element (status-and-factory.md A.2).
//
//   auto client = StatusClient::start(io, {.manager = {"host", 9123}, .request = "queue_status"},
//       [&](std::string_view element) { …; return true; },       // false: enough
//       [&](Expected<bool> result) { … });                       // once, from the loop
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/aio/tls.hpp"
#include "common/base/result.hpp"
#include "common/base/time.hpp"
#include "common/catalog/core/host_list.hpp"

namespace taskmill::tools {

struct StatusRequest {
  catalog::Host manager;
  std::string request = "queue_status";
  std::optional<std::string> password;
  bool ssl = false;
  aio::ClientTlsOptions tls;
  Duration timeout = std::chrono::seconds(30);  ///< without any progress
};

class StatusClient {
 public:
  using Element = std::function<bool(std::string_view)>;
  using Done = std::function<void(Expected<bool>)>;
  static std::unique_ptr<StatusClient> start(boost::asio::io_context& io, StatusRequest request, Element element,
                                             Done done);
  ~StatusClient();
  StatusClient(const StatusClient&) = delete;
  StatusClient& operator=(const StatusClient&) = delete;

 private:
  struct Impl;
  explicit StatusClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// The password in a file: everything up to the first NUL, a line end included, as all programs read it.
Expected<std::string> read_password_file(const std::string& path);

}  // namespace taskmill::tools
