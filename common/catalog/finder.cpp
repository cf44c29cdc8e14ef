#include "common/catalog/finder.hpp"

#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <utility>

#include "common/aio/clock.hpp"
#include "common/catalog/environment.hpp"
#include "common/catalog/query.hpp"

namespace taskmill::catalog {
namespace {

// Without parentheses lost or '/' in its encoding, so that servers of every age understand it.
constexpr const char* managers_only = "(type==\"wq_master\") or (type==\"wq_manager\")";

class CatalogFinder final : public Finder {
 public:
  CatalogFinder(boost::asio::io_context& io, FinderOptions options, std::vector<Host> hosts, Regex project)
      : io_(io), options_(std::move(options)), hosts_(std::move(hosts)), project_(std::move(project)), soon_(io) {}

  void find(Handler handler) override {
    handler_ = std::move(handler);
    if (kept_ && aio::steady_now() - kept_at_ < options_.reuse) {
      soon_.expires_after(Duration(0));
      soon_.async_wait([this](ErrorCode error) {
        if (!error) deliver();
      });
      return;
    }
    query_.reset();
    QueryOptions query;
    query.hosts = hosts_;
    query.expression = managers_only;
    query.timeout = options_.timeout;
    query_ = Query::start(io_, std::move(query), [this](auto answer) { on_answer(std::move(answer)); });
  }

  void cancel() override {
    handler_ = nullptr;
    query_.reset();
    soon_.cancel();
  }

  void forget() override { kept_.reset(); }

  [[nodiscard]] std::string catalogs_text() const override { return hosts_text(hosts_); }

 private:
  void on_answer(Expected<QueryAnswer> answer) {
    if (!answer) {
      // The handler may destroy this finder.
      if (auto handler = std::exchange(handler_, nullptr)) handler(answer.error());
      return;
    }
    kept_ = std::move(answer->records);
    kept_at_ = aio::steady_now();
    deliver();
  }

  void deliver() {
    auto handler = std::exchange(handler_, nullptr);
    if (!handler || !kept_) return;
    CandidateRules rules{options_.mode, options_.stale_after_seconds, options_.seed + ++rounds_};
    const auto unix_time = std::chrono::duration_cast<std::chrono::seconds>(aio::wall_now().time_since_epoch()).count();
    auto candidates = pick_candidates(*kept_, project_, rules, unix_time);
    // Nobody there: the next question goes to the catalog again.
    if (candidates.empty()) kept_.reset();
    handler(std::move(candidates));
  }

  boost::asio::io_context& io_;
  FinderOptions options_;
  std::vector<Host> hosts_;
  Regex project_;
  boost::asio::steady_timer soon_;
  Handler handler_;
  std::unique_ptr<Query> query_;
  std::optional<std::vector<Value>> kept_;
  Time kept_at_{};
  std::uint64_t rounds_ = 0;
};

}  // namespace

Expected<std::unique_ptr<Finder>> Finder::make(boost::asio::io_context& io, FinderOptions options) {
  auto hosts = catalog_hosts(options.catalogs);
  if (!hosts) return hosts.error();
  auto project = Regex::whole(options.project);
  if (!project) return project.error();
  return std::unique_ptr<Finder>(new CatalogFinder(io, std::move(options), std::move(*hosts), std::move(*project)));
}

}  // namespace taskmill::catalog
