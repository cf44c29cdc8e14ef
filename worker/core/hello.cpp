#include "worker/core/hello.hpp"

#include <cmath>

#include "protocol/format.hpp"

namespace taskmill::worker {
namespace {

// A greeting has blank-separated fields; a blank inside would shift them all.
std::string one_word(const std::string& text) {
  std::string word = text.empty() ? "unknown" : text;
  for (char& c : word) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7F) c = '_';
  }
  return word;
}

bool has_coprocess(const Identity& who, int version) { return version >= 10 && !who.coprocess.empty(); }

}  // namespace

void append_resources(std::string& out, int version, const Identity& who, const Resources& offered,
                      std::int64_t last_task, std::size_t running) {
  const auto say = [&out](const char* name, std::int64_t value) { protocol::resource(out, name, value, value, value); };
  const auto cores = static_cast<std::int64_t>(std::floor(offered.cores));
  protocol::alive(out);
  if (has_coprocess(who, version)) {
    const auto each = [&out](const char* name, std::int64_t own, std::int64_t workers) {
      protocol::resource(out, name, own >= 0 ? own : workers, 0, 0);
    };
    each("coprocess_disk", who.coprocess_offer.disk, offered.disk);
    each("coprocess_memory", who.coprocess_offer.memory, offered.memory);
    each("coprocess_gpus", who.coprocess_offer.gpus, offered.gpus);
    each("coprocess_cores", static_cast<std::int64_t>(who.coprocess_offer.cores), cores);
  }
  say("workers", 1);
  say("disk", offered.disk);
  say("memory", offered.memory);
  say("gpus", offered.gpus);
  say("cores", cores);
  protocol::resource_tag(out, last_task);
  protocol::info(out, "end_of_resource_update", std::int64_t{0});
  protocol::info(out, "tasks_running", static_cast<std::int64_t>(running));
}

void append_hello(std::string& out, int version, const Identity& who, const Resources& offered, std::int64_t last_task,
                  std::size_t running) {
  protocol::greeting(out, version, one_word(who.host), one_word(who.os), one_word(who.arch), one_word(who.software));
  protocol::info(out, "worker-id", who.worker_id);
  if (!who.capabilities.empty()) protocol::info(out, "wqx-caps", who.capabilities);
  for (const auto& feature : who.features) protocol::feature(out, feature);
  if (has_coprocess(who, version)) protocol::feature(out, "wq_worker_coprocess:" + who.coprocess);
  append_resources(out, version, who, offered, last_task, running);
  // Managers dispatch once they have seen this line, so everything else comes before it (wire 5.4).
  if (!who.from_factory.empty() && version >= 10) protocol::info(out, "from-factory", who.from_factory);
  protocol::info(out, "worker-end-time", who.end_time_s);
}

}  // namespace taskmill::worker
