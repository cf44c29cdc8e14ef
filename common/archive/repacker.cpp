#include "common/archive/repacker.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/archive/byte_pipe.hpp"
#include "common/archive/packer.hpp"
#include "common/archive/ready_marker.hpp"
#include "common/base/text.hpp"

namespace taskmill::archive {

namespace {

/// Identity of an unchanged source without reading it: path, device, inode, size, time.
std::string source_key(const std::string& path, const struct stat& info) {
  const std::string text = path + "\n" + std::to_string(info.st_dev) + " " + std::to_string(info.st_ino) + " " +
                           std::to_string(info.st_size) + " " + std::to_string(info.st_mtim.tv_sec) + "." +
                           std::to_string(info.st_mtim.tv_nsec);
  return sha256(as_bytes(text)).hex().substr(0, 32);
}

std::string note_of(const RepackedArchive& result) {
  return "taskmill repack 1\n" + percent_encode(result.path) + "\n" + result.source_digest.hex() + "\n" +
         result.plain_digest.hex() + "\n" + std::to_string(result.bytes) + "\n" + std::to_string(result.plain_bytes) +
         "\nend\n";
}

std::optional<RepackedArchive> from_note(const std::string& path) {
  auto text = read_file(path, 65536);
  if (!text) return std::nullopt;
  const auto lines = split(*text, '\n');
  if (lines.size() < 7 || lines[0] != "taskmill repack 1" || lines[6] != "end") return std::nullopt;
  const auto name = percent_decode(lines[1]);
  const auto source = Digest::from_hex(lines[2]);
  const auto plain = Digest::from_hex(lines[3]);
  const auto bytes = parse_int(lines[4]);
  const auto plain_bytes = parse_int(lines[5]);
  struct stat info {};
  if (!name || !source || !plain || !bytes || !plain_bytes || ::stat(name->c_str(), &info) != 0 ||
      info.st_size != *bytes) {
    return std::nullopt;
  }
  return RepackedArchive{
      *name, *source, *plain, static_cast<std::uint64_t>(*bytes), static_cast<std::uint64_t>(*plain_bytes), true};
}

/// Counts and hashes what goes to the file while a compressor feeds it.
class HashingSink final : public ByteSink {
 public:
  explicit HashingSink(ByteSink& to) : to_(to) {}
  Status write(Bytes bytes) override {
    sha_.update(bytes);
    count_ += bytes.size();
    return to_.write(bytes);
  }
  Status close() override { return to_.close(); }
  Digest finish() { return sha_.finish(); }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  ByteSink& to_;
  Sha256 sha_;
  std::uint64_t count_ = 0;
};

/// A file that gets its name when everything is in it.
class NewFile {
 public:
  static Expected<NewFile> make(const std::string& directory) {
    std::string path = directory + "/repack.XXXXXX";
    os::UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
    if (!fd) return write_error(directory, errno, -1, 0);
    return NewFile(std::move(fd), std::move(path));
  }
  NewFile(NewFile&& other) noexcept : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})) {}
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  os::UniqueFd take_fd() { return std::move(fd_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  Status name(const std::string& final_path) {
    if (::chmod(path_.c_str(), 0644) != 0 || ::rename(path_.c_str(), final_path.c_str()) != 0) {
      return system_error("cannot write", final_path, errno);
    }
    path_.clear();
    return {};
  }

 private:
  NewFile(os::UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  os::UniqueFd fd_;
  std::string path_;
};

Expected<RepackedArchive> pack_directory(const std::string& source, const RepackOptions& options) {
  auto file = NewFile::make(options.cache);
  if (!file) return file.error();
  FileSink out(file->take_fd(), file->path());
  HashingSink stored(out);
  ZstdSink compressor(stored, options.level, options.threads);
  HashingSink plain(compressor);
  auto packed = pack_tree(source, plain);
  if (!packed) return packed.error();
  RepackedArchive result;
  result.source_digest = stored.finish();
  result.plain_digest = plain.finish();
  result.bytes = stored.count();
  result.plain_bytes = plain.count();
  result.path = options.cache + "/" + result.plain_digest.hex() + ".tar.zst";
  if (auto named = file->name(result.path); !named) return named.error();
  return result;
}

Expected<RepackedArchive> repack_file(const std::string& source, const RepackOptions& options) {
  auto in = FileSource::open(source);
  if (!in) return in.error();
  DigestingSource original(**in);
  Decompressor decompressed(original);
  DigestingSource plain(decompressed);
  auto first = plain.next();
  if (!first) return make_error(source + ": " + first.error().text);
  const Compression kind = decompressed.kind().value_or(Compression::none);
  const bool keep = kind == Compression::zstd || kind == Compression::none;
  auto file = NewFile::make(options.cache);
  if (!file) return file.error();
  FileSink out(file->take_fd(), file->path());
  ZstdSink compressor(out, options.level, options.threads);
  if (!keep) {
    if (auto wrote = compressor.write(*first); !wrote) return wrote.error();
  }
  ReadAhead ahead(plain, std::size_t{16} << 20U);
  for (;;) {
    auto piece = ahead.next();
    if (!piece) return make_error(source + ": " + piece.error().text);
    if (piece->empty()) break;
    if (keep) continue;
    if (auto wrote = compressor.write(*piece); !wrote) return wrote.error();
  }
  RepackedArchive result;
  result.source_digest = original.finish();
  result.plain_digest = plain.finish();
  result.plain_bytes = plain.count();
  if (keep) {
    result.path = source;
    result.bytes = original.count();
    return result;
  }
  if (auto closed = compressor.close(); !closed) return closed.error();
  result.bytes = out.written();
  result.path = options.cache + "/" + result.plain_digest.hex() + ".tar.zst";
  if (auto named = file->name(result.path); !named) return named.error();
  return result;
}

}  // namespace

Expected<RepackedArchive> repack(const std::string& source, const RepackOptions& options) {
  struct stat info {};
  if (::stat(source.c_str(), &info) != 0) return system_error("cannot read environment", source, errno);
  if (::mkdir(options.cache.c_str(), 0755) != 0 && errno != EEXIST) {
    return system_error("cannot make directory", options.cache, errno);
  }
  // A directory's own time says nothing about the files below it: it is packed every time (a fast pass).
  if (S_ISDIR(info.st_mode)) return pack_directory(source, options);
  const std::string note = source_key(source, info) + ".note";
  if (auto known = from_note(options.cache + "/" + note)) return *known;
  auto result = repack_file(source, options);
  if (!result) return result.error();
  const os::UniqueFd cache(::open(options.cache.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (cache) (void)write_atomically(cache.get(), note, note_of(*result));
  return result;
}

}  // namespace taskmill::archive
