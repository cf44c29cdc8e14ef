// The managers a user named: "HOST PORT", "H1:9;H2" with a default port, bare IPv6 addresses, "[v6]:port".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"

namespace taskmill::worker {

struct HostPort {
  std::string host;  ///< name or literal, without brackets
  std::uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
  [[nodiscard]] std::string text() const;  ///< "host:port", "[v6]:port"
};

/// `default_port` is the second positional, empty when there was none.
Expected<std::vector<HostPort>> parse_address_list(std::string_view list, std::string_view default_port);

}  // namespace taskmill::worker
