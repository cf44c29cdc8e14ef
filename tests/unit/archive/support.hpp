// Shared by the archive tests: a scratch directory and archives made in memory, honest or not.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "common/archive/compression.hpp"
#include "common/archive/safe_tree.hpp"
#include "common/archive/tar_writer.hpp"
#include "common/base/random.hpp"

namespace taskmill::archive::test {

class TempDir {
 public:
  TempDir() {
    std::string pattern = ::testing::TempDir() + "taskmill.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
    fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { (void)remove_tree(AT_FDCWD, path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] os::UniqueFd dup() const { return os::UniqueFd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)); }

 private:
  std::string path_;
  os::UniqueFd fd_;
};

inline std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_text(const std::string& path, std::string_view text, mode_t mode = 0644) {
  std::ofstream(path, std::ios::binary) << text;
  ::chmod(path.c_str(), mode);
}

inline bool exists(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0;
}

inline struct stat status_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}

/// One member with its data.
struct Member {
  TarEntry entry;
  std::string data;
};

inline Member file(std::string path, std::string data, std::uint32_t mode = 0644) {
  Member member;
  member.entry.kind = EntryKind::file;
  member.entry.path = std::move(path);
  member.entry.mode = mode;
  member.entry.size = data.size();
  member.entry.mtime.tv_sec = 1'700'000'000;
  member.data = std::move(data);
  return member;
}

inline Member special(EntryKind kind, std::string path, std::string target = {}, std::uint32_t mode = 0755) {
  Member member;
  member.entry.kind = kind;
  member.entry.path = std::move(path);
  member.entry.target = std::move(target);
  member.entry.mode = mode;
  member.entry.mtime.tv_sec = 1'600'000'000;
  return member;
}
inline Member directory(std::string path, std::uint32_t mode = 0755) {
  return special(EntryKind::directory, std::move(path), {}, mode);
}
inline Member symlink(std::string path, std::string target) {
  return special(EntryKind::symlink, std::move(path), std::move(target));
}
inline Member hard_link(std::string path, std::string target) {
  return special(EntryKind::hard_link, std::move(path), std::move(target));
}

inline std::string tar(const std::vector<Member>& members) {
  StringSink sink;
  TarWriter writer(sink);
  for (const Member& member : members) {
    EXPECT_TRUE(writer.add(member.entry).has_value());
    EXPECT_TRUE(writer.data(as_bytes(member.data)).has_value());
  }
  EXPECT_TRUE(writer.finish().has_value());
  return sink.text;
}

/// Overwrites the type byte of the header at `offset` and repairs its checksum.
inline std::string with_type(std::string archive, std::size_t offset, char type) {
  archive[offset + 156] = type;
  std::fill_n(archive.begin() + static_cast<std::ptrdiff_t>(offset) + 148, 8, ' ');
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(archive[offset + i]);
  std::array<char, 8> field{};
  std::snprintf(field.data(), field.size(), "%06o", sum);
  std::copy(field.begin(), field.end(), archive.begin() + static_cast<std::ptrdiff_t>(offset) + 148);
  return archive;
}

inline std::string gzip(std::string_view plain) {
  StringSink sink;
  GzipSink compressor(sink, 6);
  EXPECT_TRUE(compressor.write(as_bytes(plain)).has_value());
  EXPECT_TRUE(compressor.close().has_value());
  return sink.text;
}

inline std::string zstd(std::string_view plain) {
  StringSink sink;
  ZstdSink compressor(sink, 3, 0);
  EXPECT_TRUE(compressor.write(as_bytes(plain)).has_value());
  EXPECT_TRUE(compressor.close().has_value());
  return sink.text;
}

/// Text without structure, the same for the same seed.
inline std::string noise(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

}  // namespace taskmill::archive::test
