// Where the worker's words go. The program decides what is shown; the rest of the worker only speaks.
#pragma once

#include <string_view>

namespace taskmill::worker {

class Log {
 public:
  virtual ~Log() = default;
  /// A line for the user on stdout ("connected to manager …"), without its newline.
  virtual void say(std::string_view line) = 0;
  /// A line on stderr, without its newline.
  virtual void complain(std::string_view line) = 0;
  /// Always shown on stderr in the form of the debug log: "stopping: …".
  virtual void notice(std::string_view text) = 0;
  virtual void error(std::string_view text) = 0;
  /// Protocol and life cycle (-d wq). Ask first, so that nothing is formatted in vain.
  [[nodiscard]] virtual bool detailed() const = 0;
  virtual void detail(std::string_view text) = 0;
};

}  // namespace taskmill::worker
