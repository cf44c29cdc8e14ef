// A small program of one's own on the manager's library: squares of numbers, computed by workers.
//
//   squares [--port-file FILE] [COUNT]
//
// Start workers with `work_queue_worker localhost PORT`. Exit 0 when every square is right.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "manager/api/manager.hpp"
#include "manager/api/task.hpp"

int main(int argc, char** argv) {
  using namespace taskmill::manager;
  std::string port_file;
  int count = 10;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--port-file" && i + 1 < argc) {
      port_file = argv[++i];
    } else {
      count = std::atoi(argv[i]);
    }
  }

  ManagerOptions options;
  options.port = 0;  // any free port
  auto manager = Manager::create(options);
  if (!manager) {
    std::cerr << manager.error().text << "\n";
    return 2;
  }
  std::cout << "listening on port " << (*manager)->port() << std::endl;
  if (!port_file.empty()) std::ofstream(port_file) << (*manager)->port() << "\n";

  for (int number = 1; number <= count; ++number) {
    TaskSpec task;
    task.command = "read n < number && echo $((n * n))";
    task.tag = std::to_string(number);
    task.inputs = {input_buffer(task.tag + "\n", "number")};
    task.resources.cores = 1;
    if (auto id = (*manager)->submit(task); !id) {
      std::cerr << id.error().text << "\n";
      return 2;
    }
  }

  int wrong = 0;
  while (auto done = (*manager)->wait()) {
    const long number = std::stol(done->spec.tag);
    const bool right = done->succeeded() && done->text_string() == std::to_string(number * number) + "\n";
    if (!right) ++wrong;
    std::cout << number << " squared is " << done->text_string();
  }
  (*manager)->finish();
  return wrong == 0 ? 0 : 1;
}
