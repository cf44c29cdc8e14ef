#include "protocol/pb/task_batch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "protocol/pb/frames.hpp"
#include "protocol/result_code.hpp"

namespace taskmill::protocol {
namespace {

constexpr std::size_t most_templates = 16;
constexpr std::size_t digest_bytes = 32;
constexpr double most_processes = std::numeric_limits<std::uint32_t>::max();
constexpr std::int64_t last_task_id = std::numeric_limits<std::int32_t>::max();

std::uint64_t whole(double value) {
  return static_cast<std::uint64_t>(std::clamp(value, 0.0, static_cast<double>(1ULL << 53U)));
}

// Digests are 64 hex digits everywhere else; anything else goes, and comes back, as it is.
std::string raw_digest(const std::string& text) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  const bool hex = text.size() == 2 * digest_bytes && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hex) return text;
  std::string raw;
  for (std::size_t i = 0; i < text.size(); i += 2)
    raw.push_back(static_cast<char>(value(text[i]) * 16 + value(text[i + 1])));
  return raw;
}

std::string digest_text(const std::string& raw) {
  if (raw.size() != digest_bytes) return raw;
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    text.push_back("0123456789abcdef"[byte >> 4U]);
    text.push_back("0123456789abcdef"[byte & 15U]);
  }
  return text;
}

// Inputs that other tasks may name in the same way: cached ones, as far as they stand in front.
std::size_t shared_inputs_of(const TaskDescription& task) {
  const auto unshared = std::find_if(task.inputs.begin(), task.inputs.end(), [](const InputFile& input) {
    return input.content || (input.flags & file_flag::cache) == 0;
  });
  return static_cast<std::size_t>(unshared - task.inputs.begin());
}

bool same_input(const InputFile& a, const InputFile& b) {
  return a.cache_name == b.cache_name && a.sandbox_name == b.sandbox_name && a.flags == b.flags &&
         a.empty_directory == b.empty_directory;
}

bool stands_for(const TaskDescription& shared, const TaskDescription& task, std::size_t inputs) {
  return shared.category == task.category && shared.cores == task.cores && shared.memory == task.memory &&
         shared.disk == task.disk && shared.gpus == task.gpus && shared.env == task.env &&
         shared.environment == task.environment && shared.wall_time == task.wall_time && shared.limits == task.limits &&
         shared.end_time_us == task.end_time_us && shared.inputs.size() == inputs &&
         std::equal(shared.inputs.begin(), shared.inputs.end(), task.inputs.begin(), same_input);
}

void put_input(pb::InputFile& out, const InputFile& input) {
  out.set_cache_name(input.cache_name);
  out.set_sandbox_name(input.sandbox_name);
  out.set_flags(static_cast<std::uint32_t>(input.flags));
  out.set_empty_directory(input.empty_directory);
  if (!input.content) return;
  out.set_content(*input.content);
  out.set_mode(input.mode);
}

void put_command(pb::Task& out, const TaskDescription& task) {
  if (task.command) out.set_command(*task.command);
  for (const auto& word : task.argv) out.add_argv(word);
}

// As `limit` lines say it; a limit in seconds takes the place of the `wall_time` line too.
void put_limits(pb::Task& out, const TaskDescription& task) {
  const TaskLimits& limits = task.limits;
  if (limits.memory) out.set_memory_limit(whole(*limits.memory));
  if (limits.disk) out.set_disk_limit(whole(*limits.disk));
  if (limits.cores) out.set_cores_limit(*limits.cores);
  out.set_stop_for_cores(limits.stop_for_cores);
  if (limits.processes)
    out.set_processes_limit(static_cast<std::uint32_t>(std::clamp(*limits.processes, 0.0, most_processes)));
  const double wall_s = limits.wall_time.value_or(task.wall_time);
  if (wall_s > 0) out.set_wall_limit_us(std::max<std::uint64_t>(whole(std::round(wall_s * 1e6)), 1));
}

