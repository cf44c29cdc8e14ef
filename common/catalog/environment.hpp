// What the environment says about catalogs (catalog.md section 5). The only place of this library that reads it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/catalog/core/host_list.hpp"
#include "common/catalog/publisher.hpp"

namespace taskmill::catalog {

/// CATALOG_PORT, else 9097.
std::uint16_t environment_port();
/// `option` (-C) if not empty, else CATALOG_HOST, else localhost: always at least one host.
Expected<std::vector<Host>> catalog_hosts(const std::string& option);
/// CATALOG_UPDATE_PROTOCOL; anything but "udp" is TCP.
UpdateProtocol environment_protocol();
/// CATALOG_UPDATE_LIMIT, else 1200 bytes.
std::size_t environment_update_limit();
/// The proxy named by HTTP_PROXY, unless it says DIRECT.
std::optional<Host> environment_proxy();

}  // namespace taskmill::catalog
