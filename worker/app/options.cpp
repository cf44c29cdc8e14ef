#include "worker/app/options.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "common/base/text.hpp"
#include "common/catalog/core/candidates.hpp"
#include "common/catalog/core/regex.hpp"
#include "common/os/file.hpp"
#include "common/os/host_info.hpp"
#include "protocol/limits.hpp"
#include "worker/app/option_table.hpp"

namespace taskmill::worker {
namespace {

constexpr std::int64_t most_coprocesses = 1000;

// A time of the old programs: an integer, blanks, one of s m h d; any other letter means seconds; no number is -1.
std::int64_t lenient_time(std::string_view text) {
  text = trim(text);
  std::size_t digits = !text.empty() && (text.front() == '-' || text.front() == '+') ? 1 : 0;
  while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) != 0) ++digits;
  const auto number = parse_int(text.substr(0, digits));
  if (!number) return -1;
  const auto unit = trim(text.substr(digits));
  switch (unit.empty() ? 's' : std::tolower(static_cast<unsigned char>(unit.front()))) {
    case 'm':
      return *number * 60;
    case 'h':
      return *number * 3600;
    case 'd':
      return *number * 86400;
    default:
      return *number;
  }
}

// atoi: leading integer, 0 for junk. Launchers pass "0.500" and "all".
std::int64_t lenient_integer(const char* text) { return std::strtoll(text, nullptr, 10); }

class Parser {
 public:
  explicit Parser(Parsed& parsed) : parsed_(parsed), options_(parsed.options) {}

  void read_environment() {
    const auto take = [](const char* name, std::int64_t& value, bool zero_counts) {
      const char* text = std::getenv(name);
      if (text == nullptr) return;
      const auto number = lenient_integer(text);
      if (number > 0 || (zero_counts && std::isdigit(static_cast<unsigned char>(*text)) != 0)) value = number;
      ::unsetenv(name);
    };
    take("CORES", options_.cores, false);
    take("MEMORY", options_.memory, false);
    take("DISK", options_.disk, false);
    take("GPUS", options_.gpus, true);
  }

  // False: parsing is over.
  bool take(int code, const char* value) {
    switch (code) {
      case 'v':
        return end(Options::Action::show_version);
      case 'h':
        return end(Options::Action::show_help);
      case 'M':
      case 'N':
      case long_master_name:
        options_.project = value;
        return true;
      case 'C':
        options_.catalogs = value;
        return true;
      case 'd':
        options_.debug_flags.emplace_back(value);
        return true;
      case 'o':
        options_.debug_file = value;
        return true;
      case long_rotate:
        options_.debug_rotate_max = parse_metric(value).value_or(0);
        return true;
      case long_ssl:
        options_.ssl = true;
        return true;
      case long_ssl_ca:
        options_.ssl_ca = value;
        return true;
      case long_ssl_fingerprint:
        options_.ssl_fingerprint = value;
        return true;
      case 'P':
        return take_password(value);
      case 't':
        options_.idle_timeout_s = options_.connect_timeout_s = lenient_time(value);
        return true;
      case long_idle:
        options_.idle_timeout_s = lenient_time(value);
        return true;
      case long_connect:
        options_.connect_timeout_s = lenient_time(value);
        return true;
      case long_parent:
        options_.parent_death = true;
        return true;
      case 'i':
        options_.min_backoff_s = std::max<std::int64_t>(lenient_time(value), 1);
        return true;
      case 'b':
        return take_max_backoff(value);
      case 'A':
        options_.arch = value;
        return true;
      case 'O':
        options_.os = value;
        return true;
      case 's':
        options_.workdir = value;
        return true;
      default:
        return take_resource(code, value);
    }
  }

