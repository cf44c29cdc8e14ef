// Worker: one session with a manager.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <climits>
#include <cstdlib>
#include <utility>

#include "common/base/text.hpp"
#include "common/os/file.hpp"
#include "protocol/format.hpp"
#include "protocol/limits.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/pb/task_batch.hpp"
#include "worker/core/command_line.hpp"
#include "worker/net/worker.hpp"

namespace taskmill::worker {
namespace {

constexpr std::uint64_t worth_looking_at_the_disk = 4U << 20;
constexpr Duration ready_limit = std::chrono::seconds(60);
/// A manager of another version closes at once; one that closes later had another reason.
constexpr Duration version_patience = std::chrono::seconds(10);
constexpr std::uint64_t most_zeros = 64U << 20;

// A manager's machine may vanish without a word; without this nobody would ever notice.
void set_up(int socket) {
  const int on = 1;
  const int idle = 60;
  const int interval = 15;
  const int count = 4;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const char* window = std::getenv("TCP_WINDOW_SIZE");
  if (const auto wanted = parse_int(window == nullptr ? "" : window); wanted && *wanted > 0) {
    const int size = static_cast<int>(std::min<std::int64_t>(*wanted, INT_MAX));
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

void Worker::on_found(boost::asio::ip::tcp::socket socket, const Target& target) {
  target_ = target;
  target_.version = target.version;
  set_up(socket.native_handle());
  protocol::WorkerSession::Config session;
  session.has_password = settings_.password.has_value();
  session.password = settings_.password.value_or("");
  session.challenge = os::secret_letters(protocol::challenge_length);
  session.version = target_.version;
  ready_ = false;
  link_started_ = aio::steady_now();
  ready_by_ = link_started_ + std::min(ready_limit, std::max(settings_.machine.idle_timeout, Duration(1'000'000)));
  link_ = std::make_unique<Link>(std::move(socket), std::move(session), settings_.password.has_value(), *this);
  link_->set_tracing(log_.detailed());
  link_->start(target_.ssl ? aio::make_client_ssl(*ssl_context_, target_.address.host, settings_.tls) : nullptr);
  wake();
}

void Worker::on_link_line(std::string_view line) { log_.detail("rx: " + std::string(line)); }

void Worker::trace_sent(std::string_view lines) {
  while (!lines.empty()) {
    const auto end = lines.find('\n');
    log_.detail("tx: " + std::string(lines.substr(0, end)));
    if (end == std::string_view::npos) return;
    lines.remove_prefix(end + 1);
  }
}

void Worker::on_link_secured() {
  if (target_.ssl) {
    if (const auto bad = aio::check_fingerprint(*link_->connection().stream().ssl(), settings_.tls); !bad.empty()) {
      log_.complain("work_queue_worker: could not setup ssl connection. " + bad);
      return link_->close(bad);
    }
  }
  log_.say("connected to manager " + target_.address.text() + " via local address " + link_->connection().local_text());
}

void Worker::on_link_ready() {
  ready_ = true;
  had_session_ = true;
  ready_by_.reset();
  next_disk_ = aio::steady_now() + std::chrono::seconds(30);
  cache_writer_ = std::make_unique<CacheWriter>(space_);
  replies_ = std::make_unique<Replies>(link_->connection(), space_.cache(), [this] { answer_results(); });
  context_.native = protocol::CapabilityHandshake(settings_.capabilities);
  machine_.on_session_started(target_.key, target_.version, aio::now(), effects_);
  wake();
}

// --- messages ---

void Worker::on_link_message(protocol::ToWorker& message) {
  const Now now = aio::now();
  const auto ignore = [](const auto&) {};
  const auto leave = [this](const Leave& how) { effects_.leave = effects_.leave.value_or(how); };
  std::visit(Overloaded{
                 [&](protocol::RunTask& run) { handle(run); },
                 [&](protocol::Kill& kill) { machine_.on_kill(kill.task_id, now.time, effects_); },
                 [&](protocol::SendResults&) {
                   machine_.on_results_requested();
                   replies_->want_results();
                   pump_replies();  // now, in case a `kill` follows in the same breath
                 },
                 [&](protocol::Get& get) {
                   // Not answered from inside this call: an `unlink` before it is carried out first, one behind it
                   // waits.
                   if (replies_->idle()) boost::asio::post(io_, [this] { pump_replies(); });
                   replies_->want_get(std::string(get.name), get.recursive);
                 },
                 [&](protocol::Unlink& unlink) {
                   if (!replies_->wants(unlink.name)) {
                     machine_.on_unlink(unlink.name, now.time, effects_);
                     return wake();  // before any answer that is still to be posted
                   }
                   replies_->in_turn([this, name = std::string(unlink.name)] {
                     machine_.on_unlink(name, aio::steady_now(), effects_);
                     wake();
                   });
                 },
                 [&](protocol::BeginDirectory& directory) {
                   machine_.on_work(now.time);
                   carry_out_removals();
                   cache_writer_->begin_directory(directory.path);
                 },
                 [&](protocol::PutSymlink& link) { cache_writer_->symlink(link.path, link.target); },
                 [&](protocol::EndDirectory&) { store(cache_writer_->end_directory()); },
                 [&](protocol::PutUrl& url) {
                   machine_.on_recipe(CacheSource::url, url.name, url.url, url.mode, false, now.time, effects_);
                 },
                 [&](protocol::PutCommand& put) {
                   machine_.on_recipe(CacheSource::command, put.name, put.command, put.mode, false, now.time, effects_);
                 },
                 [&](protocol::LegacyUrl& url) {
                   machine_.on_recipe(CacheSource::url, url.name, url.url, url.mode, true, now.time, effects_);
                 },
                 [&](protocol::ThirdGet& get) { handle(get); },
                 [&](protocol::ThirdPut& put) { handle(put); },
                 [&](protocol::Check&) { machine_.on_check(effects_); },
                 [&](protocol::Tlq& tlq) { handle(tlq); },
                 [&](protocol::Release&) {
                   leave({SessionEnd::released, "released by the manager"});
                 },
                 [&](protocol::Exit&) {
                   leave({SessionEnd::exit_ordered, "the manager ordered the worker to exit"});
                 },
                 ignore,
             },
             message);
}

void Worker::handle(protocol::Tlq& message) {
  // Legacy: a place in a task queue, of which only the reception counts.
  if (!context_.native.on_manager_token(message.token)) return machine_.on_work(aio::steady_now());
  link_->allow_frames();
  if (context_.native.can(protocol::Capability::peer)) peers_.open(link_->connection().local_text());
}

bool Worker::on_link_frame_begins(std::uint32_t kind) {
  return protocol::frame_allowed(kind, protocol::Direction::to_worker, context_.native.agreed());
}

void Worker::on_link_frame(std::uint32_t kind, std::string_view body) {
  carry_out_removals();
  switch (static_cast<protocol::FrameKind>(kind & ~protocol::frame_compressed)) {
    case protocol::FrameKind::environment_offer:
    case protocol::FrameKind::chunk_data:
      if (!environments_.on_frame(kind, body))
        link_->close("the manager sent an environment frame that makes no sense");
      return;
    case protocol::FrameKind::peer_serve:
    case protocol::FrameKind::peer_fetch:
      if (!peers_.on_frame(kind, body)) link_->close("the manager sent a frame about peers that makes no sense");
      return;
    case protocol::FrameKind::task_batch:
      return take_batch(kind, body);
    case protocol::FrameKind::result_ack:
      return take_acknowledgement(kind, body);
    default:
      break;  // no other kind is agreed on
  }
}

void Worker::handle(protocol::RunTask& message) {
  if (context_.native.can(protocol::Capability::env)) take_environment(message.task);
  machine_.on_task(std::move(message.task), aio::now(), effects_);
}

void Worker::take_batch(std::uint32_t kind, std::string_view body) {
  auto message = protocol::parse_frame<pb::TaskBatch>(kind, body);
  std::string why = "a batch of tasks that is none";
  auto batch = message ? protocol::expand(std::move(*message), why) : std::nullopt;
  if (!batch) return link_->refuse(why);
  if (log_.detailed()) log_.detail("rx: a batch of " + std::to_string(batch->tasks.size()) + " tasks");
  context_.inline_outputs = std::min(batch->inline_outputs, most_inline_bytes);
  machine_.on_batch(std::move(batch->tasks), batch->unacknowledged, aio::now(), effects_);
}

void Worker::take_acknowledgement(std::uint32_t kind, std::string_view body) {
  const auto message = protocol::parse_frame<pb::ResultAck>(kind, body);
  const bool good = message && std::all_of(message->drop().begin(), message->drop().end(),
                                           [](const std::string& name) { return is_safe_name(name); });
  if (!good) return link_->refuse("an acknowledgement of results that is none");
  auto carry_out = [this, ack = std::move(*message)] {
    const auto now = aio::steady_now();
    if (!machine_.on_acknowledged(ack.sequence(), now, effects_))
      return link_->refuse("an acknowledgement of results that were never sent");
    for (const auto& name : ack.drop()) machine_.on_unlink(name, now, effects_);
    wake();
  };
  // Behind a `get` of what it drops.
  replies_->idle() ? carry_out() : replies_->in_turn(std::move(carry_out));
}

void Worker::handle(protocol::ThirdGet& message) {
  const Time now = aio::steady_now();
  switch (message.kind) {
    case protocol::ThirdKind::command:
      return machine_.on_recipe(CacheSource::command, message.name, message.text, 0777, true, now, effects_);
    case protocol::ThirdKind::copy:
    case protocol::ThirdKind::link:  // a link to a path outside would be refused later; a copy serves
      return machine_.on_recipe(CacheSource::copy, message.name, message.text, 0777, true, now, effects_);
  }
}

// Version 9, rarely used: an output given to a command or copied to a path of this machine. Done outside the task's
// life, blocking nobody: the answer comes when it is known, and old managers take it between any two lines.
void Worker::handle(protocol::ThirdPut& message) {
  const auto source = space_.path() + "/cache/" + std::string(message.name);
  const auto text = std::string(message.text);
  std::vector<std::string> words = message.kind == protocol::ThirdKind::command
                                       ? std::vector<std::string>{"/bin/sh", "-c", expand_path_marks(text, source)}
                                       : std::vector<std::string>{"/bin/cp", "-R", "--", source, text};
  auto job = [this, words]() -> aio::Pool::Done {
    const auto ran = os::run_and_capture(words, 3'600'000);
    const bool ok = ran && ran->wait_status == 0;
    return [this, ok] {
      if (link_ && ready_) link_->send(ok ? "thirdput-complete 1\n" : "thirdput-complete 0\n");
    };
  };
  if (!pool_.submit(job) && link_) link_->send("thirdput-complete 0\n");
}

// --- objects ---

// An object may come under a name that was unlinked just before: the old one must be gone by then.
void Worker::carry_out_removals() {
  for (const auto& removal : effects_.remove) remove_from_cache(removal);
  effects_.remove.clear();
}

void Worker::on_whole_body(const protocol::PutFile& file, std::string_view bytes) {
  carry_out_removals();
  auto stored = cache_writer_->whole_file(file.path, file.mode, bytes);
  const bool keep = stored && stored->problem.empty();
  store(std::move(stored));
  if (keep) tasks_.keep_bytes(std::string(file.path), bytes);
}

int Worker::on_body_begins(const protocol::PutFile& file) {
  storing_ = true;
  carry_out_removals();
  machine_.on_work(aio::steady_now());
  return cache_writer_->begin_file(file.path, file.mode, file.length);
}

void Worker::on_body_ended(ErrorCode file_error) {
  storing_ = false;
  store(cache_writer_->end_file(file_error));
  wake();
}

void Worker::store(std::optional<StoredObject> object) {
  if (!object) return;
  const Time now = aio::steady_now();
  if (!object->trashed.empty()) disposal_.add(std::move(object->trashed));
  tasks_.forget_cached(object->name);
  peers_.forget(object->name);
  if (object->problem.empty()) {
    machine_.on_stored(object->name, object->directory, object->mode, object->size, object->entries, now);
    if (object->size >= worth_looking_at_the_disk) measure_disk();
  } else {
    log_.error(object->problem);
    machine_.on_store_failed(object->name, object->problem + "\n", now, effects_);
  }
}

// --- answers ---

void Worker::on_link_pause() {
  machine_.on_heard(aio::steady_now());
  wake();
}

void Worker::on_link_drained() {
  if (replies_ && !replies_->idle()) {
    boost::asio::post(io_, [this] { pump_replies(); });
  }
}

void Worker::pump_replies() {
  if (!replies_ || !link_) return;
  replies_->pump();
  if (replies_->wants_turn()) boost::asio::post(io_, [this] { pump_replies(); });
}

void Worker::answer_results() {
  Effects answer;
  machine_.answer_results(aio::now(), answer);
  perform(answer);
  wake();
}

void Worker::send_part(const ReplyPart& part) {
  auto& connection = link_->connection();
  switch (part.kind) {
    case ReplyPart::Kind::text:
      if (log_.detailed()) trace_sent(part.text);
      return connection.send(part.text);
    case ReplyPart::Kind::output: {
      Captured* captured = tasks_.output_of(part.key);
      if (captured == nullptr) return send_zeros(part.length);
      if (captured->file.empty()) return connection.send(captured->text);
      auto file = captures_.open(*captured);
      if (!file) return send_zeros(part.length);
      return connection.send_file(*file, 0, part.length);
    }
    case ReplyPart::Kind::watched: {
      auto file = tasks_.open_in_sandbox(part.key, part.text);
      if (!file) return send_zeros(part.length);
      return send_range(connection, std::move(*file), part.offset, part.length);
    }
  }
}

// The length is announced already: what cannot be read any more is zeros.
void Worker::send_zeros(std::uint64_t length) {
  if (length > most_zeros) return link_->close("an announced output is gone");
  link_->send(std::string(static_cast<std::size_t>(length), '\0'));
}

// --- the end of a session ---

void Worker::on_link_closed(LinkFault fault, const std::string& reason) {
  if (!link_) return;
  switch (fault) {
    case LinkFault::password_required:
      log_.complain("work_queue_worker: this manager requires a password. (use the -P option)");
      break;
    case LinkFault::wrong_password:
      log_.complain("work_queue_worker: wrong password for manager " + target_.address.text());
      break;
    case LinkFault::tls:
      log_.complain("work_queue_worker: could not setup ssl connection. " + reason);
      break;
    case LinkFault::protocol:
      log_.notice("invalid command from manager: " + reason);
      break;
    case LinkFault::closed:
      log_.detail("connection to " + target_.address.text() + " ended: " + reason);
      break;
  }
  const bool was_ready = ready_;
  const bool silent = was_ready && !link_->heard_anything() && fault == LinkFault::closed;
  if (silent && settings_.fixed_version == 0 && aio::steady_now() - link_started_ <= version_patience) {
    return end_session(try_other_version() ? SessionEnd::other_version : SessionEnd::refused, reason);
  }
  if (fault == LinkFault::password_required) return end_session(SessionEnd::refused, reason);
  if (was_ready) return end_session(SessionEnd::lost, reason);
  // Never got as far as a session: the rest of the pass is tried, and only then a pause made.
  ready_by_.reset();
  drop_link();
  seeker_.go_on();
  wake();
}

// A manager of the other version closes without a word (wire 17).
bool Worker::try_other_version() {
  const int other = target_.version == protocol::version_newest ? protocol::version_oldest : protocol::version_newest;
  seeker_.remember_version(target_.key, other);
  // Only once per manager and pause: with neither version welcome the usual waiting applies.
  const bool first = other == protocol::version_oldest;
  if (first)
    log_.detail("manager " + target_.address.text() + " closed without a word: trying protocol version " +
                std::to_string(other));
  return first;
}

void Worker::end_session(SessionEnd end, const std::string& reason) {
  if (end == SessionEnd::released || end == SessionEnd::idle) seeker_.move_on_after(target_.key);
  const bool was_ready = std::exchange(ready_, false);
  ready_by_.reset();
  seeker_.cancel();
  if (was_ready && end != SessionEnd::other_version) log_.say("disconnected from manager " + target_.address.text());
  std::vector<std::string> trashed;
  if (cache_writer_) cache_writer_->abandon(trashed);
  cache_writer_.reset();
  replies_.reset();
  environments_.on_session_ended();
  peers_.close();
  drop_link();
  Effects last;
  if (was_ready) {
    machine_.on_session_ended(end, aio::steady_now(), last);
    perform(last);
  }
  if (!stopping_) {
    auto old = space_.reset_cache();
    if (old) {
      for (auto& name : *old) trashed.push_back(std::move(name));
      captures_.use(space_.out());
    } else {
      log_.error("could not empty the cache: " + old.error().message());
    }
    tasks_.forget_cache();
    disposal_.add(std::move(trashed));
  }
  log_.detail("session ended: " + reason);
  wake();
}

// The link may still have words to flush (and may be the caller): it is destroyed later.
void Worker::drop_link() {
  if (!link_) return;
  std::shared_ptr<Link> link = std::move(link_);
  link->retire([this] { wake(); });
  closing_.push_back(link);
  auto timer = std::make_shared<boost::asio::steady_timer>(io_, std::chrono::seconds(2));
  timer->async_wait([this, timer, link](ErrorCode) { std::erase(closing_, link); });
}

}  // namespace taskmill::worker
