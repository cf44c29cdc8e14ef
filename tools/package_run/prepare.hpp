// Gets an environment ready: unpacked once per target directory however many runners start together,
// relocated, its activation known.
//
// The lock is a flock on the target directory itself, as the original runner takes it, so both kinds work
// side by side. The marker is written last, under the lock; it never vouches for a part. A target that
// holds another archive is left alone, and this one goes to "<target>.<first digits of its digest>".
#pragma once

#include <functional>
#include <string>

#include "common/archive/activation.hpp"
#include "tools/package_run/options.hpp"

namespace taskmill::package_run {

using Say = std::function<void(const std::string&)>;

struct Prepared {
  std::string prefix;
  archive::Activation activation;
  bool temporary = false;  ///< to be removed at the end
  os::UniqueFd lock;       ///< of a temporary directory: held while it is used
};

/// `marker_name`: ".poncho_package_run_expanded" or the old name.
Expected<Prepared> prepare(const Options& options, const std::string& marker_name, const Say& say);
void remove_temporary(Prepared& prepared);

}  // namespace taskmill::package_run
