#include "client/stream/format.h"

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/digest/checksum.h"

namespace h2bd::stream {
namespace {

constexpr absl::string_view kMagic = "H2BDSEND";
constexpr uint16_t kFlagOneDisk = 1;
constexpr size_t kIdentityBytes = 96;
constexpr size_t kEndPayloadBytes = 72;
constexpr size_t kDiskPayloadHead = 8;

// Fields one after another, little-endian as all that h2bd runs on.
class FieldWriter {
 public:
  explicit FieldWriter(ByteSpan into) : into_(into) {}
  template <class T>
  FieldWriter& Put(const T& value) {
    StoreAs(into_, value, at_);
    at_ += sizeof value;
    return *this;
  }
  size_t at() const { return at_; }

 private:
  ByteSpan into_;
  size_t at_ = 0;
};

class FieldReader {
 public:
  explicit FieldReader(ConstByteSpan bytes) : bytes_(bytes) {}
  template <class T>
  T Get() {
    const T value = LoadAs<T>(bytes_, at_);
    at_ += sizeof value;
    return value;
  }

 private:
  ConstByteSpan bytes_;
  size_t at_ = 0;
};

std::array<std::byte, kIdentityBytes> EncodeIdentity(const Identity& identity) {
  std::array<std::byte, kIdentityBytes> bytes;
  FieldWriter out(bytes);
  for (const char c : kMagic) out.Put(c);
  out.Put(kVersion)
      .Put(uint16_t{identity.one_disk ? kFlagOneDisk : uint16_t{0}})
      .Put(static_cast<uint32_t>(kBlockBytes))
      .Put(identity.stream)
      .Put(identity.source)
      .Put(identity.base)
      .Put(identity.base_attest);
  H2_ASSERT(out.at() == bytes.size());
  return bytes;
}

absl::Status Senseless(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the head of the stream is senseless: ", what));
}

absl::Status CheckPosition(const Prelude& prelude) {
  const Position& at = prelude.position;
  if (at.sequence == 0) return Senseless("its first record has the number 0, legal: from 1");
  if (at.sequence == 1 && prelude != StartOf(prelude.identity)) {
    return Senseless("it starts at record 1, but not at the start");
  }
  if (at.disk_bytes > kDiskBytesMax) {
    return Senseless(absl::StrCat("a disk of ", at.disk_bytes, " bytes, legal: up to 2^62"));
  }
  if (at.offset > at.disk_bytes) {
    return Senseless(absl::StrCat("it goes on at ", at.offset, " of a disk of ", at.disk_bytes));
  }
  return absl::OkStatus();
}

// The error of a record that does not fit where it stands.
absl::Status Misplaced(const RecordHeader& header, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("record ", header.sequence, " (", Name(header.type), "): ", what));
}

absl::Status CheckLength(const RecordHeader& header, uint64_t min, uint64_t max) {
  if (header.length >= min && header.length <= max) return absl::OkStatus();
  return Misplaced(header,
                   absl::StrCat("payload of ", header.length, " bytes, legal: ", min, "..", max));
}

absl::Status CheckEncoding(const RecordHeader& header) {
  if (header.encoding == Encoding::kRaw) return absl::OkStatus();
  if (header.encoding == Encoding::kLz4 && header.type == RecordType::kData) {
    return absl::OkStatus();
  }
  return Misplaced(header, absl::StrCat("encoding ", static_cast<uint32_t>(header.encoding),
                                        ", legal: 0, and 1 for DATA"));
}

absl::Status BeginDisk(const Identity& identity, const RecordHeader& header, Position& next) {
  if (header.disk != next.disk + 1) {
    return Misplaced(header, absl::StrCat("disk ", header.disk, " follows disk ", next.disk));
  }
  if (identity.one_disk && header.disk != 1) {
    return Misplaced(header, "a second disk in a stream of one disk");
  }
  if (header.offset != 0) return Misplaced(header, "its offset is not 0");
  next.disk = header.disk;
  next.disk_bytes = header.bytes;
  next.offset = 0;
  return absl::OkStatus();
}

absl::Status AdvanceDisk(const Identity& identity, const RecordHeader& header, Position& next) {
  H2_RETURN_IF_ERROR(
      CheckLength(header, kDiskPayloadHead + 1, kDiskPayloadHead + 2 * uint64_t{kPathMax}));
  if (header.bytes > kDiskBytesMax) {
    return Misplaced(header, absl::StrCat("a size of ", header.bytes, ", legal: up to 2^62"));
  }
  return BeginDisk(identity, header, next);
}

absl::Status AdvanceRemove(const Identity& identity, const RecordHeader& header, Position& next) {
  H2_RETURN_IF_ERROR(CheckLength(header, 1, kPathMax));
  if (!identity.incremental() || identity.one_disk) {
    return Misplaced(header, "legal only in an incremental stream of a PFS");
  }
  if (header.bytes != 0) return Misplaced(header, "its byte count is not 0");
  return BeginDisk(identity, header, next);
}

// What DATA and HOLE have in common: a range of the present disk, above those before.
absl::Status AdvanceRange(const RecordHeader& header, Position& next) {
  if (header.disk != next.disk || header.disk == 0) {
    return Misplaced(header, absl::StrCat("of disk ", header.disk, " within disk ", next.disk));
  }
  if (header.offset % kBlockBytes != 0 || header.offset < next.offset) {
    return Misplaced(header, absl::StrCat("at ", header.offset, ", legal: multiples of ",
                                          kBlockBytes, " from ", next.offset));
  }
  if (header.bytes == 0 || header.offset > next.disk_bytes ||
      header.bytes > next.disk_bytes - header.offset) {
    return Misplaced(header, absl::StrCat(header.bytes, " bytes at ", header.offset,
                                          " of a disk of ", next.disk_bytes));
  }
  const uint64_t end = header.offset + header.bytes;
  if (end % kBlockBytes != 0 && end != next.disk_bytes) {
    return Misplaced(header, absl::StrCat("ends at ", end, " within a block"));
  }
  next.offset = end;
  return absl::OkStatus();
}

absl::Status AdvanceData(const RecordHeader& header, Position& next) {
  if (header.bytes > kBlockBytes) {
    return Misplaced(header, absl::StrCat(header.bytes, " bytes, legal: up to ", kBlockBytes));
  }
  H2_RETURN_IF_ERROR(AdvanceRange(header, next));
  next.data_bytes += header.bytes;
  if (header.encoding == Encoding::kRaw) return CheckLength(header, header.bytes, header.bytes);
  return CheckLength(header, 1, header.bytes - 1);
}

absl::Status AdvanceHole(const RecordHeader& header, Position& next) {
  H2_RETURN_IF_ERROR(CheckLength(header, 0, 0));
  H2_RETURN_IF_ERROR(AdvanceRange(header, next));
  next.hole_bytes += header.bytes;
  return absl::OkStatus();
}

// CHECKPOINT and END say again where the stream stands.
absl::Status CheckStandsAt(const RecordHeader& header, const Position& here, uint64_t offset) {
  if (header.disk == here.disk && header.offset == offset && header.bytes == here.data_bytes) {
    return absl::OkStatus();
  }
  return Misplaced(header, absl::StrCat("says disk ", header.disk, ", offset ", header.offset, ", ",
                                        header.bytes, " bytes of data; the stream stands at disk ",
                                        here.disk, ", offset ", offset, ", ", here.data_bytes));
}

}  // namespace

