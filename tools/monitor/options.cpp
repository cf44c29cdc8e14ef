#include "tools/monitor/options.hpp"

#include <getopt.h>

#include <cmath>

#include "common/base/text.hpp"
#include "common/measure/core/json_scan.hpp"

namespace taskmill::monitor {

namespace {

enum Long : int {
  pid_option = 1000,
  accurate,
  measure_only,
  measure_folder,
  follow_chdir,
  no_disk,
  series,
  inotify,
  no_pprint,
  update,
  snapshots,
  catalog_word
};

constexpr option long_options[] = {{"debug", required_argument, nullptr, 'd'},
                                   {"debug-file", required_argument, nullptr, 'o'},
                                   {"help", optional_argument, nullptr, 'h'},
                                   {"version", no_argument, nullptr, 'v'},
                                   {"interval", required_argument, nullptr, 'i'},
                                   {"sh", required_argument, nullptr, 'c'},
                                   {"limits-file", required_argument, nullptr, 'l'},
                                   {"limits", required_argument, nullptr, 'L'},
                                   {"child-in-foreground", no_argument, nullptr, 'f'},
                                   {"with-output-files", required_argument, nullptr, 'O'},
                                   {"verbatim-to-summary", required_argument, nullptr, 'V'},
                                   {"pid", required_argument, nullptr, pid_option},
                                   {"accurate-short-processes", no_argument, nullptr, accurate},
                                   {"measure-only", no_argument, nullptr, measure_only},
                                   {"measure-dir", required_argument, nullptr, measure_folder},
                                   {"follow-chdir", no_argument, nullptr, follow_chdir},
                                   {"without-disk-footprint", no_argument, nullptr, no_disk},
                                   {"with-time-series", no_argument, nullptr, series},
                                   {"with-inotify", no_argument, nullptr, inotify},
                                   {"no-pprint", no_argument, nullptr, no_pprint},
                                   {"update-summary", no_argument, nullptr, update},
                                   {"snapshot-events", required_argument, nullptr, snapshots},
                                   {"catalog-task-name", required_argument, nullptr, catalog_word},
                                   {"catalog-project", required_argument, nullptr, catalog_word},
                                   {"catalog", required_argument, nullptr, catalog_word},
                                   {"catalog-interval", required_argument, nullptr, catalog_word},
                                   {nullptr, 0, nullptr, 0}};

class Parser {
 public:
  ParsedOptions run(const std::vector<std::string>& arguments) {
    auto words = arguments;
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    optind = 0;  // glibc: begin anew
    opterr = 0;
    const int count = static_cast<int>(words.size());
    for (;;) {
      const int at = optind == 0 ? 1 : optind;
      const int key = ::getopt_long(count, argv.data(), "+d:o:hvi:c:l:L:fO:V:", long_options, nullptr);
      if (key < 0) break;
      if (key == '?' || key == ':') {
        fail("unknown or incomplete option '" + (at < count ? words[static_cast<std::size_t>(at)] : "") + "'", 1);
        break;
      }
      take(key, optarg ? optarg : "");
      if (!out_.errors.empty()) break;
    }
    for (int i = optind; i < count; ++i) options_.command.push_back(words[static_cast<std::size_t>(i)]);
    if (out_.errors.empty()) check_combination();
    return std::move(out_);
  }

 private:
  void fail(std::string text, int status) { out_.errors.push_back({std::move(text), status}); }
  void notice(std::string text) { options_.notices.push_back(std::move(text)); }

  void take(int key, const std::string& value) {
    switch (key) {
      case 'd':
        options_.debug = true;
        break;
      case 'o':
        options_.debug_file = value;
        break;
      case 'h':
        options_.help = true;
        break;
      case 'v':
        options_.version = true;
        break;
      case 'i':
        interval(value);
        break;
      case 'c':
        options_.shell = value;
        shell_given_ = true;
        break;
      case 'l':
        options_.limits_files.push_back(value);
        break;
      case 'L':
        if (const auto added = add_limits(value, options_); !added) fail(added.error().text, 4);
        break;
      case 'f':
        options_.foreground = true;
        break;
      case 'O':
        options_.output = value;
        break;
      case 'V':
        verbatim(value);
        break;
      default:
        take_long(key, value);
    }
  }

