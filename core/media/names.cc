#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "core/media/blockref.h"
#include "core/media/inode_data.h"

namespace h2bd {

absl::string_view Name(BrefType type) {
  switch (type) {
    case BrefType::kEmpty:
      return "empty";
    case BrefType::kInode:
      return "inode";
    case BrefType::kIndirect:
      return "indirect";
    case BrefType::kData:
      return "data";
    case BrefType::kDirent:
      return "dirent";
    case BrefType::kFreemapNode:
      return "freemap_node";
    case BrefType::kFreemapLeaf:
      return "freemap_leaf";
    case BrefType::kInvalid:
      return "invalid";
    case BrefType::kFreemap:
      return "freemap";
    case BrefType::kVolume:
      return "volume";
  }
  return "unknown";
}

absl::string_view Name(CheckMethod check) {
  switch (check) {
    case CheckMethod::kNone:
      return "none";
    case CheckMethod::kDisabled:
      return "disabled";
    case CheckMethod::kIscsi32:
      return "iscsi32";
    case CheckMethod::kXxhash64:
      return "xxhash64";
    case CheckMethod::kSha192:
      return "sha192";
    case CheckMethod::kFreemap:
      return "freemap";
  }
  return "unknown";
}

absl::string_view Name(CompMethod comp) {
  switch (comp) {
    case CompMethod::kNone:
      return "none";
    case CompMethod::kAutozero:
      return "autozero";
    case CompMethod::kLz4:
      return "lz4";
    case CompMethod::kZlib:
      return "zlib";
  }
  return "unknown";
}

absl::string_view Name(ObjectType type) {
  switch (type) {
    case ObjectType::kUnknown:
      return "unknown";
    case ObjectType::kDirectory:
      return "directory";
    case ObjectType::kRegfile:
      return "regfile";
    case ObjectType::kFifo:
      return "fifo";
    case ObjectType::kCdev:
      return "cdev";
    case ObjectType::kBdev:
      return "bdev";
    case ObjectType::kSoftlink:
      return "softlink";
    case ObjectType::kSocket:
      return "socket";
    case ObjectType::kWhiteout:
      return "whiteout";
  }
  return "unknown";
}

bool IsKnown(ObjectType type) {
  return type != ObjectType::kUnknown && Name(type) != Name(ObjectType::kUnknown);
}

std::string FormatUuid(const Uuid& uuid) {
  const ConstByteSpan bytes(uuid);
  std::string text =
      absl::StrFormat("%08x-%04x-%04x-%02x%02x-", LoadAs<uint32_t>(bytes, 0),
                      LoadAs<uint16_t>(bytes, 4), LoadAs<uint16_t>(bytes, 6),
                      std::to_integer<unsigned>(uuid[8]), std::to_integer<unsigned>(uuid[9]));
  for (const std::byte node : bytes.subspan(10)) {
    absl::StrAppendFormat(&text, "%02x", std::to_integer<unsigned>(node));
  }
  return text;
}

std::string InodeFilename(Inum inum) { return absl::StrFormat("0x%016x", inum.v); }

void InodeData::set_name(absl::string_view name) {
  H2_ASSERT(name.size() <= kNameMax);
  filename.fill('\0');
  std::copy(name.begin(), name.end(), filename.begin());
  meta.name_len = static_cast<uint16_t>(name.size());
}

uint64_t ToMediaTime(absl::Time time) {
  // The media know no time before 1970.
  return static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMicros(time)));
}

absl::Time FromMediaTime(uint64_t microseconds) {
  if (microseconds > INT64_MAX) return absl::InfiniteFuture();
  return absl::FromUnixMicros(static_cast<int64_t>(microseconds));
}

}  // namespace h2bd
