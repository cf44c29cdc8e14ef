#include "manager/api/manager.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <utility>

#include "common/aio/clock.hpp"
#include "manager/net/catalog_link.hpp"
#include "manager/net/hub.hpp"
#include "manager/net/journal.hpp"
#include "manager/net/logs.hpp"
#include "protocol/limits.hpp"

namespace taskmill::manager {
namespace {

constexpr const char* version_text = "8.0.0 TASKMILL";

std::string user_name() {
  const passwd* entry = ::getpwuid(::getuid());
  return entry != nullptr ? entry->pw_name : "uid" + std::to_string(::getuid());
}

std::string working_directory() {
  std::array<char, 4096> path{};
  return ::getcwd(path.data(), path.size()) != nullptr ? path.data() : ".";
}

bool has_control_character(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return true;
  }
  return false;
}

}  // namespace

Expected<std::string> read_password_file(const std::string& path) {
  const os::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(protocol::max_password + 2, '\0');
  const ssize_t n = file ? ::read(file.get(), text.data(), text.size()) : -1;
  if (n < 0) return make_error("cannot read the password file " + path + ": " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(n));
  text.resize(std::min(text.size(), text.find('\0')));
  if (text.empty()) return make_error("the password file " + path + " is empty; write a password into it");
  if (text.size() > protocol::max_password) {
    return make_error("the password in " + path + " is longer than " + std::to_string(protocol::max_password) +
                      " bytes; shorten it");
  }
  return {boost::system::in_place_value, std::move(text)};
}

struct Manager::Impl {
  explicit Impl(ManagerOptions chosen)
      : options(std::move(chosen)),
        work(io.get_executor()),
        deadline(io),
        sync_timer(io),
        environments(options.environments, io) {}

  std::string open_files();
  HubConfig hub_config(std::string password) const;
  HubEvents hub_events();
  void fill_identity();
  void on_report(const Report& report, const Effects& effects, const TaskTextPtr& text);
  void on_turn();
  void note(NoticeLevel level, const std::string& text);
  void count_submitted(TaskId first, std::size_t count);
  Expected<void> declare_environment(const TaskSpec& spec) {
    return environments.declare(spec, hub->machine(), [this] { hub->wake(); });
  }
  std::optional<FinishedTask> wait(Duration timeout, const std::string* tag);
  bool take(const std::string* tag, std::optional<FinishedTask>& out);
  void arm_sync();

  ManagerOptions options;
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  boost::asio::steady_timer deadline, sync_timer;
  ManagerCallbacks callbacks;
  Logs logs;
  std::unique_ptr<Journal> journal;
  Environments environments;
  std::unordered_map<TaskId, std::string> keys;  ///< of tasks in the journal, until they end
  std::unique_ptr<Hub> hub;
  std::unique_ptr<CatalogLink> catalog;
  std::deque<FinishedTask> finished;
  std::uint64_t outstanding = 0;  ///< submitted and not reported yet
  std::uint64_t skipped = 0;
  bool interrupted = false, ended = false, recorded = false, something_happened = false, sync_armed = false;
};

std::string Manager::Impl::open_files() {
  if (!options.transactions_log.empty()) {
    auto log = TransactionsLog::open(options.transactions_log, aio::wall_now());
    if (!log.has_value()) return log.error().text;
    logs.transactions = std::move(*log);
  }
  if (!options.stats_log.empty()) {
    auto log = StatsLog::open(options.stats_log);
    if (!log.has_value()) return log.error().text;
    logs.statistics = std::move(*log);
  }
  if (!options.debug_log.empty()) {
    auto log = DebugLog::open(options.debug_log, "work_queue_manager", options.debug_log_limit);
    if (!log.has_value()) return log.error().text;
    logs.debug = std::move(*log);
  }
  if (!options.journal.empty()) {
    auto log = Journal::open(options.journal);
    if (!log.has_value()) return log.error().text;
    journal = std::move(*log);
  }
  return {};
}

HubConfig Manager::Impl::hub_config(std::string password) const {
  HubConfig config;
  config.core = options.config;
  config.core.transactions = logs.transactions != nullptr;
  config.core.monitoring.process_id = ::getpid();
  config.address = options.address;
  config.any_port = options.port == 0;
  config.first_port = options.port;
  config.last_port = options.last_port;
  config.has_password = !password.empty();
  config.password = std::move(password);
  config.ssl_cert = options.ssl_cert;
  config.ssl_key = options.ssl_key;
  config.project = options.project;
  config.text.memory = options.stdout_memory;
  config.text.directory = options.spool_directory;
  config.disk_reserve = options.disk_reserve;
  if (options.bandwidth > 0) config.pace = std::make_shared<aio::Pace>(static_cast<double>(options.bandwidth));
  config.environments = environments.library();
  return config;
}

