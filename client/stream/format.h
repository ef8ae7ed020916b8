// The stream format, version 1, as FORMAT.md specifies it: what goes over the wire as plain values,
// and which record may follow which. Encoder and Decoder turn them into bytes and back.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/bytes.h"
#include "core/base/types.h"
#include "core/digest/sha256.h"

namespace h2bd::stream {

using Uuid = std::array<std::byte, 16>;

inline constexpr uint16_t kVersion = 1;
inline constexpr uint64_t kBlockBytes = 64 * kKiB;
inline constexpr size_t kPreludeBytes = 180;
inline constexpr size_t kHeaderBytes = 56;
inline constexpr size_t kPayloadMax = 64 * kKiB + 64;
inline constexpr size_t kPathMax = 1024;
inline constexpr uint64_t kDiskBytesMax = uint64_t{1} << 62;

// What a stream is of. The same for all its parts, however often it was cut.
struct Identity {
  Uuid stream{};               // of this sending
  Uuid source{};               // fsid of the snapshot that is sent
  Uuid base{};                 // fsid of the snapshot that it builds on; all zeros: a full stream
  Sha256Digest base_attest{};  // attest value of that, of the scope below; all zeros: not given
  bool one_disk = false;       // scope: one disk; otherwise all disks of a PFS
  bool operator==(const Identity&) const = default;
  bool incremental() const { return base != Uuid{}; }
};

// A place between two records, with all that the next one depends on.
struct Position {
  uint64_t sequence = 1;    // of the next record
  uint64_t disk = 0;        // number of the disk that is being sent; 0: none yet
  uint64_t disk_bytes = 0;  // its size; 0 also when that number was a removal
  uint64_t offset = 0;      // the next DATA or HOLE of that disk starts here or above
  uint64_t data_bytes = 0;  // of all DATA so far, before compression
  uint64_t hole_bytes = 0;  // of all HOLE so far
  Sha256Digest chain{};     // of all records up to the last checkpoint
  bool operator==(const Position&) const = default;
};

// What stands in front of the records. Its text form is the resume token.
struct Prelude {
  Identity identity;
  Position position;
  bool operator==(const Prelude&) const = default;
};

// The prelude of a stream that starts at its first record.
Prelude StartOf(const Identity& identity);

std::array<std::byte, kPreludeBytes> EncodePrelude(const Prelude& prelude);
// kDataLoss for anything damaged or senseless, kFailedPrecondition for another version.
absl::StatusOr<Prelude> DecodePrelude(ConstByteSpan bytes);
// Looks at the first 16 bytes only: magic and version. What follows may have another length.
absl::Status CheckMagic(ConstByteSpan bytes);

// Text for people to copy: web-safe base64 of the prelude.
std::string TokenOf(const Prelude& prelude);
absl::StatusOr<Prelude> ParseToken(absl::string_view text);  // kInvalidArgument

enum class RecordType : uint32_t {
  kDisk = 1,
  kData = 2,
  kHole = 3,
  kRemove = 4,
  kCheckpoint = 5,
  kEnd = 6,
};
absl::string_view Name(RecordType type);  // "DATA"
// Whether the SHA-256 chain covers the record. The others carry it.
bool IsChained(RecordType type);

enum class Encoding : uint32_t { kRaw = 0, kLz4 = 1 };

struct RecordHeader {
  RecordType type = RecordType::kEnd;
  uint32_t length = 0;  // of the payload
  uint64_t sequence = 0;
  uint64_t disk = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t payload_xxh64 = 0;
  Encoding encoding = Encoding::kRaw;
};

// The stream's uuid goes into the CRC: a record of one stream is damaged in another.
std::array<std::byte, kHeaderBytes> EncodeHeader(const RecordHeader& header, const Uuid& stream);
// kDataLoss when the CRC is wrong. No field was compared with anything yet.
absl::StatusOr<RecordHeader> DecodeHeader(ConstByteSpan bytes, const Uuid& stream);

// Moves `position` behind a record with this header; kDataLoss, and nothing changed, when the
// record may not stand there or its length is not one that its type has.
absl::Status Advance(const Identity& identity, const RecordHeader& header, Position& position);

// Codes of the format (spec 01); kInherit: whatever the PFS has that receives it.
struct DiskSettings {
  static constexpr uint8_t kInherit = 0xff;
  uint8_t compression = kInherit;
  uint8_t level = 0;
  uint8_t check = kInherit;
  bool operator==(const DiskSettings&) const = default;
};

// A disk of the snapshot: new, or one of the base, perhaps under another name or of another size.
struct DiskRecord {
  uint64_t number = 0;  // 1 for the first, no gaps; shared with RemoveRecord
  std::string path;
  std::optional<std::string> base_path;  // what the base calls it; none: a new disk, all zeros
  uint64_t size_bytes = 0;
  DiskSettings settings;
  bool operator==(const DiskRecord&) const = default;
};
struct DataRecord {
  uint64_t disk = 0;
  uint64_t offset = 0;  // of a block
  ConstByteSpan bytes;  // the block, or what the disk has of it
};
struct HoleRecord {
  uint64_t disk = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};
// A disk that the base has and the snapshot has not.
struct RemoveRecord {
  uint64_t number = 0;
  std::string base_path;
};
struct CheckpointRecord {
  Position position;  // behind it: here the stream can go on
};
struct EndRecord {
  Sha256Digest attest{};  // of the snapshot, of the stream's scope; all zeros: not given
  Sha256Digest chain{};   // of all records before it
};
using Record =
    std::variant<DiskRecord, DataRecord, HoleRecord, RemoveRecord, CheckpointRecord, EndRecord>;

// kDataLoss unless a disk may have this path: 1 to kPathMax bytes, components separated by one '/',
// none of them ".", ".." or with a NUL.
absl::Status CheckPath(absl::string_view path);

std::string EncodeDiskPayload(const DiskRecord& disk);
// Fills in all but number and size. kDataLoss.
absl::StatusOr<DiskRecord> DecodeDiskPayload(ConstByteSpan payload);

std::array<std::byte, 72> EncodeEndPayload(const EndRecord& end, uint64_t hole_bytes);
struct EndPayload {
  EndRecord end;
  uint64_t hole_bytes = 0;
};
EndPayload DecodeEndPayload(ConstByteSpan payload);  // exactly 72 bytes

}  // namespace h2bd::stream
