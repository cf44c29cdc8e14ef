#include "worker/net/peer_fetcher.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>
#include <vector>

#include "common/aio/connection.hpp"
#include "common/archive/digest.hpp"
#include "common/base/text.hpp"
#include "protocol/pb/frames.hpp"
#include "protocol/pb/peer_frames.hpp"
#include "worker/net/peer_text.hpp"

namespace taskmill::worker {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t most_jobs = 256;
constexpr Duration silence_limit = std::chrono::seconds(10);
constexpr auto check_interval = std::chrono::seconds(1);
constexpr auto pool_retry = std::chrono::milliseconds(20);
constexpr std::uint64_t digest_step = 8U << 20;
constexpr Duration longest_order = std::chrono::hours(24);

/// What is known of the digest; belongs to the pool while a job runs.
struct Progress {
  archive::Sha256 sha;
  os::UniqueFd file;  ///< its own descriptor
  std::uint64_t hashed = 0;
  ErrorCode error;
};

// On the pool: takes the bytes up to `end` into the digest.
void digest_up_to(Progress& progress, std::uint64_t end) {
  std::vector<char> buffer(256U << 10);
  while (progress.hashed < end && !progress.error) {
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), end - progress.hashed));
    const ssize_t n = ::pread(progress.file.get(), buffer.data(), want, static_cast<off_t>(progress.hashed));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      progress.error =
          n < 0 ? errno_code() : ErrorCode(boost::system::errc::io_error, boost::system::generic_category());
      return;
    }
    progress.sha.update(archive::as_bytes(std::string_view(buffer.data(), static_cast<std::size_t>(n))));
    progress.hashed += static_cast<std::uint64_t>(n);
  }
}

}  // namespace

class PeerFetcher::Job : public aio::ConnectionHandler, public std::enable_shared_from_this<Job> {
 public:
  explicit Job(PeerFetcher& owner)
      : owner_(owner), context_(owner.context_), timer_(context_.io), socket_(context_.io) {}
  ~Job() override { hang_up(); }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// A new order; what came for an earlier one is kept if it is the same object.
  void begin(const pb::PeerFetch& order) {
    if (active_) finish(false, "replaced by another order");
    if (order.object() != order_.object() || order.size() != order_.size()) discard();
    order_ = order;
    active_ = true;
    next_source_ = 0;
    blamed_.clear();
    began_ = aio::steady_now();
    const auto limit = std::min<std::uint64_t>(order.deadline_us(), longest_order.count());
    deadline_ = began_ + Duration(static_cast<Duration::rep>(limit));
    if (const auto problem = open_file(); !problem.empty()) return fail_locally(problem);
    arm();
    try_next("no source was named");
  }
  /// Silently: nothing of it is kept.
  void abandon() {
    active_ = false;
    discard();
  }
  /// With an answer, if it is still owed.
  void cancel() {
    if (active_) finish(false, "not wanted any more");
    abandon();
  }

 private:
  // --- the file ---

