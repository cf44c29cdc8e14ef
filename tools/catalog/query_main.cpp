// catalog_query: prints what the catalog knows.
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <iostream>

#include "common/base/text.hpp"
#include "common/catalog/core/expression.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/query.hpp"
#include "common/cli/repeated_options.hpp"
#include "tools/catalog/pretty.hpp"

namespace taskmill::tools {
namespace {

using catalog::Expression;
using catalog::Value;

struct Options {
  std::string where, catalogs, debug_file, rotate;
  std::vector<std::string> output, debug;
  std::int64_t timeout = 60;
};

int fail(const std::string& text) {
  std::cerr << "catalog_query: " << text << "\n";
  return 1;
}

int parse(int argc, char** argv, Options& options) {
  CLI::App app{
      "Prints records of the catalog as JSON. Examples:\n"
      "  catalog_query --where 'type==\"wq_master\"'\n"
      "  catalog_query --where 'type==\"wq_master\" and tasks_waiting > 0' -p project -p tasks_waiting",
      "catalog_query"};
  app.add_option("-w,--where", options.where, "Only records for which this expression is true");
  app.add_option("-p,--output", options.output,
                 "Print the value of this expression instead of the record (repeatable)");
  app.add_option("-c,--catalog", options.catalogs,
                 "Catalogs: HOST[:PORT],… (default CATALOG_HOST, else localhost:9097)");
  app.add_option_function<std::string>(
      "-t,--timeout",
      [&](const std::string& text) {
        const auto seconds = parse_duration_seconds(text);
        if (!seconds || *seconds <= 0)
          throw CLI::ValidationError("-t", "'" + text + "' is not a time; write 60, 60s or 5m");
        options.timeout = *seconds;
      },
      "Give up after this time (60s)");
  app.add_option("-d,--debug", options.debug, "Accepted for old scripts");
  app.add_option("-o,--debug-file", options.debug_file, "Accepted for old scripts");
  app.add_option("-O,--debug-rotate-max", options.rotate, "Accepted for old scripts");
  app.set_version_flag("-v,--version", "catalog_query version " TASKMILL_VERSION " (taskmill)");
  try {
    let_the_last_count(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    return fail(std::string(error.what()) + " (see catalog_query --help)");
  }
  return -1;
}

std::string quoted_error(const std::string& text) {
  std::string out = "error(";
  catalog::print_string_to(out, text);
  return out + ")";
}

int print_values(const std::vector<Value>& records, const std::vector<std::string>& texts) {
  std::vector<Expression> expressions;
  std::string out;
  for (const auto& text : texts) {
    auto parsed = Expression::parse(text, true);
    if (!parsed) return fail("invalid expression: " + text + " (" + parsed.error().text + ")");
    expressions.push_back(std::move(*parsed));
    out += text + "\t";
  }
  out += "\n";
  for (const auto& record : records) {
    for (const auto& expression : expressions) {
      auto value = expression.evaluate(record);
      out += (value ? catalog::print(*value) : quoted_error(value.error().text)) + "\t";
    }
    out += "\n";
  }
  std::cout << out;
  return 0;
}

int run(const Options& options) {
  auto hosts = catalog::catalog_hosts(options.catalogs);
  if (!hosts) return fail(hosts.error().text);
  std::optional<Expression> where;
  if (!options.where.empty()) {
    auto parsed = Expression::parse(options.where, true);
    if (!parsed) return fail("invalid expression: " + options.where + " (" + parsed.error().text + ")");
    where = std::move(*parsed);
  }
  catalog::QueryOptions query;
  query.hosts = *hosts;
  // Servers get the filter only when its text can be read in one way; it is applied here in any case.
  if (where && Expression::parse(options.where) && Expression::parse(options.where)->is_unambiguous()) {
    query.expression = options.where;
  }
  query.timeout = std::chrono::seconds(options.timeout);
  boost::asio::io_context io(1);
  Expected<catalog::QueryAnswer> answer = make_error("no answer");
  const auto running = catalog::Query::start(io, std::move(query), [&](auto result) { answer = std::move(result); });
  io.run();
  if (!answer) return fail("couldn't query catalog: " + answer.error().text);
  auto& records = answer->records;
  if (where) std::erase_if(records, [&](const Value& record) { return where->test(record) != catalog::Truth::yes; });
  if (!options.output.empty()) return print_values(records, options.output);
  std::string out = "[\n";
  bool first = true;
  for (const auto& record : records) {
    if (!std::exchange(first, false)) out += ",\n";
    pretty_print_to(out, record, 0);
  }
  std::cout << out << "\n]\n";
  return 0;
}

}  // namespace
}  // namespace taskmill::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  taskmill::tools::Options options;
  const int done = taskmill::tools::parse(argc, argv, options);
  if (done >= 0) return done;
  const int status = taskmill::tools::run(options);
  std::cout.flush();
  return std::cout ? status : 1;
}
