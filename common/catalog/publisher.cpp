#include "common/catalog/publisher.hpp"

#include <algorithm>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "common/catalog/core/compression.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/dial.hpp"
#include "common/catalog/environment.hpp"

namespace taskmill::catalog {
namespace {

using boost::asio::ip::tcp;
using boost::asio::ip::udp;

struct Letter {
  std::string text;
  std::string datagram;  ///< empty: TCP
};
using LetterPtr = std::shared_ptr<const Letter>;

// The way to one catalog: at most one delivery under way and one letter waiting; a newer letter replaces it.
class Lane : public std::enable_shared_from_this<Lane> {
 public:
  Lane(boost::asio::io_context& io, Host host, Duration timeout, std::function<void(const std::string&)> log)
      : io_(io), host_(std::move(host)), timeout_(timeout), log_(std::move(log)), timer_(io), retry_(io) {}

  void post(LetterPtr letter) {
    retry_.cancel();
    waiting_ = std::move(letter);
    if (!busy_) begin();
  }

  void stop() {
    ++attempt_;
    waiting_.reset();
    on_idle = nullptr;
    busy_ = false;
    timer_.cancel();
    retry_.cancel();
    lookup_.cancel();
    if (dial_) std::exchange(dial_, nullptr)->cancel();
    close();
  }

  std::function<void()> on_idle;
  std::uint64_t sent = 0;
  std::uint64_t failed = 0;

 private:
  void begin() {
    current_ = std::exchange(waiting_, nullptr);
    if (!current_) return;
    busy_ = true;
    const auto attempt = ++attempt_;
    timer_.expires_after(timeout_);
    timer_.async_wait([weak = weak_from_this(), attempt](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self && self->attempt_ == attempt) self->end("no answer in time");
    });
    if (!current_->datagram.empty()) return begin_datagram();
    Host target = host_;
    target.port = static_cast<std::uint16_t>(target.port + 1);  // TCP updates go to the port above
    dial_ = Dial::start(io_, target, timeout_, [weak = weak_from_this(), attempt](auto socket) {
      auto self = weak.lock();
      if (!self || self->attempt_ != attempt) return;
      self->dial_.reset();
      if (!socket) return self->end(socket.error().text);
      self->socket_ = *socket;
      self->write(attempt);
    });
  }

  void write(std::uint64_t attempt) {
    boost::asio::async_write(*socket_, boost::asio::buffer(current_->text),
                             [self = shared_from_this(), letter = current_, attempt](ErrorCode error, std::size_t) {
                               if (self->attempt_ != attempt) return;
                               if (error) return self->end(error.message());
                               ErrorCode ignored;
                               self->socket_->shutdown(tcp::socket::shutdown_send, ignored);
                               self->end("");
                             });
  }

  void begin_datagram() {
    lookup_ = Lookup::forward(io_, host_.name, [weak = weak_from_this()](const auto& found) {
      auto self = weak.lock();
      if (!self || !self->busy_) return;
      if (!found) return self->end(found.error().text);
      self->send_datagram(found->front());
    });
  }

  void send_datagram(const boost::asio::ip::address& address) {
    const udp::endpoint endpoint(address, host_.port);
    udp::socket socket(io_);
    ErrorCode error;
    socket.open(endpoint.protocol(), error);
    if (!error) socket.non_blocking(true, error);
    if (!error) socket.send_to(boost::asio::buffer(current_->datagram), endpoint, 0, error);
    end(error ? error.message() : "");
  }

  void close() {
    if (!socket_) return;
    ErrorCode ignored;
    socket_->close(ignored);
    socket_.reset();
  }

  void end(const std::string& problem) {
    const auto self = shared_from_this();
    ++attempt_;
    timer_.cancel();
    lookup_.cancel();
    if (dial_) std::exchange(dial_, nullptr)->cancel();
    close();
    busy_ = false;
    if (problem.empty()) {
      ++sent;
      delay_ = first_delay;
      if (complained_ && log_) log_("catalog " + host_.text() + " accepts updates again");
      complained_ = false;
    } else {
      ++failed;
      if (!complained_ && log_) log_("catalog " + host_.text() + " does not accept updates: " + problem);
      complained_ = true;
    }
    if (waiting_) return begin();
    if (problem.empty()) {
      current_.reset();
      if (on_idle) on_idle();
      return;
    }
    // Try again with the same letter unless a newer one comes first: a catalog that restarts is filled quickly.
    retry_.expires_after(delay_);
    delay_ = std::min(delay_ * 2, last_delay);
    retry_.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto locked = weak.lock();
      if (error || !locked || locked->busy_ || locked->waiting_) return;
      locked->waiting_ = locked->current_;
      locked->begin();
    });
  }

  static constexpr Duration first_delay = std::chrono::seconds(1);
  static constexpr Duration last_delay = std::chrono::seconds(30);

  boost::asio::io_context& io_;
  Host host_;
  Duration timeout_;
  std::function<void(const std::string&)> log_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer retry_;
  LetterPtr current_;
  LetterPtr waiting_;
  bool busy_ = false;
  bool complained_ = false;
  std::uint64_t attempt_ = 0;
  Duration delay_ = first_delay;
  std::shared_ptr<Dial> dial_;
  Lookup lookup_;
  std::shared_ptr<tcp::socket> socket_;
};

