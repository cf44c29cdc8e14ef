#include "common/catalog/core/host_list.hpp"

#include <algorithm>

#include "common/base/text.hpp"

namespace taskmill::catalog {
namespace {

Error wrong(std::string_view item, const char* why) {
  return make_error("'" + std::string(item) + "' is not a catalog host (" + why +
                    "); write HOST, HOST:PORT or [IPV6]:PORT");
}

}  // namespace

std::string Host::text() const {
  const bool v6 = name.find(':') != std::string::npos;
  return (v6 ? "[" + name + "]" : name) + ":" + std::to_string(port);
}

Expected<Host> parse_host(std::string_view item, std::uint16_t default_port) {
  const auto whole = item;
  Host host;
  host.port = default_port;
  std::string_view port;
  bool has_port = false;
  if (!item.empty() && item.front() == '[') {
    const auto close = item.find(']');
    if (close == std::string_view::npos) return wrong(whole, "the ']' is missing");
    host.name = item.substr(1, close - 1);
    item.remove_prefix(close + 1);
    if (!item.empty() && item.front() != ':') return wrong(whole, "text behind ']'");
    has_port = !item.empty();
    if (has_port) port = item.substr(1);
  } else if (std::count(item.begin(), item.end(), ':') > 1) {
    host.name = item;
  } else {
    const auto colon = item.find(':');
    host.name = item.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = item.substr(colon + 1);
  }
  if (host.name.empty()) return wrong(whole, "no name");
  if (host.name.find_first_of(" \t\r\n/") != std::string::npos) return wrong(whole, "blank or slash in the name");
  if (has_port) {
    const auto number = parse_int(port);
    if (!number || *number < 1 || *number > 65535) return wrong(whole, "the port must be 1 to 65535");
    host.port = static_cast<std::uint16_t>(*number);
  }
  return host;
}

Expected<std::vector<Host>> parse_host_list(std::string_view list, std::uint16_t default_port) {
  std::vector<Host> hosts;
  for (const auto item : split(list, ',')) {
    if (trim(item).empty()) continue;
    auto host = parse_host(trim(item), default_port);
    if (!host) return host.error();
    if (std::find(hosts.begin(), hosts.end(), *host) == hosts.end()) hosts.push_back(std::move(*host));
  }
  if (hosts.empty()) return make_error("the list of catalogs is empty");
  return hosts;
}

std::string hosts_text(const std::vector<Host>& hosts) {
  std::string out;
  for (const auto& host : hosts) out += (out.empty() ? "" : ",") + host.text();
  return out;
}

}  // namespace taskmill::catalog
