#include "tools/analysis/accumulate.hpp"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace taskmill::analysis_tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* histogram_format = "taskmill-histograms-1";

Expected<Json> read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) return make_error(path + ": " + errno_code().message());
  auto json = Json::parse(file, nullptr, false);
  if (json.is_discarded()) return make_error(path + ": not JSON");
  return {boost::system::in_place_value, std::move(json)};
}

// Integers add as integers while they fit; otherwise as doubles.
Json add_numbers(const Json& left, const Json& right) {
  if (left.is_number_integer() && right.is_number_integer()) {
    std::int64_t sum = 0;
    const auto fits = [](const Json& value) {
      return !value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    };
    if (fits(left) && fits(right) &&
        !__builtin_add_overflow(left.get<std::int64_t>(), right.get<std::int64_t>(), &sum)) {
      return sum;
    }
  }
  return left.get<double>() + right.get<double>();
}

// Adds `other` into `total`, place by place; empty when it worked, else where it did not.
std::string add_json(Json& total, const Json& other, const std::string& where) {
  if (total.is_number() && other.is_number()) {
    total = add_numbers(total, other);
    return {};
  }
  if (total.is_array() && other.is_array()) {
    if (total.size() != other.size())
      return where + " has " + std::to_string(other.size()) + " elements, not " + std::to_string(total.size());
    for (std::size_t i = 0; i < total.size(); ++i) {
      if (auto bad = add_json(total[i], other[i], where + "[" + std::to_string(i) + "]"); !bad.empty()) return bad;
    }
    return {};
  }
  if (total.is_object() && other.is_object()) {
    for (const auto& [key, value] : other.items()) {
      const auto found = total.find(key);
      if (found == total.end()) {
        total[key] = value;
      } else if (auto bad = add_json(*found, value, where + "." + key); !bad.empty()) {
        return bad;
      }
    }
    return {};
  }
  return total == other ? std::string() : where + " differs and is not a number";
}

std::string add_histogram(Json& total, const Json& other, const std::string& name) {
  if (!other.is_object() || !other.contains("axes") || !other.contains("counts") || !other["counts"].is_array()) {
    return "histogram \"" + name + "\" lacks axes or counts";
  }
  if (!total.is_object()) return "histogram \"" + name + "\" is not an object";
  if (total["axes"] != other["axes"]) return "histogram \"" + name + "\" has other axes than before";
  for (const char* part : {"counts", "variances", "underflow", "overflow"}) {
    if (total.contains(part) != other.contains(part))
      return "histogram \"" + name + "\" has " + part + " in some files only";
    if (!other.contains(part)) continue;
    if (auto bad = add_json(total[part], other[part], part); !bad.empty()) return "histogram \"" + name + "\": " + bad;
  }
  return {};
}

std::string add_histograms(Json& total, const Json& other) {
  if (!other.is_object() || other.value("format", "") != histogram_format) {
    return std::string("\"format\" is not \"") + histogram_format + "\"";
  }
  for (const char* part : {"histograms", "counters"}) {
    if (other.contains(part) && !other[part].is_object()) return std::string(part) + " is not an object";
  }
  if (total.is_null())
    total = Json{{"format", histogram_format}, {"histograms", Json::object()}, {"counters", Json::object()}};
  if (other.contains("histograms")) {
    for (const auto& [name, histogram] : other["histograms"].items()) {
      auto& mine = total["histograms"];
      if (!mine.contains(name)) {
        mine[name] = histogram;
        continue;
      }
      if (auto bad = add_histogram(mine[name], histogram, name); !bad.empty()) return bad;
    }
  }
  return other.contains("counters") ? add_json(total["counters"], other["counters"], "counters") : std::string();
}

Expected<std::string> merge_json(Accumulator kind, const std::vector<std::string>& inputs) {
  Json total;
  for (const auto& path : inputs) {
    const auto json = read_json(path);
    if (!json) return json.error();
    std::string bad;
    if (kind == Accumulator::histograms) {
      bad = add_histograms(total, *json);
    } else if (total.is_null()) {
      total = *json;
    } else {
      bad = add_json(total, *json, "value");
    }
    if (!bad.empty()) return make_error(path + ": " + bad);
  }
  return {boost::system::in_place_value, total.dump() + "\n"};
}

Expected<bool> concatenate(std::ofstream& out, const std::vector<std::string>& inputs, bool skip_header) {
  bool first = true;
  for (const auto& path : inputs) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return make_error(path + ": " + errno_code().message());
    if (skip_header && !first) {
      std::string header;
      std::getline(file, header);
    }
    first = false;
    if (file.peek() != std::ifstream::traits_type::eof()) out << file.rdbuf();
  }
  return true;
}

}  // namespace

Expected<Accumulator> find_accumulator(const std::string& name) {
  if (name == "histograms") return Accumulator::histograms;
  if (name == "sum") return Accumulator::sum;
  if (name == "concat") return Accumulator::concat;
  return make_error("unknown accumulator \"" + name + "\"; use histograms, sum or concat");
}

Expected<bool> accumulate(Accumulator kind, const std::string& output, const std::vector<std::string>& inputs,
                          bool skip_header) {
  const std::string temporary = output + ".part";
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  if (!out) return make_error(output + ": cannot write: " + errno_code().message());
  if (kind == Accumulator::concat) {
    if (auto done = concatenate(out, inputs, skip_header); !done) return done.error();
  } else {
    const auto text = merge_json(kind, inputs);
    if (!text) {
      std::remove(temporary.c_str());
      return text.error();
    }
    out << *text;
  }
  out.close();
  if (!out || std::rename(temporary.c_str(), output.c_str()) != 0) {
    std::remove(temporary.c_str());
    return make_error(output + ": cannot write: " + errno_code().message());
  }
  return true;
}

}  // namespace taskmill::analysis_tool
