#include "manager/core/spec_table.hpp"

#include <string>

#include "protocol/result_code.hpp"

namespace taskmill::manager {
namespace {

template <class T>
void store(std::vector<char>& bytes, std::size_t at, const T& value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

SpecText append(std::vector<char>& bytes, std::string_view text) {
  const SpecText where{static_cast<std::uint32_t>(bytes.size()), static_cast<std::uint32_t>(text.size())};
  bytes.insert(bytes.end(), text.begin(), text.end());
  return where;
}

std::uint32_t output_flags(const OutputSpec& output) {
  using namespace protocol;
  int flags = output.cache ? file_flag::cache : 0;
  if (output.watch) flags |= file_flag::watch;
  if (output.when == OutputWhen::on_failure) flags |= file_flag::failure_only;
  if (output.when == OutputWhen::on_success) flags |= file_flag::success_only;
  return static_cast<std::uint32_t>(flags) | (output.cache && output.keep ? keep_output_flag : 0);
}

}  // namespace

SpecTable::~SpecTable() = default;

// Leaves the block in scratch_. The files it names have been acquired once for it.
void SpecTable::pack(const TaskSpec& spec, std::uint32_t category, std::uint32_t features, std::uint32_t environment) {
  SpecHeader header;
  header.cores = spec.resources.cores;
  header.memory = spec.resources.memory;
  header.disk = spec.resources.disk;
  header.gpus = spec.resources.gpus;
  header.min_running_us = spec.min_running_time.count();
  header.max_running_us = spec.max_running_time.count();
  header.end_time_us = spec.end_time.time_since_epoch().count();
  header.start_min_us = spec.start_time_min.time_since_epoch().count();
  header.category = category;
  header.features = features;
  header.environment = environment;
  header.max_retries = spec.max_retries;
  header.algorithm = static_cast<std::uint8_t>(spec.algorithm);
  header.may_run_twice = spec.may_run_twice ? 1 : 0;
  header.inputs = static_cast<std::uint32_t>(spec.inputs.size());
  header.outputs = static_cast<std::uint32_t>(spec.outputs.size());
  header.variables = static_cast<std::uint32_t>(spec.environment.size());

  const std::size_t inputs_at = sizeof(SpecHeader);
  const std::size_t outputs_at = inputs_at + spec.inputs.size() * sizeof(PackedInput);
  const std::size_t variables_at = outputs_at + spec.outputs.size() * sizeof(PackedOutput);
  scratch_.assign(variables_at + spec.environment.size() * sizeof(PackedVariable), 0);
  header.command = append(scratch_, spec.command);
  header.tag = append(scratch_, spec.tag);
  header.coprocess = append(scratch_, spec.coprocess);
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const FileId file = files_.acquire(spec.inputs[i]);
    if (FileTable::is_local(spec.inputs[i].kind) && !files_[file].variable) header.local_files = 1;
    if (spec.inputs[i].cache) header.cached_files = 1;
    store(scratch_, inputs_at + i * sizeof(PackedInput),
          PackedInput{file.value(), append(scratch_, spec.inputs[i].remote)});
  }
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const OutputSpec& output = spec.outputs[i];
    PackedOutput packed;
    packed.flags = output_flags(output);
    packed.local = append(scratch_, output.local);
    packed.remote = append(scratch_, output.remote);
    // A cached output shares its record with an input of the same path.
    if (output.cache) packed.file = files_.acquire_path(output.local).value();
    store(scratch_, outputs_at + i * sizeof(PackedOutput), packed);
  }
  for (std::size_t i = 0; i < spec.environment.size(); ++i) {
    const auto& variable = spec.environment[i];
    SpecText where = append(scratch_, variable.name);
    if (variable.value) {
      append(scratch_, "=");
      append(scratch_, *variable.value);
      where.length = static_cast<std::uint32_t>(scratch_.size()) - where.offset;
    }
    store(scratch_, variables_at + i * sizeof(PackedVariable), PackedVariable{where});
  }
  header.bytes = static_cast<std::uint32_t>(scratch_.size());
  store(scratch_, 0, header);
}

void SpecTable::grow_index() {
  index_.assign(index_.empty() ? 256 : index_.size() * 2, no_index);
  const std::size_t mask = index_.size() - 1;
  for (std::uint32_t id = 0; id < blocks_.size(); ++id) {
    if (!blocks_[id].bytes) continue;
    std::size_t i = blocks_[id].hash & mask;
    while (index_[i] != no_index) i = (i + 1) & mask;
    index_[i] = id;
  }
}

