#include "worker/host/task_groups.hpp"

#include <unistd.h>

namespace taskmill::worker {

std::string TaskGroups::open(const std::string& where) {
  if (where == "off") return "control groups are switched off";
  auto parent = measure::CgroupParent::find(where == "auto" ? std::string() : where);
  if (!parent) return parent.error().text;
  parent_ = std::move(*parent);
  std::string controllers;
  for (const auto& name : parent_->controllers()) controllers += " " + name;
  return "each task runs in a control group below " + parent_->folder() +
         (controllers.empty() ? " (no controllers: accounts and kill only)" : ", controllers:" + controllers);
}

int TaskGroups::open_for(std::uint64_t task, const measure::Limits& limits) {
  if (!parent_) return -1;
  auto group = parent_->create("task-" + std::to_string(::getpid()) + "-" + std::to_string(task), limits);
  if (!group) return -1;
  auto door = (*group)->door();
  if (!door) return -1;
  door_ = std::move(*door);
  groups_[task] = std::move(*group);
  return door_.get();
}

measure::Cgroup* TaskGroups::entered(std::uint64_t task, pid_t pid) {
  door_.reset();
  const auto at = groups_.find(task);
  if (at == groups_.end()) return nullptr;
  // It is inside already, unless posix_spawn started it. One that has ended meanwhile cannot be moved.
  (void)at->second->add(pid);
  return at->second.get();
}

bool TaskGroups::ran_out_of_memory(std::uint64_t task) const {
  const auto at = groups_.find(task);
  return at != groups_.end() && at->second->out_of_memory();
}

void TaskGroups::leave(std::uint64_t task) {
  const auto at = groups_.find(task);
  if (at == groups_.end()) return;
  at->second->kill();
  busy_.push_back(std::move(at->second));
  groups_.erase(at);
  std::erase_if(busy_, [](const auto& group) { return group->remove(); });
}

}  // namespace taskmill::worker