void put_common(pb::Task& out, const TaskDescription& task) {
  out.set_category(task.category);
  if (task.cores) out.set_cores(*task.cores);
  if (task.memory) out.set_memory(whole(*task.memory));
  if (task.disk) out.set_disk(whole(*task.disk));
  if (task.gpus) out.set_gpus(*task.gpus);
  if (task.end_time_us != 0) out.set_end_time_us(task.end_time_us);
  put_limits(out, task);
  if (!task.environment.empty()) out.set_environment(raw_digest(task.environment));
  for (const auto& variable : task.env) {
    const auto equals = variable.find('=');
    auto& entry = *out.add_variables();
    entry.set_name(variable.substr(0, equals));
    if (equals != std::string::npos) entry.set_value(variable.substr(equals + 1));
  }
}

}  // namespace

// The number of a template for it, 0 when it is not worth one.
std::uint32_t BatchWriter::template_for(const TaskDescription& task, std::size_t shared_inputs) {
  for (std::size_t i = shared_.size(); i > 0; --i) {
    if (stands_for(shared_[i - 1], task, shared_inputs)) return static_cast<std::uint32_t>(i);
  }
  if (shared_.size() >= most_templates) return 0;
  auto& out = *message_.add_templates();
  put_common(out, task);
  put_command(out, task);
  for (std::size_t i = 0; i < shared_inputs; ++i) put_input(*out.add_inputs(), task.inputs[i]);
  auto& shared = shared_.emplace_back(task);
  shared.inputs.resize(shared_inputs);
  shared.outputs.clear();
  size_ += out.ByteSizeLong();
  return static_cast<std::uint32_t>(shared_.size());
}

void BatchWriter::add(const TaskDescription& task) {
  const auto shared_inputs = shared_inputs_of(task);
  const auto number = template_for(task, shared_inputs);
  auto& out = *message_.add_tasks();
  out.set_task_id(task.task_id);
  out.set_attempt(task.attempt);
  out.set_template_(number);
  const TaskDescription* shared = number == 0 ? nullptr : &shared_[number - 1];
  if (shared == nullptr) put_common(out, task);
  if (shared == nullptr || shared->command != task.command || shared->argv != task.argv) put_command(out, task);
  for (std::size_t i = shared == nullptr ? 0 : shared_inputs; i < task.inputs.size(); ++i) {
    put_input(*out.add_inputs(), task.inputs[i]);
  }
  for (const auto& output : task.outputs) {
    auto& entry = *out.add_outputs();
    entry.set_cache_name(output.cache_name);
    entry.set_sandbox_name(output.sandbox_name);
    entry.set_flags(static_cast<std::uint32_t>(output.flags));
  }
  size_ += out.ByteSizeLong() + 8;
}

bool BatchWriter::flush(std::string& out, bool compress) {
  if (empty()) return true;
  message_.set_inline_output_limit(inline_output_limit);
  message_.set_unacknowledged_limit(unacknowledged_limit);
  const bool fits = append_frame(out, message_, compress);
  message_.Clear();
  shared_.clear();
  size_ = 0;
  return fits;
}

// --- the worker's side ---

namespace {

class Expander {
 public:
  Expander(pb::TaskBatch& message, std::string& why) : message_(message), why_(why) {}

  bool task(pb::Task& from, TaskDescription& out) {
    if (from.task_id() < 1 || from.task_id() > last_task_id) {
      return fail("a task with the number " + std::to_string(from.task_id()));
    }
    out.task_id = from.task_id();
    out.attempt = from.attempt();
    if (from.template_() > static_cast<std::uint32_t>(message_.templates_size())) {
      return fail("task " + std::to_string(out.task_id) + " names a template that is not there");
    }
    if (from.template_() > 0) {
      const pb::Task& shared = message_.templates(static_cast<int>(from.template_()) - 1);
      if (!fields(shared, out) || !lists(shared, out)) return false;
    }
    if (!fields(from, out)) return false;
    for (auto& input : *from.mutable_inputs()) {
      auto& added = out.inputs.emplace_back();
      name(added, input);
      if (!input.has_content()) continue;
      added.content = std::move(*input.mutable_content());
      added.mode = input.mode() & 0777U;
    }
    return outputs(from, out);
  }