Prelude StartOf(const Identity& identity) {
  return {.identity = identity, .position = {.chain = Sha256::Of(EncodeIdentity(identity))}};
}

std::array<std::byte, kPreludeBytes> EncodePrelude(const Prelude& prelude) {
  std::array<std::byte, kPreludeBytes> bytes;
  const Position& at = prelude.position;
  FieldWriter out(bytes);
  out.Put(EncodeIdentity(prelude.identity))
      .Put(at.sequence)
      .Put(at.disk)
      .Put(at.disk_bytes)
      .Put(at.offset)
      .Put(at.data_bytes)
      .Put(at.hole_bytes)
      .Put(at.chain)
      .Put(Crc32c(ConstByteSpan(bytes).first(out.at())));
  H2_ASSERT(out.at() == bytes.size());
  return bytes;
}

absl::Status CheckMagic(ConstByteSpan bytes) {
  if (AsText(bytes.first(kMagic.size())) != kMagic) {
    return absl::DataLossError("not a stream of h2bd send: it does not begin with H2BDSEND");
  }
  const uint16_t version = LoadAs<uint16_t>(bytes, kMagic.size());
  if (version == kVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the stream has format version ", version,
                                                    ", this program reads version ", kVersion));
}

absl::StatusOr<Prelude> DecodePrelude(ConstByteSpan bytes) {
  H2_ASSERT(bytes.size() == kPreludeBytes);
  H2_RETURN_IF_ERROR(CheckMagic(bytes));
  const size_t covered = kPreludeBytes - sizeof(uint32_t);
  if (Crc32c(bytes.first(covered)) != LoadAs<uint32_t>(bytes, covered)) {
    return absl::DataLossError("the head of the stream is damaged: its CRC is wrong");
  }
  FieldReader in(bytes.subspan(kMagic.size() + sizeof kVersion));
  const auto flags = in.Get<uint16_t>();
  if ((flags & ~kFlagOneDisk) != 0) return Senseless(absl::StrCat("flags ", flags));
  const auto block = in.Get<uint32_t>();
  if (block != kBlockBytes) {
    return Senseless(absl::StrCat("blocks of ", block, " bytes, legal: ", kBlockBytes));
  }
  Prelude prelude;
  Identity& identity = prelude.identity;
  identity.one_disk = flags == kFlagOneDisk;
  identity.stream = in.Get<Uuid>();
  identity.source = in.Get<Uuid>();
  identity.base = in.Get<Uuid>();
  identity.base_attest = in.Get<Sha256Digest>();
  Position& at = prelude.position;
  for (uint64_t* field :
       {&at.sequence, &at.disk, &at.disk_bytes, &at.offset, &at.data_bytes, &at.hole_bytes}) {
    *field = in.Get<uint64_t>();
  }
  at.chain = in.Get<Sha256Digest>();
  H2_RETURN_IF_ERROR(CheckPosition(prelude));
  return prelude;
}

