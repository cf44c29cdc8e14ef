// The parts of a manager's catalog record that have nothing to do with its tasks, ready to be put into the object.
//
// add_identity() sets (replacing what is there): type, project, port, ssl, owner, version, starttime, working_dir,
// priority, protocol 11, protocols [9,11], uuid, lifetime, manager_preferred_connection and network_interfaces. Each
// interface carries the address under both `host` and `address`: old workers of either version read one of them,
// and the older crashes when its one is missing (catalog.md 7.1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::catalog {

struct NetworkInterface {
  std::string name;     ///< "eth0"
  std::string family;   ///< "AF_INET" or "AF_INET6"
  std::string address;  ///< numeric
};

/// Addresses under which this machine can be reached, best first: real interfaces, then bridges of containers; the
/// loopback only when there is nothing else. Link-local addresses are left out.
std::vector<NetworkInterface> local_interfaces();

struct ManagerIdentity {
  std::string project;
  std::uint16_t port = 0;
  bool ssl = false;
  std::string owner;
  std::string version;
  std::string working_dir;
  std::int64_t starttime = 0;  ///< Unix seconds
  std::int64_t priority = 0;
  std::string uuid;  ///< any text unique to this manager
  std::string preferred_connection = "by_ip";
  std::vector<NetworkInterface> interfaces;
  std::int64_t lifetime_seconds = 300;  ///< five missed updates and a reader stops believing it
};

/// `status_json` is the queue_status object (or "{}"); the result is the record to publish.
Expected<std::string> add_identity(const std::string& status_json, const ManagerIdentity& identity);
/// The same, cut down to what worker, factory and status table need (catalog.md 6.3).
Expected<std::string> lean_record(const std::string& full_record);

}  // namespace taskmill::catalog
