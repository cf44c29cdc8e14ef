// The list of catalogs: "host", "host:port", "[v6]:port", "v6", separated by commas (blanks around them are fine).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::catalog {

constexpr std::uint16_t default_catalog_port = 9097;

struct Host {
  std::string name;
  std::uint16_t port = 0;
  bool operator==(const Host&) const = default;
  [[nodiscard]] std::string text() const;  ///< "localhost:9097", "[::1]:9097"
};

/// "localhost:9097": one item.
Expected<Host> parse_host(std::string_view item, std::uint16_t default_port);
/// Never empty on success; the error names the item that is wrong.
Expected<std::vector<Host>> parse_host_list(std::string_view list, std::uint16_t default_port);

std::string hosts_text(const std::vector<Host>& hosts);

}  // namespace taskmill::catalog
