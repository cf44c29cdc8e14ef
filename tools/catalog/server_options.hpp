// The command line of catalog_server, as values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace taskmill::tools {

struct CatalogServerOptions {
  bool background = false;
  bool single = false;  ///< has no effect
  std::string pid_file;
  std::vector<std::string> debug;
  std::string debug_file;
  std::int64_t debug_rotate = 10 << 20;
  std::string history;
  std::string interface;
  std::int64_t lifetime = 1800;
  std::string update_log;
  std::int64_t connections = 1000;
  std::int64_t believable_size = 0;
  std::string name;
  std::int64_t port = 9097;
  std::int64_t timeout = 60;
  std::vector<std::string> report_to;
  std::int64_t report_interval = 300;
  std::string port_file;
};

/// Reads the command line. Returns -1 to go on, else the exit status (help, version or a usage error was printed).
int parse_catalog_server(int argc, char** argv, CatalogServerOptions& options);

}  // namespace taskmill::tools
