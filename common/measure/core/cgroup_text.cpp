#include "common/measure/core/cgroup_text.hpp"

#include <algorithm>

#include "common/base/text.hpp"

namespace taskmill::measure {

namespace {

constexpr std::int64_t v1_unlimited = std::int64_t{1} << 60;

std::vector<std::string_view> lines_of(std::string_view text) {
  auto lines = split(text, '\n');
  std::erase_if(lines, [](std::string_view line) { return trim(line).empty(); });
  return lines;
}

/// mountinfo writes blanks in paths as \040.
std::string unescape_mount(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      if (const auto code = parse_octal(text.substr(i + 1, 3)); code && *code < 256) {
        out += static_cast<char>(*code);
        i += 3;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::vector<std::string> names(std::string_view text) {
  std::vector<std::string> out;
  for (const auto name : split(text, ','))
    if (!name.empty()) out.emplace_back(name);
  return out;
}

}  // namespace

std::vector<CgroupMembership> parse_cgroup_membership(std::string_view text) {
  std::vector<CgroupMembership> out;
  for (const auto line : lines_of(text)) {
    const auto first = line.find(':');
    if (first == std::string_view::npos) continue;
    const auto second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto id = parse_int(line.substr(0, first));
    if (!id) continue;
    out.push_back({static_cast<int>(*id), names(line.substr(first + 1, second - first - 1)),
                   std::string(line.substr(second + 1))});
  }
  return out;
}

std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> out;
  for (const auto line : lines_of(mountinfo)) {
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    auto tail = line.substr(dash + 3);
    const auto type = next_token(tail);
    if (type != "cgroup2" && type != "cgroup") continue;
    next_token(tail);  // source
    auto head = line.substr(0, dash);
    for (int i = 0; i < 3; ++i) next_token(head);  // mount id, parent id, device
    CgroupMount mount;
    mount.v2 = type == "cgroup2";
    mount.root = unescape_mount(next_token(head));
    mount.mount_point = unescape_mount(next_token(head));
    if (!mount.v2) mount.controllers = names(next_token(tail));
    out.push_back(std::move(mount));
  }
  return out;
}

std::string cgroup_folder(const CgroupMount& mount, std::string_view group_path) {
  // In a container the mount shows only our part of the tree ("root"), while the membership is the full path - or,
  // inside a cgroup namespace, already relative to it.
  if (group_path.empty() || group_path.find("/..") != std::string_view::npos) return {};
  const std::string_view root = mount.root;
  std::string_view rest = group_path;
  if (root != "/" && rest.substr(0, root.size()) == root && (rest.size() == root.size() || rest[root.size()] == '/'))
    rest.remove_prefix(root.size());
  else if (root != "/" && root.find("/..") != 0)
    return {};
  if (rest == "/") rest = {};
  return mount.mount_point + std::string(rest);
}

std::optional<std::int64_t> parse_cgroup_limit(std::string_view text) {
  const auto value = parse_int(trim(text));
  if (!value || *value < 0 || *value >= v1_unlimited) return std::nullopt;
  return value;
}

std::optional<double> parse_cpu_max(std::string_view text) {
  text = trim(text);
  const auto quota = next_token(text);
  return parse_cfs_quota(quota, next_token(text));
}

std::optional<double> parse_cfs_quota(std::string_view quota, std::string_view period) {
  const auto q = parse_int(trim(quota));
  const auto p = parse_int(trim(period));
  if (!q || !p || *q <= 0 || *p <= 0) return std::nullopt;
  return static_cast<double>(*q) / static_cast<double>(*p);
}

std::optional<CgroupCpu> parse_cpu_stat(std::string_view text) {
  const auto usage = parse_keyed(text, "usage_usec");
  if (!usage) return std::nullopt;
  return CgroupCpu{*usage, parse_keyed(text, "user_usec").value_or(0), parse_keyed(text, "system_usec").value_or(0)};
}

CgroupIo parse_io_stat(std::string_view text) {
  CgroupIo io;
  for (auto line : lines_of(text)) {
    next_token(line);  // major:minor
    for (auto token = next_token(line); !token.empty(); token = next_token(line)) {
      const auto equals = token.find('=');
      if (equals == std::string_view::npos) continue;
      const auto value = parse_int(token.substr(equals + 1)).value_or(0);
      if (token.substr(0, equals) == "rbytes") io.read += value;
      if (token.substr(0, equals) == "wbytes") io.written += value;
    }
  }
  return io;
}

std::optional<std::int64_t> parse_memory_stat_held(std::string_view text) {
  const auto anonymous = parse_keyed(text, "anon");
  if (!anonymous) return std::nullopt;
  // Shared memory is part of "file" and, when mapped, of "file_mapped": count the larger of the two views of it.
  const auto shared = parse_keyed(text, "shmem").value_or(0);
  const auto mapped = parse_keyed(text, "file_mapped").value_or(0);
  return *anonymous + std::max(shared, mapped);
}

std::optional<std::int64_t> parse_keyed(std::string_view text, std::string_view key) {
  for (auto line : lines_of(text))
    if (next_token(line) == key) return parse_int(next_token(line));
  return std::nullopt;
}

}  // namespace taskmill::measure
