// Entries of a TTree, from the header structures of a ROOT file alone.
//
//   TFile header ─▶ root directory ─▶ list of keys ─▶ key of the tree ─▶ streamed TTree: four bases, then fEntries
//
// All numbers are big-endian. "Wide" variants (8-byte positions) are marked by versions above 1000 (keys, directories)
// or 1,000,000 (the file).
#include <algorithm>
#include <optional>

#include "common/base/text.hpp"
#include "tools/analysis/byte_reader.hpp"
#include "tools/analysis/event_count.hpp"
#include "tools/analysis/root_compression.hpp"

namespace taskmill::analysis_tool {
namespace {

constexpr std::uint32_t byte_count_mask = 0x40000000;
constexpr std::uint64_t max_keys_bytes = 64ULL << 20;
constexpr std::uint64_t max_tree_bytes = 256ULL << 20;
constexpr int first_version_with_long_entries = 16;

struct Key {
  std::uint64_t bytes = 0, object_bytes = 0, key_bytes = 0, cycle = 0, position = 0;
  std::string class_name, name;
};

std::string root_string(ByteReader& reader) {
  auto length = reader.big(1);
  if (length == 255) length = reader.big(4);
  return std::string(reader.take(length));
}

Key read_key(ByteReader& reader) {
  Key key;
  key.bytes = reader.big(4);
  const auto version = reader.big(2);
  key.object_bytes = reader.big(4);
  reader.skip(4);  // date
  key.key_bytes = reader.big(2);
  key.cycle = reader.big(2);
  const int width = version > 1000 ? 8 : 4;
  key.position = reader.big(width);
  reader.skip(static_cast<std::uint64_t>(width));  // mother directory
  key.class_name = root_string(reader);
  key.name = root_string(reader);
  root_string(reader);  // title
  return key;
}

constexpr std::uint64_t max_header_bytes = 100;

class RootFile {
 public:
  RootFile(int file, std::string path) : file_(file), path_(std::move(path)) {}

