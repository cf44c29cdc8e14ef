// resource_monitor: runs a command and writes what it used.
#include <cstdio>
#include <string>
#include <vector>

#include "common/base/text.hpp"
#include "tools/monitor/guard.hpp"
#include "tools/monitor/monitor.hpp"
#include "tools/monitor/options.hpp"

int main(int argc, char** argv) {
  using namespace taskmill;
  const std::vector<std::string> arguments(argv, argv + argc);
  constexpr std::string_view guard_option = "--taskmill-guard=";
  if (argc == 2 && arguments[1].compare(0, guard_option.size(), guard_option) == 0) {
    const auto mark = parse_int(std::string_view(arguments[1]).substr(guard_option.size()));
    return mark && *mark > 0 ? monitor::run_guard({static_cast<std::uint64_t>(*mark)}) : 1;
  }
  auto parsed = monitor::parse_options(arguments);
  if (!parsed.errors.empty()) {
    std::fprintf(stderr, "resource_monitor: %s (resource_monitor --help shows the options)\n",
                 parsed.errors[0].text.c_str());
    return parsed.errors[0].exit_status;
  }
  if (parsed.options.help) {
    std::fputs(monitor::usage_text(), stdout);
    return 0;
  }
  if (parsed.options.version) {
    std::puts("resource_monitor (taskmill) " TASKMILL_VERSION);
    return 0;
  }
  return monitor::Monitor(std::move(parsed.options)).run();
}