 private:
  bool fail(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool count(std::size_t entries, std::uint64_t bytes) {
    entries_ += entries;
    bytes_ += bytes;
    if (entries_ <= max_expanded_entries && bytes_ <= max_expanded_bytes) return true;
    return fail("a batch of tasks that becomes too large");
  }

  static void name(InputFile& out, const pb::InputFile& from) {
    out.cache_name = from.cache_name();
    out.sandbox_name = from.sandbox_name();
    out.flags = static_cast<int>(from.flags() & 0xFFFFU);
    out.empty_directory = from.empty_directory();
  }

  bool amount(double value, std::optional<double>& out) {
    if (!std::isfinite(value) || value < 0) return fail("an amount of resources that is none");
    out = value;
    return true;
  }

  // What a task replaces of its template, and the variables, which are appended.
  bool fields(const pb::Task& from, TaskDescription& out) {
    std::uint64_t bytes = from.command().size() + from.category().size();
    if (from.has_command()) out.command = from.command();
    if (from.argv_size() > 0) out.argv.assign(from.argv().begin(), from.argv().end());
    for (const auto& word : from.argv()) bytes += word.size();
    if (from.has_category()) out.category = from.category();
    if (from.has_cores() && !amount(from.cores(), out.cores)) return false;
    if (from.has_gpus() && !amount(from.gpus(), out.gpus)) return false;
    if (from.has_memory()) out.memory = static_cast<double>(from.memory());
    if (from.has_disk()) out.disk = static_cast<double>(from.disk());
    if (from.has_end_time_us()) out.end_time_us = from.end_time_us();
    if (from.has_environment()) out.environment = digest_text(from.environment());
    if (!limits(from, out.limits)) return false;
    for (const auto& variable : from.variables()) {
      if (variable.name().empty() || variable.name().find('=') != std::string::npos)
        return fail("a variable of the environment without a proper name");
      out.env.push_back(variable.has_value() ? variable.name() + "=" + variable.value() : variable.name());
      bytes += out.env.back().size();
    }
    return count(1 + static_cast<std::size_t>(from.variables_size() + from.argv_size()), bytes);
  }

  bool limits(const pb::Task& from, TaskLimits& out) {
    if (from.has_memory_limit()) out.memory = static_cast<double>(from.memory_limit());
    if (from.has_disk_limit()) out.disk = static_cast<double>(from.disk_limit());
    if (from.has_processes_limit()) out.processes = from.processes_limit();
    if (from.has_wall_limit_us()) out.wall_time = static_cast<double>(from.wall_limit_us()) * 1e-6;
    if (from.stop_for_cores()) out.stop_for_cores = true;
    return !from.has_cores_limit() || amount(from.cores_limit(), out.cores);
  }

  // Inputs and outputs of a template; content belongs to one task alone.
  bool lists(const pb::Task& from, TaskDescription& out) {
    for (const auto& input : from.inputs()) {
      if (input.has_content()) return fail("the content of a file in a template");
      name(out.inputs.emplace_back(), input);
      if (!count(1, input.cache_name().size() + input.sandbox_name().size())) return false;
    }
    return outputs(from, out);
  }

  bool outputs(const pb::Task& from, TaskDescription& out) {
    for (const auto& output : from.outputs()) {
      out.outputs.push_back({output.cache_name(), output.sandbox_name(), static_cast<int>(output.flags() & 0xFFFFU)});
      if (!count(1, output.cache_name().size() + output.sandbox_name().size())) return false;
    }
    return true;
  }

  pb::TaskBatch& message_;
  std::string& why_;
  std::size_t entries_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace

std::optional<ExpandedBatch> expand(pb::TaskBatch message, std::string& why) {
  ExpandedBatch batch;
  batch.inline_outputs = message.inline_output_limit();
  batch.unacknowledged = message.unacknowledged_limit();
  batch.tasks.resize(static_cast<std::size_t>(message.tasks_size()));
  Expander expander(message, why);
  for (int i = 0; i < message.tasks_size(); ++i) {
    if (!expander.task(*message.mutable_tasks(i), batch.tasks[static_cast<std::size_t>(i)])) return std::nullopt;
  }
  return batch;
}

}  // namespace taskmill::protocol