  std::string identity() {
    if (!read_header() || uuid_.find_first_not_of('0') == std::string::npos) return {};
    const auto size = size_of(file_, path_);
    const auto bytes = size ? read_at(file_, path_, 0, std::min(*size, max_header_bytes)) : size.error();
    if (!bytes) return {};
    std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
    for (const char c : *bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return uuid_ + "|" + std::to_string(*size) + "|" + std::to_string(hash);
  }

  Expected<EventCount> count(const std::string& wanted) {
    const auto directory = read_header();
    if (!directory) return directory.error();
    auto key = find_tree(*directory, wanted);
    if (!key) return key.error();
    const auto entries = read_entries(*key);
    if (!entries) return entries.error();
    EventCount count;
    count.format = Format::root;
    count.events = *entries;
    count.uuid = uuid_;
    count.tree = wanted.empty() ? key->name : wanted;
    return count;
  }

 private:
  Error damaged(const std::string& what) const { return make_error(path_ + ": not a sound ROOT file: " + what); }

  /// Position of the root directory's record.
  Expected<std::uint64_t> read_header() {
    const auto size = size_of(file_, path_);
    if (!size) return size.error();
    const auto bytes = read_at(file_, path_, 0, std::min(*size, max_header_bytes));
    if (!bytes) return bytes.error();
    ByteReader reader(*bytes);
    if (reader.take(4) != "root") return make_error(path_ + ": not a ROOT file (it does not begin with \"root\")");
    const auto version = reader.big(4);
    const auto begin = reader.big(4);
    const int width = version >= 1000000 ? 8 : 4;
    reader.big(width);  // end
    reader.big(width);  // free list
    reader.skip(8);     // length and number of the free list
    const auto name_bytes = reader.big(4);
    reader.skip(1 + 4);                                  // units, compression
    reader.skip(static_cast<std::uint64_t>(width) + 4);  // streamer info
    reader.skip(2);                                      // version of the UUID
    const auto uuid = reader.take(16);
    if (!reader.ok()) return damaged("its header ends too early");
    static constexpr char digits[] = "0123456789abcdef";
    for (const char c : uuid) {
      uuid_ += digits[static_cast<unsigned char>(c) >> 4];
      uuid_ += digits[static_cast<unsigned char>(c) & 15];
    }
    return begin + name_bytes;
  }

  Expected<std::vector<Key>> keys_of_directory(std::uint64_t record) {
    const auto bytes = read_at(file_, path_, record, 42);
    if (!bytes) return bytes.error();
    ByteReader reader(*bytes);
    const auto version = reader.big(2);
    reader.skip(8);  // dates
    const auto keys_bytes = reader.big(4);
    reader.skip(4);  // length of the name
    const int width = version > 1000 ? 8 : 4;
    reader.skip(2 * static_cast<std::uint64_t>(width));
    const auto keys_position = reader.big(width);
    if (!reader.ok() || keys_bytes > max_keys_bytes) return damaged("a directory is damaged");
    const auto keys = read_at(file_, path_, keys_position, keys_bytes);
    if (!keys) return keys.error();
    ByteReader list(*keys);
    read_key(list);  // of the list itself
    const auto number = list.big(4);
    std::vector<Key> found;
    for (std::uint64_t i = 0; i < number && list.ok(); ++i) found.push_back(read_key(list));
    if (!list.ok()) return damaged("a list of keys is damaged");
    return found;
  }

  Expected<Key> find_tree(std::uint64_t directory, const std::string& wanted) {
    auto steps = split(wanted, '/');
    for (std::size_t depth = 0;; ++depth) {
      const auto keys = keys_of_directory(directory);
      if (!keys) return keys.error();
      const bool last = depth + 1 >= steps.size();
      const auto key =
          last ? choose(*keys, std::string(steps[depth]), true) : choose(*keys, std::string(steps[depth]), false);
      if (!key) return missing(*keys, wanted);
      if (last) return *key;
      directory = key->position + key->key_bytes;
    }
  }

  // The newest cycle of the named object; an empty name takes the only tree, or the one called Events.
  static std::optional<Key> choose(const std::vector<Key>& keys, const std::string& name, bool tree) {
    std::optional<Key> best;
    bool several = false;
    for (const auto& key : keys) {
      const bool is_tree = key.class_name == "TTree" || key.class_name == "TNtuple" || key.class_name == "TNtupleD" ||
                           key.class_name == "TChain";
      const bool is_directory = key.class_name.starts_with("TDirectory");
      if (tree ? !is_tree : !is_directory) continue;
      if (!name.empty() && key.name != name) continue;
      if (name.empty() && best && best->name != key.name) {
        several = true;
        if (best->name == "Events") continue;
        if (key.name != "Events") continue;
        best = key;
      }
      if (!best || key.cycle >= best->cycle || best->name != key.name) best = key;
    }
    if (several && best && best->name != "Events") return std::nullopt;
    return best;
  }

  Error missing(const std::vector<Key>& keys, const std::string& wanted) const {
    std::string names;
    for (const auto& key : keys) names += (names.empty() ? "" : ", ") + key.name + " (" + key.class_name + ")";
    return make_error(path_ + ": " + (wanted.empty() ? "which tree?" : "no tree \"" + wanted + "\";") + " it holds " +
                      (names.empty() ? "nothing" : names) + "; name one with --tree");
  }

  Expected<std::uint64_t> read_entries(const Key& key) {
    if (key.bytes < key.key_bytes || key.bytes > max_tree_bytes) return damaged("the tree's key is damaged");
    const auto stored = read_at(file_, path_, key.position + key.key_bytes, key.bytes - key.key_bytes);
    if (!stored) return stored.error();
    std::string object = *stored;
    if (key.object_bytes > stored->size()) {
      auto unpacked = decompress_first_block(*stored);
      if (!unpacked) return damaged("the tree " + key.name + " has " + unpacked.error().text);
      object = std::move(*unpacked);
    }
    ByteReader reader(object);
    const auto read_version = [&reader](std::uint64_t& version) {
      const auto count = reader.big(4);
      const auto start = reader.position();
      version = reader.big(2);
      if ((count & byte_count_mask) == 0) reader.fail();
      return start + (count & ~std::uint64_t{byte_count_mask});
    };
    std::uint64_t version = 0;
    read_version(version);
    if (key.class_name != "TTree") read_version(version);  // TNtuple and friends stream their TTree base first
    for (int base = 0; base < 4; ++base) {                 // TNamed, TAttLine, TAttFill, TAttMarker
      std::uint64_t ignored = 0;
      const auto end = read_version(ignored);
      if (!reader.ok() || end < reader.position()) return damaged("the tree " + key.name + " is damaged");
      reader.skip(end - reader.position());
    }
    const auto raw = reader.big(8);
    if (!reader.ok()) return damaged("the tree " + key.name + " ends too early");
    if (version < first_version_with_long_entries) {
      const auto number = __builtin_bit_cast(double, raw);
      if (!(number >= 0 && number < 9e15))
        return damaged("the tree " + key.name + " has an impossible number of entries");
      return static_cast<std::uint64_t>(number);
    }
    if (raw >> 63 != 0) return damaged("the tree " + key.name + " has a negative number of entries");
    return raw;
  }

  int file_;
  std::string path_;
  std::string uuid_;
};

}  // namespace

Expected<EventCount> count_root(int file, const std::string& path, const std::string& tree) {
  return RootFile(file, path).count(tree);
}

std::string root_identity(int file, const std::string& path) { return RootFile(file, path).identity(); }

}  // namespace taskmill::analysis_tool
