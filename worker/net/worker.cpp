#include "worker/net/worker.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <utility>

#include "common/measure/host_resources.hpp"
#include "common/os/file.hpp"
#include "common/os/tree.hpp"
#include "protocol/format.hpp"

namespace taskmill::worker {
namespace {

constexpr Duration disk_interval = std::chrono::seconds(5);
constexpr Duration volatile_interval = std::chrono::seconds(60);
/// How long the end waits for last words to leave, and for killed processes: on a busy machine these are not dead at
/// once, and what they have begun to write would be written after the worker is gone.
constexpr auto last_patience = std::chrono::milliseconds(600);
constexpr auto patience_with_processes = std::chrono::milliseconds(1600);
constexpr std::uint64_t root_copy_limit = 16U << 20;

StagePolicy policy_of(const WorkerSettings& settings, const Workspace& space) {
  StagePolicy policy;
  policy.can_clone = os::can_clone(space.cache());
  policy.symlinks = settings.symlinks;
  // Permissions do not keep root from changing a shared file, so more is copied for it.
  if (::geteuid() == 0) policy.copy_limit = root_copy_limit;
  policy.cache_path = space.path() + "/cache";
  return policy;
}

}  // namespace

void block_ending_signals(bool block) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : ending_signals) sigaddset(&set, number);
  ::pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, nullptr);
}

Worker::Worker(boost::asio::io_context& io, Log& log, Workspace& space, WorkerSettings settings)
    : io_(io),
      log_(log),
      space_(space),
      settings_(std::move(settings)),
      machine_(settings_.machine, aio::steady_now()),
      environment_(settings_.environment, space.path(), space.temp_path(), settings_.direct_start, settings_.gpus),
      disposal_(io, space.trash()),
      pool_(io, 2),
      context_{io,
               log,
               machine_,
               effects_,
               space,
               processes_,
               captures_,
               disposal_,
               pool_,
               environment_,
               policy_of(settings_, space),
               settings_.task_wrapper,
               settings_.direct_start,
               {},
               protocol::CapabilityHandshake(protocol::CapabilitySet{}),
               {},
               {},
               {},
               {},
               nullptr},
      tasks_(context_),
      measuring_(context_, settings_.limits),
      environments_(context_, settings_.environments),
      pusher_(context_, tasks_, measuring_),
      fetcher_(context_),
      peers_(context_, {[this](const std::string& name) { tasks_.forget_cached(name); },
                        [this](const pb::PeerFetch& order) { environments_.on_order(order); },
                        [this] { return environments_.chunk_directory(); }}),
      seeker_(io, log, settings_.ssl, settings_.fixed_version),
      writer_(space),
      signals_(io),
      timer_(io),
      last_patience_(io),
      random_(settings_.seed) {
  context_.stop = std::make_shared<std::atomic<bool>>(false);
  context_.null.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  context_.wake = [this] { wake(); };
  context_.sweep = [this] { tasks_.sweep_orphans(); };
  context_.environment_lease = [this](const std::string& digest) { return environments_.lease(digest); };
  captures_.use(space_.out());
  tasks_.set_probe(&measuring_);
}

Worker::~Worker() = default;

std::string Worker::prepare() {
  if (auto bad = environments_.prepare(); !bad.empty()) return bad;
  if (settings_.ssl || !settings_.project.empty()) {
    auto made = aio::make_client_context(settings_.tls);
    if (!made) return made.error().text;
    ssl_context_ = std::move(*made);
  }
  if (settings_.project.empty()) {
    seeker_.use_hosts(settings_.hosts);
    return {};
  }
  catalog::FinderOptions options;
  options.catalogs = settings_.catalogs;
  options.project = settings_.project;
  options.mode = settings_.connection_mode;
  options.seed = settings_.seed;
  auto finder = catalog::Finder::make(io_, options);
  if (!finder) return finder.error().text;
  seeker_.use_catalog(std::move(*finder));
  return {};
}

int Worker::run() {
  for (const int number : ending_signals) signals_.add(number);
  const auto wait = [this](auto&& self) -> void {
    signals_.async_wait([this, self](ErrorCode error, int number) {
      if (error) return;
      on_signal(number);
      self(self);
    });
  };
  wait(wait);
  block_ending_signals(false);
  if (settings_.parent_death) watch_parent();
  next_volatile_ = aio::steady_now() + volatile_interval;
  if (!settings_.coprocess.empty()) start_coprocesses();
  wake();
  io_.run();
  return exit_status_;
}

