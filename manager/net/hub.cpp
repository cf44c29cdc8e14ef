#include "manager/net/hub.hpp"

#include <openssl/rand.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/aio/clock.hpp"
#include "protocol/limits.hpp"

namespace taskmill::manager {
namespace {

using boost::asio::ip::tcp;

constexpr int accepts_per_turn = 64;
constexpr std::size_t reserved_descriptors = 256;  // inputs, outputs, logs, catalog
constexpr std::size_t answer_slice = 128U << 10;
constexpr Duration answer_patience = std::chrono::seconds(30);
constexpr std::string_view http_index =
    "<html><body><h1>Taskmill manager</h1><ul>"
    "<li><a href=\"/queue_status\">queue_status</a></li><li><a href=\"/task_status\">task_status</a></li>"
    "<li><a href=\"/worker_status\">worker_status</a></li><li><a href=\"/wable_status\">wable_status</a></li>"
    "<li><a href=\"/resources_status\">resources_status</a></li></ul></body></html>\n";

std::uint64_t random_number() {
  std::uint64_t value = 1;
  RAND_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value);
  return value;
}

// Secrets come from the system's generator, not from the machine's repeatable one.
std::string make_challenge() {
  std::string letters;
  while (letters.size() < protocol::challenge_length) {
    std::array<unsigned char, 128> bytes{};
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return {};
    for (const auto byte : bytes) {
      if (byte < 26 * 9 && letters.size() < protocol::challenge_length) letters += static_cast<char>('a' + byte % 26);
    }
  }
  return letters;
}

std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? 1U << 20 : static_cast<std::size_t>(limit.rlim_cur);
}

StatResult stat_file(const std::string& path) {
  StatResult result;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    result.error = path + ": " + std::strerror(errno);
    return result;
  }
  result.found = true;
  result.size = static_cast<std::uint64_t>(info.st_size);
  result.mtime_ns = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
  result.directory = S_ISDIR(info.st_mode);
  return result;
}

}  // namespace

struct Hub::StatusAnswer {
  StatusReport report;
  Time progress;  ///< when a slice last left
  bool complete = false;
};

Hub::Hub(boost::asio::io_context& io, HubConfig config, HubEvents events)
    : io_(io),
      config_(std::move(config)),
      events_(std::move(events)),
      machine_(config_.core, config_.seed != 0 ? config_.seed : random_number(), aio::now()),
      pool_(io, std::max(1U, config_.pool_threads)),
      downloads_(io, 2),
      acceptor_(io),
      timer_(io),
      accept_timer_(io),
      shut_down_timer_(io),
      started_(aio::steady_now()) {
  Outbound::Context context{machine_, pool_, downloads_, [this] { wake(); }, {}, std::make_shared<StopSignal>(),
                            {},       {}};
  context.environments = config_.environments;
  context.pace = config_.pace;
  outbound_context_ = std::make_shared<Outbound::Context>(std::move(context));
  if (events_.on_trace) {
    outbound_context_->trace = [this](ConnId conn, const std::string& text) {
      if (const auto peer = peers_.find(conn); peer != peers_.end()) events_.on_trace(*peer->second, true, text);
    };
  }
}

Hub::~Hub() {
  outbound_context_->stop->raise();
  peers_.clear();
}

// --- listening ---

Expected<std::uint16_t> Hub::start() {
  const auto descriptors = raise_descriptor_limit();
  if (config_.max_connections == 0) {
    config_.max_connections =
        descriptors > 2 * reserved_descriptors ? descriptors - reserved_descriptors : descriptors / 2;
  }
  if (!config_.ssl_cert.empty() || !config_.ssl_key.empty()) {
    auto context = aio::make_server_context(config_.ssl_cert, config_.ssl_key);
    if (!context.has_value()) return context.error();
    ssl_ = std::move(*context);
  }
  auto port = bind();
  if (!port.has_value()) return port;
  port_ = *port;
  identity_.port = port_;
  identity_.ssl = ssl_ != nullptr;
  accept_some();
  wake();
  return port;
}

