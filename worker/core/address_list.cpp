#include "worker/core/address_list.hpp"

#include <algorithm>
#include <optional>

#include "common/base/text.hpp"

namespace taskmill::worker {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto number = parse_int(trim(text));
  if (!number || *number <= 0 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

struct Parts {
  std::string_view host;
  std::string_view port;
  bool has_port = false;
};

Parts take_apart(std::string_view item) {
  if (item.front() == '[') {
    const auto close = item.find(']');
    if (close == std::string_view::npos) return {item, {}, false};
    const auto rest = item.substr(close + 1);
    if (rest.empty()) return {item.substr(1, close - 1), {}, false};
    return {item.substr(1, close - 1), rest.substr(1), true};
  }
  // More than one colon: a bare IPv6 address.
  if (std::count(item.begin(), item.end(), ':') != 1) return {item, {}, false};
  const auto colon = item.find(':');
  return {item.substr(0, colon), item.substr(colon + 1), true};
}

}  // namespace

std::string HostPort::text() const {
  const auto number = std::to_string(port);
  return host.find(':') == std::string::npos ? host + ":" + number : "[" + host + "]:" + number;
}

Expected<std::vector<HostPort>> parse_address_list(std::string_view list, std::string_view default_port) {
  std::vector<HostPort> hosts;
  for (const auto part : split(list, ';')) {
    const auto item = trim(part);
    if (item.empty()) continue;
    const Parts parts = take_apart(item);
    const auto port_text = parts.has_port ? parts.port : default_port;
    if (port_text.empty() && !parts.has_port) {
      return make_error("no port for manager '" + std::string(item) + "': give HOST PORT or HOST:PORT");
    }
    const auto port = parse_port(port_text);
    if (!port) {
      return make_error("invalid port '" + std::string(port_text) + "' for manager '" + std::string(item) +
                        "': a number from 1 to 65535 is needed");
    }
    if (parts.host.empty()) return make_error("no host name in '" + std::string(item) + "'");
    hosts.push_back({std::string(parts.host), *port});
  }
  if (hosts.empty()) return make_error("no manager address in '" + std::string(list) + "'");
  return hosts;
}

}  // namespace taskmill::worker
