#include "manager/core/effects.hpp"

#include <algorithm>
#include <cmath>

namespace taskmill::manager {

double without_overshoot(double cores) { return cores <= 1 ? cores : std::min(cores, std::ceil(cores - 0.1)); }

const char* close_reason_text(CloseReason reason) {
  switch (reason) {
    case CloseReason::none:
      return "none";
    case CloseReason::bad_version:
      return "unsupported protocol version";
    case CloseReason::protocol_error:
      return "protocol error";
    case CloseReason::disconnected:
      return "disconnected";
    case CloseReason::silent:
      return "did not introduce itself";
    case CloseReason::keepalive:
      return "did not answer a keepalive check";
    case CloseReason::transfer_timeout:
      return "transfer took too long";
    case CloseReason::idle_out:
      return "left for being idle";
    case CloseReason::drained:
      return "drained";
    case CloseReason::factory_surplus:
      return "more workers than its factory allows";
    case CloseReason::released:
      return "released";
    case CloseReason::slow:
      return "dropped for being slow";
    case CloseReason::status_client:
      return "status answered";
    case CloseReason::auth_failed:
      return "failed authentication";
  }
  return "unknown";
}

const char* task_state_text(TaskState state) {
  switch (state) {
    case TaskState::unknown:
      return "UNKNOWN";
    case TaskState::ready:
      return "WAITING";
    case TaskState::running:
      return "RUNNING";
    case TaskState::waiting_retrieval:
      return "WAITING_RETRIEVAL";
    case TaskState::retrieved:
      return "RETRIEVED";
    case TaskState::done:
      return "DONE";
    case TaskState::cancelled:
      return "CANCELED";
  }
  return "UNKNOWN";
}

const char* requeue_reason_text(RequeueReason reason) {
  switch (reason) {
    case RequeueReason::none:
      return "none";
    case RequeueReason::worker_lost:
      return "worker lost";
    case RequeueReason::forsaken:
      return "given back by the worker";
    case RequeueReason::fast_abort:
      return "stopped for being slow";
    case RequeueReason::file_invalidated:
      return "an input was invalidated";
    case RequeueReason::exhausted:
      return "ran out of resources";
    case RequeueReason::input_failed_at_worker:
      return "an input changed while it was sent";
    case RequeueReason::worker_drained:
      return "worker drained";
    case RequeueReason::copy_lost:
      return "copy lost";
  }
  return "unknown";
}

}  // namespace taskmill::manager
