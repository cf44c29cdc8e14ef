// Every maximum of the wire in one place, with its origin (wire-protocol.md unless said).
#pragma once

#include <cstddef>
#include <cstdint>

namespace taskmill::protocol {

constexpr std::size_t max_line = 4095;                  ///< control line without its LF (2)
constexpr std::size_t max_auth_line = 1023;             ///< challenge lines (4.2)
constexpr std::size_t max_password = 1000;              ///< longer ones overrun old peers (4.2)
constexpr std::size_t challenge_length = 63;            ///< letters a-z (4.2)
constexpr std::uint64_t max_command = 64ULL << 20;      ///< `cmd` body we accept (ours; 15 allows 2^31)
constexpr std::uint64_t max_env = 16ULL << 20;          ///< one `env` body we accept (ours)
constexpr std::uint64_t max_cache_invalid = 1U << 20;   ///< `cache-invalid` text kept (ours)
constexpr std::size_t max_symlink_target = 4096;        ///< PATH_MAX (ours)
constexpr std::size_t max_url = 64U << 10;              ///< body of a v9 `url` (ours)
constexpr std::uint64_t max_task_block = 128ULL << 20;  ///< everything between `task` and `end` (ours)
constexpr std::size_t max_directory_depth = 128;        ///< nested `dir` frames (ours)
constexpr std::size_t max_path = 4095;                  ///< path below the cache (PATH_MAX, ours)
constexpr std::size_t max_http_header = 64U << 10;      ///< request line and headers of a GET (ours)
constexpr std::uint64_t max_stdout_kept = 1ULL << 30;   ///< 10.3
constexpr std::uint64_t max_frame = 64ULL << 20;        ///< one extension frame (ours)
constexpr int version_oldest = 9;
constexpr int version_newest = 11;
constexpr std::uint16_t default_port = 9123;
constexpr std::uint16_t default_catalog_port = 9097;

}  // namespace taskmill::protocol
