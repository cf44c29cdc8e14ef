#include "bench/stacks.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace taskmill::bench {
namespace {

namespace fs = std::filesystem;

bool runs(const std::string& path) { return !path.empty() && ::access(path.c_str(), X_OK) == 0; }

std::string quoted(const std::string& text) { return '"' + text + '"'; }

/// One line of the task list; paths and commands of this bench need no escaping.
std::string task_line(const Load& load, std::uint64_t i) {
  std::string line = R"({"command": ")" + load.command + (load.distinct ? " " + std::to_string(i) : "") +
                     R"(", "cores": 1, "memory": 1, "disk": 1)";
  std::string inputs;
  const auto input = [&inputs](const std::string& file, const std::string& name, bool cache) {
    if (!inputs.empty()) inputs += ", ";
    inputs += R"({"file": )" + quoted(file) + R"(, "name": )" + quoted(name) + (cache ? "}" : R"(, "cache": false})");
  };
  if (i == 0 && !load.big_file.empty()) input(load.big_file, "big", false);
  if (!load.input_dir.empty()) input(load.input_dir + "/" + std::to_string(i), "in", false);
  for (int k = 0; k < load.files; ++k) {
    const auto number = (i * static_cast<std::uint64_t>(load.files) + static_cast<std::uint64_t>(k)) %
                        static_cast<std::uint64_t>(load.cache);
    input(load.shared_dir + "/" + std::to_string(number), "shared" + std::to_string(k), true);
  }
  if (!inputs.empty()) line += R"(, "inputs": [)" + inputs + "]";
  if (i == 0 && !load.big_file.empty()) line += R"(, "priority": 1)";
  if (load.categories > 0)
    line += R"(, "category": "step)" + std::to_string(i % static_cast<std::uint64_t>(load.categories)) + '"';
  if (load.burst > 0)
    line += std::string(R"(, "features": [)") + (i < load.burst ? quoted("burst") : quoted("control")) + "]";
  if (!load.output_dir.empty() && (load.burst == 0 || i < load.burst))
    line += R"(, "outputs": [{"file": )" + quoted(load.output_dir + "/" + std::to_string(i)) + R"(, "name": "out"}])";
  return line + "}\n";
}

void write_tasks(const std::string& file, const Load& load) {
  std::ofstream out(file);
  for (int i = 0; i < load.misfits; ++i) out << R"({"command": "true", "cores": 1000, "memory": 1, "disk": 1})" << '\n';
  for (std::uint64_t i = 0; i < load.tasks; ++i) out << task_line(load, i);
}

}  // namespace

double reported(const std::string& report, const std::string& name) {
  std::ifstream in(report);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + " ")) return std::atof(line.c_str() + name.size() + 1);
  }
  return 0;
}

std::vector<std::pair<double, double>> reported_probes(const std::string& report) {
  std::vector<std::pair<double, double>> probes;
  std::ifstream in(report);
  std::string word;
  for (double from = 0, to = 0; in >> word >> from >> to;) probes.emplace_back(from, to);
  return probes;
}

bool Stack::has_worker() const { return runs(worker_); }
bool Stack::has_manager() const { return runs(library_); }

Stack::Manager Stack::start(const Scratch& scratch, const std::vector<std::string>& command,
                            const std::string& port_file) const {
  fs::remove(port_file);
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

Stack::Manager Stack::start_manager(const Scratch& scratch, const Load& load) const {
  if (!is_ours()) return start_library(scratch, load);
  const auto port_file = scratch.path("port");
  write_tasks(scratch.path("tasks.jsonl"), load);
  std::vector<std::string> command = {program_,      "run",    scratch.path("tasks.jsonl"), "--port", "0",
                                      "--port-file", port_file};
  if (!load.password_file.empty()) command.insert(command.end(), {"-P", load.password_file});
  if (!load.cert.empty()) command.insert(command.end(), {"--ssl-cert", load.cert, "--ssl-key", load.key});
  return start(scratch, command, port_file);
}

Stack::Manager Stack::start_library(const Scratch& scratch, const Load& load) const {
  const auto port_file = scratch.path("port");
  std::vector<std::string> command = {library_, "port-file=" + port_file, "tasks=" + std::to_string(load.tasks),
                                      "command=" + load.command, "mode=" + load.mode};
  const auto number = [&command](const std::string& name, std::uint64_t value) {
    if (value > 0) command.push_back(name + "=" + std::to_string(value));
  };
  const auto text = [&command](const std::string& name, const std::string& value) {
    if (!value.empty()) command.push_back(name + "=" + value);
  };
  number("ahead", load.ahead);
  number("misfits", static_cast<std::uint64_t>(load.misfits));
  number("files", static_cast<std::uint64_t>(load.files));
  number("cache", static_cast<std::uint64_t>(load.cache));
  number("categories", static_cast<std::uint64_t>(load.categories));
  number("burst", load.burst);
  number("gap-ms", static_cast<std::uint64_t>(load.gap_ms));
  number("distinct", load.distinct ? 1 : 0);
  text("inputs", load.input_dir);
  text("outputs", load.output_dir);
  text("big", load.big_file);
  text("shared", load.shared_dir);
  text("password", load.password_file);
  text("cert", load.cert);
  text("key", load.key);
  text("report", load.report);
  return start(scratch, command, port_file);
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
  return {Stack::Kind::ours, "taskmill", bin_dir + "/work_queue_worker", bin_dir + "/new_manager",
          bin_dir + "/work_queue_manager"};
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
