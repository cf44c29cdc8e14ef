#include "common/os/fd.hpp"

#include <unistd.h>

namespace taskmill::os {

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace taskmill::os