 private:
  bool take_resource(int code, const char* value) {
    switch (code) {
      case long_cores:
        options_.cores = lenient_integer(value);
        return true;
      case long_memory:
        options_.memory = lenient_integer(value);
        return true;
      case long_disk:
        options_.disk = lenient_integer(value);
        return true;
      case long_gpus:
        options_.gpus = std::string_view(value) == "all" ? -1 : lenient_integer(value);
        return true;
      case long_wall:
        options_.wall_time_s = lenient_integer(value);
        if (options_.wall_time_s <= 0) {
          options_.wall_time_s = 0;
          options_.warnings.emplace_back("Ignoring --wall-time, a positive integer is expected.");
        }
        return true;
      case long_feature:
        options_.features.emplace_back(value);
        return true;
      case long_mode:
        options_.connection_mode = value;
        return check_mode();
      case long_no_symlinks:
        options_.symlinks = false;
        return true;
      case long_single:
        options_.single_shot = true;
        return true;
      case long_volatility:
        options_.volatility = std::strtod(value, nullptr);
        return true;
      case long_wrapper:
        options_.task_wrapper = value;
        return true;
      case long_factory:
        options_.from_factory = value;
        return true;
      case long_protocol:
        return take_protocol(value);
      case long_shell:
        options_.use_shell = true;
        return true;
      case long_exit_codes:
        return take_exit_codes(value);
      case long_enforce_cores:
        options_.limits.stop_for_cores = true;
        return true;
      case long_cgroup:
        return take_cgroup(value);
      case long_enforce:
        return take_enforce(value);
      default:
        return take_newer(code, value);
    }
  }

  bool take_newer(int code, const char* value) {
    switch (code) {
      case long_processes:
        options_.limits.max_processes = lenient_integer(value);
        return true;
      case long_cache_dir:
        options_.cache_directory = value;
        return true;
      case long_cache_limit: {
        const auto megabytes = parse_int(value);
        if (!megabytes || *megabytes < 1 || *megabytes > 1'000'000'000) {
          parsed_.message = "--cache-limit: not a number of megabytes: " + std::string(value);
          parsed_.exit_code = 1;
          return false;
        }
        options_.cache_limit_mb = *megabytes;
        return true;
      }
      case long_without:
        return take_without(value);
      default:
        return take_coprocess(code, value);
    }
  }

  bool take_coprocess(int code, const char* value) {
    const auto amount = [value] {
      const auto number = lenient_integer(value);
      return number > 0 ? number : -1;
    };
    switch (code) {
      case long_coprocess:
        return take_library(value);
      case long_coprocesses_total:
        options_.coprocesses_total = std::clamp<std::int64_t>(lenient_integer(value), 0, most_coprocesses);
        return true;
      case long_coprocess_cores:
        options_.coprocess_cores = amount();
        return true;
      case long_coprocess_memory:
        options_.coprocess_memory = amount();
        return true;
      case long_coprocess_disk:
        options_.coprocess_disk = amount();
        return true;
      case long_coprocess_gpus:
        options_.coprocess_gpus = amount();
        return true;
      default:
        return take_legacy(code);
    }
  }

  // A path, or a name to be looked up in PATH; words behind it are its arguments.
  bool take_library(const std::string& value) {
    const auto blank = value.find(' ');
    const bool whole = ::access(value.c_str(), X_OK) == 0;
    const auto program = whole ? value : value.substr(0, blank);
    const auto found = os::find_program(program);
    if (found.empty()) return fail("--coprocess " + value + ": there is no such program");
    options_.coprocess = value;
    options_.coprocess_command = shell_quote(found);
    if (!whole && blank != std::string::npos) options_.coprocess_command += value.substr(blank);
    return true;
  }

  bool take_legacy(int code) {
    switch (code) {
      case long_disk_allocation:
        options_.warnings.emplace_back("--disk-allocation is not supported: going on without it");
        return true;
      case 'f':
      case 'Z':
      case long_foreman_port:
      case long_foreman:
        return fail("foreman mode is not supported: start ordinary workers and point them at the manager itself");
      case 'F':
      case long_specify_log:
      case long_bandwidth:
      case 'w':
      case 'a':
      case 'c':
      case 'p':
      case 'z':
      case long_memory_threshold:
      case long_tlq:
        return true;
      default:
        return fail_with_usage({});
    }
  }

  bool check_mode() {
    if (catalog::parse_connection_mode(options_.connection_mode) != catalog::ConnectionMode::unset) return true;
    return fail("--connection-mode " + options_.connection_mode + " is not one of by_ip, by_hostname, by_apparent_ip");
  }

  bool take_cgroup(const std::string& value) {
    if (value != "auto" && value != "off" && !value.starts_with('/'))
      return fail("--cgroup must be auto, off, or the folder of a control group such as /sys/fs/cgroup/NAME");
    options_.limits.cgroup = value;
    return true;
  }

