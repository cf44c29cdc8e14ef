// analysis_tool: what an analysis runs on workers when it uses the built-ins. One file that carries everything it
// needs, so that any worker can run it. Exit status: 0 done, 1 the file is at fault, 2 wrong usage.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/analysis/accumulate.hpp"
#include "tools/analysis/event_count.hpp"

namespace {

using namespace taskmill;
using namespace taskmill::analysis_tool;

int complain(const Error& error) {
  std::fprintf(stderr, "analysis_tool: %s\n", error.text.c_str());
  return 1;
}

struct CountOptions {
  std::string file, format = "auto", tree, index, output;
  std::uint64_t step = 1000;
};

int run_count(const CountOptions& options) {
  const auto format = find_format(options.format, options.file);
  if (!format) return complain(format.error());
  const auto count = count_events(options.file, *format, options.tree, options.step);
  if (!count) return complain(count.error());
  nlohmann::ordered_json json = {{"events", count->events}, {"format", format_name(count->format)}};
  if (!count->uuid.empty()) json["uuid"] = count->uuid;
  if (!count->tree.empty()) json["tree"] = count->tree;
  if (!count->row_groups.empty()) json["row_groups"] = count->row_groups;
  if (!options.index.empty()) {
    if (count->index.size == 0 && count->index.step != options.step)
      return complain({options.file + ": only csv and jsonl files have a line index"});
    std::ofstream index(options.index, std::ios::binary | std::ios::trunc);
    index << count->index.to_text();
    if (!index.flush()) return complain({options.index + ": cannot write the index: " + errno_code().message()});
  }
  const std::string text = json.dump() + "\n";
  if (options.output.empty()) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  std::ofstream out(options.output, std::ios::binary | std::ios::trunc);
  out << text;
  return out.flush() ? 0 : complain({options.output + ": cannot write: " + errno_code().message()});
}

struct SliceOptions {
  std::string file, index, output, format = "auto";
  std::uint64_t first = 0, last = 0;
};

int run_slice(const SliceOptions& options) {
  LineIndex index;
  if (!options.index.empty()) {
    std::ifstream file(options.index, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) return complain({options.index + ": cannot read the index: " + errno_code().message()});
    auto parsed = LineIndex::from_text(text.str());
    if (!parsed) return complain({options.index + ": " + parsed.error().text});
    index = std::move(*parsed);
  } else {
    const auto format = find_format(options.format, options.file);
    if (!format) return complain(format.error());
    index.format = *format;
  }
  int out = STDOUT_FILENO;
  if (!options.output.empty()) {
    out = ::open(options.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) return complain({options.output + ": cannot write: " + errno_code().message()});
  }
  const auto sliced = slice_lines(options.file, index, options.first, options.last, out);
  if (out != STDOUT_FILENO && ::close(out) != 0 && sliced)
    return complain({options.output + ": " + errno_code().message()});
  return sliced ? 0 : complain(sliced.error());
}

struct AccumulateOptions {
  std::string kind = "histograms", output;
  std::vector<std::string> inputs;
  bool skip_header = false;
};

int run_accumulate(const AccumulateOptions& options) {
  const auto kind = find_accumulator(options.kind);
  if (!kind) return complain(kind.error());
  const auto done = accumulate(*kind, options.output, options.inputs, options.skip_header);
  return done ? 0 : complain(done.error());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Counts events, cuts slices and adds partial results: the built-ins of 'work_queue_manager analyze'.\n"
      "Exit status: 0 done, 1 a file is at fault (one line on stderr says which and why), 2 wrong usage."};
  app.require_subcommand(1);
  CountOptions count;
  auto* count_command = app.add_subcommand("count", "print the number of events of FILE as JSON");
  count_command->add_option("FILE", count.file, "csv, jsonl, Parquet or ROOT file")->required();
  count_command->add_option("--format", count.format, "csv, jsonl, parquet, root or auto")->capture_default_str();
  count_command->add_option("--tree", count.tree, "ROOT: path of the TTree, e.g. Events or dir/Events");
  count_command->add_option("--index", count.index, "csv, jsonl: write an index of line offsets here");
  count_command->add_option("--step", count.step, "events between two offsets of the index")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  count_command->add_option("--output", count.output, "write the JSON here instead of standard output");
  SliceOptions slice;
  auto* slice_command =
      app.add_subcommand("slice", "copy the events FIRST to LAST-1 of a csv or jsonl FILE, with its header");
  slice_command->add_option("FILE", slice.file)->required();
  slice_command->add_option("--first", slice.first, "first event, from 0")->required();
  slice_command->add_option("--last", slice.last, "one behind the last event")->required();
  slice_command->add_option("--index", slice.index, "index made by count --index");
  slice_command->add_option("--format", slice.format, "csv, jsonl or auto; without an index only")
      ->capture_default_str();
  slice_command->add_option("--output", slice.output, "write here instead of standard output");
  AccumulateOptions add;
  auto* add_command = app.add_subcommand("accumulate", "add partial results OUTPUT <- INPUT...");
  add_command->add_option("OUTPUT", add.output)->required();
  add_command->add_option("INPUT", add.inputs)->required();
  add_command->add_option("--kind", add.kind, "histograms, sum or concat")->capture_default_str();
  add_command->add_flag("--skip-header", add.skip_header, "concat: keep the first line of the first file only");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (*count_command) return run_count(count);
  if (*slice_command) return run_slice(slice);
  return run_accumulate(add);
}
