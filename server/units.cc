#include "server/units.h"

#include <arpa/inet.h>

#include <array>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace h2bd {
namespace {

constexpr std::array<char, 4> kUnits = {'K', 'M', 'G', 'T'};

absl::Status BadSize(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", text, "\" is not a size; legal: a whole number with K, M, G or T, as in 256M"));
}

absl::Status BadEndpoint(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not an address; legal: HOST:PORT, [IPV6]:PORT or unix:PATH"));
}

bool IsIpv6(const std::string& host) {
  in6_addr ignored;
  return inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789");
  uint64_t value = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &value)) return BadSize(text);
  if (digits == absl::string_view::npos) return value;
  const absl::string_view suffix = text.substr(digits);
  for (size_t i = 0; i < kUnits.size(); ++i) {
    if (absl::ascii_toupper(static_cast<unsigned char>(suffix[0])) != kUnits[i]) continue;
    if (suffix.size() > 1 && suffix.substr(1) != "iB") return BadSize(text);
    const unsigned shift = 10 * static_cast<unsigned>(i + 1);
    if (value > std::numeric_limits<uint64_t>::max() >> shift) return BadSize(text);
    return value << shift;
  }
  return BadSize(text);
}

std::string SizeText(uint64_t bytes) {
  std::string suffix;
  for (const char unit : kUnits) {
    if (bytes == 0 || bytes % 1024 != 0) break;
    bytes /= 1024;
    suffix = unit;
  }
  return absl::StrCat(bytes, suffix);
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is not a duration; legal: for example 5s, 250ms, 1m30s or 0"));
  }
  return duration;
}

bool Endpoint::IsLoopback() const {
  if (unix_socket || host == "localhost" || host == "::1") return true;
  in_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

std::string Endpoint::ToString() const {
  if (unix_socket) return absl::StrCat("unix:", host);
  if (IsIpv6(host)) return absl::StrCat("[", host, "]:", port);
  return absl::StrCat(host, ":", port);
}

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view text) {
  Endpoint endpoint;
  absl::string_view path = text;
  if (absl::ConsumePrefix(&path, "unix:")) {
    if (path.empty()) return BadEndpoint(text);
    endpoint.host = std::string(path);
    endpoint.unix_socket = true;
    return endpoint;
  }
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return BadEndpoint(text);
  absl::string_view host = text.substr(0, colon);
  uint32_t port = 0;
  if (!absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) return BadEndpoint(text);
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]") || !IsIpv6(std::string(host))) return BadEndpoint(text);
  } else if (host.empty() || host.find_first_of(":,/ ") != absl::string_view::npos) {
    return BadEndpoint(text);
  }
  endpoint.host = std::string(host);
  endpoint.port = static_cast<uint16_t>(port);
  return endpoint;
}

}  // namespace h2bd
