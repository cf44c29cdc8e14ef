#include "bench/stacks.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace taskmill::bench {
namespace {

namespace fs = std::filesystem;

bool runs(const std::string& path) { return !path.empty() && ::access(path.c_str(), X_OK) == 0; }

void write_tasks(const std::string& file, const Load& load) {
  std::ofstream out(file);
  for (int i = 0; i < load.misfits; ++i) out << R"({"command": "true", "cores": 1000, "memory": 1, "disk": 1})" << '\n';
  for (std::uint64_t i = 0; i < load.tasks; ++i) {
    out << R"({"command": ")" << load.command << R"(", "cores": 1, "memory": 1, "disk": 1)";
    if (!load.input_dir.empty()) {
      out << R"(, "inputs": [{"file": ")" << load.input_dir << '/' << i << R"(", "name": "in", "cache": false}])";
    }
    if (i == 0 && !load.big_file.empty())
      out << R"(, "inputs": [{"file": ")" << load.big_file << R"(", "name": "big", "cache": false}], "priority": 1)";
    if (!load.output_dir.empty())
      out << R"(, "outputs": [{"file": ")" << load.output_dir << '/' << i << R"(", "name": "out"}])";
    out << "}\n";
  }
}

}  // namespace

bool Stack::has_worker() const { return runs(worker_); }
bool Stack::has_manager() const { return runs(manager_); }

Stack::Manager Stack::start_manager(const Scratch& scratch, const Load& load) const {
  const auto port_file = scratch.path("port");
  fs::remove(port_file);
  std::vector<std::string> command;
  if (is_ours()) {
    write_tasks(scratch.path("tasks.jsonl"), load);
    command = {manager_, "run", scratch.path("tasks.jsonl"), "--port", "0", "--port-file", port_file};
  } else {
    command = {manager_,
               port_file,
               std::to_string(load.tasks),
               std::to_string(load.ahead),
               load.command,
               load.input_dir.empty() ? "-" : load.input_dir,
               load.output_dir.empty() ? "-" : load.output_dir,
               std::to_string(load.misfits)};
    if (!load.big_file.empty()) command.push_back(load.big_file);
  }
  Manager manager;
  const double start = now_s();
  manager.program = std::make_unique<Program>(command, scratch.path(label_ + "-manager.log"));
  const auto port = wait_for_port(port_file, *manager.program, 60);
  manager.ready_s = now_s() - start;
  if (port)
    manager.port = *port;
  else
    manager.program.reset();
  return manager;
}

std::unique_ptr<Program> Stack::start_worker(const Scratch& scratch, int port, int cores) const {
  const std::vector<std::string> command = {worker_,
                                            "-s",
                                            scratch.path(""),
                                            "-t",
                                            "60",
                                            "-i",
                                            "1",
                                            "-b",
                                            "1",
                                            "--cores",
                                            std::to_string(cores),
                                            "--memory",
                                            "8000",
                                            "--disk",
                                            "8000",
                                            "127.0.0.1",
                                            std::to_string(port)};
  return std::make_unique<Program>(command, scratch.path(label_ + "-worker.log"));
}

Stack our_stack(const std::string& bin_dir) {
  return {Stack::Kind::ours, "taskmill", bin_dir + "/work_queue_worker", bin_dir + "/work_queue_manager"};
}

Stack debian_stack(const std::string& bin_dir) {
  Stack stack(Stack::Kind::old, "debian-9.9", "/usr/bin/work_queue_worker", bin_dir + "/old_manager");
  stack.set_version(9);
  return stack;
}

Stack foreign_stack(const std::string& prefix, const Scratch& scratch) {
  const auto program = scratch.path("foreign_manager");
  const auto log = scratch.path("compile.log");
  const std::string source = std::string(TASKMILL_SOURCE_DIR) + "/bench/old_manager.c";
  Program compiler({"/usr/bin/env", "cc", "-O2", "-I" + prefix + "/include/cctools", source, "-L" + prefix + "/lib",
                    "-lwork_queue", "-ldttools", "-lm", "-lz", "-lssl", "-lcrypto", "-o", program},
                   log);
  if (!compiler.wait(60) || !runs(program)) {
    std::ifstream text(log);
    std::fprintf(stderr, "work_queue_bench: no manager for %s:\n%s\n", prefix.c_str(),
                 std::string(std::istreambuf_iterator<char>(text), {}).c_str());
  }
  return {Stack::Kind::old, fs::path(prefix).filename().string(), prefix + "/bin/work_queue_worker", program};
}

}  // namespace taskmill::bench
