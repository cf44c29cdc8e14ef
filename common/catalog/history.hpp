// The catalog's memory on disk (catalog.md section 12): DIR/<year>/<day of year>.log with one line per change, and
// .ckpt, the whole directory at the first change of a day.
//
//   T unixtime · t seconds since the last time line · C key json · M key json (changed attributes) · R key attribute ·
//   D key. Changes of lastheardfrom and uptime are not written.
//
// load() brings back what was alive: the checkpoint of today plus today's log.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "common/base/result.hpp"
#include "common/catalog/core/record_store.hpp"

namespace taskmill::catalog {

class History {
 public:
  /// Empty directory: does nothing.
  explicit History(std::string directory) : directory_(std::move(directory)) {}

  /// Creates the directory when needed. Returns how many records came back.
  Expected<std::size_t> load(RecordStore& store, std::int64_t now);
  /// Writes one change; returns a problem to report, empty when there is none (or it was reported already).
  std::string note(Change change, const StoredRecord& record, const Value* before, std::int64_t now);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  [[nodiscard]] std::string base(std::int64_t now, bool create) const;
  std::string open_day(std::int64_t now);
  void write_checkpoint(const std::string& path) const;

  std::string directory_;
  const RecordStore* store_ = nullptr;
  std::unique_ptr<std::FILE, Close> file_;
  std::string open_base_;
  std::int64_t last_time_ = 0;
  bool complained_ = false;
};

}  // namespace taskmill::catalog
