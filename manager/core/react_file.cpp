// Input files: looked at, staged, held by workers, changed, invalidated.
#include <algorithm>

#include "common/base/text.hpp"
#include "manager/core/state.hpp"

namespace taskmill::manager {
namespace {

void replace_all(std::string& text, std::string_view word, std::string_view by) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + by.size()))
    text.replace(at, word.size(), by);
}

}  // namespace

// One stat serves every task that names the file until it is answered, and for a short while after.
void State::want_stat(FileId file, TaskId waiter, std::uint32_t& pending) {
  FileRecord& record = files[file];
  if (record.kept) return;
  if (record.known != FileKnown::pending) {
    if (record.known != FileKnown::never && record.checked + config.file_check_interval >= now.time) return;
    record.known = FileKnown::pending;
    out.stats.push_back({file, out.add(record.source)});
  }
  record.waiters.push_back(waiter);
  ++pending;
}

void State::on_stat(FileId file, const StatResult& result) {
  if (!files.alive(file) || files[file].known != FileKnown::pending) return;
  FileRecord& record = files[file];
  record.checked = now.time;
  if (result.found) {
    const bool changed = record.mtime_ns != 0 && (record.mtime_ns != result.mtime_ns ||
                                                  (record.kind == FileKind::file && record.size != result.size));
    if (changed && record.cached && !record.holders.empty()) {
      ++record.version;
      notice(NoticeLevel::notice, "input " + record.source + " changed: tasks from now on get the new content");
    }
    if (record.kind == FileKind::file) record.size = result.size;
    record.mtime_ns = result.mtime_ns;
    record.directory = result.directory;
    record.known = FileKnown::found;
  } else {
    record.known = FileKnown::missing;
    record.error = result.error.empty() ? record.source + ": not found" : result.error;
  }
  std::vector<TaskId> waiters;
  waiters.swap(record.waiters);
  // Keep the record alive while tasks that name it finish.
  files.add_reference(file);
  for (const TaskId id : waiters) {
    const std::uint32_t task = ids.find(id.value());
    if (result.found) {
      one_less_to_wait_for(id);
    } else if (task != no_index && tasks[task].state == TaskState::ready && tasks[task].where == Where::files) {
      finish(task, protocol::ResultCode::input_missing, files[file].error);
    }
  }
  files.release(file);
}

FileId State::resolve(FileId file, const Worker& worker) {
  if (!files[file].variable) {
    files.add_reference(file);
    return file;
  }
  InputSpec input;
  input.kind = files[file].kind;
  input.cache = files[file].cached;
  input.source = files[file].source;
  input.first = files[file].offset;
  input.last = files[file].offset + files[file].length - 1;
  replace_all(input.source, "$OS", worker.os.find("CYGWIN") != std::string::npos ? "Cygwin" : worker.os);
  replace_all(input.source, "$ARCH", worker.arch);
  return files.acquire(input);
}

void State::hold(std::uint32_t slot, FileId file, std::uint32_t number, std::uint32_t version, bool in_flight) {
  FileRecord& record = files[file];
  CacheEntry& entry = workers[slot].cache.insert(file.value());
  entry.number = number;
  entry.version = version;
  entry.in_flight = in_flight;
  entry.users = 0;
  entry.position = static_cast<std::uint32_t>(record.holders.size());
  record.holders.push_back(slot);
}

void State::forget_copy(std::uint32_t slot, FileId file) {
  Worker& worker = workers[slot];
  const CacheEntry* entry = worker.cache.find(file.value());
  if (entry == nullptr) return;
  share_lost(slot, file.value(), entry->version);
  FileRecord& record = files[file];
  const std::uint32_t moved = record.holders.back();
  record.holders[entry->position] = moved;
  record.holders.pop_back();
  if (moved != slot) workers[moved].cache.find(file.value())->position = entry->position;
  worker.cache.erase(file.value());
  worker.environments_here.erase(file.value());
  if (record.kept && record.holders.empty()) report_kept(file, ReportKind::kept_lost);
  files.forget_if_unused(file);
}

void State::retire_copy(std::uint32_t slot, FileId file) {
  Worker& worker = workers[slot];
  const CacheEntry entry = *worker.cache.find(file.value());
  if (entry.users > 0) {
    worker.retired.push_back({file.value(), entry.number, entry.users});
    files.add_reference(file);  // its name must stay known
  } else {
    unlink_name(slot, {file.value(), entry.number});
  }
  forget_copy(slot, file);
}

void State::release_records(Worker& worker) {
  for (const RetiredCopy& copy : worker.retired) files.release(FileId(copy.file));
  for (; !worker.kept_fetches.empty(); worker.kept_fetches.pop_front())
    files.release(FileId(worker.kept_fetches.front()));
}