// The greeting names them, so no manager is looked for before they are there.
void Worker::start_coprocesses() {
  coprocesses_start_ = true;
  coprocesses_ = std::make_unique<Coprocesses>(context_, settings_.coprocess, settings_.coprocesses);
  context_.coprocesses = coprocesses_.get();
  coprocesses_->start([this](const std::string& name, const std::string& problem) {
    coprocesses_start_ = false;
    if (!problem.empty()) {
      exit_status_ = 1;
      return stop("cannot start --coprocess " + settings_.coprocess + ": " + problem);
    }
    log_.detail("coprocess " + name + " is ready");
    machine_.on_coprocesses(static_cast<std::int64_t>(settings_.coprocesses), name);
    wake();
  });
}

// --- turns ---

void Worker::wake() {
  if (turn_posted_) return;
  turn_posted_ = true;
  boost::asio::post(io_, [this] {
    turn_posted_ = false;
    turn();
  });
}

void Worker::turn() {
  while (!stopped_) {
    machine_.run(aio::now(), effects_);
    if (effects_.empty()) break;
    std::swap(effects_, performing_);
    perform(performing_);
    performing_.clear();
  }
  check_end();
  if (stopped_) return;
  if (machine_.life().stopping() && !stopping_) stop(machine_.life().stop_reason());
  arm_timer();
}

void Worker::perform(Effects& effects) {
  if (link_ && ready_ && !effects.lines.empty()) {
    if (log_.detailed()) trace_sent(effects.lines);
    link_->send(effects.lines);
  }
  if (link_ && ready_) pusher_.send(effects.push, *link_);
  for (const auto key : effects.terminate) tasks_.signal(key, SIGTERM);
  for (const auto key : effects.kill) tasks_.signal(key, SIGKILL);
  for (const auto key : effects.discard) tasks_.discard(key);
  for (const auto id : effects.cancel_fetch) fetcher_.cancel(id);
  for (const auto& removal : effects.remove) remove_from_cache(removal);
  for (const auto& order : effects.fetch) fetcher_.start(order);
  for (const auto key : effects.start) tasks_.start(key);
  for (const auto& part : effects.reply) send_part(part);
  if (effects.leave) {
    const auto leave = *effects.leave;
    if (leave.end == SessionEnd::idle) {
      log_.notice("disconnecting from " + target_.address.text() + " because " + leave.reason);
    } else if (leave.end == SessionEnd::released || leave.end == SessionEnd::exit_ordered) {
      log_.detail(leave.reason);
    } else {
      log_.complain("work_queue_worker: " + leave.reason);
    }
    if (link_) link_->finish(leave.reason);
    end_session(leave.end, leave.reason);
  }
}

void Worker::remove_from_cache(const CacheRemoval& removal) {
  tasks_.forget_cached(removal.name);
  peers_.forget(removal.name);
  if (!removal.heavy && ::unlinkat(space_.cache(), removal.name.c_str(), 0) == 0) return;
  const auto trash_name = space_.next_name();
  if (::renameat(space_.cache(), removal.name.c_str(), space_.trash(), trash_name.c_str()) != 0) {
    ::fchmodat(space_.cache(), removal.name.c_str(), 0700, 0);
    if (::renameat(space_.cache(), removal.name.c_str(), space_.trash(), trash_name.c_str()) != 0) return;
  }
  disposal_.add(trash_name);
}

// One timer. It is left alone when it fires early enough anyway: then it only finds nothing to do.
void Worker::arm_timer() {
  std::optional<Time> wanted = machine_.next_deadline();
  const auto at = [&wanted](Time time) { wanted = wanted ? std::min(*wanted, time) : time; };
  if (!stopping_) {
    if (!link_) {
      at(machine_.life().connect_deadline());
      if (const auto next = machine_.life().next_attempt(); next && may_look()) at(*next);
    }
    if (ready_by_) at(*ready_by_);
    if (machine_.in_session()) at(next_disk_);
    if (settings_.volatility > 0) at(next_volatile_);
  }
  if (!wanted || (armed_ && *armed_ <= *wanted)) return;
  armed_ = wanted;
  const auto delay = std::max(*wanted - aio::steady_now(), Duration::zero());
  timer_.expires_after(delay);
  timer_.async_wait([this](ErrorCode error) {
    if (error) return;
    armed_.reset();
    on_timer();
  });
}