Expected<std::uint16_t> Hub::bind() {
  ErrorCode error;
  const auto address = boost::asio::ip::make_address(config_.address, error);
  if (error) return make_error("cannot listen on address '" + config_.address + "': " + error.message());
  const std::uint32_t first = config_.any_port ? 0 : config_.first_port;
  const std::uint32_t last = config_.any_port ? 0 : std::max(config_.first_port, config_.last_port);
  for (std::uint32_t port = first; port <= last; ++port) {
    const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(port));
    acceptor_.close(error);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    if (!error) acceptor_.non_blocking(true, error);
    if (!error) return acceptor_.local_endpoint(error).port();
    if (error != boost::system::errc::address_in_use) {
      return make_error("cannot listen on " + config_.address + ":" + std::to_string(port) + ": " + error.message());
    }
  }
  if (first == last) {
    return make_error("port " + std::to_string(first) + " is in use; choose another with --port, or --port 0 for any");
  }
  return make_error("every port from " + std::to_string(first) + " to " + std::to_string(last) + " is in use");
}

// A bounded number per turn: the rest is accepted in the next one, between the events of others.
void Hub::accept_some() {
  acceptor_.async_wait(tcp::acceptor::wait_read, [this](ErrorCode error) {
    if (error || !acceptor_.is_open()) return;
    for (int i = 0; i < accepts_per_turn; ++i) {
      if (peers_.size() >= config_.max_connections) {
        return pause_accepting("the limit of " + std::to_string(config_.max_connections) + " connections is reached");
      }
      tcp::socket socket(io_);
      acceptor_.accept(socket, error);
      if (error == boost::asio::error::would_block || error == boost::asio::error::try_again) break;
      if (error == boost::system::errc::too_many_files_open ||
          error == boost::system::errc::too_many_files_open_in_system ||
          error == boost::system::errc::not_enough_memory || error == boost::system::errc::no_buffer_space) {
        return pause_accepting(error.message());
      }
      if (!error) add_peer(std::move(socket));
    }
    accept_some();
  });
}

void Hub::pause_accepting(const std::string& why) {
  if (!std::exchange(accepting_paused_, true)) note(NoticeLevel::warning, "new connections wait: " + why);
  accept_timer_.expires_after(std::chrono::milliseconds(100));
  accept_timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    if (peers_.size() < config_.max_connections) accepting_paused_ = false;
    accept_some();
  });
}

void Hub::add_peer(tcp::socket socket) {
  const auto id = ConnId(next_conn_++);
  protocol::ManagerSession::Config session;
  session.has_password = config_.has_password;
  if (config_.has_password) {
    session.password = config_.password;
    session.challenge = make_challenge();
    if (session.challenge.empty()) return note(NoticeLevel::warning, "no random numbers: a connection was refused");
  }
  aio::SslPtr ssl;
  if (ssl_) {
    ssl = aio::make_server_ssl(*ssl_);
    if (!ssl) return;
  }
  const auto now = aio::now();
  auto peer = std::make_unique<Peer>(*this, id, std::move(session), outbound_context_, std::move(socket));
  Peer& added = *peer;
  peers_.emplace(id, std::move(peer));
  machine_.on_connected(id, added.address(), now);
  if (config_.has_password || ssl_) handshakes_.emplace_back(now.time + machine_.config().short_timeout, id);
  added.start(std::move(ssl));
  wake();
}

// --- the turn ---

void Hub::wake() {
  if (std::exchange(run_posted_, true)) return;
  boost::asio::post(io_, [this] {
    run_posted_ = false;
    run_machine();
  });
}

void Hub::run_machine() {
  const auto now = aio::now();
  machine_.run(now, effects_);
  perform_actions();
  perform_stats();
  perform_digests();
  for (const auto& record : effects_.records) {
    if (events_.on_record) events_.on_record(record, effects_.view(record.text));
  }
  for (const auto& notice : effects_.notices) note(notice.level, std::string(effects_.view(notice.text)));
  perform_reports();
  if (events_.on_turn) events_.on_turn();
  arm_timer();
  times_.internal += (aio::steady_now() - now.time).count();
}

void Hub::perform_actions() {
  touched_.clear();
  for (const auto& action : effects_.actions) {
    const auto it = peers_.find(action.conn);
    if (it == peers_.end()) continue;
    Peer& peer = *it->second;
    if (action.kind == ActionKind::close) {
      peer.close_for(action.reason);
      continue;
    }
    if (action.kind == ActionKind::peer_await || action.kind == ActionKind::peer_transfer) {
      order_transfer(action, peer);
    } else {
      peer.outbound().add(action, effects_);
    }
    if (touched_.empty() || touched_.back() != &peer) touched_.push_back(&peer);
  }
  for (Peer* peer : touched_) {
    if (!peer->connection().is_open()) continue;
    peer->outbound().pump();
  }
}

