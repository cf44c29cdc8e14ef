#include "common/catalog/manager_record.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/value.hpp"

namespace taskmill::catalog {
namespace {

bool begins_with(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// 0: real, 1: IPv6 of a real one, 2: bridges and tunnels of containers (every machine has the same ones), 3: loopback.
int rank(const NetworkInterface& entry, bool loopback) {
  if (loopback) return 3;
  for (const auto* prefix : {"docker", "veth", "virbr", "br-", "cni", "flannel", "podman", "lxc", "lxd"}) {
    if (begins_with(entry.name, prefix)) return 2;
  }
  return entry.family == "AF_INET" ? 0 : 1;
}

// False for addresses that help nobody.
bool describe(const sockaddr& address, NetworkInterface& entry) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.sa_family == AF_INET) {
    entry.family = "AF_INET";
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text.data(), text.size());
  } else if (address.sa_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&v6)) return false;
    entry.family = "AF_INET6";
    inet_ntop(AF_INET6, &v6, text.data(), text.size());
  } else {
    return false;
  }
  entry.address = text.data();
  return true;
}

Expected<Value> read_object(const std::string& text) {
  auto value = read_value(text);
  if (!value) return make_error("not a JSON object: " + value.error().text);
  // A status reply is an array around the one object.
  if (auto* array = value->as_array(); array != nullptr && array->size() == 1) {
    Value inner = std::move(array->front());
    value = std::move(inner);
  }
  if (value->as_object() == nullptr) return make_error("not a JSON object");
  return value;
}

Expected<std::string> printed(const Value& value) {
  return Expected<std::string>(boost::system::in_place_value, print(value));
}

}  // namespace

std::vector<NetworkInterface> local_interfaces() {
  std::vector<std::pair<int, NetworkInterface>> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {{"lo", "AF_INET", "127.0.0.1"}};
  for (const auto* item = list; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || (item->ifa_flags & IFF_UP) == 0) continue;
    NetworkInterface entry{item->ifa_name, {}, {}};
    if (!describe(*item->ifa_addr, entry)) continue;
    found.emplace_back(rank(entry, (item->ifa_flags & IFF_LOOPBACK) != 0), entry);
  }
  freeifaddrs(list);
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const bool reachable = !found.empty() && found.front().first < 3;
  std::vector<NetworkInterface> result;
  for (auto& [kind, entry] : found) {
    if (kind == 3 && (reachable || entry.family != "AF_INET")) continue;
    result.push_back(std::move(entry));
  }
  if (result.empty()) result.push_back({"lo", "AF_INET", "127.0.0.1"});
  return result;
}

Expected<std::string> add_identity(const std::string& status_json, const ManagerIdentity& identity) {
  auto record = read_object(status_json);
  if (!record) return record.error();
  record->set("type", "wq_master");
  record->set("project", identity.project);
  record->set("port", static_cast<int>(identity.port));
  record->set("ssl", identity.ssl);
  record->set("owner", identity.owner);
  record->set("version", identity.version);
  record->set("starttime", identity.starttime);
  record->set("working_dir", identity.working_dir);
  record->set("priority", identity.priority);
  record->set("protocol", 11);
  record->set("protocols", Array{Value(9), Value(11)});
  record->set("uuid", identity.uuid);
  record->set("lifetime", identity.lifetime_seconds);
  record->set("manager_preferred_connection", identity.preferred_connection);
  Array interfaces;
  for (const auto& entry : identity.interfaces) {
    interfaces.emplace_back(Object{{"interface", Value(entry.name)},
                                   {"family", Value(entry.family)},
                                   {"address", Value(entry.address)},
                                   {"host", Value(entry.address)}});
  }
  // An empty list would do no harm, but absent says the same to every version.
  if (interfaces.empty())
    record->erase("network_interfaces");
  else
    record->set("network_interfaces", std::move(interfaces));
  return printed(*record);
}

Expected<std::string> lean_record(const std::string& full_record) {
  static constexpr std::array keys = {"type",
                                      "project",
                                      "port",
                                      "ssl",
                                      "owner",
                                      "version",
                                      "protocol",
                                      "protocols",
                                      "uuid",
                                      "lifetime",
                                      "starttime",
                                      "manager_preferred_connection",
                                      "network_interfaces",
                                      "tasks_waiting",
                                      "tasks_running",
                                      "tasks_complete",
                                      "tasks_on_workers",
                                      "tasks_left",
                                      "capacity_tasks",
                                      "capacity_cores",
                                      "capacity_memory",
                                      "capacity_disk",
                                      "capacity_gpus",
                                      "capacity_weighted",
                                      "manager_load",
                                      "tasks_total_cores",
                                      "tasks_total_memory",
                                      "tasks_total_disk",
                                      "tasks_total_gpus",
                                      "workers",
                                      "workers_connected",
                                      "workers_blocked",
                                      "my_manager",
                                      "state"};
  auto record = read_object(full_record);
  if (!record) return record.error();
  Object lean;
  for (const auto* key : keys) {
    if (const Value* value = record->find(key)) lean.emplace_back(key, *value);
  }
  return printed(Value(std::move(lean)));
}

}  // namespace taskmill::catalog