  bool take_enforce(const std::string& value) {
    using Enforce = LimitPolicy::Enforce;
    if (value != "native" && value != "always" && value != "never") {
      return fail("--enforce must be native, always or never");
    }
    options_.limits.enforce = value == "always" ? Enforce::always : value == "never" ? Enforce::never : Enforce::native;
    return true;
  }

  bool take_exit_codes(const std::string& value) {
    options_.strict_exit = value == "strict";
    return options_.strict_exit || value == "lenient" || fail("--exit-codes must be strict or lenient");
  }

  bool take_without(const char* list) {
    std::string_view unknown;
    const auto set = protocol::parse_capability_names(list, unknown);
    if (set) options_.without = *set;
    return set || fail("--without " + std::string(list) + ": '" + std::string(unknown) +
                       "' is no extension; there are batch, enforce, env, measure, peer and zstd");
  }

  bool take_protocol(const std::string& value) {
    options_.protocol = value == "9" ? 9 : value == "11" ? 11 : 0;
    return options_.protocol != 0 || value == "auto" || fail("--protocol must be 9, 11 or auto");
  }

  bool take_password(const char* file) {
    auto text = os::read_file(file, 64U << 10);
    if (!text) return fail("couldn't load password from " + std::string(file) + ": " + text.error().message());
    if (const auto nul = text->find('\0'); nul != std::string::npos) text->resize(nul);
    if (text->size() > protocol::max_password) {
      return fail("the password in " + std::string(file) + " is longer than " + std::to_string(protocol::max_password) +
                  " bytes");
    }
    options_.password = std::move(*text);
    options_.password_file = file;
    return true;
  }

  bool take_max_backoff(const char* value) {
    options_.max_backoff_s = lenient_time(value);
    if (options_.max_backoff_s >= options_.min_backoff_s) return true;
    return fail("Maximum backoff interval provided must be greater than the initial backoff interval of " +
                std::to_string(options_.min_backoff_s) + "s.");
  }

  bool end(Options::Action action) {
    options_.action = action;
    parsed_.exit_code = 0;
    return false;
  }
  bool fail(const std::string& why) {
    parsed_.exit_code = 1;
    parsed_.message = why;
    return false;
  }
  bool fail_with_usage(const std::string& why) {
    parsed_.show_usage = true;
    return fail(why);
  }

  Parsed& parsed_;
  Options& options_;
};

void take_positionals(Parsed& parsed, const std::vector<std::string>& words) {
  Options& options = parsed.options;
  if (!options.project.empty()) {
    const auto regex = catalog::Regex::whole(options.project);
    if (!regex) {
      parsed.exit_code = 1;
      parsed.message = "invalid manager name '" + options.project + "': " + regex.error().text;
    }
    return;
  }
  if (words.empty() || words.size() > 2) {
    parsed.exit_code = 1;
    parsed.show_usage = true;
    parsed.message = "give the manager's HOST and PORT, or -M and its name";
    return;
  }
  auto hosts = parse_address_list(words[0], words.size() == 2 ? words[1] : "");
  if (hosts) {
    options.hosts = std::move(*hosts);
    return;
  }
  parsed.exit_code = 1;
  parsed.message = hosts.error().text;
}

}  // namespace

Parsed parse_options(int argc, char** argv) {
  Parsed parsed;
  Parser parser(parsed);
  parser.read_environment();
  std::vector<option> all(long_options.begin(), long_options.end() - 1);
  all.insert(all.end(), more_options.begin(), more_options.end());
  optind = 0;
  while (true) {
    const int code = ::getopt_long(argc, argv, short_options, all.data(), nullptr);
    if (code < 0) break;
    if (!parser.take(code, optarg)) return parsed;
  }
  std::vector<std::string> words(argv + optind, argv + argc);
  if (!parsed.options.workdir.empty() && ::access(parsed.options.workdir.c_str(), F_OK) != 0) {
    parsed.exit_code = 1;
    parsed.message = "the work directory " + parsed.options.workdir + " does not exist (-s)";
    return parsed;
  }
  take_positionals(parsed, words);
  return parsed;
}

}  // namespace taskmill::worker
