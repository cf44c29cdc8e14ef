// From catalog records to managers a worker can try: the choice of worker.md section 3.2, as values.
//
// A record counts when `type` is wq_master or wq_manager, `project` matches the whole pattern, `port` is an
// integer in 1..65535, there is at least one address, it was heard of lately, and it does not say
// "state":"done". Malformed records are skipped, never an error. The result is in the order in which a worker
// should try: managers with waiting tasks first, each group shuffled by `seed`, so that many workers spread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/time.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {

/// Which address of a record to use (--connection-mode; `manager_preferred_connection` in the record).
enum class ConnectionMode : std::uint8_t {
  unset,           ///< what the record prefers, else by_ip
  by_ip,           ///< interface addresses in order, then the address the catalog saw
  by_hostname,     ///< the name the catalog knows
  by_apparent_ip,  ///< the address the catalog saw
};
/// "by_ip", "by_hostname", "by_apparent_ip"; anything else is `unset`.
ConnectionMode parse_connection_mode(std::string_view text);

struct ManagerCandidate {
  std::string key;  ///< identity over time: the uuid, else "address:port"
  std::string project;
  std::string owner;
  std::string name;                ///< host name as the catalog knows it
  std::vector<std::string> hosts;  ///< names or addresses to try, in order; never empty, no duplicates
  std::uint16_t port = 0;
  bool ssl = false;
  int protocol = 9;  ///< newest version both sides speak (9 or 11); absent in the record = 9
  std::int64_t tasks_waiting = 0;
  std::int64_t age_seconds = 0;  ///< since the catalog last heard of it
};

struct CandidateRules {
  ConnectionMode mode = ConnectionMode::unset;
  std::int64_t stale_after_seconds = 15 * 60;
  std::uint64_t seed = 0;
};

/// `now` is in Unix seconds. When the clocks of catalog and worker disagree by more than the stale limit, the
/// newest record of the answer is taken for "now".
std::vector<ManagerCandidate> pick_candidates(const std::vector<Value>& records, const Regex& project,
                                              const CandidateRules& rules, std::int64_t now);

}  // namespace taskmill::catalog
