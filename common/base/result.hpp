// The error style of the project: values, not exceptions, for everything the world can do.
//
// `Result<T>` is boost::system::result. A function that can fail returns it; errno is turned into an
// error_code once, next to the call. `Error` adds the one-line text a user reads: what, which thing,
// what to do.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

namespace taskmill {

using ErrorCode = boost::system::error_code;

template <class T>
using Result = boost::system::result<T>;

/// An error a person will read: one line that names the thing and, where there is one, the remedy.
struct Error {
  std::string text;
};

template <class T>
using Expected = boost::system::result<T, Error>;

[[noreturn]] inline void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::runtime_error(error.text);
}

inline ErrorCode code_of(int error) { return {error, boost::system::system_category()}; }
inline ErrorCode errno_code() { return code_of(errno); }
inline Error make_error(std::string text) { return Error{std::move(text)}; }

}  // namespace taskmill