HubEvents Manager::Impl::hub_events() {
  HubEvents events;
  events.on_report = [this](const Report& report, const Effects& effects, const TaskTextPtr& text) {
    on_report(report, effects, text);
  };
  if (logs.transactions) {
    events.on_record = [this](const Record& record, std::string_view text) {
      logs.transactions->record(record.time, text);
      recorded = true;
    };
  }
  events.on_notice = [this](NoticeLevel level, const std::string& text) { note(level, text); };
  if (logs.debug) {
    events.on_trace = [this](const Peer& peer, bool sent, std::string_view bytes) {
      logs.debug->lines(
          aio::wall_now(),
          std::string(sent ? "tx to " : "rx from ") + peer.hostname() + " (" + peer.address() + "): ", bytes);
    };
  }
  events.on_turn = [this] { on_turn(); };
  return events;
}

void Manager::Impl::fill_identity() {
  auto& identity = hub->identity();
  identity.project = options.project;
  identity.owner = user_name();
  identity.working_dir = working_directory();
  identity.version = version_text;
  identity.preferred_connection = options.preferred_connection;
  identity.starttime_s = aio::wall_now().time_since_epoch().count() / 1'000'000;
  identity.priority = options.priority;
  identity.tasks_left = options.tasks_left;
}

void Manager::Impl::note(NoticeLevel level, const std::string& text) {
  if (logs.debug) logs.debug->line(aio::wall_now(), level == NoticeLevel::debug ? "wq" : "notice", text);
  if (callbacks.on_notice) callbacks.on_notice(level, text);
}

void Manager::Impl::on_report(const Report& report, const Effects& effects, const TaskTextPtr& text) {
  something_happened = true;
  const TaskOutcome* outcome = report.outcome < effects.outcomes.size() ? &effects.outcomes[report.outcome] : nullptr;
  const bool kept = !report.path.empty();
  if (kept && callbacks.on_kept) callbacks.on_kept(report.kind, std::string(effects.view(report.path)));
  if (kept) return;
  const bool ends = report.kind == ReportKind::finished || report.kind == ReportKind::cancelled;
  if (ends && outcome != nullptr) {
    FinishedTask task;
    task.id = report.task;
    task.cancelled = report.kind == ReportKind::cancelled;
    task.spec = hub->machine().spec(report.task).value_or(TaskSpec{});
    task.outcome = *outcome;
    task.text = text;
    if (outstanding > 0) --outstanding;
    if (const auto key = keys.find(report.task); key != keys.end()) {
      if (!task.cancelled) journal->finished(key->second, static_cast<int>(outcome->result), outcome->return_status);
      keys.erase(key);
    }
    if (callbacks.on_report) callbacks.on_report(report, outcome);
    if (callbacks.on_finished) return callbacks.on_finished(std::move(task));
    finished.push_back(std::move(task));
    return;
  }
  if (callbacks.on_report) callbacks.on_report(report, outcome);
}

void Manager::Impl::on_turn() {
  if (logs.transactions && std::exchange(recorded, false)) logs.transactions->flush();
  if (const auto problem = logs.problem(); !problem.empty()) note(NoticeLevel::warning, problem);
  if (journal) {
    if (const auto error = journal->flush())
      note(NoticeLevel::warning, "the journal cannot be written: " + error.message());
    arm_sync();
  }
  if (!std::exchange(something_happened, false)) return;
  const auto now = aio::wall_now();
  if (logs.statistics && logs.statistics->due(now)) logs.statistics->write(hub->stats(), now);
  if (catalog) catalog->changed();
}

// About once per second, on the pool: a slow disk does not hold up the dispatch.
void Manager::Impl::arm_sync() {
  if (sync_armed || !journal->dirty()) return;
  sync_armed = true;
  sync_timer.expires_after(std::chrono::seconds(1));
  sync_timer.async_wait([this](ErrorCode error) {
    if (error) return;
    sync_armed = false;
    journal->note_synced();
    (void)hub->pool().submit([raw = journal.get()]() -> aio::Pool::Done {
      raw->sync();
      return {};
    });
  });
}

void Manager::Impl::count_submitted(TaskId first, std::size_t count) {
  outstanding += count;
  something_happened = true;
  hub->note_submitted(TaskId(first.value() + static_cast<std::uint32_t>(count) - 1));
  hub->wake();
}

