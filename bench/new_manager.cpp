// Our manager library with equal tasks, as fast as it goes: the same program as old_manager.c, with the same arguments
// (and cert=FILE key=FILE for TLS), so that both do the same work.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "manager/api/manager.hpp"

using namespace taskmill;
using namespace taskmill::manager;

namespace {

class Options {
 public:
  Options(int argc, char** argv) : words_(argv + 1, argv + argc) {}
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise = {}) const {
    for (const auto& word : words_) {
      if (word.starts_with(name + "=")) return word.substr(name.size() + 1);
    }
    return otherwise;
  }
  [[nodiscard]] long number(const std::string& name, long otherwise) const {
    const auto word = text(name);
    return word.empty() ? otherwise : std::atol(word.c_str());
  }

 private:
  std::vector<std::string> words_;
};

double clock_s(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

long resident_bytes() {
  std::ifstream file("/proc/self/statm");
  long size = 0, resident = 0;
  file >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

class Program {
 public:
  Program(int argc, char** argv)
      : options_(argc, argv),
        command_(options_.text("command", "true")),
        inputs_(options_.text("inputs")),
        outputs_(options_.text("outputs")),
        big_(options_.text("big")),
        shared_(options_.text("shared")),
        tasks_(options_.number("tasks", 1000)),
        burst_(options_.number("burst", 0)),
        files_(shared_.empty() ? 0 : options_.number("files", 0)),
        cache_(options_.number("cache", 1)),
        categories_(options_.number("categories", 0)),
        distinct_(options_.number("distinct", 0) != 0) {
    if (const auto path = options_.text("report"); !path.empty()) report_ = std::fopen(path.c_str(), "w");
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (report_ != nullptr) std::fclose(report_);
  }

  int main();

 private:
  [[nodiscard]] TaskSpec make(long number, int cores) const;
  void add_files(TaskSpec& task, long number) const;
  void submit(long number, int cores);
  void submit_first();
  bool write_port() const;
  void probe();
  void run();

  Options options_;
  std::string command_, inputs_, outputs_, big_, shared_;
  long tasks_, burst_, files_, cache_, categories_, submitted_ = 0;
  bool distinct_;
  std::FILE* report_ = nullptr;
  std::unique_ptr<Manager> manager_;
};

void Program::add_files(TaskSpec& task, long number) const {
  const auto input = [&task](std::string source, std::string remote, bool cache) {
    InputSpec file;
    file.source = std::move(source);
    file.remote = std::move(remote);
    file.cache = cache;
    task.inputs.push_back(std::move(file));
  };
  if (!big_.empty() && number == 0) {
    input(big_, "big", false);
    task.priority = 1;
  }
  if (!inputs_.empty()) input(inputs_ + "/" + std::to_string(number), "in", false);
  for (long i = 0; i < files_; ++i)
    input(shared_ + "/" + std::to_string((number * files_ + i) % cache_), "shared" + std::to_string(i), true);
  if (!outputs_.empty() && (burst_ == 0 || number < burst_))
    task.outputs.push_back({.local = outputs_ + "/" + std::to_string(number), .remote = "out"});
}

TaskSpec Program::make(long number, int cores) const {
  TaskSpec task;
  task.command = distinct_ ? command_ + " " + std::to_string(number) : command_;
  task.resources.cores = cores;
  task.resources.memory = 1;
  task.resources.disk = 1;
  if (categories_ > 0) task.category = "step" + std::to_string(std::max(0L, number) % categories_);
  if (burst_ > 0) task.features.emplace_back(number < burst_ ? "burst" : "control");
  if (number >= 0) add_files(task, number);
  return task;
}

void Program::submit(long number, int cores) {
  const auto id = manager_->submit(make(number, cores));
  if (id.has_value()) return;
  std::cerr << "new_manager: " << id.error().text << "\n";
  std::exit(1);
}

void Program::submit_first() {
  auto ahead = options_.number("ahead", 0);
  if (ahead <= 0 || ahead > tasks_) ahead = tasks_;
  constexpr long batch_size = 1000;
  const auto before = resident_bytes();
  const auto start = clock_s(CLOCK_PROCESS_CPUTIME_ID);
  for (auto misfits = options_.number("misfits", 0); misfits > 0; --misfits) submit(-misfits, 1000);
  std::vector<TaskSpec> batch;
  while (submitted_ < ahead) {
    batch.clear();
    for (long i = 0; i < batch_size && submitted_ < ahead; ++i) batch.push_back(make(submitted_++, 1));
    if (const auto first = manager_->submit(batch); !first.has_value()) {
      std::cerr << "new_manager: " << first.error().text << "\n";
      std::exit(1);
    }
  }
  if (report_ == nullptr) return;
  std::fprintf(report_, "submit_cpu_s %.9f\nrss_before %ld\nrss_after %ld\n", clock_s(CLOCK_PROCESS_CPUTIME_ID) - start,
               before, resident_bytes());
  std::fflush(report_);
}

bool Program::write_port() const {
  std::ofstream file(options_.text("port-file", "port"));
  file << manager_->port() << "\n";
  return static_cast<bool>(file.flush());
}

void Program::probe() {
  const auto gap = std::chrono::milliseconds(options_.number("gap-ms", 0));
  for (long i = 0; i < tasks_; ++i) {
    if (gap.count() > 0) manager_->run_for(gap);  // workers are served while the program has nothing to do
    const auto start = clock_s(CLOCK_MONOTONIC);
    submit(i, 1);
    if (!manager_->wait()) return;
    if (report_ != nullptr) std::fprintf(report_, "probe %.9f %.9f\n", start, clock_s(CLOCK_MONOTONIC));
  }
}

void Program::run() {
  long done = 0;
  double first = 0, last = 0;
  while (done < tasks_) {
    if (!manager_->wait()) continue;
    last = clock_s(CLOCK_MONOTONIC);
    if (done++ == 0) first = last;
    if (submitted_ < tasks_) submit(submitted_++, 1);
  }
  if (report_ != nullptr) std::fprintf(report_, "first_s %.9f\nlast_s %.9f\ndone %ld\n", first, last, done);
}

int Program::main() {
  ManagerOptions options;
  options.port = 0;
  options.password_file = options_.text("password");
  options.ssl_cert = options_.text("cert");
  options.ssl_key = options_.text("key");
  auto created = Manager::create(std::move(options));
  if (!created.has_value()) {
    std::cerr << "new_manager: " << created.error().text << "\n";
    return 1;
  }
  manager_ = std::move(*created);
  const auto mode = options_.text("mode", "run");
  if (mode != "probe") submit_first();
  if (!write_port()) {
    std::cerr << "new_manager: port-file: " << std::strerror(errno) << "\n";
    return 1;
  }
  if (mode == "probe")
    probe();
  else if (mode == "run")
    run();
  if (report_ != nullptr) std::fflush(report_);
  manager_->finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return Program(argc, argv).main(); }