void Worker::on_timer() {
  if (stopping_) return turn();
  const Time now = aio::steady_now();
  machine_.life().check(now);
  if (ready_by_ && now >= *ready_by_ && link_)
    link_->close("the manager did not complete the password exchange in time");
  if (machine_.in_session() && now >= next_disk_) measure_disk();
  if (settings_.volatility > 0 && now >= next_volatile_) {
    next_volatile_ = now + volatile_interval;
    if (link_ && random_.uniform() < settings_.volatility) link_->close("volatility");
  }
  const auto next = machine_.life().next_attempt();
  if (!link_ && may_look() && next && now >= *next) attempt();
  turn();
}

void Worker::measure_disk() {
  next_disk_ = aio::steady_now() + disk_interval;
  const auto free = measure::free_disk_mb(space_.path());
  if (free) machine_.on_disk_measured(*free, aio::steady_now(), effects_);
}

void Worker::attempt() {
  measure_disk();
  if (machine_.life().stopping()) return;
  auto skip = [this](const std::string& key) {
    return machine_.life().idle_search() && machine_.life().was_tried(key);
  };
  seeker_.begin_pass(
      skip, [this](boost::asio::ip::tcp::socket socket, const Target& target) { on_found(std::move(socket), target); },
      [this] {
        machine_.life().on_pass_failed(aio::steady_now());
        wake();
      });
}

// --- the end ---

void Worker::on_signal(int number) {
  if (++signals_seen_ > 1) {
    if (!stopped_) clean_up();
    return;
  }
  if (link_ && ready_) {
    std::string line;
    protocol::info(line, "vacating", static_cast<std::int64_t>(number));
    link_->send(line);
  }
  stop("abort signal received");
}

void Worker::watch_parent() {
  const pid_t parent = ::getppid();
  auto pidfd = os::open_pidfd(parent);
  if (!pidfd || ::getppid() != parent) return stop("parent process exited, shutting down");
  parent_ = std::make_unique<boost::asio::posix::stream_descriptor>(io_, pidfd->release());
  parent_->async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](ErrorCode error) {
    if (!error) stop("parent process exited, shutting down");
  });
}

void Worker::stop(const std::string& why) {
  if (stopping_) return;
  stopping_ = true;
  log_.notice(why.starts_with("parent") ? why : "stopping: " + why);
  machine_.life().stop(why);
  context_.stop->store(true);
  disposal_.stop();
  environments_.stop();
  seeker_.cancel();
  ready_by_.reset();
  if (link_) {
    link_->finish(why);
    end_session(SessionEnd::stopped, why);
  }
  processes_.kill_all();
  last_patience_.expires_after(last_patience);
  last_patience_.async_wait([this](ErrorCode error) {
    if (!error && !stopped_) lose_patience();
  });
  wake();
}

void Worker::lose_patience() {
  closing_.clear();
  check_end();
  if (stopped_) return;
  processes_.kill_all();
  last_patience_.expires_after(patience_with_processes - last_patience);
  last_patience_.async_wait([this](ErrorCode error) {
    if (!error && !stopped_) clean_up();
  });
}

// The end comes when the last process is gone and the last words have left, or when that takes too long.
void Worker::check_end() {
  if (!stopping_ || stopped_ || processes_.count() > 0) return;
  tasks_.sweep_orphans();  // the kernel's list may leave one out while others on it end: look again before leaving
  if (processes_.count() > 0 || environments_.busy()) return;
  for (const auto& link : closing_) {
    if (link->connection().is_open()) return;
  }
  clean_up();
}

void Worker::clean_up() {
  stopped_ = true;
  processes_.kill_all();
  // Helpers of an environment that is being prepared.
  for (const pid_t pid : os::descendants_of(::getpid())) ::kill(pid, SIGKILL);
  log_.say("work_queue_worker: deleting workspace " + space_.path());
  auto removal = os::remove_tree(space_.parent(), space_.name());
  if (removal.failed > 0) removal = os::remove_tree(space_.parent(), space_.name());  // somebody was still writing
  if (removal.failed > 0) {
    log_.error("could not delete " + space_.path() + ": " + removal.first_error.message());
  }
  io_.stop();
}

}  // namespace taskmill::worker
