#include "common/catalog/fetch.hpp"

#include <utility>

#include "common/catalog/environment.hpp"

namespace taskmill::catalog {

Fetch::Fetch(boost::asio::io_context& io, Url url, Handler handler)
    : io_(io), url_(std::move(url)), handler_(std::move(handler)), proxy_(environment_proxy()), deadline_(io) {}

Fetch::~Fetch() { drop_connection(); }

std::shared_ptr<Fetch> Fetch::start(boost::asio::io_context& io, Url url, Duration timeout, Handler handler) {
  auto fetch = std::make_shared<Fetch>(io, std::move(url), std::move(handler));
  fetch->deadline_.expires_after(timeout);
  fetch->deadline_.async_wait([weak = fetch->weak_from_this()](ErrorCode error) {
    auto self = weak.lock();
    if (!error && self) self->finish(make_error(self->url_.host.text() + " did not answer in time"));
  });
  fetch->request();
  return fetch;
}

void Fetch::cancel() {
  handler_ = nullptr;
  finish(make_error("cancelled"));
}

void Fetch::request() {
  reader_ = HttpReader();
  // The deadline above covers the whole exchange; this one only has to be longer.
  dial_ = Dial::start(io_, proxy_.value_or(url_.host), std::chrono::hours(1), [weak = weak_from_this()](auto socket) {
    if (auto self = weak.lock()) self->on_connected(std::move(socket));
  });
}

void Fetch::on_connected(Expected<std::shared_ptr<boost::asio::ip::tcp::socket>> socket) {
  dial_.reset();
  if (!socket) return finish(socket.error());
  connection_ = std::make_shared<aio::Connection>(std::move(**socket), *this);
  connection_->start();
  connection_->send(http_request(url_, proxy_.has_value()));
}

std::size_t Fetch::on_data(std::span<const char> bytes) {
  const auto self = shared_from_this();
  if (!reader_.feed({bytes.data(), bytes.size()})) {
    finish(make_error(url_.host.text() + ": " + reader_.problem()));
  } else if (reader_.done()) {
    on_reply();
  }
  return bytes.size();
}

void Fetch::on_closed(const aio::CloseReason& reason) {
  const auto self = shared_from_this();
  connection_.reset();
  if (reader_.finish()) return on_reply();
  finish(make_error(url_.host.text() + ": " + (reader_.problem().empty() ? reason.text : reader_.problem())));
}

void Fetch::on_reply() {
  const int status = reader_.status();
  if (status == 200) return finish(std::make_shared<std::string>(reader_.take_body()));
  const bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  constexpr int most_redirects = 5;
  if (!moved || reader_.location().empty() || ++redirects_ > most_redirects) {
    return finish(make_error(url_.host.text() + " answered with HTTP status " + std::to_string(status)));
  }
  if (reader_.location().front() == '/') {
    url_.path = reader_.location();
  } else {
    auto target = parse_url(reader_.location());
    if (!target) return finish(target.error());
    url_ = std::move(*target);
  }
  drop_connection();
  request();
}

void Fetch::drop_connection() {
  if (!connection_) return;
  connection_->detach();
  connection_->close("done");
  connection_.reset();
}

void Fetch::finish(Expected<std::shared_ptr<std::string>> result) {
  deadline_.cancel();
  if (dial_) std::exchange(dial_, nullptr)->cancel();
  drop_connection();
  if (auto handler = std::exchange(handler_, nullptr)) handler(std::move(result));
}

}  // namespace taskmill::catalog
