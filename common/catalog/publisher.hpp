// Tells catalogs about a service: one JSON object, sent to every catalog of the list, without ever blocking.
//
//   auto publisher = Publisher::make(io, {.catalogs = ""});     // error: bad list
//   publisher->publish(record_json, lean_json);                 // now and every 60 s, or when it changed a lot
//   publisher->goodbye(record_json, [&] { io.stop(); });        // last one: {"state":"done","lifetime":1} is added
//
// Transport is TCP to port + 1 (bounded by `timeout` per catalog), or one UDP datagram when CATALOG_UPDATE_PROTOCOL
// says udp: the full record when it fits (compressed above CATALOG_UPDATE_LIMIT, default 1200 bytes), else
// the lean one, else TCP after all. A catalog that is slow or dead delays nothing: a newer record replaces one still
// waiting. `on_problem` hears once per catalog when it stops accepting and once when it accepts again.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/base/time.hpp"

namespace taskmill::catalog {

enum class UpdateProtocol : unsigned char { from_environment, tcp, udp };

struct PublisherOptions {
  std::string catalogs{};  ///< list; empty: CATALOG_HOST, else localhost:9097
  UpdateProtocol protocol = UpdateProtocol::from_environment;
  Duration timeout = std::chrono::seconds(15);
  /// One line for the log: "catalog localhost:9097 does not accept updates: Connection refused".
  std::function<void(const std::string&)> on_problem{};
};

class Publisher {
 public:
  static Expected<std::unique_ptr<Publisher>> make(boost::asio::io_context& io, PublisherOptions options);
  virtual ~Publisher() = default;

  /// `record` is one JSON object; a text that is not is dropped and reported. Returns at once.
  virtual void publish(std::string record, std::string lean = {}) = 0;
  /// The last record; `done` is called from the loop when every catalog has it, or after two seconds.
  virtual void goodbye(std::string record, std::function<void()> done) = 0;
  /// Deliveries that ended, for statistics.
  [[nodiscard]] virtual std::uint64_t sent() const = 0;
  [[nodiscard]] virtual std::uint64_t failed() const = 0;
  [[nodiscard]] virtual std::string catalogs_text() const = 0;
};

}  // namespace taskmill::catalog
