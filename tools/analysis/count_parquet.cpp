// Row counts from a Parquet footer: Thrift compact protocol, the fields we need, everything else skipped.
// Format: apache/parquet-format, "File Format" and Thrift's compact protocol specification.
#include <string>

#include "tools/analysis/byte_reader.hpp"
#include "tools/analysis/event_count.hpp"

namespace taskmill::analysis_tool {
namespace {

constexpr std::uint64_t max_footer = 256ULL << 20;
constexpr int max_depth = 64;

enum class Type : std::uint8_t {
  stop = 0,
  true_value = 1,
  false_value = 2,
  byte = 3,
  i16 = 4,
  i32 = 5,
  i64 = 6,
  number = 7,
  binary = 8,
  list = 9,
  set = 10,
  map = 11,
  structure = 12
};

std::uint64_t varint(ByteReader& reader) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = reader.little(1);
    value |= (byte & 0x7F) << shift;
    if ((byte & 0x80) == 0 || !reader.ok()) return value;
  }
  reader.fail();
  return 0;
}

std::int64_t zigzag(ByteReader& reader) {
  const auto raw = varint(reader);
  return static_cast<std::int64_t>(raw >> 1) ^ -static_cast<std::int64_t>(raw & 1);
}

struct ListHeader {
  std::uint64_t size = 0;
  Type type{};
};
ListHeader list_header(ByteReader& reader) {
  const auto byte = reader.little(1);
  ListHeader header{byte >> 4, static_cast<Type>(byte & 15)};
  if (header.size == 15) header.size = varint(reader);
  if (header.size > reader.left())
    reader.fail();  // every element takes at least one byte, but booleans of old writers too
  return header;
}

template <class OnField>
void each_field(ByteReader& reader, OnField on_field) {
  std::int64_t id = 0;
  while (reader.ok()) {
    const auto byte = reader.little(1);
    const auto type = static_cast<Type>(byte & 15);
    if (type == Type::stop) return;
    id = (byte >> 4) != 0 ? id + static_cast<std::int64_t>(byte >> 4) : zigzag(reader);
    on_field(id, type);
  }
}

void skip_value(ByteReader& reader, Type type, int depth) {
  if (depth > max_depth) return reader.fail();
  switch (type) {
    case Type::true_value:
    case Type::false_value:
      return;
    case Type::byte:
      return reader.skip(1);
    case Type::i16:
    case Type::i32:
    case Type::i64:
      varint(reader);
      return;
    case Type::number:
      return reader.skip(8);
    case Type::binary:
      return reader.skip(varint(reader));
    case Type::list:
    case Type::set: {
      const auto header = list_header(reader);
      const bool flags = header.type == Type::true_value || header.type == Type::false_value;
      for (std::uint64_t i = 0; i < header.size && reader.ok(); ++i) {
        if (flags)
          reader.skip(1);
        else
          skip_value(reader, header.type, depth + 1);
      }
      return;
    }
    case Type::map: {
      const auto size = varint(reader);
      if (size == 0) return;
      const auto types = reader.little(1);
      for (std::uint64_t i = 0; i < size && reader.ok(); ++i) {
        skip_value(reader, static_cast<Type>(types >> 4), depth + 1);
        skip_value(reader, static_cast<Type>(types & 15), depth + 1);
      }
      return;
    }
    case Type::structure:
      return each_field(reader, [&](std::int64_t, Type inner) { skip_value(reader, inner, depth + 1); });
    case Type::stop:
      break;
  }
  reader.fail();
}

std::uint64_t rows_of_group(ByteReader& reader) {
  std::int64_t rows = 0;
  each_field(reader, [&](std::int64_t id, Type type) {
    if (id == 3 && type == Type::i64)
      rows = zigzag(reader);
    else
      skip_value(reader, type, 0);
  });
  if (rows < 0) reader.fail();
  return static_cast<std::uint64_t>(rows);
}

}  // namespace

Expected<EventCount> count_parquet(int file, const std::string& path) {
  const auto size = size_of(file, path);
  if (!size) return size.error();
  if (*size < 12) return make_error(path + ": too short for a Parquet file");
  const auto tail = read_at(file, path, *size - 8, 8);
  if (!tail) return tail.error();
  ByteReader end(*tail);
  const auto length = end.little(4);
  if (end.take(4) != "PAR1") return make_error(path + ": no Parquet footer (encrypted footers are not supported)");
  if (length > *size - 8 || length > max_footer)
    return make_error(path + ": its Parquet footer claims an impossible length");
  const auto footer = read_at(file, path, *size - 8 - length, length);
  if (!footer) return footer.error();
  ByteReader reader(*footer);
  EventCount count;
  count.format = Format::parquet;
  std::int64_t rows = -1;
  each_field(reader, [&](std::int64_t id, Type type) {
    if (id == 3 && type == Type::i64) {
      rows = zigzag(reader);
    } else if (id == 4 && type == Type::list) {
      const auto header = list_header(reader);
      if (header.type != Type::structure) return reader.fail();
      for (std::uint64_t i = 0; i < header.size && reader.ok(); ++i) count.row_groups.push_back(rows_of_group(reader));
    } else {
      skip_value(reader, type, 0);
    }
  });
  if (!reader.ok() || rows < 0) return make_error(path + ": its Parquet footer is damaged");
  std::uint64_t sum = 0;
  for (const auto group : count.row_groups) sum += group;
  if (sum != static_cast<std::uint64_t>(rows)) return make_error(path + ": its Parquet footer contradicts itself");
  count.events = sum;
  return count;
}

}  // namespace taskmill::analysis_tool
