// Programs whose use of the machine is known beforehand, to check what a monitor measures.
//
//   known_use spin THREADS SECONDS        burns THREADS * SECONDS of CPU
//   known_use memory MB SECONDS           touches MB and holds them
//   known_use steps MB N SECONDS          N steps up to MB, SECONDS in all
//   known_use spike MB SECONDS            touches MB, gives them back at once, goes on for SECONDS
//   known_use grow MB_PER_SECOND MB       allocates at that speed up to MB
//   known_use share MB CHILDREN SECONDS   touches MB, then CHILDREN forks that share every page of it
//   known_use disk MB SECONDS [DIR]       writes one file of MB in DIR (default .), keeps it SECONDS, removes it
//   known_use io WRITE_MB READ_MB SECONDS writes and reads in ten equal portions spread over SECONDS
//   known_use bytes N                     N read calls of one byte
//   known_use fork N SECONDS              N children at the same time, each sleeps SECONDS
//   known_use churn N                     N children one after the other, each burns about 1 ms
//   known_use storm N MOST SECONDS        N processes that start short ones, MOST at one time, until SECONDS have
//   passed known_use daemon SECONDS              a child that leaves session, parent, environment and name; ends itself
//   at once known_use threads N SECONDS           N idle threads
//
// Prints nothing; exit status 0, 2 on bad usage. No library beyond libc, so that the numbers are the program's own.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

void wait_for(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

/// Burns CPU time of this thread, not wall time: on a busy machine it takes longer and uses the same.
void burn(double seconds) {
  const auto used = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  };
  const double end = used() + seconds;
  while (used() < end) {
    for (int i = 0; i < 20000; ++i) asm volatile("");
  }
}

char* map_pages(std::size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) std::exit(3);
  return static_cast<char*>(p);
}

char* touch(std::size_t megabytes) {
  const std::size_t bytes = megabytes << 20;
  char* memory = map_pages(bytes);
  std::memset(memory, 1, bytes);
  return memory;
}

int spin(int threads, double seconds) {
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back(burn, seconds);
  for (auto& t : all) t.join();
  return 0;
}

int steps(std::size_t megabytes, int count, double seconds) {
  for (int i = 0; i < count; ++i) {
    touch(megabytes / static_cast<std::size_t>(count));
    wait_for(seconds / count);
  }
  return 0;
}

int spike(std::size_t megabytes, double seconds) {
  munmap(touch(megabytes), megabytes << 20);
  wait_for(seconds);
  return 0;
}

int grow(double per_second, std::size_t megabytes) {
  const auto begin = Clock::now();
  for (std::size_t i = 0; i < megabytes; ++i) {
    touch(1);
    std::this_thread::sleep_until(begin + std::chrono::duration<double>(static_cast<double>(i) / per_second));
  }
  return 0;
}

int share(std::size_t megabytes, int children, double seconds) {
  touch(megabytes);
  for (int i = 0; i < children; ++i)
    if (fork() == 0) {
      wait_for(seconds);
      _exit(0);
    }
  while (wait(nullptr) > 0) {
  }
  return 0;
}

void write_file(const std::string& path, std::size_t megabytes) {
  const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  const std::vector<char> block(1 << 20, 'x');
  for (std::size_t i = 0; i < megabytes; ++i)
    if (fd < 0 || write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size())) std::exit(3);
  close(fd);
}

void read_file(const std::string& path, std::size_t megabytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<char> block(1 << 20);
  for (std::size_t i = 0; i < megabytes; ++i)
    if (read(fd, block.data(), block.size()) <= 0) lseek(fd, 0, SEEK_SET), --i;
  close(fd);
}

int disk(std::size_t megabytes, double seconds, const std::string& folder) {
  const auto path = folder + "/known_use.data";
  write_file(path, megabytes);
  wait_for(seconds);
  return unlink(path.c_str());
}

int io(std::size_t written, std::size_t read, double seconds) {
  const std::string path = "known_use.io";
  for (int i = 0; i < 10; ++i) {
    write_file(path, written / 10);
    read_file(path, read / 10);
    wait_for(seconds / 10);
  }
  return unlink(path.c_str());
}

int bytes(long count) {
  const int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  char c = 0;
  for (long i = 0; i < count; ++i)
    if (read(fd, &c, 1) != 1) return 3;
  return 0;
}

int forks(int count, double seconds) {
  for (int i = 0; i < count; ++i)
    if (fork() == 0) {
      wait_for(seconds);
      _exit(0);
    }
  while (wait(nullptr) > 0) {
  }
  return 0;
}

int churn(int count) {
  for (int i = 0; i < count; ++i) {
    if (fork() == 0) {
      burn(0.001);
      _exit(0);
    }
    wait(nullptr);
  }
  return 0;
}

/// Bounded by itself, so that it ends even where nobody stops it.
int storm(int starters, int most, double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (int i = 0; i < starters; ++i) {
    if (fork() != 0) continue;
    for (int alive = 0; Clock::now() < end;) {
      while (waitpid(-1, nullptr, WNOHANG) > 0) --alive;
      if (alive >= most / starters) continue;
      const pid_t child = fork();
      if (child == 0) {
        wait_for(0.2);
        _exit(0);
      }
      if (child > 0) ++alive;
    }
    _exit(0);
  }
  while (wait(nullptr) > 0) {
  }
  return 0;
}

int daemon_process(double seconds) {
  if (fork() != 0) return 0;
  setsid();
  if (fork() != 0) _exit(0);
  clearenv();
  if (chdir("/") != 0) _exit(3);
  prctl(PR_SET_NAME, ") hidden (");
  for (int fd = 0; fd < 64; ++fd) close(fd);
  wait_for(seconds);
  _exit(0);
}

int threads(int count, double seconds) {
  std::vector<std::thread> all;
  for (int i = 0; i < count; ++i) all.emplace_back(wait_for, seconds);
  for (auto& t : all) t.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) { return argc > i ? std::atof(argv[i]) : 0; };
  const auto size = [&](int i) { return static_cast<std::size_t>(number(i)); };
  const auto count = [&](int i) { return static_cast<int>(number(i)); };
  if (what == "spin" && argc == 4) return spin(count(2), number(3));
  if (what == "memory" && argc == 4) return touch(size(2)), wait_for(number(3)), 0;
  if (what == "steps" && argc == 5) return steps(size(2), count(3), number(4));
  if (what == "spike" && argc == 4) return spike(size(2), number(3));
  if (what == "grow" && argc == 4) return grow(number(2), size(3));
  if (what == "share" && argc == 5) return share(size(2), count(3), number(4));
  if (what == "disk" && argc >= 4) return disk(size(2), number(3), argc > 4 ? argv[4] : ".");
  if (what == "io" && argc == 5) return io(size(2), size(3), number(4));
  if (what == "bytes" && argc == 3) return bytes(std::atol(argv[2]));
  if (what == "fork" && argc == 4) return forks(count(2), number(3));
  if (what == "churn" && argc == 3) return churn(count(2));
  if (what == "storm" && argc == 5) return storm(count(2), count(3), number(4));
  if (what == "daemon" && argc == 3) return daemon_process(number(2));
  if (what == "threads" && argc == 4) return threads(count(2), number(3));
  std::fprintf(stderr, "known_use: unknown use '%s'; see the head of known_use.cpp\n", what.c_str());
  return 2;
}
