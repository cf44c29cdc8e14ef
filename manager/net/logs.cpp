#include "manager/net/logs.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace taskmill::manager {
namespace {

constexpr std::string_view stats_header =
    "# timestamp workers_connected workers_init workers_idle workers_busy workers_able workers_joined workers_removed "
    "workers_released workers_idled_out workers_blocked workers_fast_aborted workers_lost tasks_waiting "
    "tasks_on_workers "
    "tasks_running tasks_with_results tasks_submitted tasks_dispatched tasks_done tasks_failed tasks_cancelled "
    "tasks_exhausted_attempts time_send time_receive time_send_good time_receive_good time_status_msgs time_internal "
    "time_polling time_application time_execute time_execute_good time_execute_exhaustion bytes_sent bytes_received "
    "bandwidth capacity_tasks capacity_cores capacity_memory capacity_disk capacity_instantaneous capacity_weighted "
    "manager_load total_cores total_memory total_disk committed_cores committed_memory committed_disk max_cores "
    "max_memory max_disk min_cores min_memory min_disk\n";

// Twelve lines that say what follows (manager.md 16.2).
constexpr std::string_view transactions_header =
    "# time manager_pid MANAGER START|END\n"
    "# time manager_pid WORKER worker_id host:port CONNECTION\n"
    "# time manager_pid WORKER worker_id host:port DISCONNECTION "
    "(UNKNOWN|IDLE_OUT|FAST_ABORT|FAILURE|STATUS_WORKER|EXPLICIT)\n"
    "# time manager_pid WORKER worker_id RESOURCES {resources}\n"
    "# time manager_pid CATEGORY name MAX {resources_max_per_task}\n"
    "# time manager_pid CATEGORY name MIN {resources_min_per_task_per_worker}\n"
    "# time manager_pid CATEGORY name FIRST (FIXED|MAX|MIN_WASTE|MAX_THROUGHPUT) {resources_requested}\n"
    "# time manager_pid TASK task_id WAITING category_name (FIRST_RESOURCES|MAX_RESOURCES) {resources_requested}\n"
    "# time manager_pid TASK task_id RUNNING worker_address (FIRST_RESOURCES|MAX_RESOURCES) {resources_allocated}\n"
    "# time manager_pid TASK task_id WAITING_RETRIEVAL worker_address\n"
    "# time manager_pid TASK task_id (RETRIEVED|DONE) (SUCCESS|failure) exit_code {limits_exceeded} "
    "{resources_measured}\n"
    "# time manager_pid TRANSFER (INPUT|OUTPUT) task_id cache_flag sizeinmb walltime filename\n"
    "\n";

std::int64_t us(WallTime time) { return time.time_since_epoch().count(); }

}  // namespace

// --- a file ---

Expected<LogFile> LogFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  std::FILE* file = fd >= 0 ? ::fdopen(fd, "a") : nullptr;
  if (file == nullptr) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return make_error("cannot write the log " + path + ": " + std::strerror(error));
  }
  return LogFile(file, path);
}

void LogFile::put(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() && error_ == 0) error_ = errno;
}

void LogFile::flush() {
  if (std::fflush(file_.get()) != 0 && error_ == 0) error_ = errno;
}

std::string LogFile::problem() {
  if (error_ == 0 || std::exchange(told_, true)) return {};
  return "the log " + path_ + " cannot be written: " + std::strerror(error_) + "; it is incomplete";
}