  void take_long(int key, const std::string& value) {
    switch (key) {
      case pid_option:
        attach(value);
        break;
      case accurate:
        break;  // short processes are always measured to their end
      case measure_only:
        options_.measure_only = true;
        break;
      case measure_folder:
        options_.folders.push_back(value);
        break;
      case follow_chdir:
        options_.follow_chdir = true;
        break;
      case no_disk:
        options_.disk = false;
        break;
      case series:
        options_.series = true;
        break;
      case inotify:
        options_.files = true;
        break;
      case no_pprint:
        options_.pretty = false;
        break;
      case update:
        options_.update_summary = true;
        break;
      case snapshots:
        options_.snapshot_events = value;
        break;
      case catalog_word:
        options_.catalog = true;
        break;
      default:
        break;
    }
  }

  void interval(const std::string& value) {
    const auto seconds = parse_int(value);
    if (!seconds || *seconds < 1 || *seconds > 86400)
      fail("interval '" + value + "' is not a number of seconds from 1 up", 4);
    else
      options_.interval = static_cast<int>(*seconds);
  }

  void attach(const std::string& value) {
    const auto pid = parse_int(value);
    if (!pid || *pid < 1 || *pid > 0x7fffffff)
      fail("'" + value + "' is not a process id", 4);
    else
      options_.attach = static_cast<int>(*pid);
  }

  void verbatim(const std::string& value) {
    const auto colon = value.find(':');
    if (colon == std::string::npos) {
      fail("-V needs 'key: value', got '" + value + "'", 4);
      return;
    }
    const std::string_view text = value;
    options_.verbatim.emplace_back(trim(text.substr(0, colon)), trim(text.substr(colon + 1)));
  }

  void check_combination() {
    if (options_.help || options_.version) return;
    const int ways = (shell_given_ ? 1 : 0) + (options_.command.empty() ? 0 : 1);
    if (options_.attach) {
      if (ways || options_.follow_chdir || !options_.folders.empty() || options_.foreground)
        fail("--pid excludes a command, --follow-chdir, --measure-dir and -f", 1);
    } else if (ways != 1) {
      fail(ways == 0 ? "no command: give -- COMMAND or -c 'COMMAND'" : "give either -c or a command, not both", 1);
    } else if (options_.follow_chdir && !options_.folders.empty()) {
      fail("--follow-chdir and --measure-dir exclude each other", 1);
    }
  }

  ParsedOptions out_;
  Options& options_ = out_.options;
  bool shell_given_ = false;
};

/// Factor from `unit` to the table's unit; nullopt when it makes no sense there.
std::optional<double> unit_factor(std::string_view unit, std::string_view wanted) {
  if (unit == wanted || unit.empty()) return 1;
  struct Pair {
    std::string_view name;
    double factor;
  };
  static constexpr Pair sizes[] = {{"B", 1.0 / 1048576}, {"KB", 1.0 / 1024}, {"kB", 1.0 / 1024}, {"MB", 1},
                                   {"GB", 1024},         {"TB", 1048576}};
  static constexpr Pair times[] = {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"min", 60}, {"h", 3600}};
  if (wanted == "MB")
    for (const auto& pair : sizes)
      if (pair.name == unit) return pair.factor;
  if (wanted == "s")
    for (const auto& pair : times)
      if (pair.name == unit) return pair.factor;
  return std::nullopt;
}

}  // namespace

ParsedOptions parse_options(const std::vector<std::string>& arguments) { return Parser().run(arguments); }

