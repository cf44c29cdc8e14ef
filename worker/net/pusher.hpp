// Pushes the results of tasks that came in a batch, with what is small of their outputs inside (docs/extensions.md).
#pragma once

#include "worker/net/link.hpp"
#include "worker/net/measuring.hpp"
#include "worker/net/task_runner.hpp"

namespace taskmill::worker {

class Pusher {
 public:
  Pusher(Context& context, TaskRunner& tasks, Measuring& measuring)
      : context_(context), tasks_(tasks), measuring_(measuring) {}
  void send(std::vector<PushBatch>& batches, Link& link);

 private:
  void fill(pb::Result& out, PushedResult& pushed);
  void fill_files(pb::Result& out, const PushedResult& pushed);

  Context& context_;
  TaskRunner& tasks_;
  Measuring& measuring_;
};

}  // namespace taskmill::worker
