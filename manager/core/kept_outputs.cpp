// Outputs that stay at the worker that made them: results that a task there will read next need not cross the manager.
//
// Only workers that agreed on passing on files are asked to keep any; from others the output is fetched as ever. A kept
// output is a cached file whose only copies are its holders'. It ends in one of three ways: fetch_kept() brings it here
// (it is a cached file like others then), the user invalidates it, or its last holder leaves and it is lost, which
// is reported: whoever needs it has to make it again.
#include "manager/core/state.hpp"

namespace taskmill::manager {

bool State::may_keep(const Attempt& a, const PackedOutput& output) const {
  if ((output.flags & keep_output_flag) == 0 || !workers[a.worker].facts.peers) return false;
  return files[FileId(output.file)].known != FileKnown::pending;
}

void State::keep_output(std::uint32_t index, const PackedOutput& output, std::uint32_t number) {
  Attempt& a = attempts[index];
  const FileId file(output.file);
  if (workers[a.worker].cache.find(output.file) != nullptr) retire_copy(a.worker, file);
  FileRecord& record = files[file];
  if (!record.holders.empty() || record.known == FileKnown::found) ++record.version;
  record.kept = true;
  record.known = FileKnown::found;
  record.checked = now.time;
  record.size = 0;  // nobody has told
  record.mtime_ns = 0;
  hold(a.worker, file, number, record.version, false);
  a.kept = true;
}

bool State::fetch_kept(FileId file) {
  const FileRecord& record = files[file];
  if (!record.kept || record.holders.empty()) return false;
  const std::uint32_t slot = record.holders.front();
  Worker& w = workers[slot];
  const TextRef name = out.add(name_text({file.value(), w.cache.find(file.value())->number}, {}));
  const TextRef path = out.add(record.source);
  Action& action = act(ActionKind::fetch, w);
  action.index = kept_output;
  action.cached = true;
  action.name = name;
  action.path = path;
  action.remote = path;
  files.add_reference(file);
  w.kept_fetches.push_back(file.value());
  expect_reply(w);
  arm_worker(slot);
  return true;
}

void State::on_kept_fetched(std::uint32_t slot, const Fetched& fetched) {
  Worker& w = workers[slot];
  if (w.kept_fetches.empty()) return;
  const FileId file(w.kept_fetches.front());
  w.kept_fetches.pop_front();
  w.bytes += fetched.bytes;
  counters.bytes_received += static_cast<std::int64_t>(fetched.bytes);
  FileRecord& record = files[file];
  if (record.kept && fetched.status == FetchStatus::ok) {
    record.size = fetched.size != 0 ? fetched.size : fetched.bytes;
    record.mtime_ns = fetched.mtime_ns;
    record.checked = now.time;
    report_kept(file, ReportKind::kept_fetched);
  } else if (record.kept) {
    notice(NoticeLevel::notice, fetched.error);
    report_kept(file, ReportKind::kept_failed);
    if (w.cache.find(file.value()) != nullptr) retire_copy(slot, file);
    record.known = FileKnown::never;
  }
  files.release(file);
}

void State::report_kept(FileId file, ReportKind kind) {
  FileRecord& record = files[file];
  record.kept = false;
  if (kind == ReportKind::kept_lost) record.known = FileKnown::never;
  Report report;
  report.kind = kind;
  report.path = out.add(record.source);
  out.reports.push_back(report);
}

// --- the machine's side ---

bool Machine::fetch_kept_output(std::string_view source, Now now) {
  State& s = *state_;
  s.now = now;
  const FileId file = s.files.find(source, FileKind::file);
  return file.valid() && s.fetch_kept(file);
}

// on_feature() takes no such word from a worker.
std::string Machine::feature_of_place(std::string_view address) { return "at " + std::string(address); }

}  // namespace taskmill::manager
