// catalog_update: sends one record to the catalogs.
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <iostream>
#include <thread>

#include "common/catalog/core/reader.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/publisher.hpp"
#include "common/cli/repeated_options.hpp"
#include "common/os/file.hpp"
#include "tools/support/tool_log.hpp"

namespace taskmill::tools {
namespace {

using catalog::Value;

int fail(const std::string& text) {
  std::cerr << "catalog_update: " << text << "\n";
  return 1;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return text;
}

void add_missing(Value& record, std::string_view key, Value value) {
  if (record.find(key) == nullptr) record.set(key, std::move(value));
}

// What old programs add about the machine. (Their key "uptime," is a slip; it is "uptime" here.)
void add_machine(Value& record) {
  utsname names{};
  ::uname(&names);
  struct sysinfo info {};
  ::sysinfo(&info);
  constexpr double load_unit = 1 << SI_LOAD_SHIFT;
  add_missing(record, "type", "node");
  add_missing(record, "version", TASKMILL_VERSION);
  add_missing(record, "cpu", lower(names.machine));
  add_missing(record, "opsys", lower(names.sysname));
  add_missing(record, "opsysversion", lower(names.release));
  add_missing(record, "load1", static_cast<double>(info.loads[0]) / load_unit);
  add_missing(record, "load5", static_cast<double>(info.loads[1]) / load_unit);
  add_missing(record, "load15", static_cast<double>(info.loads[2]) / load_unit);
  add_missing(record, "memory_total", static_cast<std::int64_t>(info.totalram) * info.mem_unit);
  add_missing(record, "memory_avail", static_cast<std::int64_t>(info.freeram) * info.mem_unit);
  add_missing(record, "cpus", static_cast<std::int64_t>(std::thread::hardware_concurrency()));
  add_missing(record, "uptime", static_cast<std::int64_t>(info.uptime));
  add_missing(record, "owner", user_name());
}

int run(const std::string& catalogs, const std::string& file) {
  Value record{catalog::Object{}};
  if (!file.empty()) {
    constexpr std::size_t largest = 1U << 20;
    auto text = os::read_file(file, largest);
    if (!text) return fail("cannot read " + file + ": " + text.error().message());
    auto value = catalog::read_value(*text);
    if (!value) return fail(file + ": " + value.error().text);
    if (value->as_object() == nullptr) return fail(file + ": a record is one JSON object");
    record = std::move(*value);
  }
  add_machine(record);
  boost::asio::io_context io(1);
  std::string problem;
  auto publisher = catalog::Publisher::make(
      io, {.catalogs = catalogs, .on_problem = [&](const std::string& line) { problem = line; }});
  if (!publisher) return fail(publisher.error().text);
  auto hosts = catalog::catalog_hosts(catalogs);
  (*publisher)->publish(catalog::print(record));
  while ((*publisher)->sent() + (*publisher)->failed() < hosts->size() && io.run_one() > 0) {
  }
  if ((*publisher)->sent() == hosts->size()) return 0;
  return fail(problem.empty() ? "the update was not delivered" : problem);
}

}  // namespace
}  // namespace taskmill::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::string catalogs;
  std::string file;
  std::string debug_file;
  std::vector<std::string> debug;
  CLI::App app{"Sends one record to the catalogs: the keys of a JSON file, and facts about this machine.",
               "catalog_update"};
  app.add_option("-c,--catalog", catalogs, "Catalogs: HOST[:PORT],… (default CATALOG_HOST, else localhost:9097)");
  app.add_option("-f,--file", file, "A file with one JSON object");
  app.add_option("-d,--debug", debug, "Accepted for old scripts");
  app.add_option("-o,--debug-file", debug_file, "Accepted for old scripts");
  app.set_version_flag("-v,--version", "catalog_update version " TASKMILL_VERSION " (taskmill)");
  try {
    taskmill::let_the_last_count(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    std::cerr << "catalog_update: " << error.what() << " (see catalog_update --help)\n";
    return 1;
  }
  return taskmill::tools::run(catalogs, file);
}
