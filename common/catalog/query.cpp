#include "common/catalog/query.hpp"

#include <map>
#include <utility>

#include "common/base/text.hpp"
#include "common/catalog/core/reader.hpp"
#include "common/catalog/fetch.hpp"

namespace taskmill::catalog {
namespace {

// Who a record is about, whichever catalog told it.
std::string identity(const Value& record) {
  std::string key(record.text("type"));
  key += '\n';
  if (const auto uuid = record.text("uuid"); !uuid.empty()) return key.append(uuid);
  key += record.text("address");
  key += '\n' + std::to_string(record.integer("port")) + '\n';
  key += record.text("name");
  return key;
}

Expected<std::vector<Value>> read_reply(std::string_view body) {
  auto value = read_value(body, {.depth = 64, .values = 20'000'000});
  if (!value) return value.error();
  auto* array = value->as_array();
  if (array == nullptr) return make_error("the reply is not a list");
  std::erase_if(*array, [](const Value& item) { return item.as_object() == nullptr; });
  return std::move(*array);
}

}  // namespace

std::string query_path(const std::string& expression) {
  // Blanks in front change the encoding and not the meaning.
  std::string text = expression;
  for (int i = 0; i < 6; ++i) {
    auto encoded = base64_encode(text);
    if (encoded.find('/') == std::string::npos) return "/query/" + encoded;
    text.insert(text.begin(), ' ');
  }
  return "/query/" + base64_encode("true");
}

struct Query::Impl : std::enable_shared_from_this<Impl> {
  Impl(boost::asio::io_context& context, QueryOptions what, Handler done)
      : io(context),
        options(std::move(what)),
        handler(std::move(done)),
        deadline(context),
        stagger(context),
        grace(context) {}

  boost::asio::io_context& io;
  QueryOptions options;
  Handler handler;
  boost::asio::steady_timer deadline;
  boost::asio::steady_timer stagger;  ///< next catalog, or next pass
  boost::asio::steady_timer grace;    ///< how long the others may still add to a first answer
  std::vector<std::shared_ptr<Fetch>> fetches;
  std::size_t next = 0;
  std::size_t open = 0;
  std::size_t answered = 0;
  int passes = 0;
  std::string last_error = "no answer in time";
  QueryAnswer answer;
  std::map<std::string, std::size_t> known;

  void begin() {
    deadline.expires_after(options.timeout);
    deadline.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self) self->on_deadline();
    });
    start_pass();
  }

  void on_deadline() {
    if (answered > 0) return succeed();
    finish(make_error("no catalog answers (" + hosts_text(options.hosts) + "): " + last_error));
  }

  void start_pass() {
    next = 0;
    open = 0;
    fetches.clear();
    if (options.hosts.empty()) return finish(make_error("the list of catalogs is empty"));
    do {
      ask_next();
    } while (options.merge && next < options.hosts.size());
  }

  void ask_next() {
    if (next >= options.hosts.size()) return;
    const Host host = options.hosts[next++];
    ++open;
    ask(host, query_path(options.expression), true);
    if (options.merge || next >= options.hosts.size()) return;
    stagger.expires_after(options.head_start);
    stagger.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self && self->handler) self->ask_next();
    });
  }

  void ask(const Host& host, const std::string& path, bool may_fall_back) {
    fetches.push_back(Fetch::start(io, Url{host, path}, options.host_timeout,
                                   [weak = weak_from_this(), host, may_fall_back](auto reply) {
                                     auto self = weak.lock();
                                     if (self && self->handler) self->on_reply(host, may_fall_back, std::move(reply));
                                   }));
  }

  void on_reply(const Host& host, bool may_fall_back, const Expected<std::shared_ptr<std::string>>& reply) {
    const auto self = shared_from_this();
    if (!reply) return on_failure(reply.error().text);
    auto records = read_reply(**reply);
    if (!records) {
      if (may_fall_back) return ask(host, "/query.json", false);
      return on_failure(host.text() + ": " + records.error().text);
    }
    --open;
    ++answered;
    add(std::move(*records), host);
    if (!options.merge || open == 0) return succeed();
    if (answered > 1) return;
    grace.expires_after(std::chrono::milliseconds(500));
    grace.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto locked = weak.lock();
      if (!error && locked) locked->succeed();
    });
  }

  void add(std::vector<Value> records, const Host& host) {
    answer.servers += (answer.servers.empty() ? "" : ",") + host.text();
    for (auto& record : records) {
      if (options.hosts.size() == 1) {
        answer.records.push_back(std::move(record));
        continue;
      }
      const auto [place, fresh] = known.emplace(identity(record), answer.records.size());
      if (fresh) {
        answer.records.push_back(std::move(record));
      } else if (answer.records[place->second].integer("lastheardfrom") < record.integer("lastheardfrom")) {
        answer.records[place->second] = std::move(record);
      }
    }
  }

  void on_failure(const std::string& text) {
    last_error = text;
    --open;
    stagger.cancel();
    if (next < options.hosts.size()) return ask_next();
    if (open > 0) return;
    if (answered > 0) return succeed();
    if (!options.repeat) return on_deadline();
    constexpr int longest_shift = 4;
    stagger.expires_after(std::chrono::seconds(1U << static_cast<unsigned>(std::min(passes++, longest_shift))));
    stagger.async_wait([weak = weak_from_this()](ErrorCode error) {
      auto self = weak.lock();
      if (!error && self && self->handler) self->start_pass();
    });
  }

  void succeed() { finish(std::move(answer)); }

  void finish(Expected<QueryAnswer> result) {
    deadline.cancel();
    stagger.cancel();
    grace.cancel();
    for (auto& fetch : fetches) fetch->cancel();
    if (auto done = std::exchange(handler, nullptr)) done(std::move(result));
  }
};

std::unique_ptr<Query> Query::start(boost::asio::io_context& io, QueryOptions options, Handler handler) {
  auto impl = std::make_shared<Impl>(io, std::move(options), std::move(handler));
  std::unique_ptr<Query> query(new Query(impl));
  impl->begin();
  return query;
}

Query::~Query() {
  impl_->handler = nullptr;
  impl_->finish(make_error("cancelled"));
}

}  // namespace taskmill::catalog
