#include "manager/net/catalog_link.hpp"

#include <openssl/rand.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "common/aio/clock.hpp"
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
    : io_(io), hub_(hub), options_(std::move(options)), timer_(io), uuid_(make_uuid()) {}

Expected<std::unique_ptr<CatalogLink>> CatalogLink::make(boost::asio::io_context& io, Hub& hub, Options options) {
  std::unique_ptr<CatalogLink> link(new CatalogLink(io, hub, std::move(options)));
  catalog::PublisherOptions publishing;
  publishing.catalogs = link->options_.catalogs;
  publishing.on_problem = link->options_.log;
  auto publisher = catalog::Publisher::make(io, std::move(publishing));
  if (!publisher.has_value()) return publisher.error();
  link->publisher_ = std::move(*publisher);
  if (link->options_.embed && catalog::should_embed(link->options_.catalogs)) {
    link->embedded_ = std::make_unique<catalog::EmbeddedCatalog>(io, catalog::embedded_defaults());
    link->embedded_->on_log = link->options_.log;
    link->embedded_->on_serving = [raw = link.get()] { raw->publish(); };
  }
  return link;
}

void CatalogLink::start() {
  if (embedded_) embedded_->start();
  publish();
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
  if (due_ - now <= shortest || now - looked_ < look_interval) return;  // published soon anyway, or looked just now
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
  publisher_->goodbye(record(), [this, done = std::move(done)] {
    if (embedded_) embedded_->stop();
    done();
  });
}

}  // namespace taskmill::manager
