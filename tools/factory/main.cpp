// work_queue_factory: keeps workers running (docs/cli/work_queue_factory.md).
#include <fcntl.h>

#include <csignal>
#include <cstring>

#include "tools/factory/batch.hpp"
#include "tools/factory/factory.hpp"
#include "tools/factory/options.hpp"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--become-worker") == 0) return taskmill::tools::become_worker(argc, argv);
  // Descriptors 0-2 are open from here on, so that nothing else takes their place.
  for (int fd = ::open("/dev/null", O_RDWR); fd >= 0 && fd <= 2;) fd = ::open("/dev/null", O_RDWR);
  std::signal(SIGPIPE, SIG_IGN);
  taskmill::tools::FactoryConfig config;
  const int done = taskmill::tools::parse_factory(argc, argv, config);
  return done >= 0 ? done : taskmill::tools::run_factory(config);
}