void Hub::perform_stats() {
  for (const auto& request : effects_.stats) {
    auto job = [this, file = request.file, path = std::string(effects_.view(request.path))]() -> aio::Pool::Done {
      return [this, file, result = stat_file(path)] {
        machine_.on_stat(file, result, aio::now());
        wake();
      };
    };
    if (pool_.submit(job)) continue;
    if (const auto done = job()) boost::asio::post(io_, done);  // the pool is full: better late than never
  }
}

void Hub::perform_reports() {
  for (const auto& report : effects_.reports) {
    TaskTextPtr text;
    switch (report.kind) {
      case ReportKind::finished:
      case ReportKind::cancelled:
        text = take_text(report.task, report.conn);
        break;
      case ReportKind::requeued:
      case ReportKind::copy_lost:
        drop_text(report.task, report.conn);
        break;
      default:
        break;
    }
    if (events_.on_report) events_.on_report(report, effects_, text);
  }
}

// --- standard output of tasks that are not finished yet ---

void Hub::store_text(TaskId task, ConnId conn, TaskTextPtr text) {
  if (!machine_.task(task)) return;  // unknown to the machine: nobody would ever take it
  auto& list = texts_[task];
  std::erase_if(list, [conn](const auto& entry) { return entry.first == conn; });
  list.emplace_back(conn, std::move(text));
}

TaskTextPtr Hub::take_text(TaskId task, ConnId conn) {
  const auto it = texts_.find(task);
  if (it == texts_.end()) return nullptr;
  TaskTextPtr found = it->second.size() == 1 ? it->second.front().second : nullptr;
  for (auto& [owner, text] : it->second) {
    if (owner == conn) found = std::move(text);
  }
  texts_.erase(it);
  return found;
}

void Hub::drop_text(TaskId task, ConnId conn) {
  const auto it = texts_.find(task);
  if (it == texts_.end()) return;
  std::erase_if(it->second, [conn](const auto& entry) { return entry.first == conn || !conn.valid(); });
  if (it->second.empty()) texts_.erase(it);
}

// --- time ---

void Hub::arm_timer() {
  auto deadline = machine_.next_deadline();
  while (!handshakes_.empty()) {
    const auto it = peers_.find(handshakes_.front().second);
    if (it != peers_.end() && !it->second->is_ready()) break;
    handshakes_.pop_front();
  }
  if (!handshakes_.empty() && (!deadline || handshakes_.front().first < *deadline))
    deadline = handshakes_.front().first;
  if (!answers_.empty()) {
    const auto look = aio::steady_now() + answer_patience;
    if (!deadline || look < *deadline) deadline = look;
  }
  if (!deadline) return;
  if (armed_ && *armed_ <= *deadline) return;  // fires early and looks again: cheaper than moving the timer each turn
  armed_ = deadline;
  const auto wait = std::max(Duration{0}, *deadline - aio::steady_now());
  timer_.expires_after(wait);
  timer_.async_wait([this](ErrorCode error) {
    if (!error) on_timer();
  });
}

void Hub::on_timer() {
  armed_.reset();
  end_late_handshakes(aio::steady_now());
  end_stuck_answers(aio::steady_now());
  run_machine();
}

void Hub::end_late_handshakes(Time now) {
  while (!handshakes_.empty() && handshakes_.front().first <= now) {
    const auto it = peers_.find(handshakes_.front().second);
    handshakes_.pop_front();
    if (it == peers_.end() || it->second->is_ready()) continue;
    note(NoticeLevel::notice, it->second->address() + ": no password exchange or TLS handshake in time");
    it->second->fail(CloseReason::auth_failed, "handshake timed out");
  }
}

// --- peers ---

void Hub::peer_ready(Peer&) {}

void Hub::peer_closed(Peer& peer, CloseReason reason, const std::string& text) {
  if (!peer.forgotten()) machine_.on_closed(peer.id(), reason, aio::now());
  const bool expected = shut_down_done_ || reason == CloseReason::released || reason == CloseReason::status_client;
  note(peer.greeted() && !expected ? NoticeLevel::notice : NoticeLevel::debug,
       peer.hostname() + " (" + peer.address() + ") is gone: " + text);
  answers_.erase(peer.id());
  peers_.erase(peer.id());
  wake();
  check_shut_down();
}

void Hub::trace_received(const Peer& peer, std::string_view bytes) {
  if (events_.on_trace) events_.on_trace(peer, false, bytes);
}

void Hub::note(NoticeLevel level, const std::string& text) {
  if (events_.on_notice) events_.on_notice(level, text);
}

