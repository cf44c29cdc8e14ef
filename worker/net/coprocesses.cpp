#include "worker/net/coprocesses.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "common/base/text.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/os/file.hpp"

namespace taskmill::worker {
namespace {

using boost::asio::ip::tcp;
using Pipe = boost::asio::posix::stream_descriptor;

constexpr ProcessTable::Owner coprocess_owner = 1ULL << 61;
constexpr auto introduction_limit = std::chrono::seconds(60);
constexpr auto call_limit = std::chrono::hours(1);
/// One that ends right after its start is not started again at once.
constexpr auto restart_pause = std::chrono::seconds(1);
/// Starts without an answered call in between, before a copy counts as beyond help.
constexpr unsigned most_restarts = 5;
constexpr std::size_t longest_introduction = 64U << 10;
constexpr std::size_t longest_length = 24;
constexpr std::size_t piece = 64U << 10;

struct Introduction {
  std::string name;
  std::uint16_t port = 0;
};

// "LENGTH\n{…}": nullopt while incomplete.
std::optional<Expected<Introduction>> read_introduction(std::string_view text) {
  const auto line_end = text.find('\n');
  if (line_end == std::string_view::npos) {
    if (text.size() > longest_length) return make_error("no length in its first line");
    return std::nullopt;
  }
  const auto length = parse_int(trim(text.substr(0, line_end)));
  if (!length || *length <= 0 || *length > static_cast<std::int64_t>(longest_introduction)) {
    return make_error("'" + std::string(text.substr(0, std::min(line_end, longest_length))) + "' is no length");
  }
  const auto body = text.substr(line_end + 1);
  if (body.size() < static_cast<std::size_t>(*length)) return std::nullopt;
  const auto value = catalog::read_value(body.substr(0, static_cast<std::size_t>(*length)));
  if (!value) return make_error("not JSON: " + value.error().text);
  const auto port = value->integer("port");
  Introduction who{std::string(value->text("name")), static_cast<std::uint16_t>(port)};
  if (who.name.empty() || port <= 0 || port > 65535) return make_error("it needs a \"name\" and a \"port\"");
  return who;
}

}  // namespace

/// One process, over all its restarts, and the call it is answering.
class Coprocesses::Copy : public std::enable_shared_from_this<Coprocesses::Copy> {
 public:
  Copy(Coprocesses& all, std::size_t number)
      : all_(all),
        context_(all.context_),
        owner_(coprocess_owner | number),
        socket_(context_.io),
        timer_(context_.io),
        pause_(context_.io) {}

  void start() {
    printed_.clear();
    port_ = 0;
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    if (::pipe2(to.data(), O_CLOEXEC) != 0) return failed(errno_code().message());
    os::UniqueFd to_read(to[0]);
    stdin_.reset(to[1]);
    if (::pipe2(from.data(), O_CLOEXEC) != 0) return failed(errno_code().message());
    os::UniqueFd from_write(from[1]);
    stdout_ = std::make_shared<Pipe>(context_.io, from[0]);
    Environment::Block block;
    context_.environment.build_base(block);
    const std::array<const char*, 4> argv = {"sh", "-c", all_.command_.c_str(), nullptr};
    os::SpawnPlan plan;
    plan.path = "/bin/sh";
    plan.argv = argv.data();
    plan.envp = block.pointers.data();
    plan.cwd = context_.space.path().c_str();
    plan.stdin_fd = to_read.get();
    plan.stdout_fd = from_write.get();
    plan.stderr_fd = 2;
    auto started = context_.processes.start(owner_, plan);
    if (!started) return failed(started.error().message());
    wait_ = std::make_shared<Pipe>(context_.io, started->pidfd.release());
    wait_->async_wait(Pipe::wait_read, [self = shared_from_this(), wait = wait_](ErrorCode error) {
      if (!error && self->wait_ == wait) self->on_end();
    });
    arm(introduction_limit, "it did not say its name and port within a minute");
    listen();
  }

  [[nodiscard]] bool is_free() const { return port_ != 0 && !busy_; }
  [[nodiscard]] bool is_beyond_help() const { return beyond_help_; }
  [[nodiscard]] bool serves(TaskKey key) const { return busy_ && call_.key == key; }