bool Manager::Impl::take(const std::string* tag, std::optional<FinishedTask>& out) {
  for (auto it = finished.begin(); it != finished.end(); ++it) {
    if (tag != nullptr && it->spec.tag != *tag) continue;
    out = std::move(*it);
    finished.erase(it);
    return true;
  }
  return false;
}

std::optional<FinishedTask> Manager::Impl::wait(Duration timeout, const std::string* tag) {
  std::optional<FinishedTask> task;
  if (take(tag, task)) {
    io.poll();  // a program that only ever takes what is ready must not starve its workers
    return task;
  }
  const auto late = std::make_shared<bool>(false);
  interrupted = false;
  if (timeout >= Duration{0}) {
    deadline.expires_after(timeout);
    deadline.async_wait([late](ErrorCode error) { *late = !error; });
  }
  while (!take(tag, task) && !*late && !interrupted && outstanding > 0) io.run_one();
  if (timeout >= Duration{0}) deadline.cancel();
  return task;
}

// --- the public face ---

Manager::Manager(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Manager::~Manager() {
  if (impl_ && !impl_->ended) finish(false, std::chrono::milliseconds(500));
}

Expected<std::unique_ptr<Manager>> Manager::create(ManagerOptions options) {
  if (has_control_character(options.project)) return make_error("the project name holds a control character");
  if (options.ssl_cert.empty() != options.ssl_key.empty()) {
    return make_error("TLS needs both a certificate and a key (--ssl-cert and --ssl-key)");
  }
  std::string password;
  if (!options.password_file.empty()) {
    auto read = read_password_file(options.password_file);
    if (!read.has_value()) return read.error();
    password = std::move(*read);
  }
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto problem = impl->open_files(); !problem.empty()) return make_error(std::move(problem));
  impl->hub = std::make_unique<Hub>(impl->io, impl->hub_config(std::move(password)), impl->hub_events());
  impl->fill_identity();
  if (auto port = impl->hub->start(); !port.has_value()) return port.error();
  if (!impl->options.project.empty()) {
    const auto say = [raw = impl.get()](NoticeLevel level) {
      return [raw, level](const std::string& text) { raw->note(level, text); };
    };
    auto link = CatalogLink::make(
        impl->io, *impl->hub,
        {impl->options.catalogs, impl->options.embed_catalog, say(NoticeLevel::notice), say(NoticeLevel::warning)});
    if (!link.has_value()) return link.error();
    impl->catalog = std::move(*link);
    impl->catalog->start();
  }
  if (impl->logs.statistics) impl->logs.statistics->write(impl->hub->stats(), aio::wall_now());
  return std::unique_ptr<Manager>(new Manager(std::move(impl)));
}

std::uint16_t Manager::port() const { return impl_->hub->port(); }
const std::string& Manager::project() const { return impl_->options.project; }
void Manager::set_callbacks(ManagerCallbacks callbacks) { impl_->callbacks = std::move(callbacks); }

Expected<TaskId> Manager::submit(const TaskSpec& spec) {
  if (auto done = impl_->declare_environment(spec); !done) return done.error();
  auto id = impl_->hub->machine().submit(spec, aio::now());
  if (id.has_value()) impl_->count_submitted(*id, 1);
  return id;
}

Expected<TaskId> Manager::submit(std::span<const TaskSpec> specs) {
  if (specs.empty()) return make_error("an empty batch of tasks was submitted");
  for (const TaskSpec& spec : specs) {
    if (auto done = impl_->declare_environment(spec); !done) return done.error();
  }
  auto first = impl_->hub->machine().submit_batch(specs, aio::now());
  if (first.has_value()) impl_->count_submitted(*first, specs.size());
  return first;
}

Expected<TaskId> Manager::submit(const TaskSpec& spec, const std::string& key) {
  if (!impl_->journal) return submit(spec);
  if (impl_->journal->is_done(key)) {
    ++impl_->skipped;
    return TaskId{};
  }
  auto id = submit(spec);
  if (!id.has_value()) return id;
  impl_->journal->submitted(key, *id);
  impl_->keys.emplace(*id, key);
  return id;
}

std::uint64_t Manager::skipped() const { return impl_->skipped; }
std::optional<FinishedTask> Manager::wait(Duration timeout) { return impl_->wait(timeout, nullptr); }
std::optional<FinishedTask> Manager::wait_for_tag(const std::string& tag, Duration timeout) {
  return impl_->wait(timeout, &tag);
}

