#include "tools/support/status_client.hpp"

#include <utility>

#include "common/aio/connection.hpp"
#include "common/catalog/dial.hpp"
#include "common/os/file.hpp"
#include "protocol/auth_machine.hpp"
#include "protocol/limits.hpp"
#include "tools/support/array_splitter.hpp"

namespace taskmill::tools {

struct StatusClient::Impl : std::enable_shared_from_this<Impl>, public aio::ConnectionHandler {
  Impl(boost::asio::io_context& context, StatusRequest what, Element on_element, Done on_done)
      : io(context),
        request(std::move(what)),
        done(std::move(on_done)),
        deadline(context),
        splitter(std::move(on_element)) {}
  ~Impl() override {
    if (connection) connection->detach();
  }

  void begin() {
    arm();
    dial = catalog::Dial::start(io, request.manager, request.timeout, [weak = weak_from_this()](auto socket) {
      if (auto self = weak.lock()) self->on_connected(std::move(socket));
    });
  }

  void arm() {
    deadline.expires_after(request.timeout);
    deadline.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self)
        self->fail("no answer in " + std::to_string(self->request.timeout.count() / 1'000'000) + " seconds");
    });
  }

  void on_connected(Expected<std::shared_ptr<boost::asio::ip::tcp::socket>> socket) {
    dial.reset();
    if (!socket) return finish(socket.error());
    connection = std::make_shared<aio::Connection>(std::move(**socket), *this);
    if (!request.ssl) {
      connection->start();
      return speak();
    }
    auto made = aio::make_client_context(request.tls);
    if (!made) return finish(made.error());
    tls_context = std::move(*made);
    connection->start(aio::make_client_ssl(*tls_context, request.manager.name, request.tls));
  }

  void on_secured() override {
    if (auto problem = aio::check_fingerprint(*connection->stream().ssl(), request.tls); !problem.empty())
      return fail(problem);
    speak();
  }

  void speak() {
    if (!request.password) return ask();
    auth.emplace(protocol::AuthRole::connecting, *request.password, os::secret_letters(protocol::challenge_length));
    std::string out;
    auth->start(out);
    connection->send(out);
  }

  void ask() {
    asked = true;
    connection->send(request.request + "\n");
  }

  std::size_t on_data(std::span<const char> bytes) override {
    const auto self = shared_from_this();
    arm();
    std::string_view text(bytes.data(), bytes.size());
    while (!asked && done) {
      const auto end = text.find('\n');
      if (end == std::string_view::npos) return bytes.size() - text.size();
      on_auth_line(text.substr(0, end));
      text.remove_prefix(end + 1);
    }
    if (!done) return bytes.size();
    if (!splitter.started() && !auth && text.substr(0, 5) == "auth ") {
      finish(make_error(request.manager.text() + " asks for a password; give it with -P FILE"));
    } else if (!splitter.feed(text)) {
      fail("the answer is not a JSON array");
    } else if (splitter.done()) {
      finish(true);
    }
    return bytes.size();
  }

  void on_auth_line(std::string_view line) {
    std::string out;
    const auto state = auth->on_line(line, out);
    if (state == protocol::AuthState::failed) {
      if (auth->peer_has_no_password())
        return finish(make_error(request.manager.text() + " does not use a password; leave out -P"));
      return finish(make_error(request.manager.text() + " does not accept the password: " + auth->failure()));
    }
    if (!out.empty()) connection->send(out);
    if (state == protocol::AuthState::ok) ask();
  }

  void on_closed(const aio::CloseReason& reason) override {
    const auto self = shared_from_this();
    connection.reset();
    if (auth && !asked) return fail("the connection ended during the password exchange (wrong password?)");
    fail(reason.kind == aio::CloseReason::Kind::eof ? "the connection ended before the answer" : reason.text);
  }

  void fail(const std::string& why) {
    finish(make_error("couldn't read from " + request.manager.name + " port " + std::to_string(request.manager.port) +
                      ": " + why));
  }

  void finish(Expected<bool> result) {
    deadline.cancel();
    if (dial) std::exchange(dial, nullptr)->cancel();
    if (connection) {
      connection->detach();
      connection->close("done");
      connection.reset();
    }
    if (auto handler = std::exchange(done, nullptr)) handler(std::move(result));
  }

  boost::asio::io_context& io;
  StatusRequest request;
  Done done;
  boost::asio::steady_timer deadline;
  ArraySplitter splitter;
  std::shared_ptr<catalog::Dial> dial;
  aio::SslContextPtr tls_context;
  std::shared_ptr<aio::Connection> connection;
  std::optional<protocol::AuthMachine> auth;
  bool asked = false;
};

std::unique_ptr<StatusClient> StatusClient::start(boost::asio::io_context& io, StatusRequest request, Element element,
                                                  Done done) {
  auto impl = std::make_shared<Impl>(io, std::move(request), std::move(element), std::move(done));
  std::unique_ptr<StatusClient> client(new StatusClient(impl));
  impl->begin();
  return client;
}

StatusClient::~StatusClient() {
  impl_->done = nullptr;
  impl_->finish(make_error("cancelled"));
}

Expected<std::string> read_password_file(const std::string& path) {
  auto text = os::read_file(path, protocol::max_password + 1);
  if (!text) return make_error("couldn't load password from " + path + ": " + text.error().message());
  text->resize(std::min(text->size(), text->find('\0')));
  if (text->empty()) return make_error("the password file " + path + " is empty; write a password into it");
  if (text->size() > protocol::max_password)
    return make_error("the password in " + path + " is too long; shorten it to 1000 bytes");
  return Expected<std::string>(boost::system::in_place_value, std::move(*text));
}

}  // namespace taskmill::tools
