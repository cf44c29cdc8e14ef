// catalog_server: the catalog as a program of its own (docs/cli/catalog_server.md).
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/host_name.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "common/aio/clock.hpp"
#include "common/base/text.hpp"
#include "common/catalog/core/value.hpp"
#include "common/catalog/history.hpp"
#include "common/catalog/publisher.hpp"
#include "common/catalog/server.hpp"
#include "tools/catalog/server_options.hpp"
#include "tools/support/tool_log.hpp"

namespace taskmill::tools {
namespace {

using catalog::Value;

int fail(const std::string& text) {
  std::cerr << "catalog_server: " << text << "\n";
  return 1;
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(aio::wall_now().time_since_epoch()).count();
}

std::uint16_t port_variable(const char* name) {
  const char* text = std::getenv(name);
  const auto port = text != nullptr ? parse_int(text) : std::nullopt;
  return port && *port > 0 && *port < 65535 ? static_cast<std::uint16_t>(*port) : 0;
}

catalog::ServerOptions server_options(const CatalogServerOptions& options) {
  catalog::ServerOptions result;
  result.address = options.interface;
  result.port = options.port_file.empty() ? static_cast<std::uint16_t>(options.port) : 0;
  result.low_port = port_variable("TCP_LOW_PORT");
  result.high_port = port_variable("TCP_HIGH_PORT");
  result.store.lifetime_seconds = options.lifetime;
  result.store.believable_size = options.believable_size;
  result.query_connections = static_cast<std::size_t>(options.connections);
  result.reply_deadline = std::chrono::seconds(options.timeout);
  return result;
}

// The catalog's record about itself, for the catalogs named by -u.
class OwnRecord {
 public:
  OwnRecord(boost::asio::io_context& io, const CatalogServerOptions& options, std::uint16_t port)
      : interval_(std::chrono::seconds(options.report_interval)), timer_(io) {
    const auto name = options.name.empty() ? boost::asio::ip::host_name() : options.name;
    record_.set("type", "catalog");
    record_.set("version", TASKMILL_VERSION);
    record_.set("owner", user_name());
    record_.set("starttime", unix_now());
    record_.set("port", static_cast<int>(port));
    record_.set("url", "http://" + name + ":" + std::to_string(port));
  }

  Expected<bool> start(boost::asio::io_context& io, const CatalogServerOptions& options, ToolLog& log) {
    std::string list;
    for (const auto& host : options.report_to) list += (list.empty() ? "" : ",") + host;
    if (list.empty()) return true;
    catalog::PublisherOptions publisher;
    publisher.catalogs = list;
    publisher.on_problem = [&log](const std::string& line) { log.notice(line); };
    auto made = catalog::Publisher::make(io, std::move(publisher));
    if (!made) return made.error();
    publisher_ = std::move(*made);
    report();
    return true;
  }

 private:
  void report() {
    publisher_->publish(catalog::print(record_));
    timer_.expires_after(interval_);
    timer_.async_wait([this](ErrorCode error) {
      if (!error) report();
    });
  }

  Value record_;
  Duration interval_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<catalog::Publisher> publisher_;
};

// First sight of each record, one JSON object per line (-L).
class UpdateLog {
 public:
  Expected<bool> open(const std::string& path) {
    if (path.empty()) return true;
    file_ = std::fopen(path.c_str(), "ae");
    if (file_ == nullptr) return make_error("cannot write the update log '" + path + "'");
    return true;
  }
  void note(catalog::Change change, const catalog::StoredRecord& record) {
    if (file_ == nullptr || change != catalog::Change::created) return;
    std::fprintf(file_, "%s\n", record.line.c_str());
    std::fflush(file_);
  }
  ~UpdateLog() {
    if (file_ != nullptr) std::fclose(file_);
  }
  UpdateLog() = default;
  UpdateLog(const UpdateLog&) = delete;
  UpdateLog& operator=(const UpdateLog&) = delete;

 private:
  std::FILE* file_ = nullptr;
};

void watch_signals(boost::asio::signal_set& signals, boost::asio::io_context& io, ToolLog& log) {
  signals.async_wait([&](ErrorCode error, int number) {
    if (error) return;
    if (number == SIGHUP) return watch_signals(signals, io, log);
    log.notice("ending because of signal " + std::to_string(number));
    io.stop();
  });
}

Expected<bool> go_to_background(boost::asio::io_context& io) {
  io.notify_fork(boost::asio::io_context::fork_prepare);
  if (::daemon(1, 0) != 0) return make_error("cannot go into the background");
  io.notify_fork(boost::asio::io_context::fork_child);
  return true;
}

int run(const CatalogServerOptions& options) {
  ToolLog log("catalog_server");
  if (auto opened = log.open(options.debug_file, options.debug_rotate); !opened) return fail(opened.error().text);
  log.set_debug(!options.debug.empty());

  boost::asio::io_context io(1);
  auto server = catalog::CatalogServer::make(io, server_options(options));
  if (!server) {
    return fail(server.error().text +
                (options.port_file.empty() ? "; choose another port with -p, or -Z FILE for a free one" : ""));
  }
  UpdateLog update_log;
  if (auto opened = update_log.open(options.update_log); !opened) return fail(opened.error().text);
  catalog::History history(options.history);
  if (!options.history.empty()) {
    auto loaded = history.load((*server)->store(), unix_now());
    if (!loaded) return fail(loaded.error().text);
    log.debug("reloaded " + std::to_string(*loaded) + " records from " + options.history);
  }
  if (options.background) {
    if (auto gone = go_to_background(io); !gone) return fail(gone.error().text);
  }
  for (const auto& [path, text] : {std::pair(options.pid_file, std::to_string(::getpid())),
                                   std::pair(options.port_file, std::to_string((*server)->port()))}) {
    if (path.empty()) continue;
    if (auto written = write_file(path, text + "\n"); !written) return fail(written.error().text);
  }
  (*server)->on_log = [&log](const std::string& line) { log.debug(line); };
  (*server)->store().on_change = [&](catalog::Change change, const catalog::StoredRecord& record, const Value* before) {
    update_log.note(change, record);
    if (auto problem = history.note(change, record, before, unix_now()); !problem.empty()) log.notice(problem);
    if (change == catalog::Change::created) log.debug("new record " + record.key);
  };
  OwnRecord own(io, options, (*server)->port());
  if (auto started = own.start(io, options, log); !started) return fail(started.error().text);

  boost::asio::signal_set signals(io, SIGINT, SIGTERM, SIGQUIT);
  signals.add(SIGHUP);
  watch_signals(signals, io, log);
  log.notice("catalog_server on port " + std::to_string((*server)->port()) + " (queries, UDP updates) and " +
             std::to_string((*server)->port() + 1) + " (TCP updates)");
  (*server)->start();
  io.run();
  (*server)->store().on_change = nullptr;
  (*server)->stop();
  if (!options.pid_file.empty()) std::remove(options.pid_file.c_str());
  return 0;
}

}  // namespace
}  // namespace taskmill::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  taskmill::tools::CatalogServerOptions options;
  const int done = taskmill::tools::parse_catalog_server(argc, argv, options);
  return done >= 0 ? done : taskmill::tools::run(options);
}
