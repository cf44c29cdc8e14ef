#include "worker/core/environment.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace taskmill::worker {
namespace {

constexpr std::array<std::string_view, 5> removed = {"DISPLAY", "CORES", "MEMORY", "DISK", "GPUS"};

std::string_view name_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

bool is_shell_name(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (name.empty() || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

// Variables a shell sets itself, whatever it was given.
bool is_set_by_shells(std::string_view name) { return name == "IFS" || name == "OPTIND" || name == "PPID"; }

std::string cores_text(std::int64_t milli) {
  if (milli % 1000 == 0) return std::to_string(milli / 1000);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", static_cast<double>(milli) / 1000);
  return text.data();
}

template <class List, class Number>
std::string joined(const List& list, Number number) {
  std::string text;
  for (const auto& item : list) {
    if (!text.empty()) text += ',';
    text += number(item);
  }
  return text;
}

}  // namespace

std::string Environment::gpu_name(int number) const {
  const auto at = static_cast<std::size_t>(number);
  return at < gpus_.size() ? gpus_[at] : std::to_string(number);
}

// What the task's resources say to programs (worker.md 8.4).
void Environment::append_allocation(const Ledger::Claim& claim, std::vector<std::string>& out) const {
  const auto add = [&out](const char* name, const std::string& value) {
    out.push_back(std::string(name) + "=" + value);
  };
  if (claim.amount.cores_milli > 0) {
    const std::string threads = std::to_string((claim.amount.cores_milli + 999) / 1000);
    add("CORES", cores_text(claim.amount.cores_milli));
    add("CORES_LIST", joined(claim.cores, [](const Ledger::CoreShare& share) { return std::to_string(share.number); }));
    for (const char* name :
         {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"}) {
      add(name, threads);
    }
  }
  if (claim.amount.memory > 0) add("MEMORY", std::to_string(claim.amount.memory));
  if (claim.amount.disk > 0) add("DISK", std::to_string(claim.amount.disk));
  if (claim.amount.gpus > 0) {
    add("GPUS", std::to_string(claim.amount.gpus));
    add("GPUS_LIST", joined(claim.gpus, [](int number) { return std::to_string(number); }));
    add("CUDA_VISIBLE_DEVICES", joined(claim.gpus, [this](int number) { return gpu_name(number); }));
    // Numbers mean what nvidia-smi means by them, not "fastest first".
    if (!index_.contains("CUDA_DEVICE_ORDER")) add("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
  }
}

Environment::Environment(const std::vector<std::string>& inherited, const std::string& workspace,
                         const std::string& shared_temp, bool shell_names, std::vector<std::string> gpus)
    : shell_names_(shell_names), gpus_(std::move(gpus)) {
  for (const auto& entry : inherited) {
    const auto name = name_of(entry);
    if (name.size() == entry.size() || (shell_names_ && !is_shell_name(name))) continue;
    shell_differs_ = shell_differs_ || is_set_by_shells(name);
    if (std::find(removed.begin(), removed.end(), name) == removed.end()) set(entry);
  }
  if (!index_.contains("WORK_QUEUE_SANDBOX")) set("WORK_QUEUE_SANDBOX=" + workspace);
  set("WORKER_TMPDIR=" + shared_temp);
}

void Environment::set(std::string entry) {
  const auto [at, is_new] = index_.try_emplace(std::string(name_of(entry)), base_.size());
  if (is_new) {
    base_.push_back(std::move(entry));
  } else {
    base_[at->second] = std::move(entry);
  }
}

void Environment::build_base(Block& block) const {
  block.own.clear();
  block.pointers.clear();
  for (const auto& entry : base_) block.pointers.push_back(entry.c_str());
  block.pointers.push_back(nullptr);
}

void Environment::build(const TaskPart& task, Block& block) const {
  auto& own = block.own;
  own.clear();
  block.shell_differs = shell_differs_;
  for (const auto& entry : task.entries) {
    const auto name = name_of(entry);
    if (shell_names_ && !is_shell_name(name)) continue;
    block.shell_differs = block.shell_differs || is_set_by_shells(name);
    own.push_back(entry);
  }
  append_allocation(task.claim, own);
  const std::string temp(task.temp);
  for (const char* name : {"TMPDIR=", "TEMP=", "TMP="}) own.push_back(name + temp);
  // A shell sets PWD itself; for a command that runs without one it must be right already.
  own.push_back("PWD=" + std::string(task.sandbox));

  block.pointers.clear();
  for (const auto& entry : base_) block.pointers.push_back(entry.c_str());
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto name = name_of(own[i]);
    const char* value = name.size() == own[i].size() ? nullptr : own[i].c_str();
    if (const auto at = index_.find(std::string(name)); at != index_.end()) {
      block.pointers[at->second] = value;
      continue;
    }
    bool replaced = false;
    for (std::size_t k = base_.size(); k < block.pointers.size() && !replaced; ++k) {
      const char* old = block.pointers[k];
      if (old == nullptr || name_of(old) != name) continue;
      block.pointers[k] = value;
      replaced = true;
    }
    if (!replaced && value != nullptr) block.pointers.push_back(value);
  }
  std::erase(block.pointers, nullptr);
  block.pointers.push_back(nullptr);
}

std::string_view value_in(const Environment::Block& block, std::string_view name) {
  for (const char* entry : block.pointers) {
    if (entry == nullptr) break;
    const std::string_view text(entry);
    if (text.size() > name.size() && text.starts_with(name) && text[name.size()] == '=') {
      return text.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace taskmill::worker