RemoteName State::use_input(std::uint32_t slot, std::uint32_t attempt, FileId file, std::string_view remote) {
  FileRecord& record = files[file];
  if (record.kind == FileKind::empty_directory) return {file.value(), 0};
  if (!record.cached) {
    const std::uint32_t number = next_number++;
    stage(slot, file, number, remote, {attempts[attempt].serial, tasks[attempts[attempt].task].id});
    return {file.value(), number};
  }
  CacheEntry* entry = workers[slot].cache.find(file.value());
  if (entry != nullptr && entry->version != record.version) {
    retire_copy(slot, file);
    entry = nullptr;
  }
  if (entry == nullptr) {
    // The first version has the name that old tools expect, unless that name may still exist at this worker.
    bool plain = record.version == 1;
    for (const RetiredCopy& copy : workers[slot].retired) plain = plain && copy.file != file.value();
    const std::uint32_t number = plain ? 0 : next_number++;
    hold(slot, file, number, record.version, true);
    stage_copy(slot, attempt, file, number, remote);
    entry = workers[slot].cache.find(file.value());
  }
  ++entry->users;
  return {file.value(), entry->number};
}

void State::stage(std::uint32_t slot, FileId file, std::uint32_t number, std::string_view remote, const Asker& asker) {
  Worker& worker = workers[slot];
  const FileRecord& record = files[file];
  const TextRef name = out.add(name_text({file.value(), number}, {}));
  const TextRef path = out.add(record.source);
  const TextRef remote_ref = out.add(remote);
  Action& action = act(ActionKind::stage, worker);
  action.file_kind = record.kind;
  action.cached = record.cached;
  action.task = asker.task;
  action.attempt = asker.serial;
  action.file = file;
  action.name = name;
  action.path = path;
  action.remote = remote_ref;
  action.offset = record.offset;
  action.length = record.length;
  Staging staging;
  staging.file = record.cached ? file.value() : no_index;
  staging.number = number;
  staging.serial = asker.serial;
  staging.task = asker.task;
  staging.expected = record.kind == FileKind::piece ? record.length : record.size;
  staging.patient = record.kind == FileKind::file && record.known != FileKnown::found;
  staging.remote = remote;
  if (!record.cached) staging.name = out.view(name);
  if (worker.stagings.empty()) {
    worker.stage_began = now.time;
    worker.stage_deadline =
        now.time + (staging.patient ? config.long_timeout : transfer_limit(worker, staging.expected));
  }
  worker.stagings.push_back(std::move(staging));
  arm_worker(slot);
}

std::string_view State::name_text(RemoteName name, std::string_view path) {
  scratch_name.clear();
  if (name.file == no_index) {
    FileTable::output_name(path, name.number, scratch_name);
  } else {
    files.name(FileId(name.file), name.number, scratch_name);
  }
  return scratch_name;
}

void State::unlink_name(std::uint32_t slot, RemoteName name, std::string_view path) {
  const TextRef ref = out.add(name_text(name, path));
  act(ActionKind::unlink, workers[slot]).name = ref;
  if (name.file != no_index) drop_wish(wish_for(slot, name.file, name.number));
}

// The attempt no longer uses its inputs: cached ones lose a user, others are removed at the worker.
void State::done_with_inputs(std::uint32_t attempt, bool unlink_uncached) {
  Attempt& a = attempts[attempt];
  if (a.inputs_done) return;
  a.inputs_done = true;
  Worker& worker = workers[a.worker];
  const std::uint32_t inputs = spec_of(tasks[a.task])->inputs;
  const std::size_t outputs = spec_of(tasks[a.task])->outputs;
  for (std::size_t i = 0; i < a.names.size(); ++i) {
    if (i >= inputs && i < inputs + outputs) continue;  // outputs are dealt with where they are fetched
    const RemoteName name = a.names[i];
    if (name.file == no_index) continue;  // the monitor's summary
    const FileId file(name.file);
    if (files[file].kind == FileKind::empty_directory) {
      files.release(file);
      continue;
    }
    if (!files[file].cached) {
      if (unlink_uncached) unlink_name(a.worker, name);
    } else if (CacheEntry* entry = worker.cache.find(name.file); entry != nullptr && entry->number == name.number) {
      --entry->users;
    } else {
      for (std::size_t k = 0; k < worker.retired.size(); ++k) {
        RetiredCopy& copy = worker.retired[k];
        if (copy.file != name.file || copy.number != name.number) continue;
        if (--copy.users == 0) {
          unlink_name(a.worker, name);
          files.release(file);
          worker.retired.erase(worker.retired.begin() + static_cast<std::ptrdiff_t>(k));
        }
        break;
      }
    }
    files.release(file);
  }
}

