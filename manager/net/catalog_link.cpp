#include "manager/net/catalog_link.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "common/aio/clock.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/manager_record.hpp"

namespace taskmill::manager {
namespace {

constexpr Duration interval = std::chrono::seconds(60);
constexpr Duration shortest = std::chrono::seconds(2);
constexpr Duration look_interval = std::chrono::milliseconds(250);  // counting is not free with many workers

std::string make_uuid() {
  std::array<unsigned char, 16> bytes{};
  RAND_bytes(bytes.data(), static_cast<int>(bytes.size()));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

bool matters(std::int64_t before, std::int64_t now) {
  return (before == 0) != (now == 0) || std::abs(now - before) * 5 > std::max(before, now);
}

}  // namespace

CatalogLink::CatalogLink(boost::asio::io_context& io, Hub& hub, Options options)
    : io_(io), hub_(hub), options_(std::move(options)), timer_(io), look_timer_(io), uuid_(make_uuid()) {}

Expected<std::unique_ptr<CatalogLink>> CatalogLink::make(boost::asio::io_context& io, Hub& hub, Options options) {
  std::unique_ptr<CatalogLink> link(new CatalogLink(io, hub, std::move(options)));
  auto hosts = catalog::catalog_hosts(link->options_.catalogs);
  if (!hosts.has_value()) return hosts.error();
  link->hosts_ = std::move(*hosts);
  catalog::PublisherOptions publishing;
  publishing.catalogs = link->options_.catalogs;
  const bool embed = link->options_.embed && catalog::should_embed(link->options_.catalogs);
  // Our own is gone for a moment when another manager takes it over.
  publishing.on_problem = embed ? link->options_.log : link->options_.warn;
  auto publisher = catalog::Publisher::make(io, std::move(publishing));
  if (!publisher.has_value()) return publisher.error();
  link->publisher_ = std::move(*publisher);
  if (embed) {
    link->embedded_ = std::make_unique<catalog::EmbeddedCatalog>(io, catalog::embedded_defaults());
    link->embedded_->on_log = link->options_.log;
    link->embedded_->on_problem = link->options_.warn;
    link->embedded_->on_serving = [raw = link.get()] { raw->publish(); };
  }
  return link;
}

void CatalogLink::start() {
  timer_.expires_after(Duration{0});
  timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    if (embedded_) embedded_->start();
    publish();
  });
}

std::string CatalogLink::record() {
  std::string object;
  append_queue_object(object, hub_.status_source());
  const auto& id = hub_.identity();
  catalog::ManagerIdentity identity;
  identity.project = id.project;
  identity.port = id.port;
  identity.ssl = id.ssl;
  identity.owner = id.owner;
  identity.version = id.version;
  identity.working_dir = id.working_dir;
  identity.starttime = id.starttime_s;
  identity.priority = id.priority;
  identity.uuid = uuid_;
  identity.preferred_connection = id.preferred_connection;
  identity.interfaces = catalog::local_interfaces();
  auto full = catalog::add_identity(object, identity);
  return full.has_value() ? *full : object;
}

void CatalogLink::publish() {
  if (finished_) return;
  auto full = record();
  auto lean = catalog::lean_record(full);
  publisher_->publish(std::move(full), lean.has_value() ? *lean : std::string());
  const auto stats = hub_.machine().stats();
  last_tasks_ = stats.tasks_waiting + stats.tasks_on_workers;
  last_workers_ = stats.workers_connected;
  published_ = aio::steady_now();
  arm(interval);
  ask_for_factories();
}

void CatalogLink::ask_for_factories() {
  auto names = hub_.machine().connected_factories();
  if (names.empty()) return;
  catalog::QueryOptions what;
  what.hosts = hosts_;
  what.expression = "type==\"wq_factory\"";
  what.timeout = std::chrono::seconds(5);
  what.repeat = false;
  factories_ = catalog::Query::start(io_, std::move(what), [this, names = std::move(names)](auto answer) {
    if (!answer || finished_) return;
    for (const auto& record : answer->records) {
      const auto name = record.text("factory_name");
      const auto most = record.integer("max_workers", -1);
      if (record.text("type") != "wq_factory" || most < 0) continue;
      if (std::find(names.begin(), names.end(), name) == names.end()) continue;
      hub_.machine().set_factory_max(name, most, aio::now());
    }
    hub_.wake();
  });
}

void CatalogLink::arm(Duration wait) {
  due_ = aio::steady_now() + wait;
  timer_.expires_after(wait);
  timer_.async_wait([this](ErrorCode error) {
    if (!error) publish();
  });
}

void CatalogLink::changed() {
  if (finished_) return;
  const auto now = aio::steady_now();
  if (look_armed_ || due_ - now <= shortest) return;  // looked at or published soon anyway
  if (now - looked_ >= look_interval) return look();
  look_armed_ = true;
  look_timer_.expires_after(look_interval);
  look_timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    look_armed_ = false;
    look();
  });
}

void CatalogLink::look() {
  if (finished_) return;
  const auto now = aio::steady_now();
  looked_ = now;
  const auto stats = hub_.machine().stats();
  if (!matters(last_tasks_, stats.tasks_waiting + stats.tasks_on_workers) &&
      !matters(last_workers_, stats.workers_connected)) {
    return;
  }
  const auto since = now - published_;
  arm(since >= shortest ? Duration{0} : shortest - since);
}

void CatalogLink::finish(std::function<void()> done) {
  if (std::exchange(finished_, true)) return done();
  timer_.cancel();
  look_timer_.cancel();
  factories_.reset();
  if (published_ == Time{}) return done();  // nobody has heard of us
  publisher_->goodbye(record(), [this, done = std::move(done)] {
    if (embedded_) embedded_->stop();
    done();
  });
}

}  // namespace taskmill::manager