class CatalogPublisher final : public Publisher {
 public:
  CatalogPublisher(boost::asio::io_context& io, PublisherOptions options, std::vector<Host> hosts)
      : options_(std::move(options)), hosts_(std::move(hosts)), farewell_(io) {
    if (options_.protocol == UpdateProtocol::from_environment) options_.protocol = environment_protocol();
    for (const auto& host : hosts_) {
      lanes_.push_back(std::make_shared<Lane>(io, host, options_.timeout, options_.on_problem));
    }
  }

  ~CatalogPublisher() override {
    for (auto& lane : lanes_) lane->stop();
  }

  void publish(std::string record, std::string lean) override {
    if (auto letter = make_letter(std::move(record), lean)) {
      for (auto& lane : lanes_) lane->post(letter);
    }
  }

  void goodbye(std::string record, std::function<void()> done) override {
    done_ = std::move(done);
    auto value = read_value(record);
    LetterPtr letter;
    if (value && value->as_object() != nullptr) {
      value->set("state", "done");
      value->set("lifetime", 1);
      letter = make_letter(print(*value), "");
    }
    if (!letter) {
      boost::asio::post(farewell_.get_executor(), [this] { finish(); });
      return;
    }
    still_open_ = lanes_.size();
    for (auto& lane : lanes_) {
      lane->on_idle = [this] {
        if (--still_open_ == 0) finish();
      };
      lane->post(letter);
    }
    farewell_.expires_after(std::chrono::seconds(2));
    farewell_.async_wait([this](ErrorCode error) {
      if (!error) finish();
    });
  }

  [[nodiscard]] std::uint64_t sent() const override {
    std::uint64_t total = 0;
    for (const auto& lane : lanes_) total += lane->sent;
    return total;
  }
  [[nodiscard]] std::uint64_t failed() const override {
    std::uint64_t total = 0;
    for (const auto& lane : lanes_) total += lane->failed;
    return total;
  }
  [[nodiscard]] std::string catalogs_text() const override { return hosts_text(hosts_); }

 private:
  LetterPtr make_letter(std::string record, const std::string& lean) {
    if (record.empty() || record.front() != '{' || record.size() > update_limit) {
      if (options_.on_problem)
        options_.on_problem("a catalog record was not sent: it must be one JSON object below 1 MiB");
      return nullptr;
    }
    auto letter = std::make_shared<Letter>();
    if (options_.protocol == UpdateProtocol::udp) letter->datagram = datagram_for(record, lean);
    letter->text = std::move(record);
    return letter;
  }

  // Whole when it fits, else compressed, else the lean record; empty when TCP has to do it.
  static std::string datagram_for(const std::string& record, const std::string& lean) {
    const std::size_t limit = environment_update_limit();
    for (const auto* text : {&record, &lean}) {
      if (text->empty()) continue;
      if (text->size() <= limit) return *text;
      auto packed = compress_update(*text);
      if (!packed.empty() && packed.size() <= limit) return packed;
    }
    return {};
  }

  void finish() {
    farewell_.cancel();
    for (auto& lane : lanes_) lane->on_idle = nullptr;
    if (auto done = std::exchange(done_, nullptr)) done();
  }

  PublisherOptions options_;
  std::vector<Host> hosts_;
  std::vector<std::shared_ptr<Lane>> lanes_;
  boost::asio::steady_timer farewell_;
  std::size_t still_open_ = 0;
  std::function<void()> done_;
};

}  // namespace

Expected<std::unique_ptr<Publisher>> Publisher::make(boost::asio::io_context& io, PublisherOptions options) {
  auto hosts = catalog_hosts(options.catalogs);
  if (!hosts) return hosts.error();
  return std::unique_ptr<Publisher>(new CatalogPublisher(io, std::move(options), std::move(*hosts)));
}

}  // namespace taskmill::catalog