void State::on_staged(std::uint32_t slot, const StageDone& done) {
  Worker& worker = workers[slot];
  if (worker.stagings.empty()) return;
  const Staging staging = std::move(worker.stagings.front());
  worker.stagings.pop_front();
  const Duration took = now.time - worker.stage_began;
  worker.transfer_time += took;
  worker.bytes += done.bytes;
  transfer_bytes += static_cast<std::int64_t>(done.bytes);
  transfer_us += took.count();
  counters.bytes_sent += static_cast<std::int64_t>(done.bytes);
  counters.time_send += took.count();
  if (const std::uint32_t attempt = find_attempt(staging.task, worker.conn, staging.serial); attempt != no_index) {
    attempts[attempt].bytes_sent += done.bytes;
    attempts[attempt].transfer += took;
  }
  if (staging.file != no_index) {
    CacheEntry* entry = worker.cache.find(staging.file);
    if (entry != nullptr && entry->number == staging.number) entry->in_flight = false;
    shared_copy_sent(slot, staging, done);
  }
  if (config.transactions)
    record_transfer(true, staging.task, staging.file != no_index, done.bytes, took, staging.remote);
  worker.stage_began = now.time;
  if (!worker.stagings.empty()) {
    const Staging& next = worker.stagings.front();
    worker.stage_deadline = now.time + (next.patient ? config.long_timeout : transfer_limit(worker, next.expected));
  } else if (worker.replies > 0) {
    worker.reply_deadline = now.time + config.reply_timeout;
  }
  arm_worker(slot);
}

// An input could not be sent. Whoever counts on it at this worker cannot run there: the file is missing, so those tasks
// end with INPUT_MISSING; or it changed under our hands, then they try again with what it is now.
void State::on_stage_failed(std::uint32_t slot, const StageError& error) {
  Worker& worker = workers[slot];
  if (worker.stagings.empty()) return;
  const Staging staging = std::move(worker.stagings.front());
  worker.stagings.pop_front();
  worker.stage_began = now.time;
  if (!worker.stagings.empty()) {
    const Staging& next = worker.stagings.front();
    worker.stage_deadline = now.time + (next.patient ? config.long_timeout : transfer_limit(worker, next.expected));
  }
  const FileId file(staging.file);
  const bool cached = staging.file != no_index && files.alive(file);
  if (cached) files.add_reference(file);  // its name must stay known
  fail_users(slot, staging, error);
  if (!cached) return;
  shared_copy_failed(slot, staging);
  files.release(file);
}

void State::fail_users(std::uint32_t slot, const Staging& staging, const StageError& error) {
  std::vector<std::uint32_t> affected;
  for (std::uint32_t a = workers[slot].head; a != no_index; a = attempts[a].next) {
    bool uses = attempts[a].serial == staging.serial && staging.file == no_index;
    if (staging.file != no_index) {
      for (const RemoteName& name : attempts[a].names)
        uses = uses || (name.file == staging.file && name.number == staging.number);
    }
    if (uses && attempts[a].state == AttemptState::running) affected.push_back(a);
  }
  for (const std::uint32_t a : affected) {
    const std::uint32_t task = attempts[a].task;
    fill_outcome(a);
    abandon(a);
    if (tasks[task].attempt != no_index) {
      Report report;
      report.kind = ReportKind::copy_lost;
      report.why = RequeueReason::input_failed_at_worker;
      report.task = tasks[task].id;
      report.conn = workers[slot].conn;
      out.reports.push_back(report);
    } else if (error.sent_damaged) {
      requeue(task, RequeueReason::input_failed_at_worker);
    } else {
      tasks[task].state = TaskState::retrieved;
      finish(task, protocol::ResultCode::input_missing, error.text);
    }
  }
  if (staging.file == no_index) {
    if (error.sent_damaged) act(ActionKind::unlink, workers[slot]).name = out.add(staging.name);
    return;
  }
  const FileId file(staging.file);
  if (!files.alive(file)) return;
  files[file].checked = Time::min();
  CacheEntry* entry = workers[slot].cache.find(staging.file);
  if (entry == nullptr || entry->number != staging.number) return;
  if (error.sent_damaged) unlink_name(slot, {staging.file, staging.number});
  forget_copy(slot, file);
}

std::size_t State::invalidate(FileId file) {
  std::size_t count = 0;
  files.add_reference(file);
  files[file].kept = false;
  ++files[file].version;
  files[file].checked = Time::min();
  const std::vector<std::uint32_t> holders = files[file].holders;
  std::vector<std::uint32_t> restart;
  for (const std::uint32_t slot : holders) {
    ++count;
    std::vector<std::uint32_t> affected;
    for (std::uint32_t a = workers[slot].head; a != no_index; a = attempts[a].next) {
      const bool uses = std::any_of(attempts[a].names.begin(), attempts[a].names.end(),
                                    [file](const RemoteName& name) { return name.file == file.value(); });
      if (uses && attempts[a].state == AttemptState::running) affected.push_back(a);
    }
    for (const std::uint32_t a : affected) {
      const std::uint32_t task = attempts[a].task;
      abandon(a);
      if (tasks[task].attempt == no_index) restart.push_back(task);
    }
    if (workers[slot].cache.find(file.value()) != nullptr) retire_copy(slot, file);
    freed(slot);
  }
  for (const std::uint32_t task : restart) requeue(task, RequeueReason::file_invalidated);
  files.release(file);
  return count;
}

}  // namespace taskmill::manager
