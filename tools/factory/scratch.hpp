// The factory's own directory: worker binary, password, wrapper inputs; 0700, one per running factory, removed at the
// end (what batch systems wrote there included).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/os/fd.hpp"
#include "tools/factory/config.hpp"

namespace taskmill::tools {

class Scratch {
 public:
  /// Creates the directory and copies the files. A directory given by the user is locked, so that a second factory
  /// says so instead of overwriting; without one, each factory gets its own.
  static Expected<std::unique_ptr<Scratch>> make(const FactoryConfig& config);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<std::string>& files() const { return files_; }
  void keep() { keep_ = true; }

 private:
  Scratch() = default;
  Expected<bool> lock();
  Expected<bool> add(const std::string& from, const std::string& name, bool secret);

  std::string path_;
  std::vector<std::string> files_;
  os::UniqueFd lock_;
  bool own_directory_ = false;
  bool keep_ = false;
};

}  // namespace taskmill::tools
