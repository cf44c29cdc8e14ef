#include "manager/analysis/description/description.hpp"

#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/text.hpp"
#include "manager/analysis/description/command_template.hpp"
#include "manager/analysis/description/config_tree.hpp"
#include "manager/analysis/description/placeholders.hpp"

namespace taskmill::manager::analysis {
namespace {

namespace fs = std::filesystem;

bool is_url(std::string_view text) {
  const auto colon = text.find("://");
  return colon != std::string_view::npos && colon > 1 && text.find('/') > colon;
}

class DescriptionReader {
 public:
  DescriptionReader(const std::string& file_name, std::string directory) : problem_(file_name) {
    result_.file_name = file_name;
    result_.directory = std::move(directory);
  }

  Expected<Description> read(const ConfigNode& node) {
    Section top(node, "", problem_);
    result_.name = top.text("name").value_or(fs::path(result_.file_name).stem().string());
    read_fileset(top);
    read_phases(top);
    read_planner(top);
    read_resources(top, result_.resources);
    read_run(top);
    top.done();
    if (problem_.found()) return make_error(problem_.text());
    return {boost::system::in_place_value, std::move(result_)};
  }

 private:
  [[nodiscard]] std::string resolve(const std::string& path) const {
    const fs::path given(path);
    return (given.is_absolute() ? given : fs::path(result_.directory) / given).lexically_normal().string();
  }

  // --- fileset ---

  void read_fileset(Section& top) {
    auto fileset = top.section("fileset");
    if (!fileset) return top.complain("fileset", "is missing; write [fileset.NAME] with files = [...]");
    const auto table = fileset->table();
    for (const auto& [name, node] : table) {
      (void)fileset->find(name);
      DatasetDescription dataset;
      dataset.name = name;
      std::vector<std::string> patterns;
      if (std::holds_alternative<ConfigNode::Table>(node.value)) {
        Section section(node, fileset->full(name), problem_);
        patterns = read_files(section, dataset);
        if (const auto tree = section.text("treename")) dataset.tree = *tree;
        dataset.metadata = section.pairs("metadata");
        section.done();
      } else {
        patterns = fileset->texts(name);
      }
      for (const auto& pattern : patterns) add_files(dataset, pattern, node.line, fileset->full(name));
      if (dataset.files.empty()) problem_.report(node.line, fileset->full(name), "has no files");
      result_.datasets.push_back(std::move(dataset));
    }
    if (result_.datasets.empty()) top.complain("fileset", "holds no dataset");
  }

  /// A list, or the form of Coffea's newer filesets: {"files": {PATH: TREE, …}}.
  std::vector<std::string> read_files(Section& section, DatasetDescription& dataset) {
    const auto* node = section.find("files");
    if (node == nullptr || !std::holds_alternative<ConfigNode::Table>(node->value)) return section.texts("files");
    std::vector<std::string> patterns;
    for (const auto& [path, tree] : section.pairs("files")) {
      if (!dataset.tree.empty() && dataset.tree != tree)
        section.complain("files", "all files of a dataset have the same tree; make two datasets of them");
      dataset.tree = tree;
      patterns.push_back(path);
    }
    return patterns;
  }

  void add_files(DatasetDescription& dataset, const std::string& pattern, int line, const std::string& key) {
    if (is_url(pattern)) {
      dataset.files.push_back({pattern, true});
      return;
    }
    const auto path = resolve(pattern);
    if (fs::is_directory(path)) return add_directory(dataset, path);
    if (pattern.find_first_of("*?[") == std::string::npos) {
      if (!fs::is_regular_file(path)) return problem_.report(line, key, "there is no file " + path);
      dataset.files.push_back({path, false});
      return;
    }
    glob_t found{};
    if (::glob(path.c_str(), 0, nullptr, &found) == 0) {
      for (std::size_t i = 0; i < found.gl_pathc; ++i) {
        if (fs::is_regular_file(found.gl_pathv[i])) dataset.files.push_back({found.gl_pathv[i], false});
      }
    } else {
      problem_.report(line, key, "no file matches " + path);
    }
    ::globfree(&found);
  }

  static void add_directory(DatasetDescription& dataset, const std::string& path) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      if (entry.is_regular_file() && !entry.path().filename().string().starts_with('.'))
        names.push_back(entry.path().string());
    }
    std::sort(names.begin(), names.end());
    for (auto& name : names) dataset.files.push_back({std::move(name), false});
  }

  // --- phases ---

