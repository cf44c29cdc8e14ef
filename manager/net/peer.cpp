#include "manager/net/peer.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/aio/clock.hpp"
#include "manager/net/environment_feed.hpp"
#include "manager/net/monitor_summary.hpp"
#include "protocol/format.hpp"
#include "protocol/limits.hpp"

namespace taskmill::manager {
namespace {

constexpr std::uint64_t slice_ticket = ~0ULL;  // never one of Outbound's

}  // namespace

Peer::Peer(PeerOwner& owner, ConnId id, protocol::ManagerSession::Config session,
           std::shared_ptr<Outbound::Context> context, boost::asio::ip::tcp::socket socket)
    : owner_(owner),
      id_(id),
      session_(std::move(session)),
      connection_(std::make_shared<aio::Connection>(std::move(socket), *this)),
      outbound_(std::make_shared<Outbound>(id, context, session_, fetches_)),
      address_(connection_->peer_text()),
      handshake_(owner.capabilities()) {
  connection_->set_pace(context->pace);
  if (context->environments) feed_ = make_feed(context);
  outbound_->attach(connection_, [this] {
    update_congestion();
    if (feed_) feed_->pump();
  });
}

Peer::~Peer() {
  if (feed_) feed_->shut();
  outbound_->shut();
  connection_->detach();
}

void Peer::start(aio::SslPtr ssl) {
  const bool secure = ssl != nullptr;
  connection_->start(std::move(ssl));
  if (!secure) on_secured();
}

void Peer::on_secured() {
  outbound_->say(session_.take_output());
  outbound_->pump();
  if (!session_.authenticated()) return;
  ready_ = true;
  owner_.peer_ready(*this);
}

void Peer::close_for(CloseReason reason) {
  forgotten_ = true;
  close_reason_ = reason;
  connection_->close(close_reason_text(reason));
}

void Peer::fail(CloseReason reason, const std::string& text) {
  if (!connection_->is_open()) return;
  close_reason_ = reason;
  connection_->close(text);
}

void Peer::finish_status() {
  doomed_ = true;
  close_reason_ = CloseReason::status_client;
  connection_->finish("status answered");
}

void Peer::on_closed(const aio::CloseReason& reason) {
  if (feed_) feed_->shut();
  outbound_->shut();
  if (output_) output_->abandon_file();
  if (reason.kind != aio::CloseReason::Kind::local && close_reason_ != CloseReason::released) {
    close_reason_ = CloseReason::disconnected;
  }
  owner_.peer_closed(*this, close_reason_, reason.text);  // ends this object
}

void Peer::on_drained() { outbound_->pump(); }

void Peer::send_slice(std::string text) {
  connection_->send_buffer(std::make_shared<const std::string>(std::move(text)), slice_ticket);
}

void Peer::on_sent(std::uint64_t ticket) {
  if (ticket == feed_ticket) return feed_->on_sent();
  if (ticket != slice_ticket) return outbound_->on_sent(ticket);
  if (on_room) on_room();
}

void Peer::update_congestion() {
  if (forgotten_) return;
  const bool now_long = outbound_->is_long();
  if (now_long == congested_) return;
  congested_ = now_long;
  owner_.machine().on_congested(id_, congested_, aio::now());
  owner_.wake();
}

// --- reading ---

std::size_t Peer::on_data(std::span<const char> bytes) {
  if (doomed_) return bytes.size();
  owner_.machine().on_heard(id_, aio::now());
  owner_.wake();
  std::size_t used = 0;
  while (used < bytes.size() && connection_->is_open()) {
    const std::string_view rest(bytes.data() + used, bytes.size() - used);
    if (session_.body_left() > 0) {
      bool spliced = false;
      used += take_body(rest, spliced);
      if (spliced) return used;
      continue;
    }
    auto step = session_.next({rest.data(), rest.size()});
    if (const auto reply = session_.take_output(); !reply.empty()) {
      outbound_->say(reply);
      outbound_->pump();
    }
    if (step.failed()) {
      const bool auth = step.problem == protocol::Problem::auth_failed ||
                        step.problem == protocol::Problem::auth_missing ||
                        step.problem == protocol::Problem::auth_unexpected;
      const std::string problem = protocol::problem_text(step.problem);
      const auto text = "closing " + hostname_ + " (" + address_ +
                        "): " + (step.detail.starts_with(problem) ? "" : problem + ": ") + step.detail;
      auth ? owner_.note_refused(*this, text) : owner_.note(NoticeLevel::notice, text);
      doomed_ = true;
      close_reason_ = auth ? CloseReason::auth_failed : CloseReason::protocol_error;
      outbound_->pump();
      connection_->finish(step.detail);  // the verdict of a failed exchange still leaves
      return bytes.size();
    }
    if (step.consumed > 0) owner_.trace_received(*this, rest.substr(0, step.consumed));
    used += step.consumed;
    if (step.message) {
      handle(*step.message);
    } else if (step.consumed == 0) {
      break;
    }
  }
  return used;
}

void Peer::begin_body(Sink sink, std::uint64_t length) {
  sink_ = sink;
  body_length_ = length;
  to_keep_ = sink == Sink::drop ? 0 : length;
  body_error_ = {};
  owner_.machine().on_body(id_, length, aio::now());
  if (length == 0) body_complete();
}

int Peer::body_file() const {
  switch (sink_) {
    case Sink::text:
      return text_->file();
    case Sink::file:
      return file_fd_;
    case Sink::watch:
      return watch_file_.get();
    default:
      return -1;
  }
}

// Takes what is here. When more of the body is to come and it belongs to a descriptor (or to nobody), the connection
// moves the rest by itself (`spliced`); a body that is kept in part comes back here for the part to be dropped.
std::size_t Peer::take_body(std::string_view bytes, bool& spliced) {
  const auto left = session_.body_left();
  const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
  const auto kept = static_cast<std::size_t>(std::min<std::uint64_t>(here, to_keep_));
  if (kept > 0 && !body_error_) write_body(bytes.substr(0, kept));
  to_keep_ -= kept;
  session_.body_taken(here);
  if (here == left) {
    body_complete();
    return here;
  }
  const int file = to_keep_ > 0 && !body_error_ ? body_file() : -1;
  const bool in_memory = to_keep_ > 0 && !body_error_ && file < 0;
  if (in_memory) return here;
  const auto chunk = file >= 0 ? std::min(left - here, to_keep_) : left - here;
  to_keep_ -= std::min(to_keep_, chunk);
  session_.body_taken(chunk);
  connection_->receive_into(file, chunk);
  spliced = true;
  return here;
}

void Peer::write_body(std::string_view bytes) {
  if (sink_ == Sink::message || sink_ == Sink::frame) {
    message_.append(bytes);
    return;
  }
  if (sink_ == Sink::text) {
    text_->append(bytes);
    return;
  }
  const int file = body_file();
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      body_error_ = errno_code();
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void Peer::on_body_done(ErrorCode file_error) {
  if (file_error && !body_error_) body_error_ = file_error;
  owner_.machine().on_heard(id_, aio::now());
  owner_.wake();
  if (session_.body_left() == 0) body_complete();
}

void Peer::body_complete() {
  const auto sink = std::exchange(sink_, Sink::none);
  const auto now = aio::now();
  switch (sink) {
    case Sink::text: {
      const auto kept = text_->kept();
      text_->finish(body_length_ - std::min(body_length_, kept), body_error_);
      if (std::exchange(text_is_held_, false)) break;  // told to the machine when the reply ends
      owner_.store_text(result_.task, id_, std::exchange(text_, nullptr));
      owner_.machine().on_result(id_, result_, now);
      break;
    }
    case Sink::file: {
      if (body_error_) {
        note_local_error(body_error_, item_);
      } else if (const auto error = output_->finish_file()) {
        note_local_error(error, item_);
      } else {
        fetched_bytes_ += body_length_;
      }
      if (output_) output_->abandon_file();
      break;
    }
    case Sink::watch:
      watch_file_.reset();
      break;
    case Sink::message:
      owner_.machine().on_cache_invalid(id_, message_name_, message_, now);
      message_.clear();
      break;
    case Sink::frame:
      on_frame_body();
      break;
    case Sink::drop:
    case Sink::none:
      break;
  }
}

// --- messages ---

struct Peer::Handler {
  Peer& peer;
  Machine& machine;
  Now now;

  void operator()(const protocol::Authenticated&) const {
    peer.ready_ = true;
    peer.owner_.peer_ready(peer);
  }
  void operator()(const protocol::Greeting& greeting) const {
    peer.hostname_ = greeting.hostname;
    peer.greeted_ = true;
    machine.on_greeting(peer.id_, greeting, now);
  }
  void operator()(const protocol::Info& info) const { peer.on_info(info.field, info.value); }
  void operator()(const protocol::Feature& feature) const { machine.on_feature(peer.id_, feature.name, now); }
  void operator()(const protocol::ResourceReport& report) const { machine.on_resource(peer.id_, report, now); }
  void operator()(const protocol::ResourceTag& tag) const { machine.on_resource_tag(peer.id_, tag.tag, now); }
  void operator()(const protocol::Alive&) const {}
  void operator()(const protocol::TlqToken&) const {}
  void operator()(const protocol::ThirdPutComplete&) const {}
  void operator()(const protocol::NameQuery&) const {
    peer.outbound_->say(peer.owner_.project() + "\n");
    peer.outbound_->pump();
  }
  void operator()(const protocol::AvailableResults&) const { machine.on_available_results(peer.id_, now); }
  void operator()(const protocol::ResultsEnd&) const { machine.on_results_end(peer.id_, now); }
  void operator()(const protocol::TaskResult& result) const { peer.on_result(result); }
  void operator()(const protocol::WatchUpdate& update) const { peer.on_watch(update); }
  void operator()(const protocol::FileItem& item) const { peer.on_file_item(item); }
  void operator()(const protocol::DirItem& item) const { peer.on_dir_item(item); }
  void operator()(const protocol::MissingItem& item) const { peer.on_missing_item(item); }
  void operator()(const protocol::GetEnd&) const { peer.on_get_end(); }
  void operator()(const protocol::CacheUpdate& update) const {
    machine.on_cache_update(peer.id_, update.name, update.size, update.transfer_us, now);
  }
  void operator()(const protocol::CacheInvalid& message) const { peer.on_cache_invalid(message); }
  void operator()(const protocol::StatusQuery& query) const { peer.owner_.answer_status(peer, query.kind); }
  void operator()(const protocol::HttpRequest& request) const { peer.owner_.answer_http(peer, request.path); }
  void operator()(const protocol::Frame& frame) const { peer.on_frame(frame); }
};

void Peer::handle(const protocol::FromWorker& message) {
  std::visit(Handler{*this, owner_.machine(), aio::now()}, message);
}

void Peer::on_result(const protocol::TaskResult& result) {
  result_ = {};
  result_.task = TaskId(static_cast<std::uint32_t>(result.task_id));
  result_.status = result.status;
  result_.exit_code = result.exit_code;
  result_.output_length = result.output_length;
  result_.execution_us = result.execution_us;
  if (const auto found = measured_.find(result.task_id); found != measured_.end()) {
    result_.measured = std::move(found->second.measured);
    result_.limit = std::move(found->second.limit);
    measured_.erase(found);
  }
  text_ = std::make_shared<TaskText>(result.output_length, owner_.text_limits());
  const auto keep = text_->kept();
  if (result.output_length == 0) {
    sink_ = Sink::text;
    body_length_ = 0;
    body_error_ = {};
    body_complete();
    return;
  }
  begin_body(Sink::text, result.output_length);
  to_keep_ = keep;
}

void Peer::on_watch(const protocol::WatchUpdate& update) {
  const auto target =
      owner_.machine().watch_target(id_, TaskId(static_cast<std::uint32_t>(update.task_id)), update.path);
  if (!target.empty()) {
    if (auto file = open_watched(target, update.offset, update.length); file.has_value()) {
      watch_file_ = std::move(*file);
      return begin_body(Sink::watch, update.length);
    }
  }
  begin_body(Sink::drop, update.length);
}

OutputFile& Peer::output() {
  if (!output_) output_ = std::make_unique<OutputFile>(fetches_.front().path, owner_.disk_reserve());
  return *output_;
}

void Peer::note_local_error(ErrorCode error, std::string_view relative) {
  if (!local_error_.empty()) return;
  local_error_ = fetches_.front().path;
  if (!relative.empty()) local_error_.append("/").append(relative);
  local_error_ += ": " + error.message();
}

void Peer::on_file_item(const protocol::FileItem& item) {
  if (fetches_.empty()) return begin_body(Sink::drop, item.length);
  if (fetches_.front().held) return begin_held_text(item.length);
  fetched_something_ = true;
  item_ = item.path;
  const auto file = output().begin_file(item.path, item.length);
  if (!file.has_value()) {
    note_local_error(file.error(), item.path);
    return begin_body(Sink::drop, item.length);
  }
  file_fd_ = *file;
  begin_body(Sink::file, item.length);
}

void Peer::on_dir_item(const protocol::DirItem& item) {
  if (fetches_.empty() || fetches_.front().held) return;
  fetched_something_ = true;
  if (const auto error = output().make_directory(item.path)) note_local_error(error, item.path);
}

void Peer::on_missing_item(const protocol::MissingItem& item) {
  if (fetches_.empty() || fetches_.front().held || !missing_.empty()) return;
  missing_ = fetches_.front().path;
  if (!item.path.empty()) missing_.append("/").append(item.path);
  missing_ += ": the task did not make it (" + std::string(std::strerror(item.error)) + ")";
}

// As what later tasks will find it, should they name it as an input.
void Peer::note_stored(const struct stat& stored, Fetched& fetched) {
  fetched.size = static_cast<std::uint64_t>(stored.st_size);
  fetched.mtime_ns = stored.st_mtim.tv_sec * 1'000'000'000LL + stored.st_mtim.tv_nsec;
}

void Peer::on_get_end() {
  if (fetches_.empty()) return;
  Fetched fetched;
  const auto& request = fetches_.front();
  if (request.held) return on_held_text();
  fetched.task = request.task;
  fetched.attempt = request.attempt;
  fetched.index = request.index;
  fetched.bytes = fetched_bytes_;
  if (!local_error_.empty()) {
    fetched.status = FetchStatus::local_error;
    fetched.error = std::move(local_error_);
  } else if (!missing_.empty() || !fetched_something_) {
    fetched.status = FetchStatus::missing;
    fetched.error = missing_.empty() ? request.path + ": the worker sent nothing" : std::move(missing_);
  }
  struct stat stored {};
  if (fetched.status == FetchStatus::ok && request.cached && ::stat(request.path.c_str(), &stored) == 0)
    note_stored(stored, fetched);
  if (request.index == summary_output && fetched.status == FetchStatus::ok) read_monitor_summary(request.path, fetched);
  output_.reset();
  fetched_bytes_ = 0;
  fetched_something_ = false;
  local_error_.clear();
  missing_.clear();
  fetches_.pop_front();
  owner_.machine().on_fetched(id_, fetched, aio::now());
}

void Peer::on_cache_invalid(const protocol::CacheInvalid& message) {
  message_name_ = message.name;
  message_.clear();
  if (message.length == 0) {
    owner_.machine().on_cache_invalid(id_, message_name_, {}, aio::now());
    return;
  }
  begin_body(Sink::message, message.length);
  to_keep_ = std::min<std::uint64_t>(message.length, protocol::max_cache_invalid);
}

}  // namespace taskmill::manager
