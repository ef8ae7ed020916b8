// Any bytes are a stream or are refused: the decoder neither crashes nor gives out what a disk
// cannot take.
#include <algorithm>

#include "client/stream/decoder.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/stream/stream_bytes.h"

namespace h2bd {
namespace {

// What a receiver relies on.
void CheckRecord(const stream::Record& record, uint64_t disk_bytes, uint64_t* end) {
  const auto check_range = [&](uint64_t offset, uint64_t bytes) {
    H2_ASSERT(offset % stream::kBlockBytes == 0 && offset >= *end && bytes > 0);
    H2_ASSERT(offset < disk_bytes && bytes <= disk_bytes - offset);
    *end = offset + bytes;
  };
  if (const auto* data = std::get_if<stream::DataRecord>(&record)) {
    H2_ASSERT(data->bytes.size() <= stream::kBlockBytes);
    check_range(data->offset, data->bytes.size());
  }
  if (const auto* hole = std::get_if<stream::HoleRecord>(&record)) {
    check_range(hole->offset, hole->bytes);
  }
  if (const auto* disk = std::get_if<stream::DiskRecord>(&record)) {
    H2_ASSERT(stream::CheckPath(disk->path).ok() && disk->size_bytes == disk_bytes);
    *end = 0;
  }
}

void Run(const StreamHead& head, ConstByteSpan body) {
  std::string bytes(AsText(body));
  if (head.seal % 2 == 1) stream::Reseal(bytes);
  stream::MemorySource source(bytes, size_t{1} + head.piece);
  stream::Decoder decoder(source);
  const absl::StatusOr<stream::Prelude> prelude = decoder.Begin();
  if (!prelude.ok()) return;
  H2_ASSERT(*stream::ParseToken(stream::TokenOf(*prelude)) == *prelude);
  uint64_t end = prelude->position.offset;
  while (true) {
    const absl::StatusOr<stream::Record> record = decoder.Next();
    if (!record.ok()) {
      H2_ASSERT(absl::IsDataLoss(record.status()) || absl::IsUnavailable(record.status()));
      return;
    }
    CheckRecord(*record, decoder.position().disk_bytes, &end);
    if (std::holds_alternative<stream::EndRecord>(*record)) return;
  }
}

}  // namespace
}  // namespace h2bd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = h2bd::SplitInput<h2bd::StreamHead>(data, size);
  if (input.has_value()) h2bd::Run(input->first, input->second);
  return 0;
}