void Hub::note_refused(const Peer& peer, const std::string& text) {
  constexpr std::size_t most = 1000;
  const auto host = peer.address().substr(0, peer.address().rfind(':'));
  const bool first = refused_hosts_.size() < most && refused_hosts_.insert(host).second;
  note(first ? NoticeLevel::warning : NoticeLevel::notice, text);
}

// --- status ---

Stats Hub::stats() const {
  Stats stats = machine_.stats();
  stats.environments = environments_;
  stats.bytes_sent += environments_.bytes_sent;
  stats.time_internal = times_.internal;
  stats.time_status_msgs = times_.status_msgs;
  const auto alive = (aio::steady_now() - started_).count();
  stats.time_polling = std::max<std::int64_t>(0, alive - times_.internal - times_.status_msgs);
  stats.manager_load = alive > 0 ? static_cast<double>(alive - stats.time_polling) / static_cast<double>(alive) : 0;
  return stats;
}

StatusSource Hub::status_source() const {
  StatusSource source{machine_, identity_, stats(), {}, last_task_id_, aio::wall_now().time_since_epoch().count()};
  for (const auto& [id, peer] : peers_) source.workers.push_back(id);
  return source;
}

// From now on this is no worker but a client that asks.
void Hub::forget_worker(Peer& peer) {
  if (!peer.forgotten()) machine_.on_closed(peer.id(), CloseReason::status_client, aio::now());
  peer.forget();
}

// The hub watches that the client reads.
void Hub::answer_status(Peer& peer, protocol::StatusKind kind) {
  if (answers_.contains(peer.id())) return;
  forget_worker(peer);
  answers_.emplace(
      peer.id(), std::make_unique<StatusAnswer>(StatusAnswer{StatusReport(status_source(), kind), aio::steady_now()}));
  peer.on_room = [this, id = peer.id()] { boost::asio::post(io_, [this, id] { send_answer(id); }); };
  send_answer(peer.id());
  wake();
}

void Hub::answer_http(Peer& peer, std::string_view path) {
  const auto kind = status_kind_of_path(path);
  std::string head = "HTTP/1.1 200 OK\nConnection: close\n";
  head += path == "/" ? "Content-type: text/html\n\n" : "Access-Control-Allow-Origin: *\nContent-type: text/plain\n\n";
  if (path == "/") head += http_index;
  peer.outbound().say(head);
  peer.outbound().pump();
  if (kind) return answer_status(peer, *kind);
  forget_worker(peer);
  peer.finish_status();
}

// One slice at a time; the next one when it has left.
void Hub::send_answer(ConnId conn) {
  const auto it = answers_.find(conn);
  const auto peer = peers_.find(conn);
  if (it == answers_.end() || peer == peers_.end() || it->second->complete) return;
  StatusAnswer& answer = *it->second;
  answer.progress = aio::steady_now();
  std::string text;
  if (answer.report.next(text, answer_slice)) return peer->second->send_slice(std::move(text));
  answer.complete = true;
  peer->second->finish_status();
}

void Hub::end_stuck_answers(Time now) {
  std::vector<Peer*> stuck;
  for (const auto& [conn, answer] : answers_) {
    const auto peer = peers_.find(conn);
    if (peer != peers_.end() && now - answer->progress > answer_patience) stuck.push_back(peer->second.get());
  }
  for (Peer* peer : stuck) peer->fail(CloseReason::status_client, "the client does not read its answer");
}

// --- the end ---

void Hub::shut_down(bool exit_workers, Duration limit, std::function<void()> done) {
  shut_down_done_ = std::move(done);
  outbound_context_->stop->raise();
  ErrorCode ignored;
  acceptor_.close(ignored);
  accept_timer_.cancel();
  if (exit_workers) machine_.shut_down_workers(0, aio::now());
  machine_.release_all(aio::now());
  wake();
  shut_down_timer_.expires_after(limit);
  shut_down_timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    for (auto& [id, peer] : peers_) peer->close_for(CloseReason::released);
    if (peers_.empty()) check_shut_down();
  });
  boost::asio::post(io_, [this] {
    // Clients that are no workers hear nothing from the machine.
    for (auto& [id, peer] : peers_) {
      if (!machine_.worker(id) && !answers_.contains(id)) peer->fail(CloseReason::released, "the manager ends");
    }
    check_shut_down();
  });
}

void Hub::check_shut_down() {
  if (!shut_down_done_ || !peers_.empty()) return;
  shut_down_timer_.cancel();
  timer_.cancel();
  std::exchange(shut_down_done_, nullptr)();
}

}  // namespace taskmill::manager
