#include "common/archive/unpacker.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "common/archive/tar_reader.hpp"
#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

constexpr std::uint64_t disk_block = 4096;

class Run {
 public:
  Run(ByteSource& archive, int directory, const UnpackOptions& options)
      : options_(options), directory_(directory), digesting_(archive), tree_(directory, options.limits.tree) {}

  Expected<UnpackReport> go() {
    if (auto room = check_room(); !room) return room.error();
    Decompressor plain(digesting_);
    if (auto done = read_members(plain); !done) return done.error();
    if (auto checked = tree_.check_links(); !checked) return checked.error();
    if (options_.before_sealing) {
      if (auto done = options_.before_sealing(directory_); !done) return done.error();
    }
    if (auto sealed = tree_.seal_directories(options_.read_only); !sealed) return sealed.error();
    report_.archive_bytes = digesting_.count();
    report_.archive_digest = digesting_.finish();
    report_.compression = plain.kind().value_or(Compression::none);
    return report_;
  }

 private:
  Status check_room() const {
    const std::uint64_t available = free_space(directory_);
    if (options_.expected_bytes == 0 || options_.expected_bytes <= available) return {};
    return make_error("not enough disk space to unpack: " + human_bytes(options_.expected_bytes) + " needed, " +
                      human_bytes(available) + " free");
  }

  Status read_members(Decompressor& plain) {
    DigestingSource plain_digest(plain);
    if (auto done = read_members_from(plain_digest); !done) return done;
    report_.plain_digest = plain_digest.finish();
    return {};
  }

  Status read_members_from(ByteSource& plain) {
    ReadAhead ahead(plain, options_.pipe_capacity);
    TarReader reader(ahead);
    for (;;) {
      auto entry = reader.next();
      if (!entry) return entry.error();
      if (!*entry) return {};
      if (auto counted = count(**entry); !counted) return counted;
      if (auto made = make(reader, **entry); !made) return made;
      if (options_.on_progress) options_.on_progress(written_);
    }
  }

  Status count(const TarEntry& entry) {
    ++report_.entries;
    report_.bytes += entry.size;
    report_.disk_bytes +=
        entry.kind == EntryKind::directory ? disk_block : (entry.size + disk_block - 1) / disk_block * disk_block;
    const UnpackLimits& limits = options_.limits;
    if (report_.entries > limits.entries) {
      return make_error("the archive has more than " + std::to_string(limits.entries) + " members");
    }
    if (entry.size > limits.bytes || report_.bytes > limits.bytes) {
      return make_error("the archive unpacks to more than " + human_bytes(limits.bytes) + " (at " + entry.path + ")");
    }
    return {};
  }

  /// Looked at while writing, so that a bomb is stopped by what it has written and not by what it claims.
  /// The count of archive bytes may run ahead of the member being written by the size of the pipe.
  Status check_ratio() const {
    const UnpackLimits& limits = options_.limits;
    const std::uint64_t packed = std::max<std::uint64_t>(digesting_.count(), 1);
    if (written_ <= limits.ratio_from || written_ / packed <= limits.ratio) return {};
    return make_error("the archive grows more than " + std::to_string(limits.ratio) + " times when unpacked (" +
                      human_bytes(packed) + " gave " + human_bytes(written_) + "); refused as a decompression bomb");
  }

  Status make(TarReader& reader, const TarEntry& entry) {
    switch (entry.kind) {
      case EntryKind::file:
        return write_file(reader, entry);
      case EntryKind::directory:
        return tree_.make_directory(entry.path, {entry.mode, entry.mtime});
      case EntryKind::symlink:
        return tree_.make_symlink(entry.path, entry.target, entry.mtime);
      case EntryKind::hard_link:
        return tree_.make_hard_link(entry.path, entry.target);
      case EntryKind::other:
        break;
    }
    return make_error("member " + entry.path + " is " + std::string(entry.other_name) +
                      "; only files, directories and links are accepted");
  }

  Error disk_error(const TarEntry& entry, int number) const {
    if (number != ENOSPC && number != EDQUOT) return system_error("cannot write", entry.path, number);
    const std::uint64_t rest = options_.expected_bytes > written_ ? options_.expected_bytes - written_ : entry.size;
    return make_error(std::string(number == EDQUOT ? "disk quota reached" : "disk full") + " while unpacking " +
                      entry.path + ": " + human_bytes(written_) + " written, at least " + human_bytes(rest) +
                      " more needed, " + human_bytes(free_space(directory_)) + " free");
  }

  Status write_file(TarReader& reader, const TarEntry& entry) {
    auto file = tree_.create_file(entry.path);
    if (!file) return file.error();
    ++report_.files;
    std::uint64_t position = 0;
    for (;;) {
      auto block = reader.read();
      if (!block) return block.error();
      if (!*block) break;
      const Bytes bytes = (*block)->bytes;
      // The offset of a sparse file's run is data of the archive: it must lie inside the member.
      if ((*block)->offset > entry.size || bytes.size() > entry.size - (*block)->offset) {
        return make_error("damaged tar archive: data outside of member " + entry.path);
      }
      if ((*block)->offset != position) ::lseek(file->get(), static_cast<off_t>((*block)->offset), SEEK_SET);
      if (!write_fully(file->get(), bytes)) return disk_error(entry, errno);
      position = (*block)->offset + bytes.size();
      written_ += bytes.size();
      if (auto fine = check_ratio(); !fine) return fine;
    }
    if (position < entry.size && ::ftruncate(file->get(), static_cast<off_t>(entry.size)) != 0) {
      return disk_error(entry, errno);
    }
    return set_attributes(file->get(), entry);
  }

  Status set_attributes(int fd, const TarEntry& entry) const {
    mode_t mode = (entry.mode & 0777U) | 0400U;
    if (options_.read_only) mode &= ~mode_t{0222};
    const std::array<timespec, 2> times{entry.mtime, entry.mtime};
    if (::fchmod(fd, mode) != 0 || ::futimens(fd, times.data()) != 0) {
      return system_error("cannot set attributes of", entry.path, errno);
    }
    return {};
  }

  const UnpackOptions& options_;
  int directory_;
  DigestingSource digesting_;
  SafeTree tree_;
  UnpackReport report_;
  std::uint64_t written_ = 0;
};

}  // namespace

Expected<UnpackReport> unpack(ByteSource& archive, int directory, const UnpackOptions& options) {
  return Run(archive, directory, options).go();
}

Unpacker::Unpacker(os::UniqueFd directory, UnpackOptions options)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      pipe_(options_.pipe_capacity),
      outcome_(make_error("the archive was not finished")) {
  thread_ = std::thread([this] {
    outcome_ = unpack(pipe_, directory_.get(), options_);
    pipe_.abandon(outcome_ ? make_error("bytes behind the end of the archive") : outcome_.error());
  });
}

Unpacker::~Unpacker() {
  if (!thread_.joinable()) return;
  cancel(make_error("unpacking was given up"));
  thread_.join();
}

Expected<UnpackReport> Unpacker::finish() {
  pipe_.close();
  if (thread_.joinable()) thread_.join();
  return outcome_;
}

void Unpacker::cancel(Error reason) { pipe_.abandon(std::move(reason)); }

}  // namespace taskmill::archive