SpecId SpecTable::acquire(const TaskSpec& spec, std::uint32_t category, std::uint32_t features,
                          std::uint32_t environment, std::uint32_t users) {
  pack(spec, category, features, environment);
  const std::string_view packed(scratch_.data(), scratch_.size());
  const auto hash = static_cast<std::uint32_t>(hash_bytes(packed) >> 16U);
  if ((live_ + 1) * 2 > index_.size()) grow_index();
  const std::size_t mask = index_.size() - 1;
  std::size_t i = hash & mask;
  for (; index_[i] != no_index; i = (i + 1) & mask) {
    Block& block = blocks_[index_[i]];
    if (block.hash != hash) continue;
    const SpecView view(block.bytes.get());
    if (view->bytes != packed.size() || std::memcmp(block.bytes.get(), packed.data(), packed.size()) != 0) continue;
    release_files(scratch_.data());
    block.users += users;
    return SpecId(index_[i]);
  }
  std::uint32_t id = 0;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else {
    id = static_cast<std::uint32_t>(blocks_.size());
    blocks_.emplace_back();
  }
  blocks_[id].bytes = std::make_unique<char[]>(packed.size());
  std::memcpy(blocks_[id].bytes.get(), packed.data(), packed.size());
  blocks_[id].users = users;
  blocks_[id].hash = hash;
  bytes_ += packed.size();
  index_[i] = id;
  ++live_;
  return SpecId(id);
}

void SpecTable::release_files(const char* bytes) {
  const SpecView view(bytes);
  for (std::uint32_t i = 0; i < view->inputs; ++i) files_.release(FileId(view.input(i).file));
  for (std::uint32_t i = 0; i < view->outputs; ++i) {
    if (view.output(i).file != no_index) files_.release(FileId(view.output(i).file));
  }
}

void SpecTable::release(SpecId spec) {
  Block& block = blocks_[spec.value()];
  TASKMILL_ASSERT(block.users > 0);
  if (--block.users > 0) return;
  release_files(block.bytes.get());
  const std::size_t mask = index_.size() - 1;
  std::size_t i = block.hash & mask;
  while (index_[i] != spec.value()) i = (i + 1) & mask;
  for (std::size_t j = (i + 1) & mask; index_[j] != no_index; j = (j + 1) & mask) {
    const std::size_t want = blocks_[index_[j]].hash & mask;
    if (((j - want) & mask) >= ((j - i) & mask)) {
      index_[i] = index_[j];
      i = j;
    }
  }
  index_[i] = no_index;
  bytes_ -= SpecView(block.bytes.get())->bytes;
  block.bytes.reset();
  free_.push_back(spec.value());
  --live_;
}

TaskSpec SpecTable::unpack(SpecId id) const {
  const SpecView view = (*this)[id];
  TaskSpec spec;
  spec.command = view.text(view->command);
  spec.tag = view.text(view->tag);
  spec.coprocess = view.text(view->coprocess);
  spec.resources = view->resources();
  spec.max_retries = view->max_retries;
  spec.min_running_time = Duration(view->min_running_us);
  spec.max_running_time = Duration(view->max_running_us);
  spec.end_time = WallTime(Duration(view->end_time_us));
  spec.start_time_min = WallTime(Duration(view->start_min_us));
  spec.algorithm = static_cast<Algorithm>(view->algorithm);
  spec.may_run_twice = view->may_run_twice != 0;
  for (std::uint32_t i = 0; i < view->inputs; ++i) {
    const FileRecord& file = files_[FileId(view.input(i).file)];
    InputSpec input;
    input.kind = file.kind;
    input.source = file.source;
    input.remote = view.text(view.input(i).remote);
    input.data = file.data;
    if (file.kind == FileKind::buffer) input.digest = file.digest;
    if (file.kind == FileKind::piece) {
      input.first = file.offset;
      input.last = file.offset + file.length - 1;
    }
    input.cache = file.cached;
    spec.inputs.push_back(std::move(input));
  }
  for (std::uint32_t i = 0; i < view->outputs; ++i) {
    const PackedOutput& packed = view.output(i);
    const auto has = [&packed](int flag) { return (packed.flags & static_cast<std::uint32_t>(flag)) != 0; };
    OutputSpec output{std::string(view.text(packed.local)), std::string(view.text(packed.remote))};
    output.cache = has(protocol::file_flag::cache);
    output.watch = has(protocol::file_flag::watch);
    output.keep = (packed.flags & keep_output_flag) != 0;
    if (has(protocol::file_flag::failure_only)) output.when = OutputWhen::on_failure;
    if (has(protocol::file_flag::success_only)) output.when = OutputWhen::on_success;
    spec.outputs.push_back(std::move(output));
  }
  for (std::uint32_t i = 0; i < view->variables; ++i) {
    const std::string_view text = view.variable(i);
    const auto equals = text.find('=');
    EnvironmentVariable variable{std::string(text.substr(0, equals)), std::nullopt};
    if (equals != std::string_view::npos) variable.value = std::string(text.substr(equals + 1));
    spec.environment.push_back(std::move(variable));
  }
  return spec;
}

std::size_t SpecTable::memory_bytes() const {
  return bytes_ + live_ * 16 + blocks_.capacity() * sizeof(Block) + (index_.capacity() + free_.capacity()) * 4;
}

}  // namespace taskmill::manager
