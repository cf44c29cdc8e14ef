#include "protocol/worker_session.hpp"

#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"
#include "protocol/parse_to_worker.hpp"
#include "protocol/task_block.hpp"

namespace taskmill::protocol {
namespace {

// What is reserved at once for a body; more only as it arrives, so that a length alone costs nothing.
constexpr std::uint64_t reserved_at_once = 64U << 10;

Step<ToWorker> failed(Problem problem, std::string detail) { return {0, std::nullopt, problem, std::move(detail)}; }

}  // namespace

struct WorkerSession::Assembly {
  enum class Collecting : std::uint8_t { nothing, message_body, task_body };
  ToWorkerContext context;
  TaskBlock block;
  std::string body;
  std::uint64_t body_left = 0;
  Collecting collecting = Collecting::nothing;
  bool in_task = false;

  void collect(Collecting what, std::uint64_t length) {
    collecting = what;
    body_left = length;
    body.clear();
    body.reserve(std::min(length, reserved_at_once));
  }
};

WorkerSession::WorkerSession(Config config) : config_(std::move(config)), assembly_(std::make_unique<Assembly>()) {
  assembly_->context.version = config_.version;
  if (!config_.has_password) return;
  auth_ = std::make_unique<AuthMachine>(AuthRole::connecting, config_.password, config_.challenge);
  auth_->start(output_);
}

WorkerSession::WorkerSession(WorkerSession&&) noexcept = default;
WorkerSession& WorkerSession::operator=(WorkerSession&&) noexcept = default;
WorkerSession::~WorkerSession() = default;

bool WorkerSession::authenticated() const { return !auth_ || auth_->state() == AuthState::ok; }

std::string WorkerSession::take_output() { return std::exchange(output_, {}); }

void WorkerSession::body_taken(std::uint64_t count) { body_left_ -= std::min(count, body_left_); }

Step<ToWorker> WorkerSession::next(std::span<const char> input) {
  if (body_left_ > 0) return {};
  if (assembly_->collecting != Assembly::Collecting::nothing) return collect(input);
  const bool authenticating = !authenticated();
  const auto line = take_line(input, authenticating ? max_auth_line : max_line, line_);
  switch (line.state) {
    case TakenLine::State::partial:
      return {};
    case TakenLine::State::too_long:
      return failed(Problem::line_too_long, describe(line.text, "line too long"));
    case TakenLine::State::complete:
      break;
  }
  return authenticating ? on_auth_line(line.text, line.consumed) : on_line(line.text, line.consumed);
}

Step<ToWorker> WorkerSession::on_auth_line(std::string_view line, std::size_t consumed) {
  switch (auth_->on_line(line, output_)) {
    case AuthState::running:
      return {consumed, std::nullopt, Problem::none, {}};
    case AuthState::ok:
      return {consumed, ManagerAuthenticated{}, Problem::none, {}};
    case AuthState::failed:
      break;
  }
  const auto problem = auth_->peer_has_no_password() ? Problem::auth_missing : Problem::auth_failed;
  return {consumed, std::nullopt, problem, auth_->failure()};
}

Step<ToWorker> WorkerSession::on_line(std::string_view line, std::size_t consumed) {
  auto& assembly = *assembly_;
  Step<ToWorker> step;
  step.consumed = consumed;
  if (assembly.in_task) {
    switch (assembly.block.on_line(line)) {
      case TaskBlock::Progress::line:
        break;
      case TaskBlock::Progress::body:
        assembly.collect(Assembly::Collecting::task_body, assembly.block.body_length());
        if (assembly.body_left == 0) collect({});
        break;
      case TaskBlock::Progress::complete:
        assembly.in_task = false;
        step.message = RunTask{assembly.block.take()};
        break;
      case TaskBlock::Progress::failed:
        return failed(assembly.block.problem(), describe(line, assembly.block.why()));
    }
    return step;
  }
  assembly.context.frames = frames_allowed_;
  auto parsed = parse_to_worker(line, assembly.context);
  if (parsed.problem != Problem::none) return failed(parsed.problem, describe(line, parsed.why));
  body_left_ = parsed.body;
  if (assembly.context.wanted != ToWorkerContext::Wanted::nothing) {
    assembly.collect(Assembly::Collecting::message_body, assembly.context.wanted_length);
  }
  if (std::exchange(assembly.context.task_opened, false)) {
    assembly.in_task = true;
    assembly.block.begin(assembly.context.task_id, config_.version);
  }
  step.message = std::move(parsed.message);
  return step;
}

// Takes what there is of a small body; the last byte completes the message or the field.
Step<ToWorker> WorkerSession::collect(std::span<const char> input) {
  auto& assembly = *assembly_;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(assembly.body_left, input.size()));
  assembly.body.append(input.data(), count);
  assembly.body_left -= count;
  Step<ToWorker> step;
  step.consumed = count;
  if (assembly.body_left > 0) return step;
  const auto what = std::exchange(assembly.collecting, Assembly::Collecting::nothing);
  if (what == Assembly::Collecting::task_body) {
    assembly.block.on_body(assembly.body);
    return step;
  }
  auto parsed = complete_to_worker(assembly.body, assembly.context);
  if (parsed.problem != Problem::none) return failed(parsed.problem, std::string(parsed.why));
  step.message = std::move(parsed.message);
  return step;
}

}  // namespace taskmill::protocol