  void take(Call call) {
    call_ = std::move(call);
    busy_ = true;
    asked_ = false;
    arm(call_limit, "a call took longer than an hour");
    socket_ = tcp::socket(context_.io);
    socket_.async_connect({boost::asio::ip::address_v4::loopback(), port_},
                          [self = shared_from_this(), round = round_](ErrorCode error) {
                            if (self->busy_ && self->round_ == round) self->on_connected(error);
                          });
  }

  void cancel() {
    finish(Outcome::cancelled);
    replaced_ = true;
    kill();
  }

  void abandon() {
    busy_ = false;
    timer_.cancel();
    pause_.cancel();
  }

 private:
  void on_connected(ErrorCode error) {
    if (error) return give_up("it cannot be reached: " + error.message());
    struct stat status {};
    left_ = ::fstat(call_.input.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
    buffer_ = call_.function + " " + std::to_string(call_.task_id) + " " + std::to_string(left_) + "\n";
    asked_ = true;
    write_buffer();
  }

  void arm(std::chrono::seconds limit, const char* why) {
    timer_.expires_after(limit);
    timer_.async_wait([self = shared_from_this(), why](ErrorCode error) {
      if (!error) self->give_up(why);
    });
  }

  // What it prints after its introduction is of no interest, but must not fill the pipe.
  void listen() {
    auto pipe = stdout_;
    pipe->async_read_some(boost::asio::buffer(heard_),
                          [self = shared_from_this(), pipe](ErrorCode error, std::size_t got) {
                            if (error || self->stdout_ != pipe) return;
                            if (self->port_ == 0) self->on_printed({self->heard_.data(), got});
                            self->listen();
                          });
  }

  void on_printed(std::string_view text) {
    printed_ += text;
    auto who = read_introduction(printed_);
    if (!who) return;
    if (!*who) return give_up("it did not introduce itself: " + who->error().text);
    timer_.cancel();
    port_ = (*who)->port;
    all_.on_introduced((*who)->name, {});
  }

  void write_buffer() {
    boost::asio::async_write(socket_, boost::asio::buffer(buffer_),
                             [self = shared_from_this(), round = round_](ErrorCode error, std::size_t) {
                               if (self->busy_ && self->round_ == round) self->on_written(error);
                             });
  }

  void on_written(ErrorCode error) {
    if (error) return give_up("it hung up: " + error.message());
    if (left_ == 0) {
      buffer_.clear();
      length_known_ = false;
      return read_answer();
    }
    buffer_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece)));
    const auto got = ::read(call_.input.get(), buffer_.data(), buffer_.size());
    if (got <= 0) return give_up("its input cannot be read");
    buffer_.resize(static_cast<std::size_t>(got));
    left_ -= static_cast<std::uint64_t>(got);
    write_buffer();
  }

  void read_answer() {
    socket_.async_read_some(boost::asio::buffer(heard_call_),
                            [self = shared_from_this(), round = round_](ErrorCode error, std::size_t got) {
                              if (self->busy_ && self->round_ == round) self->on_answer(error, got);
                            });
  }

  void on_answer(ErrorCode error, std::size_t got) {
    if (error) return give_up("it hung up: " + error.message());
    std::string_view bytes(heard_call_.data(), got);
    if (!length_known_) {
      buffer_ += bytes;
      const auto end = buffer_.find('\n');
      if (end == std::string::npos && buffer_.size() <= longest_length) return read_answer();
      const auto length = parse_int(trim(std::string_view(buffer_).substr(0, end)));
      if (end == std::string::npos || !length || *length < 0) return give_up("its answer has no length");
      length_known_ = true;
      left_ = static_cast<std::uint64_t>(*length);
      bytes = std::string_view(buffer_).substr(end + 1);
    }
    bytes = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
    if (os::write_all(call_.output, bytes)) return give_up("its answer cannot be stored");
    left_ -= bytes.size();
    if (left_ > 0) return read_answer();
    restarts_ = 0;
    finish(Outcome::answered);
  }

  void finish(Outcome outcome) {
    if (!busy_) return;
    busy_ = false;
    ++round_;
    timer_.cancel();
    ErrorCode ignored;
    socket_.close(ignored);
    boost::asio::post(context_.io, [done = std::move(call_.done), outcome] { done(outcome); });
    call_ = {};
    auto& all = all_;
    boost::asio::post(context_.io, [self = shared_from_this(), &all] {
      if (!*self->context_.stop) all.pump();
    });
  }

  void give_up(const std::string& why) {
    context_.log.error("a coprocess is stopped: " + why);
    problem_ = why;
    finish(asked_ ? Outcome::broken : Outcome::unreachable);
    kill();
  }

  void kill() {
    port_ = 0;
    context_.processes.signal(owner_, SIGKILL);
  }

  void on_end() {
    wait_.reset();
    stdout_.reset();
    stdin_.reset();
    const bool introduced = std::exchange(port_, 0) != 0 || restarts_ > 0;
    context_.processes.end(owner_);
    context_.sweep();
    context_.processes.forget(owner_);
    context_.wake();
    if (*context_.stop) return;
    if (busy_) {
      problem_ = "it ended";
      context_.log.error("a coprocess has ended in the middle of a call");
      finish(asked_ ? Outcome::broken : Outcome::unreachable);
    }
    if (!introduced && all_.started_) return failed(problem_.empty() ? "it ended" : problem_);
    if (std::exchange(replaced_, false)) return start();
    restart();
  }

  void restart() {
    if (++restarts_ > most_restarts) {
      context_.log.error("a coprocess ends again and again: it is not started any more");
      beyond_help_ = true;
      return all_.pump();
    }
    pause_.expires_after(restart_pause);
    pause_.async_wait([self = shared_from_this()](ErrorCode error) {
      if (!error && !*self->context_.stop) self->start();
    });
  }

  void failed(const std::string& why) {
    timer_.cancel();
    if (all_.started_) return all_.on_introduced({}, why);
    context_.log.error("a coprocess cannot be started: " + why);
    restart();
  }

  Coprocesses& all_;
  Context& context_;
  ProcessTable::Owner owner_;
  os::UniqueFd stdin_;
  std::shared_ptr<Pipe> stdout_, wait_;
  std::array<char, 4096> heard_{};
  std::string printed_, problem_;
  std::uint16_t port_ = 0;  ///< 0: not (or no longer) there
  unsigned restarts_ = 0;
  bool beyond_help_ = false;
  bool replaced_ = false;  ///< it ends because its call was not wanted any more

  bool busy_ = false;
  bool asked_ = false;         ///< the function may have begun
  bool length_known_ = false;  ///< of the answer
  std::uint64_t round_ = 0;
  std::uint64_t left_ = 0;
  Call call_;
  tcp::socket socket_;
  std::string buffer_;
  std::array<char, piece> heard_call_{};
  boost::asio::steady_timer timer_, pause_;
};