void Manager::run_for(Duration time) {
  const auto late = std::make_shared<bool>(false);
  impl_->interrupted = false;
  impl_->deadline.expires_after(time);
  impl_->deadline.async_wait([late](ErrorCode error) { *late = !error; });
  while (!*late && !impl_->interrupted) impl_->io.run_one();
  impl_->deadline.cancel();
}

void Manager::interrupt() {
  impl_->interrupted = true;
  boost::asio::post(impl_->io, [] {});
}

bool Manager::cancel(TaskId task) {
  const bool found = machine().cancel(task, aio::now());
  wake();
  return found;
}

bool Manager::cancel_by_tag(const std::string& tag) {
  const bool found = machine().cancel_by_tag(tag, aio::now());
  wake();
  return found;
}

std::size_t Manager::cancel_all() {
  const auto count = machine().cancel_all(aio::now());
  wake();
  return count;
}

bool Manager::empty() const { return impl_->outstanding == 0 && impl_->finished.empty(); }
bool Manager::hungry() const { return impl_->hub->machine().hungry(); }
std::optional<TaskView> Manager::task(TaskId task) const { return impl_->hub->machine().task(task); }
std::string Manager::explain(TaskId task) const { return impl_->hub->machine().explain(task).text; }

void Manager::set_category(const std::string& name, const CategorySettings& settings) {
  machine().set_category(name, settings, aio::now());
  wake();
}

CategorySettings Manager::category(const std::string& name) const {
  return impl_->hub->machine().category_settings(name);
}

std::string Manager::tune(const std::string& name, double value) {
  std::string problem;
  if (machine().tune(name, value, &problem)) {
    wake();
    return {};
  }
  return problem.empty() ? "there is no tuning parameter '" + name + "'" : problem;
}

void Manager::set_algorithm(Algorithm algorithm) { machine().set_algorithm(algorithm); }
void Manager::set_tasks_left(std::int64_t count) {
  impl_->hub->identity().tasks_left = std::max<std::int64_t>(0, count);
}

std::size_t Manager::shut_down_workers(std::size_t count) {
  const auto told = machine().shut_down_workers(count, aio::now());
  wake();
  return told;
}

std::size_t Manager::drain_host(const std::string& host, bool drain) {
  const auto changed = machine().drain_host(host, drain, aio::now());
  wake();
  return changed;
}

void Manager::block_host(const std::string& host, std::optional<Duration> timeout) {
  machine().block_host(host, timeout, aio::now());
  wake();
}

void Manager::unblock_host(const std::string& host) {
  machine().unblock_host(host, aio::now());
  wake();
}

std::size_t Manager::invalidate_cached_file(const std::string& path, FileKind kind) {
  const auto count = machine().invalidate_cached_file(path, kind, aio::now());
  wake();
  return count;
}

bool Manager::fetch_kept_output(const std::string& path) {
  const bool asked = machine().fetch_kept_output(path, aio::now());
  wake();
  return asked;
}

Stats Manager::stats() const { return impl_->hub->stats(); }

std::string Manager::status(const std::string& request) const {
  auto kind = status_kind_of_path("/" + request);
  if (!kind) return "[]";
  StatusReport report(impl_->hub->status_source(), *kind);
  std::string text;
  while (report.next(text, 1U << 20)) {
  }
  return text;
}

std::string Manager::catalog_text() const { return impl_->catalog ? impl_->catalog->where() : std::string(); }

void Manager::finish(bool exit_workers, Duration limit) {
  if (std::exchange(impl_->ended, true)) return;
  impl_->callbacks.on_finished = nullptr;
  int open = 1;
  if (impl_->catalog) {
    ++open;
    impl_->catalog->finish([&open] { --open; });
  }
  impl_->hub->shut_down(exit_workers, limit, [&open] { --open; });
  impl_->deadline.expires_after(limit + std::chrono::seconds(2));
  bool late = false;
  impl_->deadline.async_wait([&late](ErrorCode error) { late = !error; });
  while (open > 0 && !late) impl_->io.run_one();
  impl_->deadline.cancel();
  impl_->io.poll();
  const auto now = aio::wall_now();
  if (impl_->logs.statistics) impl_->logs.statistics->write(impl_->hub->stats(), now);
  if (impl_->logs.transactions) impl_->logs.transactions->end(now);
  if (const auto problem = impl_->logs.problem(); !problem.empty()) impl_->note(NoticeLevel::warning, problem);
  if (impl_->journal) {
    (void)impl_->journal->flush();
    impl_->journal->sync();
  }
}

boost::asio::io_context& Manager::io() { return impl_->io; }
Machine& Manager::machine() { return impl_->hub->machine(); }
void Manager::wake() { impl_->hub->wake(); }

}  // namespace taskmill::manager