  std::string open_file() {
    if (file_) return {};
    temporary_ = context_.space.next_name();
    file_.reset(::openat(context_.space.in(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         (order_.mode() & 0777U) | 0400U));
    if (!file_) return "cannot store it: " + errno_code().message();
    restart();
    return {};
  }

  // From the first byte again. A digest job that still runs keeps the old progress to itself.
  void restart() {
    received_ = 0;
    sources_used_ = 0;
    progress_ = std::make_shared<Progress>();
    progress_->file.reset(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
    digesting_ = false;
    ++epoch_;
  }

  void discard() {
    hang_up();
    timer_.cancel();
    if (file_) {
      const auto trash_name = context_.space.next_name();
      if (::renameat(context_.space.in(), temporary_.c_str(), context_.space.trash(), trash_name.c_str()) == 0)
        context_.disposal.add(trash_name);
    }
    file_.reset();
    progress_.reset();
    received_ = 0;
    ++epoch_;
  }

  // --- sources ---

  void try_next(const std::string& why) {
    hang_up();
    if (next_source_ >= order_.sources_size()) return finish(false, why);
    const auto& source = order_.sources(next_source_++);
    ErrorCode error;
    const auto address = boost::asio::ip::make_address(source.address(), error);
    if (error || source.port() == 0 || source.port() > 65535) return blame("its address is none");
    if (::ftruncate(file_.get(), static_cast<off_t>(received_)) != 0 ||
        ::lseek(file_.get(), static_cast<off_t>(received_), SEEK_SET) < 0) {
      return fail_locally("cannot store it: " + errno_code().message());
    }
    complete_ = false;
    moved_at_ = aio::steady_now();
    ++sources_used_;
    socket_ = tcp::socket(context_.io);
    socket_.async_connect({address, static_cast<std::uint16_t>(source.port())},
                          [self = shared_from_this(), attempt = ++attempt_](ErrorCode failed) {
                            if (self->attempt_ == attempt && self->active_) self->on_connected(failed);
                          });
  }

  void on_connected(ErrorCode error) {
    if (error) return blame("cannot connect: " + error.message());
    connection_ = std::make_shared<aio::Connection>(std::move(socket_), *this);
    pb::PeerRequest request;
    request.set_object(order_.object());
    request.set_token(order_.sources(next_source_ - 1).token());
    request.set_offset(received_);
    std::string frame;
    protocol::append_frame(frame, request, false);
    connection_->send(frame);
    connection_->start();
  }

  void hang_up() {
    ++attempt_;
    ErrorCode ignored;
    socket_.close(ignored);
    if (!connection_) return;
    count_piece();
    connection_->detach();
    connection_->close("done with this source");
    seen_ = 0;
    connection_.reset();
  }

  // Of a piece that broke off, what is in the file already.
  void count_piece() {
    if (std::exchange(in_piece_, false)) received_ += piece_ - std::min(piece_, connection_->body_left());
  }

  // The source is the reason. What has come is kept: the next one goes on behind it.
  void blame(const std::string& why) {
    const auto& source = order_.sources(next_source_ - 1);
    blamed_.push_back(static_cast<std::uint32_t>(next_source_));
    const std::string text = source.address() + ":" + std::to_string(source.port()) + ": " + why;
    context_.log.detail("fetching '" + order_.cache_name() + "' from " + text);
    try_next(text);
  }

  void fail_locally(const std::string& why) {
    blamed_.clear();
    discard();
    finish(false, why);
  }

  // --- what comes ---

  std::size_t on_data(std::span<const char> bytes) override {
    moved_at_ = aio::steady_now();
    if (complete_) return bytes.size();
    std::string problem;
    const auto head = protocol::read_peer_head(bytes, problem);
    if (!head && problem.empty()) return 0;
    if (head && !head->error.empty()) problem = "refused: " + plain(head->error);
    if (head && problem.empty() && (head->offset != received_ || head->length > order_.size() - received_))
      problem = "sent what was not asked for";
    if (!problem.empty()) {
      blame(problem);
      return bytes.size();
    }
    piece_ = head->length;
    last_ = head->last;
    if (piece_ == 0) {
      on_piece();
    } else {
      in_piece_ = true;
      connection_->receive_into(file_.get(), piece_);
    }
    return head->size;
  }

  void on_body_done(ErrorCode error) override {
    if (error) return fail_locally("cannot store it: " + error.message());
    moved_at_ = aio::steady_now();
    in_piece_ = false;
    received_ += piece_;
    on_piece();
  }

  void on_piece() {
    if (last_ && received_ != order_.size()) return blame("has " + std::to_string(received_) + " bytes of it");
    complete_ = last_;
    if (complete_) hang_up();
    pump_digest();
  }

  void on_closed(const aio::CloseReason& reason) override {
    count_piece();
    connection_.reset();
    if (active_ && !complete_) blame("broke off: " + reason.text);
  }

  // --- the digest ---

  void pump_digest() {
    if (digesting_ || !active_) return;
    const std::uint64_t left = received_ - progress_->hashed;
    if (left == 0 && complete_) return check_digest();
    if (left == 0 || (left < digest_step && !complete_)) return;
    auto job = [self = shared_from_this(), progress = progress_, end = received_, epoch = epoch_]() -> aio::Pool::Done {
      digest_up_to(*progress, end);
      return [self, epoch] {
        if (self->epoch_ == epoch) self->on_digested();
      };
    };
    digesting_ = context_.pool.submit(std::move(job));  // full: the timer asks again
  }

  void on_digested() {
    digesting_ = false;
    if (progress_->error) return fail_locally("cannot read it: " + progress_->error.message());
    pump_digest();
  }

  void check_digest() {
    const auto digest = progress_->sha.finish();
    if (order_.object() == std::string_view(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()))
      return adopt();
    // Of several sources any may have lied: the last one gets a chance to send all of it.
    const bool mixed = sources_used_ > 1;
    restart();
    if (mixed) {
      --next_source_;
      return try_next({});
    }
    blame("sent other bytes than those with this digest");
  }

  void adopt() {
    file_.reset();
    progress_.reset();
    if (const auto problem = owner_.events_.adopt(order_, temporary_); !problem.empty()) return finish(false, problem);
    finish(true, {});
  }

  // --- the end ---

  void finish(bool ok, const std::string& error) {
    if (!std::exchange(active_, false)) return;
    hang_up();
    timer_.cancel();
    pb::PeerDone done;
    done.set_order(order_.order());
    done.set_object(order_.object());
    done.set_ok(ok);
    if (ok) {
      done.set_source(static_cast<std::uint32_t>(next_source_));
      done.set_bytes(order_.size());
    } else {
      done.set_error(error.substr(0, 500));
    }
    done.set_time_us(static_cast<std::uint64_t>((aio::steady_now() - began_).count()));
    for (const auto source : blamed_) done.add_failed_sources(source);
    const auto self = shared_from_this();
    if (ok) owner_.end(order_.cache_name());
    owner_.events_.done(done);
  }

  void arm() {
    timer_.expires_after(digesting_ || !complete_ ? check_interval : pool_retry);
    timer_.async_wait([self = shared_from_this()](ErrorCode error) {
      if (error || !self->active_) return;
      self->look();
    });
  }

  void look() {
    const auto now = aio::steady_now();
    pump_digest();
    if (!active_) return;
    if (now >= deadline_ && !complete_) {
      blamed_.push_back(static_cast<std::uint32_t>(next_source_));
      return finish(false, "not done in time");
    }
    if (connection_ && connection_->bytes_in() != seen_) {
      seen_ = connection_->bytes_in();
      moved_at_ = now;
    }
    if (!complete_ && now >= moved_at_ + silence_limit) blame("is silent");
    if (active_) arm();
  }

  PeerFetcher& owner_;
  Context& context_;
  boost::asio::steady_timer timer_;
  tcp::socket socket_;
  pb::PeerFetch order_;
  bool active_ = false;
  int next_source_ = 0;
  std::vector<std::uint32_t> blamed_;
  Time began_{}, deadline_{}, moved_at_{};

  std::string temporary_;
  os::UniqueFd file_;
  std::uint64_t received_ = 0;
  int sources_used_ = 0;  ///< since the first byte

  std::shared_ptr<aio::Connection> connection_;
  std::uint64_t attempt_ = 0, seen_ = 0, piece_ = 0;
  bool in_piece_ = false, last_ = false, complete_ = false;

  std::shared_ptr<Progress> progress_;
  bool digesting_ = false;
  std::uint64_t epoch_ = 0;
};

PeerFetcher::PeerFetcher(Context& context, Events events) : context_(context), events_(std::move(events)) {}

PeerFetcher::~PeerFetcher() { reset(); }

void PeerFetcher::answer_at_once(const pb::PeerFetch& order, bool ok, const std::string& error) {
  pb::PeerDone done;
  done.set_order(order.order());
  done.set_object(order.object());
  done.set_ok(ok);
  done.set_error(error);
  events_.done(done);
}

void PeerFetcher::fetch(const pb::PeerFetch& order) {
  if (order.object().size() != sizeof(archive::Digest::bytes))
    return answer_at_once(order, false, "its digest is none");
  auto& job = jobs_[order.cache_name()];
  if (!job && jobs_.size() > most_jobs) {
    jobs_.erase(order.cache_name());
    return answer_at_once(order, false, "too many objects are being fetched");
  }
  if (!job) job = std::make_shared<Job>(*this);
  const auto kept = job;  // it may end at once
  kept->begin(order);
}

void PeerFetcher::forget(const std::string& cache_name) {
  const auto at = jobs_.find(cache_name);
  if (at == jobs_.end()) return;
  const auto job = at->second;
  jobs_.erase(at);
  job->cancel();
}

void PeerFetcher::end(const std::string& cache_name) { jobs_.erase(cache_name); }

void PeerFetcher::reset() {
  const auto jobs = std::exchange(jobs_, {});
  for (const auto& [name, job] : jobs) job->abandon();
}

}  // namespace taskmill::worker
