// Finds a manager and connects to it: one pass over the host list, or over what the catalog knows.
//
//   seeker.begin_pass(now_known_as_useless, found, failed);
//   … found(socket, target): talk to it; when it refuses, seeker.go_on() tries the rest of the pass
//   … failed(why): the pass is over
//
// Remembers which protocol version each manager speaks. Nothing blocks; cancel() acts at once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/catalog/dial.hpp"
#include "common/catalog/finder.hpp"
#include "worker/core/address_list.hpp"
#include "worker/core/log.hpp"

namespace taskmill::worker {

struct Target {
  HostPort address;
  std::string key;  ///< identity over time
  bool ssl = false;
  int version = 11;  ///< to greet with
};

class Seeker {
 public:
  using Found = std::function<void(boost::asio::ip::tcp::socket, const Target&)>;
  using Failed = std::function<void()>;
  using Skip = std::function<bool(const std::string& key)>;

  Seeker(boost::asio::io_context& io, Log& log, bool ssl, int fixed_version)
      : io_(io), log_(log), ssl_(ssl), fixed_version_(fixed_version) {}
  void use_hosts(std::vector<HostPort> hosts) { hosts_ = std::move(hosts); }
  void use_catalog(std::unique_ptr<catalog::Finder> finder) { finder_ = std::move(finder); }

  void begin_pass(Skip skip, Found found, Failed failed);
  void go_on();
  void cancel();
  [[nodiscard]] bool active() const { return active_; }
  /// The next pass begins behind this manager (it had no work, or told us to go).
  void move_on_after(const std::string& key) { last_key_ = key; }

  [[nodiscard]] int version_for(const std::string& key) const;
  void remember_version(const std::string& key, int version) { versions_[key] = version; }

 private:
  void on_candidates(const Expected<std::vector<catalog::ManagerCandidate>>& found);
  void order_targets();
  void try_next();
  void end_pass();

  boost::asio::io_context& io_;
  Log& log_;
  bool ssl_;
  int fixed_version_;
  std::vector<HostPort> hosts_;
  std::unique_ptr<catalog::Finder> finder_;
  std::map<std::string, int> versions_;
  std::vector<Target> targets_;
  std::size_t next_ = 0;
  std::string last_key_;
  Skip skip_;
  Found found_;
  Failed failed_;
  bool active_ = false;
  std::shared_ptr<catalog::Dial> dial_;
};

}  // namespace taskmill::worker