std::string TokenOf(const Prelude& prelude) {
  return absl::WebSafeBase64Escape(AsText(EncodePrelude(prelude)));
}

absl::StatusOr<Prelude> ParseToken(absl::string_view text) {
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(text, &bytes) || bytes.size() != kPreludeBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "this is no resume token: ", kPreludeBytes / 3 * 4, " letters, digits, - and _ make one"));
  }
  absl::StatusOr<Prelude> prelude = DecodePrelude(AsBytes(bytes));
  if (prelude.ok()) return prelude;
  return absl::InvalidArgumentError(absl::StrCat("the resume token: ", prelude.status().message()));
}

absl::string_view Name(RecordType type) {
  switch (type) {
    case RecordType::kDisk:
      return "DISK";
    case RecordType::kData:
      return "DATA";
    case RecordType::kHole:
      return "HOLE";
    case RecordType::kRemove:
      return "REMOVE";
    case RecordType::kCheckpoint:
      return "CHECKPOINT";
    case RecordType::kEnd:
      return "END";
  }
  return "of an unknown type";
}

bool IsChained(RecordType type) {
  return type != RecordType::kCheckpoint && type != RecordType::kEnd;
}

std::array<std::byte, kHeaderBytes> EncodeHeader(const RecordHeader& header, const Uuid& stream) {
  std::array<std::byte, kHeaderBytes> bytes;
  FieldWriter out(bytes);
  out.Put(header.type)
      .Put(header.length)
      .Put(header.sequence)
      .Put(header.disk)
      .Put(header.offset)
      .Put(header.bytes)
      .Put(header.payload_xxh64)
      .Put(header.encoding)
      .Put(Crc32c(ConstByteSpan(bytes).first(out.at()), Crc32c(stream)));
  H2_ASSERT(out.at() == bytes.size());
  return bytes;
}

absl::StatusOr<RecordHeader> DecodeHeader(ConstByteSpan bytes, const Uuid& stream) {
  H2_ASSERT(bytes.size() == kHeaderBytes);
  const size_t covered = kHeaderBytes - sizeof(uint32_t);
  if (Crc32c(bytes.first(covered), Crc32c(stream)) != LoadAs<uint32_t>(bytes, covered)) {
    return absl::DataLossError("the CRC of its header is wrong");
  }
  FieldReader in(bytes);
  RecordHeader header;
  header.type = in.Get<RecordType>();
  header.length = in.Get<uint32_t>();
  header.sequence = in.Get<uint64_t>();
  header.disk = in.Get<uint64_t>();
  header.offset = in.Get<uint64_t>();
  header.bytes = in.Get<uint64_t>();
  header.payload_xxh64 = in.Get<uint64_t>();
  header.encoding = in.Get<Encoding>();
  return header;
}

