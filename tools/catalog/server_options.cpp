#include "tools/catalog/server_options.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

#include "common/base/text.hpp"
#include "common/cli/repeated_options.hpp"

namespace taskmill::tools {
namespace {

// CLI11 shows the returned text as the error; an empty one means fine.
CLI::Option* duration_option(CLI::App& app, const std::string& names, std::int64_t& target, const std::string& help) {
  return app.add_option_function<std::string>(
      names,
      [&target, names](const std::string& text) {
        const auto seconds = parse_duration_seconds(text);
        if (!seconds || *seconds <= 0)
          throw CLI::ValidationError(names, "'" + text + "' is not a time; write 90, 90s, 5m, 2h or 1d");
        target = *seconds;
      },
      help);
}

CLI::Option* size_option(CLI::App& app, const std::string& names, std::int64_t& target, const std::string& help) {
  return app.add_option_function<std::string>(
      names,
      [&target, names](const std::string& text) {
        const auto bytes = parse_metric(text);
        if (!bytes || *bytes < 0)
          throw CLI::ValidationError(names, "'" + text + "' is not a size; write 1000, 10M or 2G");
        target = *bytes;
      },
      help);
}

}  // namespace

int parse_catalog_server(int argc, char** argv, CatalogServerOptions& options) {
  CLI::App app{
      "Serves the catalog: managers report to it, workers and tools ask it who is there.\n"
      "Queries: HTTP on port P. Updates: UDP on port P and TCP on port P+1. Nothing is reported to anybody unless -u "
      "says so.",
      "catalog_server"};
  app.add_flag("-b,--background", options.background, "Go into the background once the ports are open");
  app.add_option("-B,--pid-file", options.pid_file, "Write the process id to this file");
  app.add_option("-d,--debug", options.debug, "Log more: any word switches it on");
  app.add_option("-o,--debug-file", options.debug_file, "Log to this file (or :stderr, :stdout)");
  size_option(app, "-O,--debug-rotate-max", options.debug_rotate,
              "Start a new log file beyond this size (10M; 0: never)");
  app.add_option("-H,--history", options.history, "Record every change below this directory, and reload it at start");
  app.add_option("-I,--interface", options.interface, "Listen only on this numeric address");
  duration_option(app, "-l,--lifetime", options.lifetime, "How long a record lives without an update (1800s)");
  app.add_option("-L,--update-log", options.update_log, "Append each service seen for the first time to this file");
  app.add_option("-m,--max-jobs", options.connections, "Open query connections at most (1000)")
      ->check(CLI::Range(1, 1'000'000));
  size_option(app, "-M,--server-size", options.believable_size,
              "Cap `total` and `avail` of a record at this many bytes");
  app.add_option("-n,--name", options.name, "Name of this host in our own record");
  app.add_option("-p,--port", options.port, "Port P (9097)")->check(CLI::Range(1, 65534));
  app.add_flag("-S,--single", options.single, "Accepted for old scripts: there are never any child processes");
  duration_option(app, "-T,--timeout", options.timeout, "Time for one reply (60s)");
  app.add_option("-u,--update-host", options.report_to,
                 "Report this catalog to HOST[:PORT] (repeatable; default nobody)")
      ->delimiter(',');
  duration_option(app, "-U,--update-interval", options.report_interval, "Time between those reports (5m)");
  app.add_option("-Z,--port-file", options.port_file, "Take free ports and write P to this file");
  app.set_version_flag("-v,--version", "catalog_server version " TASKMILL_VERSION " (taskmill)");
  try {
    let_the_last_count(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    std::cerr << "catalog_server: " << error.what() << " (see catalog_server --help)\n";
    return 1;
  }
  return -1;
}

}  // namespace taskmill::tools
