#include "worker/net/link.hpp"

#include <algorithm>
#include <utility>

#include "protocol/session.hpp"

namespace taskmill::worker {

Link::Link(boost::asio::ip::tcp::socket socket, protocol::WorkerSession::Config session, bool has_password,
           LinkEvents& events)
    : connection_(std::make_shared<aio::Connection>(std::move(socket), *this)),
      session_(std::move(session)),
      has_password_(has_password),
      events_(&events) {}

Link::~Link() {
  connection_->detach();
  connection_->close("no longer needed");
}

void Link::retire(std::function<void()> closed) {
  events_ = nullptr;
  retired_closed_ = std::move(closed);
  if (!finishing_) connection_->close("no longer needed");
}

void Link::start(aio::SslPtr ssl) {
  const bool secure = ssl != nullptr;
  connection_->start(std::move(ssl));
  if (!secure) on_secured();
}

void Link::on_secured() {
  events_->on_link_secured();
  if (!connection_->is_open() || events_ == nullptr) return;
  if (!has_password_) return become_ready();
  connection_->send(session_.take_output());
}

void Link::become_ready() {
  ready_ = true;
  events_->on_link_ready();
}

std::size_t Link::on_data(std::span<const char> bytes) {
  std::size_t used = 0;
  if (events_ == nullptr) return bytes.size();
  while (used < bytes.size() && connection_->is_open() && fault_text_.empty() && events_ != nullptr) {
    const auto rest = bytes.subspan(used);
    if (ready_) heard_ = true;
    if (in_frame_) {
      used += take_frame(rest);
      continue;
    }
    auto step = session_.next(rest);
    used += step.consumed;
    if (tracing_ && ready_ && step.consumed > 0) {
      const std::string_view line(rest.data(), step.consumed);
      events_->on_link_line(line.substr(0, line.find('\n')));
    }
    if (const auto reply = session_.take_output(); !reply.empty()) connection_->send(reply);
    if (step.failed()) {
      fail(step.problem, step.detail);
      break;
    }
    if (!step.message && step.consumed == 0) break;
    if (step.message && !handle(step, bytes.subspan(used), used)) break;
  }
  if (connection_->is_open() && fault_text_.empty() && events_ != nullptr) events_->on_link_pause();
  return connection_->is_open() ? used : bytes.size();
}

// False when the rest of a body is taken from the socket directly: everything here was consumed.
bool Link::handle(protocol::Step<protocol::ToWorker>& step, std::span<const char> rest, std::size_t& used) {
  if (std::holds_alternative<protocol::ManagerAuthenticated>(*step.message)) {
    become_ready();
    return true;
  }
  if (std::holds_alternative<protocol::PasswordRequired>(*step.message)) {
    fail(protocol::Problem::auth_unexpected, "this manager requires a password");
    return false;
  }
  if (const auto* frame = std::get_if<protocol::ManagerFrame>(&*step.message)) return begin_frame(*frame);
  const std::uint64_t length = session_.body_left();
  auto* file = std::get_if<protocol::PutFile>(&*step.message);
  if (file == nullptr) {
    events_->on_link_message(*step.message);
    return true;
  }
  if (length <= rest.size()) {
    events_->on_whole_body(*file, {rest.data(), static_cast<std::size_t>(length)});
    session_.body_taken(length);
    used += static_cast<std::size_t>(length);
    return true;
  }
  // The connection writes what has arrived already, then splices the rest.
  connection_->receive_into(events_->on_body_begins(*file), length);
  return false;
}

bool Link::begin_frame(const protocol::ManagerFrame& frame) {
  if (!events_->on_link_frame_begins(frame.kind)) {
    fail(protocol::Problem::unknown_message,
         "an extension frame of kind " + std::to_string(frame.kind) + " was not agreed on");
    return false;
  }
  in_frame_ = true;
  frame_kind_ = frame.kind;
  if (frame.length == 0) take_frame({});
  return true;
}

// Memory grows with what has arrived, never with what was announced.
std::size_t Link::take_frame(std::span<const char> bytes) {
  const auto left = session_.body_left();
  const auto here = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size()));
  const std::string_view part(bytes.data(), here);
  session_.body_taken(here);
  if (here < left) {
    frame_body_.append(part);
    return here;
  }
  in_frame_ = false;
  if (frame_body_.empty()) {
    events_->on_link_frame(frame_kind_, part);
  } else {
    frame_body_.append(part);
    const auto body = std::exchange(frame_body_, {});
    events_->on_link_frame(frame_kind_, body);
  }
  return here;
}

void Link::on_body_done(ErrorCode file_error) {
  session_.body_taken(session_.body_left());
  if (events_ != nullptr) events_->on_body_ended(file_error);
}

void Link::on_drained() {
  if (events_ != nullptr) events_->on_link_drained();
}

void Link::fail(protocol::Problem problem, const std::string& detail) {
  switch (problem) {
    case protocol::Problem::auth_unexpected:
      fault_ = LinkFault::password_required;
      break;
    case protocol::Problem::auth_failed:
    case protocol::Problem::auth_missing:
      fault_ = LinkFault::wrong_password;
      break;
    default:
      fault_ = LinkFault::protocol;
      break;
  }
  finishing_ = true;
  fault_text_ = std::string(protocol::problem_text(problem)) + (detail.empty() ? "" : ": " + detail);
  connection_->finish(fault_text_);  // a "failure" verdict may still have to leave
}

void Link::on_closed(const aio::CloseReason& reason) {
  if (events_ == nullptr) {
    if (retired_closed_) retired_closed_();
    return;
  }
  auto fault = fault_;
  if (fault == LinkFault::closed && reason.kind == aio::CloseReason::Kind::tls) fault = LinkFault::tls;
  events_->on_link_closed(fault, fault_text_.empty() ? reason.text : fault_text_);
}

}  // namespace taskmill::worker
