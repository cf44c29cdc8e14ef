// Programs under measurement: started, watched through /proc and the CPU clock of the process, ended for certain.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace taskmill::bench {

/// Once at the start: programs and directories of this bench go when it ends, also by a signal; those of killed ones go
/// now.
void clean_up_on_exit();

/// Seconds of CLOCK_MONOTONIC.
double now_s();

class Program {
 public:
  /// argv[0] is a path. Output goes to `log` (appended). Exits the bench with one line when it cannot start.
  Program(const std::vector<std::string>& argv, const std::string& log);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// CPU time of all threads so far, in seconds; 0 when it has ended.
  [[nodiscard]] double cpu_s() const;
  [[nodiscard]] std::uint64_t resident_bytes() const;
  [[nodiscard]] bool running();
  /// Waits; false when it did not end in time.
  bool wait(double seconds);
  /// SIGTERM, SIGKILL after two seconds, reap.
  void stop();

 private:
  pid_t pid_ = -1;
};

/// A scratch directory (on tmpfs where there is one), removed with everything in it.
class Scratch {
 public:
  Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }

 private:
  std::string directory_;
};

/// The port a manager wrote; nullopt when it ended or wrote nothing in time.
std::optional<int> wait_for_port(const std::string& file, Program& program, double seconds);

[[noreturn]] void fail(const std::string& text);

/// Sorted copy's element at `fraction` of the way; 0 for none.
double percentile(std::vector<double> values, double fraction);

}  // namespace taskmill::bench