  void read_phases(Section& top) {
    read_phase(top, "preprocess", result_.preprocess, preprocess_placeholders(),
               {"auto", "csv", "jsonl", "parquet", "root"}, "auto");
    read_phase(top, "process", result_.process, process_placeholders(), {}, "");
    read_phase(top, "accumulate", result_.accumulate, accumulate_placeholders(), {"histograms", "sum", "concat"},
               "histograms");
    if (result_.process.command.empty())
      top.complain("process", "needs a command, e.g. command = \"./hist {file} {first} {last} {output}\"");
    const auto parsed = CommandTemplate::parse(result_.process.command, process_placeholders());
    if (parsed && !parsed->uses("output"))
      top.complain("process", "its command does not mention {output}: where is the partial result?");
    if (result_.preprocess.command.empty() && has_urls()) {
      top.complain("preprocess",
                   "the built-in counters read local files only; give a command that counts the events of {file}");
    }
  }

  [[nodiscard]] bool has_urls() const {
    return std::any_of(result_.datasets.begin(), result_.datasets.end(), [](const auto& dataset) {
      return std::any_of(dataset.files.begin(), dataset.files.end(), [](const auto& file) { return file.is_url; });
    });
  }

  void read_phase(Section& top, const std::string& key, PhaseDescription& phase,
                  const std::vector<std::string>& placeholders, const std::vector<std::string>& builtins,
                  const std::string& fallback) {
    auto section = top.section(key);
    if (!section) {
      phase.builtin = fallback;
      return;
    }
    if (const auto command = section->text("command")) {
      phase.command = *command;
      if (const auto parsed = CommandTemplate::parse(*command, placeholders); !parsed)
        section->complain("command", parsed.error().text);
    }
    if (!builtins.empty()) {
      phase.builtin = section->text("builtin").value_or(phase.command.empty() ? fallback : "");
      if (!phase.builtin.empty() && !phase.command.empty())
        section->complain("builtin", "either a builtin or a command, not both");
      if (!phase.builtin.empty() && std::find(builtins.begin(), builtins.end(), phase.builtin) == builtins.end()) {
        section->complain("builtin", "unknown; use one of " + joined(builtins));
      }
    }
    for (const auto& input : section->texts("inputs")) add_input(*section, "inputs", input, phase.inputs);
    read_resources(*section, phase.resources);
    phase.wall_time_s = section->number("wall_time", 0);
    if (key == "accumulate") result_.skip_header = section->flag("skip_header").value_or(true);
    section->done();
  }

