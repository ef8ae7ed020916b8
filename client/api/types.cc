#include "client/api/types.h"

#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/api/resource_name.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

constexpr size_t kComponentBytesMax = 255;
absl::Status CheckComponent(absl::string_view component, absl::string_view whole) {
  const auto bad = [whole](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("disk name \"", absl::CHexEscape(whole), "\": ", why,
                     "; legal: NAME or PFS/NAME, each 1 to 255 bytes"));
  };
  if (component.empty()) return bad("a part of it is empty");
  if (component == "." || component == "..") return bad("\".\" and \"..\" are reserved");
  if (component.size() > kComponentBytesMax) return bad("a part of it is longer than 255 bytes");
  if (component.find('\0') != absl::string_view::npos) return bad("it holds a NUL byte");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DiskName> DiskName::Parse(absl::string_view text) {
  DiskName name;
  const size_t slash = text.find('/');
  if (slash != absl::string_view::npos) {
    name.pfs = std::string(text.substr(0, slash));
    H2_RETURN_IF_ERROR(CheckComponent(name.pfs, text));
  }
  name.path = std::string(slash == absl::string_view::npos ? text : text.substr(slash + 1));
  for (absl::string_view component : absl::StrSplit(name.path, '/')) {
    H2_RETURN_IF_ERROR(CheckComponent(component, text));
  }
  return name;
}

std::string DiskName::ToResource() const {
  return absl::StrCat(PfsResource(pfs), "/disks/", EscapeSegment(path));
}

absl::StatusOr<DiskName> DiskName::FromResource(absl::string_view resource) {
  const size_t slash = resource.find("/disks/");
  if (slash == absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("resource name \"", resource, "\": legal: pfs/{pfs}/disks/{disk}"));
  }
  DiskName name;
  H2_ASSIGN_OR_RETURN(name.pfs, PfsLabel(resource.substr(0, slash)));
  H2_ASSIGN_OR_RETURN(name.path, UnescapeSegment(resource.substr(slash + strlen("/disks/"))));
  return name;
}

std::string DiskName::ToString() const { return pfs.empty() ? path : absl::StrCat(pfs, "/", path); }

absl::string_view Name(Compression compression) {
  switch (compression) {
    case Compression::kUnknown:
      return "unknown";
    case Compression::kNone:
      return "none";
    case Compression::kAutozero:
      return "autozero";
    case Compression::kLz4:
      return "lz4";
    case Compression::kZlib:
      return "zlib";
  }
  return "unknown";
}

absl::string_view Name(CheckCode check_code) {
  switch (check_code) {
    case CheckCode::kUnknown:
      return "unknown";
    case CheckCode::kNone:
      return "none";
    case CheckCode::kDisabled:
      return "disabled";
    case CheckCode::kIscsi32:
      return "iscsi32";
    case CheckCode::kXxhash64:
      return "xxhash64";
    case CheckCode::kSha192:
      return "sha192";
    case CheckCode::kFreemap:
      return "freemap";
  }
  return "unknown";
}

absl::string_view Name(FlushReason reason) {
  switch (reason) {
    case FlushReason::kUnknown:
      return "unknown";
    case FlushReason::kSync:
      return "sync";
    case FlushReason::kAge:
      return "age";
    case FlushReason::kPressure:
      return "pressure";
    case FlushReason::kRetry:
      return "retry";
    case FlushReason::kRequest:
      return "request";
    case FlushReason::kClose:
      return "close";
  }
  return "unknown";
}

absl::string_view Name(TransactionState state) {
  switch (state) {
    case TransactionState::kUnknown:
      return "unknown";
    case TransactionState::kOpen:
      return "open";
    case TransactionState::kPreparing:
      return "preparing";
    case TransactionState::kApplied:
      return "applied";
    case TransactionState::kDurable:
      return "durable";
    case TransactionState::kAborted:
      return "aborted";
    case TransactionState::kExpired:
      return "expired";
  }
  return "unknown";
}

}  // namespace h2bd::client
