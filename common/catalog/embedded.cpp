#include "common/catalog/embedded.hpp"

#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <utility>
#include <vector>

#include "common/aio/clock.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/query.hpp"
#include "common/catalog/server.hpp"

namespace taskmill::catalog {

bool should_embed(const std::string& catalogs_option) {
  const char* hosts = std::getenv("CATALOG_HOST");
  return catalogs_option.empty() && (hosts == nullptr || *hosts == '\0');
}

EmbeddedOptions embedded_defaults() {
  EmbeddedOptions options;
  options.port = environment_port();
  return options;
}

struct EmbeddedCatalog::Impl : std::enable_shared_from_this<Impl> {
  Impl(boost::asio::io_context& context, EmbeddedOptions opts, EmbeddedCatalog* self)
      : io(context), options(std::move(opts)), owner(self), retry(context), copy(context) {}

  void try_serve() {
    ServerOptions server_options;
    server_options.address = options.address;
    server_options.port = options.port;
    auto made = CatalogServer::make(io, std::move(server_options));
    if (!made) {
      taken = made.error().text;
      if (!told && owner != nullptr && owner->on_log) owner->on_log("another catalog serves " + where() + "; using it");
      told = true;
      arm_retry();
      return;
    }
    told = false;
    server = std::move(*made);
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(aio::wall_now().time_since_epoch()).count();
    for (auto& record : copied) server->store().adopt(std::move(record), now);
    copied.clear();
    query.reset();
    copy.cancel();
    server->start();
    if (owner != nullptr && owner->on_log) owner->on_log("serving the catalog on " + where());
    if (owner != nullptr && owner->on_serving) owner->on_serving();
  }

  void arm_retry() {
    retry.expires_after(options.retry);
    retry.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self) self->try_serve();
    });
  }

  // While somebody else serves: keep what it knows, so that a take-over loses nothing.
  void arm_copy(Duration after) {
    copy.expires_after(after);
    copy.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (error || !self || self->server) return;
      self->ask_for_copy();
    });
  }

  void ask_for_copy() {
    QueryOptions what;
    what.hosts = {Host{options.address, options.port}};
    what.timeout = std::chrono::seconds(5);
    what.merge = false;
    what.repeat = false;
    query = Query::start(io, std::move(what), [weak = weak_from_this()](auto answer) {
      auto self = weak.lock();
      if (!self) return;
      if (answer) {
        self->copied = std::move(answer->records);
        self->complained = false;
      } else {
        self->complain(answer.error().text);
      }
      self->arm_copy(self->options.copy_every);
    });
  }

  void complain(const std::string& why) {
    if (std::exchange(complained, true) || owner == nullptr || !owner->on_problem) return;
    owner->on_problem("the catalog cannot be served (" + taken + "), and nobody answers there as one (" + why +
                      "): workers do not find the project by its name; choose another port with CATALOG_PORT, another "
                      "catalog with -C, or start workers with HOST PORT");
  }

  [[nodiscard]] std::string where() const { return options.address + ":" + std::to_string(options.port); }

  boost::asio::io_context& io;
  EmbeddedOptions options;
  EmbeddedCatalog* owner;
  boost::asio::steady_timer retry;
  boost::asio::steady_timer copy;
  std::unique_ptr<CatalogServer> server;
  std::unique_ptr<Query> query;
  std::vector<Value> copied;
  std::string taken;  ///< why the ports could not be bound
  bool told = false, complained = false;
};

EmbeddedCatalog::EmbeddedCatalog(boost::asio::io_context& io, EmbeddedOptions options)
    : impl_(std::make_shared<Impl>(io, std::move(options), this)) {}

EmbeddedCatalog::~EmbeddedCatalog() { stop(); }

void EmbeddedCatalog::start() {
  impl_->owner = this;
  impl_->try_serve();
  if (!impl_->server) impl_->arm_copy(std::chrono::milliseconds(100));
}

void EmbeddedCatalog::stop() {
  impl_->owner = nullptr;
  impl_->retry.cancel();
  impl_->copy.cancel();
  impl_->query.reset();
  impl_->server.reset();
}

bool EmbeddedCatalog::serving() const { return impl_->server != nullptr; }

}  // namespace taskmill::catalog
