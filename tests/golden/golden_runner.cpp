// Plays recorded conversations to both ends and compares what they understand with what the file says.
//
//   # comment
//   @ version 9                     worker's side was started with this version (default 11)
//   @ password PW MANAGER WORKER    both sides have a password; their challenges
//   @ manager-password PW CHALLENGE only this side has one (likewise worker-password)
//   @ frames                        both sides agreed on extension frames
//   @ expect results | get NAME     the manager has asked this, though the file does not show it
//   > text                          a line of the worker;  >. text  bytes without a line feed
//   < text                          a line of the manager; <. text  bytes without a line feed
//       manager: …, worker: …       what that side then says (messages, bodies, "! failure", "sends" of a password)
//
// Escapes: \n \r \0 \\ \xHH. Requests of the manager that the worker's side reads are registered at the manager's
// side by themselves. Each file is also played with every stretch of one direction joined, and split at every byte.
//
//   golden_runner FILE…              exit 1 and the difference if one disagrees
//   golden_runner --rewrite FILE…    writes the indented lines anew
//   golden_runner --seeds DIR FILE…  writes the byte streams as seeds for the fuzzers
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <utility>

#include "common/base/text.hpp"
#include "tests/support/protocol_driver.hpp"

namespace {

using namespace taskmill;
using testing::ManagerDriver;
using testing::unescape;
using testing::WorkerDriver;

struct Setup {
  protocol::ManagerSession::Config manager;
  protocol::WorkerSession::Config worker;
  bool frames = false;
};

struct Event {
  enum class Kind { from_worker, from_manager, expect_results, expect_get };
  Kind kind = Kind::from_worker;
  std::string bytes;
};

struct Conversation {
  Setup setup;
  std::vector<Event> events;
};

[[noreturn]] void stop(const std::string& why) {
  std::cerr << "golden_runner: " << why << '\n';
  std::exit(2);
}

// Both ends, playing one conversation. Transcript lines are collected per end.
class Play {
 public:
  explicit Play(const Setup& setup) : manager_(setup.manager), worker_(setup.worker) {
    manager_.session.allow_frames(setup.frames);
    worker_.session.allow_frames(setup.frames);
    collect();
  }
  void on(const Event& event) {
    switch (event.kind) {
      case Event::Kind::from_worker:
        manager_.feed(event.bytes);
        break;
      case Event::Kind::from_manager:
        worker_.feed(event.bytes);
        break;
      case Event::Kind::expect_results:
        manager_.session.expect_results();
        break;
      case Event::Kind::expect_get:
        manager_.session.expect_get(event.bytes);
        break;
    }
    register_requests();
    collect();
  }
  /// What both ends said since the last call.
  std::vector<std::string> take() { return std::exchange(lines_, {}); }
  std::vector<std::string> manager_lines, worker_lines;

 private:
  void register_requests() {
    // The order between the two kinds does not matter to a file that is played line by line.
    for (; worker_.results_requests > 0; --worker_.results_requests) manager_.session.expect_results();
    for (auto& name : worker_.gets) manager_.session.expect_get(std::move(name));
    worker_.gets.clear();
  }
  void collect() {
    take_from(manager_, "    manager: ", manager_lines);
    take_from(worker_, "    worker: ", worker_lines);
  }
  template <class Driver>
  void take_from(Driver& driver, const std::string& who, std::vector<std::string>& all) {
    for (auto& text : std::exchange(driver.events, {})) {
      lines_.push_back(who + text);
      all.push_back(std::move(text));
    }
    // Compared apart: what is sent does not come between messages at the same place when lines arrive together.
    const auto output = std::exchange(driver.output, {});

    for (const auto line : split(output, '\n')) {
      if (!line.empty()) lines_.push_back(who + "sends " + testing::escape(line));
    }
  }

