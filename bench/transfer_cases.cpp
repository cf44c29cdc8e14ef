// Files through the manager: one large, many middling, very many small; to a simulated worker and back.
#include <algorithm>
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
  double of_limit_in, of_limit_out;  ///< targets; 0: none
  double of_peer_in, of_peer_out;

  [[nodiscard]] const char* unit() const { return count == 1 ? "MB/s" : "files/s"; }
  [[nodiscard]] double rate(double seconds) const {
    return (count == 1 ? static_cast<double>(bytes) / 1e6 : static_cast<double>(count)) / seconds;
  }
};

std::vector<Files> kinds(bool quick) {
  return {{1, quick ? 64U << 20 : 1U << 30, quick ? "1 × 64 MiB" : "1 × 1 GiB", 0.9, 0.8, 0, 0},
          {quick ? 100U : 1000U, 1U << 20, quick ? "100 × 1 MiB" : "1,000 × 1 MiB", 0.95, 0, 0, 3},
          {quick ? 1000U : 10000U, 4096, quick ? "1,000 × 4 KiB" : "10,000 × 4 KiB", 0, 0, 3, 10}};
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

/// Inputs are sent before their task, so the interval begins when the worker connects. `directory` holds the inputs,
/// or gets the outputs.
Row measure(const Stack& stack, const Files& files, bool inputs, const std::string& directory, double patience_s) {
  Row row{.who = stack.label(), .unit = files.unit()};
  const Scratch scratch;
  Load load{.tasks = files.count};
  (inputs ? load.input_dir : load.output_dir) = directory;
  auto manager = stack.start_library(scratch, load);
  if (!manager.program) return row;
  SimWorkers sim({.port = manager.port,
                  .workers = 1,
                  .cores = 4,
                  .version = stack.version(),
                  .output_bytes = inputs ? 0 : files.bytes});
  const double cpu = manager.program->cpu_s();
  double used = 0;
  const double start = now_s();
  sim.connect();
  // A manager with nothing left to do ends, and so do its workers' connections.
  sim.run(patience_s, [&] {
    if (const double at = manager.program->cpu_s(); at > 0) used = at - cpu;
    return inputs && sim.tasks_done() == files.count;
  });
  const double elapsed = now_s() - start;
  const auto moved = inputs ? sim.bytes_in() : sim.bytes_out();
  row.cpu_us = used * 1e6 / static_cast<double>(files.count);
  if (moved < files.count * files.bytes)
    row.note = figure(static_cast<double>(moved) / 1e6) + " MB moved in time";
  else
    row.rate = files.rate(elapsed);
  return row;
}

void measure_kind(Context& context, const Files& files, bool inputs) {
  const auto what = std::string(inputs ? "inputs, " : "outputs, ") + files.text;
  const Scratch scratch;
  const auto directory = scratch.path("files");
  fs::create_directories(directory);
  if (inputs) make_files(directory, files);
  std::vector<Row> limits;
  for (int i = 0; i < context.repeat; ++i) {
    const double seconds =
        inputs ? sendfile_limit(directory, files.count, files.bytes) : store_limit(directory, files.count, files.bytes);
    limits.push_back({.what = what, .who = "limit", .rate = files.rate(seconds), .unit = files.unit()});
  }
  auto limit = median_row(std::move(limits));
  limit.note = (inputs ? "sendfile over loopback, dropped; " : "loopback into files; ") + limit.note;
  context.table.add(limit);
  const auto rows = measure_all(
      context, what, [](const Stack& stack) { return stack.has_manager(); },
      [&](const Stack& stack) { return measure(stack, files, inputs, directory, stack.is_ours() ? 15 : 12); });
  if (!rows.ours) return;
  const double of_limit = rows.ours->rate / limit.rate;
  const auto* peer = rows.best_peer();
  const double of_peer = peer != nullptr && peer->rate > 0 ? rows.ours->rate / peer->rate : 0;
  const double least_of_limit = inputs ? files.of_limit_in : files.of_limit_out;
  const double least_of_peer = inputs ? files.of_peer_in : files.of_peer_out;
  context.scores.add(
      {.what = what,
       .peer = rows.peer_text(rate_text),
       .limit = rate_text(limit),
       .ours = rate_text(*rows.ours),
       .ratio =
           figure(of_limit) + " of the limit" + (of_peer > 0 ? ", " + figure(of_peer) + " × the peer" : std::string()),
       .target = least_of_limit > 0 ? "≥ " + figure(least_of_limit * 100) + " % of the limit"
                                    : "≥ " + figure(least_of_peer) + " × the better peer",
       .met = least_of_limit > 0 ? at_least(of_limit, least_of_limit) : at_least(of_peer, least_of_peer)});
}

}  // namespace

void transfer_cases(Context& context) {
  for (const bool inputs : {true, false}) {
    for (const auto& files : kinds(context.quick)) measure_kind(context, files, inputs);
  }
}

}  // namespace taskmill::bench
