// A worker's machine in a session, driven by hand.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "worker/core/machine.hpp"

namespace taskmill::worker {

class MachineTest : public ::testing::Test {
 protected:
  static MachineConfig config() {
    MachineConfig config;
    config.offered = {2, 100, 1000, 0};
    config.disk_reserve = 50;
    config.identity.host = "h";
    config.identity.os = "Linux";
    config.identity.arch = "x86_64";
    config.identity.software = "1";
    config.identity.worker_id = "worker-0";
    return config;
  }
  void SetUp() override {
    machine.on_session_started("m", 11, now, fx);
    take();
  }
  /// Runs the machine and returns what it wants, leaving nothing.
  Effects take() {
    machine.run(now, fx);
    machine.check_invariants();
    Effects taken = std::move(fx);
    fx = Effects();
    return taken;
  }
  Effects answer() {
    machine.on_results_requested();
    Effects reply;
    machine.answer_results(now, reply);
    machine.check_invariants();
    return reply;
  }
  static std::string text_of(const Effects& reply) {
    std::string text;
    for (const auto& part : reply.reply)
      text += part.kind == ReplyPart::Kind::text ? part.text : "<" + std::to_string(part.length) + ">";
    return text;
  }
  protocol::TaskDescription task(std::int64_t id, double cores = 1, double memory = 10) {
    protocol::TaskDescription description;
    description.task_id = id;
    description.command = "x";
    description.cores = cores;
    description.memory = memory;
    description.disk = 0;
    description.gpus = 0;
    return description;
  }
  void give(protocol::TaskDescription description) { machine.on_task(std::move(description), now, fx); }
  void started(TaskKey key) { machine.on_started(key, now, fx); }
  void exited(TaskKey key, int wait_status = 0) {
    TaskExit exit;
    exit.wait_status = wait_status;
    machine.on_exited(key, exit, now, fx);
  }
  void pass(double seconds) {
    const Duration step(static_cast<Duration::rep>(seconds * 1e6));
    now.time += step;
    now.wall += step;
  }

  Now now{Time(Duration(5'000'000)), WallTime(Duration(1'800'000'000'000'000))};
  Effects fx;
  Machine machine{config(), now.time};
};

}  // namespace taskmill::worker
