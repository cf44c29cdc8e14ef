#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/cases.hpp"
#include "bench/limits.hpp"
#include "bench/sim_workers.hpp"

namespace taskmill::bench {
namespace {

namespace fs = std::filesystem;

struct Files {
  std::uint64_t count = 1;
  std::uint64_t bytes = 0;  ///< each
  std::string text;
};

std::vector<Files> kinds(bool quick) {
  if (quick) return {{1, 64U << 20, "1 x 64 MiB"}, {100, 1U << 20, "100 x 1 MiB"}, {1000, 4096, "1,000 x 4 KiB"}};
  return {{1, 1U << 30, "1 x 1 GiB"}, {1000, 1U << 20, "1,000 x 1 MiB"}, {10000, 4096, "10,000 x 4 KiB"}};
}

void make_files(const std::string& directory, const Files& files) {
  fs::create_directories(directory);
  const std::string block(std::min<std::uint64_t>(files.bytes, 1U << 20), 'x');
  for (std::uint64_t i = 0; i < files.count; ++i) {
    std::ofstream out(directory + "/" + std::to_string(i), std::ios::binary);
    for (std::uint64_t left = files.bytes; left > 0;) {
      const auto part = std::min<std::uint64_t>(left, block.size());
      out.write(block.data(), static_cast<std::streamsize>(part));
      left -= part;
    }
    if (!out) fail("cannot write " + directory + ": " + std::strerror(errno));
  }
}

/// Inputs are sent before their task, so the interval begins when the worker connects.
void measure(Context& context, const Stack& stack, const Files& files, bool inputs) {
  Scratch scratch;
  const auto directory = scratch.path("files");
  fs::create_directories(directory);
  if (inputs) make_files(directory, files);
  Load load{.tasks = files.count};
  (inputs ? load.input_dir : load.output_dir) = directory;
  auto manager = stack.start_manager(scratch, load);
  if (!manager.program) return;
  SimWorkers sim({.port = manager.port,
                  .workers = 1,
                  .cores = 4,
                  .version = stack.version(),
                  .output_bytes = inputs ? 0 : files.bytes});
  const double cpu = manager.program->cpu_s();
  const double start = now_s();
  sim.connect();
  // A manager with nothing left to do ends, and so do its workers' connections.
  sim.run(context.seconds * 10 + 10, [&] { return inputs && sim.tasks_done() == files.count; });
  Row row{.what = std::string(inputs ? "inputs, " : "outputs, ") + files.text,
          .who = stack.label(),
          .unit = files.count == 1 ? "MB/s" : "files/s"};
  const double elapsed = now_s() - start;
  const double total = static_cast<double>(files.count * files.bytes) / 1e6;
  const auto moved = inputs ? sim.bytes_in() : sim.bytes_out();
  if (moved < files.count * files.bytes) row.note = std::to_string(moved / 1000000) + " MB moved in time";
  row.rate = (files.count == 1 ? total : static_cast<double>(files.count)) / elapsed;
  if (!row.note.empty()) row.rate = 0;
  if (manager.program->running())
    row.cpu_us = (manager.program->cpu_s() - cpu) * 1e6 / static_cast<double>(files.count);
  context.table.add(std::move(row));
}

}  // namespace

void transfer_cases(Context& context) {
  for (const bool inputs : {true, false}) {
    for (const auto& files : kinds(context.quick)) {
      if (files.count == 1) {
        Scratch scratch;
        make_files(scratch.path("limit"), files);
        context.table.add({.what = std::string(inputs ? "inputs, " : "outputs, ") + files.text,
                           .who = "limit",
                           .rate = sendfile_limit(scratch.path("limit/0"), files.bytes),
                           .unit = "MB/s",
                           .note = "sendfile over loopback"});
      }
      for (const auto& stack : context.stacks) {
        if (stack.has_manager()) measure(context, stack, files, inputs);
      }
    }
  }
}

}  // namespace taskmill::bench