Expected<void> add_limits(const std::string& text, Options& options) {
  for (const auto part : split(text, ',')) {
    const auto colon = part.find(':');
    if (colon == std::string_view::npos) return make_error("limit '" + std::string(part) + "' is not 'name: number'");
    const auto name = trim(part.substr(0, colon));
    const auto value = parse_number(trim(part.substr(colon + 1)));
    if (!value) return make_error("limit '" + std::string(trim(part)) + "' has no number");
    if (const auto resource = find_resource(name))
      options.limits[*resource] = *value;
    else
      options.notices.push_back("unknown resource '" + std::string(name) + "' in a limit, ignored");
  }
  return {};
}

Expected<void> add_limits_json(const std::string& text, const std::string& file, Options& options) {
  const auto json = measure::parse_json(text);
  if (!json || json->kind != measure::JsonValue::Kind::object)
    return make_error("limits file '" + file + "' is not a JSON object like {\"memory\": [100, \"MB\"]}");
  for (const auto& [name, value] : json->members) {
    const auto resource = find_resource(name);
    const bool array = value.kind == measure::JsonValue::Kind::array;
    const auto* number = array && !value.items.empty() ? &value.items[0] : &value;
    if (!resource || number->kind != measure::JsonValue::Kind::number) {
      options.notices.push_back("'" + name + "' in '" + file + "' is no limit, ignored");
      continue;
    }
    const std::string unit = array && value.items.size() > 1 ? value.items[1].string : "";
    const auto factor = unit_factor(unit, info(*resource).unit);
    if (!factor) return make_error("limits file '" + file + "': unit '" + unit + "' does not fit " + name);
    options.limits[*resource] = number->number * *factor;
  }
  return {};
}

const char* usage_text() {
  return "Use: resource_monitor [options] -- command and its arguments\n"
         "     resource_monitor [options] -c 'shell command'\n"
         "     resource_monitor [options] --pid N\n"
         "\n"
         "Runs a command and writes what it used to TEMPLATE.summary (JSON).\n"
         "\n"
         " -O, --with-output-files=T      Template of the output files (default resource-pid-<pid>).\n"
         " -i, --interval=N               At least one sample every N seconds (default 5; usually more often).\n"
         " -c, --sh=STR                   Run /bin/sh -c STR.\n"
         "     --pid=N                    Measure the running process N and its children.\n"
         " -L, --limits='name: value'     Limit, e.g. 'memory: 1000' (MB), 'wall_time: 60' (s). Repeatable.\n"
         " -l, --limits-file=F            Limits as JSON: {\"memory\": [1, \"GB\"]}.\n"
         "     --measure-only             Tell what passed a limit, stop nothing.\n"
         " -V, --verbatim-to-summary='key: value'  Copied to the summary. Repeatable.\n"
         "     --measure-dir=D            Measure the size of D as well. Repeatable.\n"
         "     --follow-chdir             Measure the directories the processes work in instead.\n"
         "     --without-disk-footprint   Measure no directory.\n"
         "     --with-time-series         Write T.series, a row per interval.\n"
         "     --with-inotify             Write T.files: opens, closes, reads and writes below the directory.\n"
         "     --snapshot-events=F        Snapshots when files appear, vanish or match (JSON, see the documentation).\n"
         "     --update-summary           Rewrite the summary at every interval.\n"
         "     --no-pprint                Summary on one line.\n"
         " -f, --child-in-foreground      Give the terminal to the command.\n"
         "     --accurate-short-processes Accepted; short processes are always measured to their end.\n"
         " -d, --debug=FLAG, -o, --debug-file=F    Say what is done, on standard error or in F.\n"
         " -v, --version    -h, --help\n"
         "\n"
         "Exit status: 0 the command ended with 0, 1 it did not (its status is in the summary), 2 a limit was passed,\n"
         "3 the wall time was, 4 the command could not be run.\n";
}

}  // namespace taskmill::monitor