absl::Status Advance(const Identity& identity, const RecordHeader& header, Position& position) {
  if (header.sequence != position.sequence) {
    return Misplaced(header, absl::StrCat("record ", position.sequence, " was to follow"));
  }
  H2_RETURN_IF_ERROR(CheckEncoding(header));
  Position next = position;
  ++next.sequence;
  absl::Status status;
  switch (header.type) {
    case RecordType::kDisk:
      status = AdvanceDisk(identity, header, next);
      break;
    case RecordType::kData:
      status = AdvanceData(header, next);
      break;
    case RecordType::kHole:
      status = AdvanceHole(header, next);
      break;
    case RecordType::kRemove:
      status = AdvanceRemove(identity, header, next);
      break;
    case RecordType::kCheckpoint:
      status = CheckLength(header, sizeof(Sha256Digest), sizeof(Sha256Digest));
      if (status.ok()) status = CheckStandsAt(header, next, next.offset);
      break;
    case RecordType::kEnd:
      status = CheckLength(header, kEndPayloadBytes, kEndPayloadBytes);
      if (status.ok()) status = CheckStandsAt(header, next, 0);
      if (status.ok() && identity.one_disk && next.disk != 1) {
        status = Misplaced(header, "a stream of one disk has none");
      }
      break;
    default:
      status = Misplaced(
          header, absl::StrCat("type ", static_cast<uint32_t>(header.type), ", legal: 1..6"));
  }
  if (status.ok()) position = next;
  return status;
}

absl::Status CheckPath(absl::string_view path) {
  const auto refuse = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat("\"", absl::CHexEscape(path.substr(0, kPathMax)),
                                            "\" is no path of a disk: ", why));
  };
  if (path.empty() || path.size() > kPathMax) {
    return refuse(absl::StrCat(path.size(), " bytes, legal: 1..", kPathMax));
  }
  if (path.find('\0') != absl::string_view::npos) return refuse("it has a NUL");
  for (const absl::string_view component : absl::StrSplit(path, '/')) {
    if (component.empty()) return refuse("a component is empty");
    if (component == "." || component == "..") return refuse("a component is . or ..");
  }
  return absl::OkStatus();
}

std::string EncodeDiskPayload(const DiskRecord& disk) {
  const std::string base = disk.base_path.value_or("");
  std::string payload(kDiskPayloadHead, '\0');
  FieldWriter(std::as_writable_bytes(std::span(payload)))
      .Put(disk.settings.compression)
      .Put(disk.settings.level)
      .Put(disk.settings.check)
      .Put(uint8_t{0})
      .Put(static_cast<uint16_t>(disk.path.size()))
      .Put(static_cast<uint16_t>(base.size()));
  absl::StrAppend(&payload, disk.path, base);
  return payload;
}

absl::StatusOr<DiskRecord> DecodeDiskPayload(ConstByteSpan payload) {
  H2_ASSERT(payload.size() >= kDiskPayloadHead);
  FieldReader in(payload);
  DiskRecord disk;
  disk.settings.compression = in.Get<uint8_t>();
  disk.settings.level = in.Get<uint8_t>();
  disk.settings.check = in.Get<uint8_t>();
  const auto unused = in.Get<uint8_t>();
  const auto path_bytes = in.Get<uint16_t>();
  const auto base_bytes = in.Get<uint16_t>();
  const absl::string_view names = AsText(payload.subspan(kDiskPayloadHead));
  if (unused != 0 || size_t{path_bytes} + base_bytes != names.size()) {
    return absl::DataLossError(absl::StrCat("names of ", path_bytes, " and ", base_bytes,
                                            " bytes in ", names.size(), " bytes"));
  }
  disk.path = std::string(names.substr(0, path_bytes));
  H2_RETURN_IF_ERROR(CheckPath(disk.path));
  if (base_bytes != 0) {
    disk.base_path = std::string(names.substr(path_bytes));
    H2_RETURN_IF_ERROR(CheckPath(*disk.base_path));
  }
  return disk;
}

std::array<std::byte, 72> EncodeEndPayload(const EndRecord& end, uint64_t hole_bytes) {
  std::array<std::byte, kEndPayloadBytes> payload;
  FieldWriter(payload).Put(end.chain).Put(end.attest).Put(hole_bytes);
  return payload;
}

EndPayload DecodeEndPayload(ConstByteSpan payload) {
  H2_ASSERT(payload.size() == kEndPayloadBytes);
  FieldReader in(payload);
  EndPayload out;
  out.end.chain = in.Get<Sha256Digest>();
  out.end.attest = in.Get<Sha256Digest>();
  out.hole_bytes = in.Get<uint64_t>();
  return out;
}

}  // namespace h2bd::stream
