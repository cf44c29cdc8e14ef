// work_queue_status: what managers are doing, as tables or JSON (docs/cli/work_queue_status.md).
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "common/base/text.hpp"
#include "common/catalog/core/expression.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/query.hpp"
#include "common/cli/repeated_options.hpp"
#include "tools/status/foremen.hpp"
#include "tools/support/status_client.hpp"
#include "tools/support/table.hpp"

namespace taskmill::tools {
namespace {

using catalog::Value;

enum class Mode : unsigned char { queue, tasks, workers, categories, resources, capacity };

struct Options {
  bool statistics = false, tasks = false, workers = false, categories = false, resources = false, capacity = false;
  bool verbose = false;
  bool ssl = false;
  std::string project, where, catalogs, password_file, host;
  std::string tls_ca, tls_fingerprint;
  std::int64_t port = 9123;
  std::int64_t timeout = 30;
  std::uint64_t limit = 0;
  std::uint64_t offset = 0;
  std::vector<std::string> debug;
  std::string debug_file, debug_rotate;
  Mode mode = Mode::queue;
};

int fail(const std::string& text) {
  std::cerr << "work_queue_status: " << text << "\n";
  return 1;
}

std::vector<Column> columns_of(Mode mode) {
  switch (mode) {
    case Mode::tasks:
      return task_columns();
    case Mode::workers:
      return worker_columns();
    case Mode::categories:
      return category_columns();
    case Mode::resources:
      return resource_columns();
    case Mode::capacity:
      return capacity_columns();
    case Mode::queue:
      break;
  }
  return queue_columns();
}

const char* request_of(Mode mode) {
  switch (mode) {
    case Mode::tasks:
      return "task_status";
    case Mode::workers:
      return "worker_status";
    case Mode::categories:
      return "wable_status";
    case Mode::resources:
      return "resources_status";
    default:
      return "queue_status";
  }
}

// Rows between offset and offset + limit; false once the limit is reached.
class Window {
 public:
  Window(std::uint64_t offset, std::uint64_t limit) : offset_(offset), limit_(limit) {}
  bool take() { return seen_++ >= offset_ && (limit_ == 0 || seen_ - offset_ <= limit_); }
  [[nodiscard]] bool more() const { return limit_ == 0 || seen_ < offset_ + limit_; }

