#include "common/catalog/dial.hpp"

#include <fcntl.h>

#include <utility>

namespace taskmill::catalog {

using boost::asio::ip::tcp;

Dial::Dial(boost::asio::io_context& io, Host host, Handler handler)
    : io_(io), host_(std::move(host)), handler_(std::move(handler)), deadline_(io) {}

std::shared_ptr<Dial> Dial::start(boost::asio::io_context& io, Host host, Duration timeout, Handler handler) {
  auto dial = std::make_shared<Dial>(io, std::move(host), std::move(handler));
  dial->deadline_.expires_after(timeout);
  dial->deadline_.async_wait([dial](ErrorCode error) {
    if (!error) dial->finish(make_error("cannot connect to " + dial->host_.text() + ": " + dial->last_error_));
  });
  dial->lookup_ = Lookup::forward(io, dial->host_.name, [weak = dial->weak_from_this()](const auto& found) {
    if (auto self = weak.lock()) self->on_addresses(found);
  });
  return dial;
}

void Dial::cancel() {
  handler_ = nullptr;
  finish(make_error("cancelled"));
}

void Dial::on_addresses(const Expected<Lookup::Addresses>& found) {
  if (!found) return finish(found.error());
  addresses_ = *found;
  try_next();
}

void Dial::try_next() {
  if (next_ >= addresses_.size()) return finish(make_error("cannot connect to " + host_.text() + ": " + last_error_));
  const tcp::endpoint endpoint(addresses_[next_++], host_.port);
  socket_ = std::make_shared<tcp::socket>(io_);
  ErrorCode error;
  socket_->open(endpoint.protocol(), error);
  if (error) {
    last_error_ = error.message();
    return try_next();
  }
  ::fcntl(socket_->native_handle(), F_SETFD, FD_CLOEXEC);
  socket_->async_connect(endpoint, [self = shared_from_this(), socket = socket_](ErrorCode failure) {
    if (!self->handler_ || self->socket_ != socket) return;
    if (!failure) return self->finish(socket);
    self->last_error_ = failure.message();
    self->try_next();
  });
}

void Dial::finish(Expected<std::shared_ptr<tcp::socket>> result) {
  deadline_.cancel();
  lookup_.cancel();
  if (!result && socket_) {
    ErrorCode ignored;
    socket_->close(ignored);
  }
  socket_.reset();
  if (auto handler = std::exchange(handler_, nullptr)) handler(std::move(result));
}

}  // namespace taskmill::catalog
