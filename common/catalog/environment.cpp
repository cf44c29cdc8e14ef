#include "common/catalog/environment.hpp"

#include <cstdlib>

#include "common/base/text.hpp"
#include "common/catalog/core/http_client.hpp"

namespace taskmill::catalog {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::uint16_t environment_port() {
  const auto port = parse_int(variable("CATALOG_PORT"));
  return port && *port > 0 && *port <= 65535 ? static_cast<std::uint16_t>(*port) : default_catalog_port;
}

Expected<std::vector<Host>> catalog_hosts(const std::string& option) {
  std::string list = option.empty() ? variable("CATALOG_HOST") : option;
  if (trim(list).empty()) list = "localhost";
  return parse_host_list(list, environment_port());
}

UpdateProtocol environment_protocol() {
  return variable("CATALOG_UPDATE_PROTOCOL") == "udp" ? UpdateProtocol::udp : UpdateProtocol::tcp;
}

std::size_t environment_update_limit() {
  constexpr std::size_t usual = 1200;
  const auto limit = parse_int(variable("CATALOG_UPDATE_LIMIT"));
  return limit && *limit > 0 ? static_cast<std::size_t>(*limit) : usual;
}

std::optional<Host> environment_proxy() { return choose_proxy(variable("HTTP_PROXY")); }

}  // namespace taskmill::catalog
