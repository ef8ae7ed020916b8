#include "tests/stream/stream_bytes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/random.h"
#include "core/base/status.h"
#include "core/digest/checksum.h"

namespace h2bd::stream {

absl::Status MemorySink::Write(ConstByteSpan more) {
  absl::StrAppend(&bytes, AsText(more));
  return absl::OkStatus();
}

absl::StatusOr<size_t> MemorySource::Read(ByteSpan into) {
  const size_t count = std::min({into.size(), left_.size(), piece_});
  std::copy_n(AsBytes(left_).begin(), count, into.begin());
  left_.remove_prefix(count);
  return count;
}

Uuid TestUuid(uint8_t first) {
  Uuid uuid{};
  uuid[0] = std::byte{first};
  uuid[15] = std::byte{0x5a};
  return uuid;
}

std::string RandomBytes(uint64_t seed, size_t size) {
  std::string bytes(size, '\0');
  SeededRandom(seed).Fill(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

std::string TextBytes(uint64_t seed, size_t size) {
  const std::string word = RandomBytes(seed, 100);
  std::string bytes;
  while (bytes.size() < size) bytes += word;
  bytes.resize(size);
  return bytes;
}

std::string Describe(const Record& record) {
  struct Printer {
    std::string operator()(const DiskRecord& r) const {
      return absl::StrFormat("DISK %d %s=%s size %d settings %d/%d/%d", r.number, r.path,
                             r.base_path.value_or("(new)"), r.size_bytes, r.settings.compression,
                             r.settings.level, r.settings.check);
    }
    std::string operator()(const DataRecord& r) const {
      return absl::StrFormat("DATA %d +%d %d:%x", r.disk, r.offset, r.bytes.size(), Xxh64(r.bytes));
    }
    std::string operator()(const HoleRecord& r) const {
      return absl::StrFormat("HOLE %d +%d %d", r.disk, r.offset, r.bytes);
    }
    std::string operator()(const RemoveRecord& r) const {
      return absl::StrFormat("REMOVE %d %s", r.number, r.base_path);
    }
    std::string operator()(const CheckpointRecord&) const { return "CHECKPOINT"; }
    std::string operator()(const EndRecord& r) const {
      return absl::StrFormat("END %x", Xxh64(r.attest));
    }
  };
  return std::visit(Printer{}, record);
}

ReadBack ReadAll(ByteSource& source) {
  ReadBack read;
  Decoder decoder(source);
  absl::StatusOr<Prelude> prelude = decoder.Begin();
  if (!prelude.ok()) {
    read.status = prelude.status();
    return read;
  }
  read.prelude = *prelude;
  while (true) {
    const absl::StatusOr<Record> record = decoder.Next();
    if (!record.ok()) {
      read.status = record.status();
      return read;
    }
    if (const auto* checkpoint = std::get_if<CheckpointRecord>(&*record)) {
      read.checkpoints.push_back(checkpoint->position);
      read.before_checkpoint.push_back(read.records.size());
      continue;
    }
    read.records.push_back(Describe(*record));
    if (std::holds_alternative<EndRecord>(*record)) return read;
  }
}

ReadBack ReadAll(absl::string_view bytes) {
  MemorySource source(bytes);
  return ReadAll(source);
}

void Reseal(std::string& bytes) {
  const ByteSpan all = std::as_writable_bytes(std::span(bytes));
  if (all.size() < kPreludeBytes) return;
  const size_t crc_at = kPreludeBytes - sizeof(uint32_t);
  StoreAs(all, Crc32c(all.first(crc_at)), crc_at);
  const auto stream = LoadAs<Uuid>(all, 16);
  auto sequence = LoadAs<uint64_t>(all, 96);
  Sha256 link;
  link.Add(LoadAs<Sha256Digest>(all, 144));
  for (ByteSpan rest = all.subspan(kPreludeBytes); rest.size() >= kHeaderBytes;) {
    const auto type = LoadAs<RecordType>(rest);
    const auto length = LoadAs<uint32_t>(rest, 4);
    if (length > rest.size() - kHeaderBytes) return;
    const ByteSpan payload = rest.subspan(kHeaderBytes, length);
    const bool carries_chain = !IsChained(type) && length >= sizeof(Sha256Digest);
    if (carries_chain) {
      const Sha256Digest chain = link.Finish();
      StoreAs(payload, chain);
      link.Add(chain);
    }
    StoreAs(rest, sequence++, 8);
    StoreAs(rest, Xxh64(payload), 40);
    const size_t covered = kHeaderBytes - sizeof(uint32_t);
    StoreAs(rest, Crc32c(rest.first(covered), Crc32c(stream)), covered);
    if (!carries_chain) link.Add(rest.first(kHeaderBytes + length));
    rest = rest.subspan(kHeaderBytes + length);
  }
}

}  // namespace h2bd::stream