 private:
  std::uint64_t offset_;
  std::uint64_t limit_;
  std::uint64_t seen_ = 0;
};

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int ask_manager(const Options& options) {
  StatusRequest request;
  request.manager = {options.host, static_cast<std::uint16_t>(options.port)};
  request.request = request_of(options.mode);
  request.ssl = options.ssl;
  request.tls = {options.tls_ca, options.tls_fingerprint};
  request.timeout = std::chrono::seconds(options.timeout);
  if (!options.password_file.empty()) {
    auto password = read_password_file(options.password_file);
    if (!password) return fail(password.error().text);
    request.password = std::move(*password);
  }
  const Table table(columns_of(options.mode), terminal_columns());
  Window window(options.offset, options.limit);
  bool first = true;
  std::string problem;
  const auto begin = [&] {
    if (std::exchange(first, false))
      print(options.verbose ? "[" : table.header());
    else if (options.verbose)
      print(",");
  };
  const auto element = [&](std::string_view text) {
    if (!window.take()) return window.more();
    begin();
    if (options.verbose) {
      print(std::string(text));
    } else if (auto value = catalog::read_value(text)) {
      print(table.row(*value));
    } else {
      problem = "couldn't read from " + options.host + ": " + value.error().text;
      return false;
    }
    return window.more();
  };
  boost::asio::io_context io(1);
  Expected<bool> result = make_error("no answer");
  const auto client = StatusClient::start(io, std::move(request), element,
                                          [&](Expected<bool> outcome) { result = std::move(outcome); });
  io.run();
  if (!result) return fail(result.error().text);
  if (!problem.empty()) return fail(problem);
  if (first) print(options.verbose ? "[" : table.header());
  if (options.verbose) print("]");
  return 0;
}

int print_records(const Options& options, const std::vector<Value>& records) {
  const Table table(columns_of(options.mode), terminal_columns());
  Window window(options.offset, options.limit);
  bool first = true;
  print(options.verbose ? "[\n" : table.header());
  for (const auto& record : records) {
    if (!window.take()) continue;
    if (options.verbose)
      print((std::exchange(first, false) ? "" : ",\n") + catalog::print(record));
    else
      print(table.row(record));
  }
  if (options.verbose) print("\n]\n");
  return 0;
}

int ask_catalog(const Options& options) {
  auto hosts = catalog::catalog_hosts(options.catalogs);
  if (!hosts) return fail(hosts.error().text);
  std::optional<catalog::Expression> where;
  if (!options.where.empty()) {
    auto parsed = catalog::Expression::parse(options.where, true);
    if (!parsed) return fail("invalid expression: " + options.where + " (" + parsed.error().text + ")");
    where = std::move(*parsed);
  }
  std::optional<catalog::Regex> project;
  if (!options.project.empty()) {
    auto regex = catalog::Regex::whole(options.project);
    if (!regex) return fail(regex.error().text);
    project = std::move(*regex);
  }
  catalog::QueryOptions query;
  query.hosts = *hosts;
  query.expression = R"((type=="wq_master") or (type=="wq_manager"))";
  query.timeout = std::chrono::seconds(options.timeout);
  boost::asio::io_context io(1);
  Expected<catalog::QueryAnswer> answer = make_error("no answer");
  const auto running = catalog::Query::start(io, std::move(query), [&](auto result) { answer = std::move(result); });
  io.run();
  if (!answer)
    return fail("failed to query catalog server " + catalog::hosts_text(*hosts) + ": " + answer.error().text);
  std::erase_if(answer->records, [&](const Value& record) {
    const auto type = record.text("type");
    if (type != "wq_master" && type != "wq_manager") return true;
    if (record.text("state") == "done") return true;
    return where && where->test(record) != catalog::Truth::yes;
  });
  // A foreman belongs to its manager, whatever it is called itself.
  const auto matches = [&](const Value& record) {
    return !project || project->matches(std::string(record.text("project")));
  };
  if (options.verbose)
    std::erase_if(answer->records, [&](const Value& record) { return !matches(record); });
  else
    answer->records = nest_foremen(std::move(answer->records), matches);
  return print_records(options, answer->records);
}

// What is shown.
void add_selection(CLI::App& app, Options& options) {
  app.add_flag("-Q,--statistics", options.statistics, "One line per manager (default)");
  app.add_flag("-T,--tasks", options.tasks, "Tasks of the given manager");
  app.add_flag("-W,--workers", options.workers, "Workers of the given manager");
  app.add_flag("-A,--able-workers", options.categories,
               "Categories of the given manager and the workers that can run them");
  app.add_flag("-R,--resources", options.resources, "Resources of all managers");
  app.add_flag("--capacity", options.capacity, "Capacities of all managers");
  app.add_option("-M,--project-name", options.project,
                 "Only managers whose whole name matches this regular expression");
  app.add_option("--where", options.where,
                 "Only managers for which this expression is true, e.g. 'tasks_waiting > 10'");
  app.add_flag("-l,--verbose", options.verbose, "JSON instead of a table");
  app.add_option("-C,--catalog", options.catalogs,
                 "Catalogs: HOST[:PORT],… (default CATALOG_HOST, else localhost:9097)");
}

// How a manager is reached, and how much of its answer is wanted.
void add_connection(CLI::App& app, Options& options) {
  app.add_option("-P,--password", options.password_file, "File with the manager's password");
  app.add_flag("--ssl", options.ssl, "Use TLS to the manager");
  app.add_option("--tls-ca", options.tls_ca, "Verify the manager's certificate against this PEM file");
  app.add_option("--tls-fingerprint", options.tls_fingerprint,
                 "Verify the SHA-256 fingerprint of the manager's certificate");
  app.add_option("--limit", options.limit, "Print at most this many rows");
  app.add_option("--offset", options.offset, "Skip this many rows first");
  app.add_option_function<std::string>(
      "-t,--timeout",
      [&](const std::string& text) {
        const auto seconds = parse_duration_seconds(text);
        if (!seconds || *seconds <= 0)
          throw CLI::ValidationError("-t", "'" + text + "' is not a time; write 30, 30s or 5m");
        options.timeout = *seconds;
      },
      "Give up after this time without an answer (30s)");
  app.add_option("-d,--debug", options.debug, "Accepted for old scripts");
  app.add_option("-o,--debug-file", options.debug_file, "Accepted for old scripts");
  app.add_option("-O,--debug-rotate-max", options.debug_rotate, "Accepted for old scripts");
  app.add_option("manager", options.host, "Host of the manager");
  app.add_option("port", options.port, "Port of the manager (9123)")->check(CLI::Range(1, 65535));
}

// -1: go on.
int parse(int argc, char** argv, Options& options) {
  CLI::App app{
      "Shows what managers are doing. With a manager and port it asks that manager; otherwise it asks the catalog for "
      "all\n"
      "managers. Examples:\n"
      "  work_queue_status                           all managers in the catalog\n"
      "  work_queue_status -W -P password.txt HOST 9123    the workers of one manager\n"
      "  work_queue_status -T --limit 20 HOST 9123   the first 20 tasks",
      "work_queue_status"};
  add_selection(app, options);
  add_connection(app, options);
  app.set_version_flag("-v,--version", "work_queue_status version " TASKMILL_VERSION " (taskmill)");
  try {
    let_the_last_count(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return fail(std::string(error.what()) + " (see work_queue_status --help)");
  }
  const std::vector<std::pair<bool, Mode>> modes = {
      {options.statistics, Mode::queue},      {options.tasks, Mode::tasks},         {options.workers, Mode::workers},
      {options.categories, Mode::categories}, {options.resources, Mode::resources}, {options.capacity, Mode::capacity}};
  int chosen = 0;
  for (const auto& [given, mode] : modes) {
    if (!given) continue;
    ++chosen;
    options.mode = mode;
  }
  if (chosen > 1) return fail("-Q, -T, -W, -A, -R and --capacity exclude each other; give one");
  const bool needs_manager = options.tasks || options.workers || options.categories;
  if (needs_manager && options.host.empty()) return fail("Options -A, -T and -W need an explicit manager to query.");
  return -1;
}

}  // namespace
}  // namespace taskmill::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  taskmill::tools::Options options;
  const int done = taskmill::tools::parse(argc, argv, options);
  if (done >= 0) return done;
  const int status =
      options.host.empty() ? taskmill::tools::ask_catalog(options) : taskmill::tools::ask_manager(options);
  if (std::fflush(stdout) != 0 && status == 0) return 1;
  return status;
}