std::uint64_t LogFile::size() const {
  struct stat info {};
  return ::fstat(::fileno(file_.get()), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

std::string Logs::problem() {
  std::string text;
  if (transactions) text = transactions->problem();
  if (text.empty() && statistics) text = statistics->problem();
  if (text.empty() && debug) text = debug->problem();
  return text;
}

// --- transactions ---

Expected<std::unique_ptr<TransactionsLog>> TransactionsLog::open(const std::string& path, WallTime now) {
  auto file = LogFile::open(path);
  if (!file.has_value()) return file.error();
  std::unique_ptr<TransactionsLog> log(new TransactionsLog(std::move(*file), ::getpid()));
  log->file_.put(transactions_header);
  log->record(now, "MANAGER START");
  log->flush();
  return log;
}

void TransactionsLog::record(WallTime time, std::string_view text) {
  std::string line = std::to_string(us(time)) + " " + std::to_string(pid_) + " ";
  line.append(text) += '\n';
  file_.put(line);
}

void TransactionsLog::end(WallTime now) {
  record(now, "MANAGER END");
  flush();
}

// --- statistics ---

std::string stats_line(const Stats& s, WallTime now) {
  const std::array<std::int64_t, 36> before{us(now),
                                            s.workers_connected,
                                            s.workers_init,
                                            s.workers_idle,
                                            s.workers_busy,
                                            s.workers_able,
                                            s.workers_joined,
                                            s.workers_removed,
                                            s.workers_released,
                                            s.workers_idled_out,
                                            s.workers_blocked,
                                            s.workers_fast_aborted,
                                            s.workers_lost,
                                            s.tasks_waiting,
                                            s.tasks_on_workers,
                                            s.tasks_running,
                                            s.tasks_with_results,
                                            s.tasks_submitted,
                                            s.tasks_dispatched,
                                            s.tasks_done,
                                            s.tasks_failed,
                                            s.tasks_cancelled,
                                            s.tasks_exhausted_attempts,
                                            s.time_send,
                                            s.time_receive,
                                            s.time_send_good,
                                            s.time_receive_good,
                                            s.time_status_msgs,
                                            s.time_internal,
                                            s.time_polling,
                                            s.time_application,
                                            s.time_workers_execute,
                                            s.time_workers_execute_good,
                                            s.time_workers_execute_exhaustion,
                                            s.bytes_sent,
                                            s.bytes_received};
  const std::array<std::int64_t, 6> capacity{s.capacity_tasks, s.capacity_cores,         s.capacity_memory,
                                             s.capacity_disk,  s.capacity_instantaneous, s.capacity_weighted};
  const std::array<std::int64_t, 12> after{s.total_cores,      s.total_memory,   s.total_disk, s.committed_cores,
                                           s.committed_memory, s.committed_disk, s.max_cores,  s.max_memory,
                                           s.max_disk,         s.min_cores,      s.min_memory, s.min_disk};
  std::string line;
  const auto add = [&line](const auto& values) {
    for (const auto value : values) line += std::to_string(value) + " ";
  };
  add(before);
  line += std::to_string(s.bandwidth) + " ";
  add(capacity);
  line += std::to_string(s.manager_load) + " ";
  add(after);
  line.pop_back();
  return line;
}

Expected<std::unique_ptr<StatsLog>> StatsLog::open(const std::string& path) {
  auto file = LogFile::open(path);
  if (!file.has_value()) return file.error();
  std::unique_ptr<StatsLog> log(new StatsLog(std::move(*file)));
  log->file_.put(stats_header);
  log->file_.flush();
  return log;
}

void StatsLog::write(const Stats& stats, WallTime now) {
  last_ = now;
  file_.put(stats_line(stats, now) + "\n");
  file_.flush();
}

// --- debug ---

DebugLog::DebugLog(LogFile file, std::string program, std::uint64_t limit)
    : file_(std::move(file)), program_(std::move(program)), limit_(limit), written_(file_.size()) {}

Expected<std::unique_ptr<DebugLog>> DebugLog::open(const std::string& path, std::string program, std::uint64_t limit) {
  auto file = LogFile::open(path);
  if (!file.has_value()) return file.error();
  return std::unique_ptr<DebugLog>(new DebugLog(std::move(*file), std::move(program), limit));
}

void DebugLog::line(WallTime now, std::string_view subsystem, std::string_view text) {
  const auto micros = us(now);
  const auto seconds = static_cast<std::time_t>(micros / 1'000'000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::array<char, 64> stamp{};
  const auto length = std::strftime(stamp.data(), stamp.size(), "%Y/%m/%d %H:%M:%S", &parts);
  std::snprintf(stamp.data() + length, stamp.size() - length, ".%02d ", static_cast<int>(micros % 1'000'000 / 10'000));
  std::string out = stamp.data() + program_ + "[" + std::to_string(::getpid()) + "]";
  out.append(subsystem).append(": ").append(text) += '\n';
  file_.put(out);
  file_.flush();
  written_ += out.size();
  if (limit_ > 0 && written_ > limit_) rotate();
}

void DebugLog::lines(WallTime now, std::string_view prefix, std::string_view bytes) {
  constexpr std::size_t longest = 200;
  constexpr int most_lines = 64;  // a small file sent among the words may hold any number of line ends
  for (int count = 0; !bytes.empty() && count < most_lines; ++count) {
    const auto end = bytes.find('\n');
    std::string text(prefix);
    for (const char c : bytes.substr(0, std::min(end, longest))) text += c >= 0x20 && c < 0x7F ? c : '.';
    line(now, "wq", text);
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
  }
}

void DebugLog::rotate() {
  const std::string path = file_.path();
  ::rename(path.c_str(), (path + ".old").c_str());
  written_ = 0;
  if (auto file = LogFile::open(path); file.has_value()) file_ = std::move(*file);
}

}  // namespace taskmill::manager
