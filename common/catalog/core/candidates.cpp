#include "common/catalog/core/candidates.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "common/base/random.hpp"

namespace taskmill::catalog {
namespace {

void add_host(std::vector<std::string>& hosts, std::string_view host) {
  if (host.empty() || host.size() > 255) return;
  if (host.find_first_of(" \t\r\n/") != std::string_view::npos) return;
  if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.emplace_back(host);
}

void add_interfaces(std::vector<std::string>& hosts, const Value& record) {
  constexpr std::size_t most = 32;
  const Value* list = record.find("network_interfaces");
  const auto* array = list != nullptr ? list->as_array() : nullptr;
  if (array == nullptr) return;
  for (const auto& entry : *array) {
    if (hosts.size() >= most) return;
    add_host(hosts, entry.text("address", entry.text("host")));
  }
}

std::vector<std::string> hosts_of(const Value& record, ConnectionMode asked) {
  auto mode = asked;
  if (mode == ConnectionMode::unset) mode = parse_connection_mode(record.text("manager_preferred_connection"));
  std::vector<std::string> hosts;
  if (mode == ConnectionMode::by_hostname) add_host(hosts, record.text("name"));
  if (mode == ConnectionMode::by_ip || mode == ConnectionMode::unset) add_interfaces(hosts, record);
  add_host(hosts, record.text("address"));
  return hosts;
}

int best_protocol(const Value& record) {
  if (const Value* list = record.find("protocols"); list != nullptr && list->as_array() != nullptr) {
    for (const auto& version : *list->as_array()) {
      if (version == Value(11)) return 11;
    }
  }
  return record.integer("protocol", 9) >= 11 ? 11 : 9;
}

std::optional<ManagerCandidate> candidate_of(const Value& record, const Regex& project, const CandidateRules& rules,
                                             std::int64_t now) {
  const auto type = record.text("type");
  if (type != "wq_master" && type != "wq_manager") return std::nullopt;
  if (record.text("state") == "done") return std::nullopt;
  const Value* port = record.find("port");
  const auto number = port != nullptr ? port->number() : std::nullopt;
  if (!number || *number < 1 || *number > 65535) return std::nullopt;
  ManagerCandidate candidate;
  candidate.project = record.text("project");
  if (candidate.project.empty() || !project.matches(candidate.project)) return std::nullopt;
  candidate.hosts = hosts_of(record, rules.mode);
  if (candidate.hosts.empty()) return std::nullopt;
  candidate.port = static_cast<std::uint16_t>(*number);
  candidate.age_seconds = std::max<std::int64_t>(0, now - record.integer("lastheardfrom", now));
  if (candidate.age_seconds > rules.stale_after_seconds) return std::nullopt;
  candidate.owner = record.text("owner");
  candidate.name = record.text("name");
  candidate.ssl = record.flag("ssl");
  candidate.protocol = best_protocol(record);
  candidate.tasks_waiting = record.integer("tasks_waiting");
  const auto uuid = record.text("uuid");
  candidate.key = !uuid.empty() ? std::string(uuid.substr(0, 128))
                                : std::string(record.text("address")) + ":" + std::to_string(candidate.port);
  return candidate;
}

void shuffle(std::vector<ManagerCandidate>& list, Random& random) {
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
}

}  // namespace

ConnectionMode parse_connection_mode(std::string_view text) {
  if (text == "by_ip") return ConnectionMode::by_ip;
  if (text == "by_hostname") return ConnectionMode::by_hostname;
  if (text == "by_apparent_ip") return ConnectionMode::by_apparent_ip;
  return ConnectionMode::unset;
}

std::vector<ManagerCandidate> pick_candidates(const std::vector<Value>& records, const Regex& project,
                                              const CandidateRules& rules, std::int64_t now) {
  // lastheardfrom is the catalog's clock. When that clock is far from ours the newest record says what it shows.
  std::int64_t newest = 0;
  for (const auto& record : records) newest = std::max(newest, record.integer("lastheardfrom"));
  if (newest > 0 && std::llabs(now - newest) > rules.stale_after_seconds) now = newest;

  std::vector<ManagerCandidate> found;
  for (const auto& record : records) {
    if (auto candidate = candidate_of(record, project, rules, now)) found.push_back(std::move(*candidate));
  }
  Random random(rules.seed);
  shuffle(found, random);
  std::stable_partition(found.begin(), found.end(), [](const auto& item) { return item.tasks_waiting > 0; });
  return found;
}

}  // namespace taskmill::catalog
