#include "common/os/launch.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The child shares memory and thread-local storage with a thread that goes on running: it may not touch errno, the
// heap, locks, or anything a sanitizer instruments. So: raw system calls.
#define TASKMILL_CHILD_CODE __attribute__((no_sanitize("address", "thread", "undefined")))

namespace taskmill::os {
namespace {

constexpr std::size_t stack_size = 32U << 10;
constexpr std::size_t guard_size = 64U << 10;  // a page everywhere
constexpr int signals = 64;
constexpr std::size_t mask_bytes = signals / 8;

#if defined(__x86_64__)

constexpr bool has_raw_calls = true;

TASKMILL_CHILD_CODE __attribute__((always_inline)) inline long raw(long number, long a = 0, long b = 0, long c = 0,
                                                                   long d = 0) {
  long result = 0;
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

constexpr bool has_raw_calls = true;

TASKMILL_CHILD_CODE __attribute__((always_inline)) inline long raw(long number, long a = 0, long b = 0, long c = 0,
                                                                   long d = 0) {
  register long call __asm__("x8") = number;
  register long first __asm__("x0") = a;
  register long second __asm__("x1") = b;
  register long third __asm__("x2") = c;
  register long fourth __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(first) : "r"(call), "r"(second), "r"(third), "r"(fourth) : "memory");
  return first;
}

#else

constexpr bool has_raw_calls = false;
inline long raw(long, long = 0, long = 0, long = 0, long = 0) { return -ENOSYS; }

#endif

template <class Pointer>
TASKMILL_CHILD_CODE __attribute__((always_inline)) inline long address(Pointer* pointer) {
  return reinterpret_cast<long>(pointer);
}

#if defined(__SANITIZE_THREAD__)
constexpr bool has_own_stacks = false;  // ThreadSanitizer follows every thread's stack itself
#else
constexpr bool has_own_stacks = true;
#endif

// Asked once: close_range came with Linux 5.9.
bool can_launch() {
  static const bool can = has_raw_calls && has_own_stacks && ::syscall(SYS_close_range, ~0U, ~0U, 0) == 0;
  return can;
}

void* new_stack() {
  void* memory = ::mmap(nullptr, guard_size + stack_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (::mprotect(memory, guard_size, PROT_NONE) == 0) return memory;
  ::munmap(memory, guard_size + stack_size);
  return nullptr;
}

}  // namespace

Launch::~Launch() {
  if (stack_ != nullptr) ::munmap(stack_, guard_size + stack_size);
}

TASKMILL_CHILD_CODE int Launch::child(void* launch) {
  auto* self = static_cast<Launch*>(launch);
  const LaunchPlan& plan = self->plan_;
  raw(SYS_setsid);
  if (plan.group_fd >= 0) raw(SYS_write, plan.group_fd, address("0"), 1);
  // As the kernel has it: handler, flags, restorer, mask. Zero is SIG_DFL; handlers of the parent must not run here.
  const unsigned long by_default[4] = {0, 0, 0, 0};
  for (int i = 0; i < self->changed_count_; ++i)
    raw(SYS_rt_sigaction, self->changed_signals_[i], address(by_default), 0, mask_bytes);
  long result = plan.cwd == nullptr ? 0 : raw(SYS_chdir, address(plan.cwd));
  if (result == 0) {
    raw(SYS_dup3, plan.stdin_fd, 0, 0);
    raw(SYS_dup3, plan.stdout_fd, 1, 0);
    raw(SYS_dup3, plan.stderr_fd, 2, 0);
    raw(SYS_close_range, 3, ~0U, 0);
    const unsigned long nothing = 0;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, address(&nothing), 0, mask_bytes);
    result = raw(SYS_execve, address(plan.path), address(plan.argv), address(plan.envp));
    if (plan.fallback_path != nullptr)
      result = raw(SYS_execve, address(plan.fallback_path), address(plan.fallback_argv), address(plan.envp));
  }
  __atomic_store_n(reinterpret_cast<int*>(&self->error_), static_cast<int>(-result), __ATOMIC_RELEASE);
  while (true) raw(SYS_exit_group, 127);
}

Result<pid_t> Launch::start(const LaunchPlan& plan) {
  plan_ = plan;
  error_ = 0;
  if (!can_launch()) return start_and_wait();
  if (stack_ == nullptr) {
    stack_ = new_stack();
    if (stack_ == nullptr) return errno_code();
    note_signals();
  }
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int pid = ::clone(child, static_cast<char*>(stack_) + guard_size + stack_size, CLONE_VM | SIGCHLD, this);
  const auto error = errno_code();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return error;
  return pid;
}

// Nearly all are treated by default already: one call each in the child would cost more than the rest of it.
void Launch::note_signals() {
  changed_count_ = 0;
  for (int number = 1; number <= signals; ++number) {
    struct sigaction now {};
    if (number == SIGKILL || number == SIGSTOP) continue;
    if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) continue;
    changed_signals_[changed_count_++] = number;
  }
}

Result<pid_t> Launch::start_and_wait() {
  auto pid = spawn(plan_);
  if (pid || plan_.fallback_path == nullptr) return pid;
  SpawnPlan second = plan_;
  second.path = plan_.fallback_path;
  second.argv = plan_.fallback_argv;
  return spawn(second);
}

}  // namespace taskmill::os
