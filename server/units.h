// Sizes and durations as people write them in flags and configuration files.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace h2bd {

// "4096", "64K", "256M", "1G", "2T": powers of 1024; "KiB", "MiB"… mean the same. kInvalidArgument
// for anything else, fractions and overflow included.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);
// The shortest form that ParseSize reads back to the same number.
std::string SizeText(uint64_t bytes);

// "5s", "250ms", "1m30s", "0" (Abseil's format); not negative, not infinite.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// "HOST:PORT" with a name, an IPv4 address or an IPv6 address in brackets; or "unix:PATH".
struct Endpoint {
  std::string host;  // without brackets; the path for a unix socket
  uint16_t port = 0;
  bool unix_socket = false;

  // Reachable from this machine only: a unix socket, localhost, 127.0.0.0/8 or ::1.
  bool IsLoopback() const;
  std::string ToString() const;
};
absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text);

}  // namespace h2bd