  static std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
  }

  /// "path" or "path=name in the sandbox".
  void add_input(Section& section, const std::string& key, const std::string& text,
                 std::vector<std::pair<std::string, std::string>>& inputs) {
    const auto equals = text.rfind('=');
    const auto path = resolve(text.substr(0, equals));
    const auto remote = equals == std::string::npos ? fs::path(path).filename().string() : text.substr(equals + 1);
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return section.complain(key, "there is no file " + path);
    if (!is_safe_relative_path(remote)) return section.complain(key, "\"" + remote + "\" is no name inside a sandbox");
    inputs.emplace_back(path, remote);
  }

  // --- the run ---

  void read_planner(Section& top) {
    auto& planner = result_.planner;
    if (const auto n = top.integer("chunksize", 1)) planner.chunksize = static_cast<std::uint64_t>(*n);
    if (const auto n = top.integer("maxchunks", 1)) planner.maxchunks = static_cast<std::uint64_t>(*n);
    if (const auto n = top.integer("treereduction", 2)) planner.treereduction = static_cast<std::uint32_t>(*n);
    if (const auto n = top.integer("retries", 0)) planner.retries = static_cast<std::uint32_t>(*n);
    planner.split_on_exhaustion = top.flag("split_on_exhaustion").value_or(true);
    planner.skip_bad_files = top.flag("skip_bad_files").value_or(top.flag("skipbadfiles").value_or(false));
    planner.deterministic = top.flag("deterministic").value_or(false);
    planner.result_per_dataset = top.flag("result_per_dataset").value_or(false);
    if (auto dynamic = top.section("dynamic_chunksize")) {
      ChunkTargets targets;
      targets.wall_time_s = dynamic->number("wall_time", 0.001);
      targets.memory_mb = dynamic->number("memory", 1);
      dynamic->done();
      if (!targets.wall_time_s && !targets.memory_mb)
        top.complain("dynamic_chunksize", "needs wall_time (s) or memory (MB)");
      planner.dynamic_chunksize = targets;
    }
    if (planner.deterministic && planner.dynamic_chunksize) {
      top.complain("deterministic", "a fixed order of additions needs a fixed chunksize; leave out dynamic_chunksize");
    }
  }

  static void read_resources(Section& section, Resources& resources) {
    if (const auto n = section.number("cores", 0)) resources.cores = *n;
    if (const auto n = section.integer("memory", 1)) resources.memory = *n;
    if (const auto n = section.integer("disk", 1)) resources.disk = *n;
    if (const auto n = section.integer("gpus", 0)) resources.gpus = *n;
  }

  void read_run(Section& top) {
    const auto mode = top.text("resources_mode").value_or("auto");
    if (mode == "fixed")
      result_.resources_mode = ResourcesMode::fixed;
    else if (mode == "auto" || mode == "max-seen")
      result_.resources_mode = ResourcesMode::automatic;
    else if (mode == "max-throughput")
      result_.resources_mode = ResourcesMode::max_throughput;
    else
      top.complain("resources_mode", "unknown; use fixed, auto or max-throughput");
    read_monitor(top);
    if (const auto factor = top.number("fast_terminate_workers", 0)) {
      result_.fast_terminate_factor = *factor;
      if (*factor > 0) result_.stragglers = StragglerPolicy::terminate;
    }
    const auto stragglers = top.text("stragglers").value_or("");
    if (stragglers == "replicate")
      result_.stragglers = StragglerPolicy::replicate;
    else if (stragglers == "none")
      result_.stragglers = StragglerPolicy::none;
    else if (!stragglers.empty())
      top.complain("stragglers", "unknown; use none or replicate (or fast_terminate_workers = 3)");
    if (const auto seconds = top.integer("xrootd_timeout", 1)) result_.xrootd_timeout = *seconds;
    if (const auto seconds = top.integer("xrootdtimeout", 1)) result_.xrootd_timeout = *seconds;
    existing(top, "environment_file", result_.environment_file);
    read_proxy(top);
    for (const auto& input : top.texts("extra_input_files")) {
      for (auto* phase : {&result_.preprocess, &result_.process, &result_.accumulate})
        add_input(top, "extra_input_files", input, phase->inputs);
    }
    result_.environment = top.pairs("environment");
    result_.output = resolve(top.text("output").value_or(result_.name + "-result.json"));
    if (const auto path = top.text("checkpoint")) result_.checkpoint = resolve(*path);
    result_.keep_on_workers = top.flag("keep_on_workers").value_or(true);
    if (const auto path = top.text("report")) result_.report = resolve(*path);
  }

  /// The automatic modes learn from what is measured and need limits, so they always watch.
  void read_monitor(Section& top) {
    const auto monitor = top.text("resource_monitor").value_or("watchdog");
    if (monitor == "watchdog")
      result_.resource_monitor = ResourceMonitor::watchdog;
    else if (monitor == "measure")
      result_.resource_monitor = ResourceMonitor::measure;
    else if (monitor == "off")
      result_.resource_monitor = ResourceMonitor::off;
    else
      top.complain("resource_monitor", "unknown; use off, measure or watchdog");
    if (result_.resources_mode != ResourcesMode::fixed) result_.resource_monitor = ResourceMonitor::watchdog;
  }

  /// Unset: where grid tools look for it, but only for files that may need it. false: none.
  void read_proxy(Section& top) {
    if (const auto* node = top.find("x509_proxy"); node != nullptr && std::holds_alternative<bool>(node->value)) {
      if (std::get<bool>(node->value)) top.complain("x509_proxy", "the path of a proxy file, or false, is expected");
      return;
    }
    existing(top, "x509_proxy", result_.x509_proxy);
    if (!result_.x509_proxy.empty() || !has_urls()) return;
    const char* variable = std::getenv("X509_USER_PROXY");
    const std::string path = variable != nullptr ? variable : "/tmp/x509up_u" + std::to_string(::getuid());
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) result_.x509_proxy = path;
  }

  void existing(Section& top, const std::string& key, std::string& target) {
    const auto path = top.text(key);
    if (!path) return;
    target = resolve(*path);
    std::error_code ignored;
    if (!fs::exists(target, ignored)) top.complain(key, "there is no file " + target);
  }

  ConfigProblem problem_;
  Description result_;
};

}  // namespace

Expected<Description> parse_description(const std::string& file_name, const std::string& directory,
                                        std::string_view text) {
  const auto node = parse_config(file_name, text);
  if (!node) return node.error();
  return DescriptionReader(file_name, directory).read(*node);
}

Expected<Description> read_description(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return make_error(path + ": " + errno_code().message());
  std::ostringstream text;
  text << file.rdbuf();
  std::error_code error;
  const auto absolute = fs::absolute(path, error);
  return parse_description(path, absolute.parent_path().string(), text.str());
}

}  // namespace taskmill::manager::analysis