  ManagerDriver manager_;
  WorkerDriver worker_;
  std::vector<std::string> lines_;
};

void read_directive(std::string_view line, Conversation& conversation) {
  auto& setup = conversation.setup;
  const auto word = next_token(line);
  const auto next = [&] { return unescape(next_token(line)); };
  if (word == "version") {
    setup.worker.version = static_cast<int>(parse_int(next()).value_or(11));
  } else if (word == "password") {
    const auto password = next();
    setup.manager = testing::manager_with_password(password, next());
    setup.worker = testing::worker_with_password(password, next());
  } else if (word == "manager-password") {
    const auto password = next();
    setup.manager = testing::manager_with_password(password, next());
  } else if (word == "worker-password") {
    const auto password = next();
    setup.worker = testing::worker_with_password(password, next());
  } else if (word == "frames") {
    setup.frames = true;
  } else if (word == "expect") {
    const bool get = next() == "get";
    conversation.events.push_back({get ? Event::Kind::expect_get : Event::Kind::expect_results, next()});
  } else {
    stop("unknown directive '" + std::string(word) + "'");
  }
}

// One line of the file as an event; none for comments, directives and expectations.
bool read_event(std::string_view line, Conversation& conversation) {
  if (line.starts_with("@ ")) {
    const auto before = conversation.events.size();
    read_directive(line.substr(2), conversation);
    return conversation.events.size() > before;
  }
  if (line.empty() || (line.front() != '>' && line.front() != '<')) return false;
  const bool whole_line = !line.substr(1).starts_with('.');
  const auto text = line.substr(whole_line ? 1 : 2);
  auto bytes = unescape(text.starts_with(' ') ? text.substr(1) : text);
  if (whole_line) bytes += '\n';
  const auto kind = line.front() == '>' ? Event::Kind::from_worker : Event::Kind::from_manager;
  conversation.events.push_back({kind, std::move(bytes)});
  return true;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream in(path);
  if (!in) stop("cannot read " + path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

Conversation read_conversation(const std::vector<std::string>& lines) {
  Conversation conversation;
  for (const auto& line : lines) read_event(line, conversation);
  return conversation;
}

// The file with its indented lines as they should be.
std::vector<std::string> render(const std::vector<std::string>& lines) {
  Play play(read_conversation(lines).setup);
  std::vector<std::string> out;
  bool started = false;
  for (const auto& line : lines) {
    if (line.starts_with("    ")) continue;
    Conversation one;
    const bool is_event = read_event(line, one);
    if (is_event && !std::exchange(started, true)) {
      for (auto& said : play.take()) out.push_back(std::move(said));
    }
    out.push_back(line);
    if (!is_event) continue;
    play.on(one.events.front());
    for (auto& said : play.take()) out.push_back(std::move(said));
  }
  return out;
}

std::vector<Event> joined(const std::vector<Event>& events) {
  std::vector<Event> out;
  for (const auto& event : events) {
    const bool bytes = event.kind == Event::Kind::from_worker || event.kind == Event::Kind::from_manager;
    if (bytes && !out.empty() && out.back().kind == event.kind) {
      out.back().bytes += event.bytes;
    } else {
      out.push_back(event);
    }
  }
  return out;
}

// Plays `events` with the one at `index` cut in two at `at`; events.size() plays it uncut.
Play play_split(const Conversation& conversation, const std::vector<Event>& events, std::size_t index, std::size_t at) {
  Play play(conversation.setup);
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (i != index) {
      play.on(events[i]);
      continue;
    }
    play.on({events[i].kind, events[i].bytes.substr(0, at)});
    play.on({events[i].kind, events[i].bytes.substr(at)});
  }
  return play;
}

bool splits_agree(const std::string& path, const Conversation& conversation) {
  const auto reference = play_split(conversation, conversation.events, conversation.events.size(), 0);
  const auto events = joined(conversation.events);
  for (std::size_t i = 0; i < events.size(); ++i) {
    for (std::size_t at = 0; at < events[i].bytes.size(); ++at) {
      const auto play = play_split(conversation, events, i, at);
      if (play.manager_lines == reference.manager_lines && play.worker_lines == reference.worker_lines) continue;
      std::cerr << path << ": split at byte " << at << " of stretch " << i << " changes what is understood\n";
      return false;
    }
  }
  return true;
}

bool check(const std::string& path) {
  const auto lines = read_lines(path);
  const auto wanted = render(lines);
  for (std::size_t i = 0; i < std::max(lines.size(), wanted.size()); ++i) {
    const std::string have = i < lines.size() ? lines[i] : "(end of file)";
    const std::string want = i < wanted.size() ? wanted[i] : "(end of file)";
    if (have == want) continue;
    std::cerr << path << ':' << i + 1 << "\n  file says: " << have << "\n  now:       " << want
              << "\n(golden_runner --rewrite accepts what is said now)\n";
    return false;
  }
  return splits_agree(path, read_conversation(lines));
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A seed starts with one byte of switches (tests/fuzz): 1 version 9, 2 frames, 4 requests outstanding.
void write_seeds(const std::filesystem::path& directory, const std::string& path) {
  const auto conversation = read_conversation(read_lines(path));
  const auto& setup = conversation.setup;
  std::string from_worker(1, static_cast<char>((setup.worker.version == 9 ? 1 : 0) | (setup.frames ? 2 : 0) | 4));
  std::string from_manager = from_worker;
  for (const auto& event : conversation.events) {
    if (event.kind == Event::Kind::from_worker) from_worker += event.bytes;
    if (event.kind == Event::Kind::from_manager) from_manager += event.bytes;
  }
  const bool password = setup.manager.has_password || setup.worker.has_password;
  const auto name = std::filesystem::path(path).stem();
  for (const auto& [target, bytes] : {std::pair{password ? "auth" : "manager_session", from_worker},
                                      std::pair{password ? "auth" : "worker_session", from_manager}}) {
    std::filesystem::create_directories(directory / target);
    write_file(directory / target / (name.string() + (bytes == from_worker ? ".w" : ".m")), bytes);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.empty()) stop("usage: golden_runner [--rewrite | --seeds DIR] FILE...");
  if (words[0] == "--seeds") {
    if (words.size() < 3) stop("--seeds needs a directory and files");
    for (std::size_t i = 2; i < words.size(); ++i) write_seeds(words[1], words[i]);
    return 0;
  }
  if (words[0] == "--rewrite") {
    for (std::size_t i = 1; i < words.size(); ++i) {
      std::string text;
      for (const auto& line : render(read_lines(words[i]))) text += line + '\n';
      write_file(words[i], text);
    }
    return 0;
  }
  bool good = true;
  for (const auto& path : words) good = check(path) && good;
  return good ? 0 : 1;
}