Coprocesses::Coprocesses(Context& context, std::string command, std::size_t count)
    : context_(context), command_(std::move(command)) {
  for (std::size_t i = 0; i < count; ++i) copies_.push_back(std::make_shared<Copy>(*this, i));
}

Coprocesses::~Coprocesses() {
  for (const auto& copy : copies_) copy->abandon();
}

void Coprocesses::start(Started done) {
  started_ = std::move(done);
  silent_ = copies_.size();
  for (const auto& copy : copies_) copy->start();
}

void Coprocesses::on_introduced(const std::string& name, const std::string& problem) {
  if (started_ && !problem.empty()) return std::exchange(started_, nullptr)({}, problem);
  if (started_ && --silent_ == 0) std::exchange(started_, nullptr)(name, {});
  pump();
}

void Coprocesses::call(Call call) {
  waiting_.push_back(std::move(call));
  pump();
}

void Coprocesses::pump() {
  for (const auto& copy : copies_) {
    if (waiting_.empty()) return;
    if (!copy->is_free()) continue;
    auto next = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    copy->take(std::move(next));
  }
  const bool hopeless = std::all_of(copies_.begin(), copies_.end(), [](const auto& c) { return c->is_beyond_help(); });
  if (!hopeless) return;
  for (auto& call : std::exchange(waiting_, {})) {
    boost::asio::post(context_.io, [done = std::move(call.done)] { done(Outcome::unreachable); });
  }
}

void Coprocesses::cancel(TaskKey key) {
  for (const auto& copy : copies_) {
    if (copy->serves(key)) return copy->cancel();
  }
  const auto at = std::find_if(waiting_.begin(), waiting_.end(), [key](const Call& call) { return call.key == key; });
  if (at == waiting_.end()) return;
  boost::asio::post(context_.io, [done = std::move(at->done)] { done(Outcome::cancelled); });
  waiting_.erase(at);
}

}  // namespace taskmill::worker
