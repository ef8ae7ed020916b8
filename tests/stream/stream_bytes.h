// Streams in memory.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "client/stream/byte_stream.h"
#include "client/stream/decoder.h"
#include "client/stream/encoder.h"

namespace h2bd::stream {

class MemorySink final : public ByteSink {
 public:
  absl::Status Write(ConstByteSpan bytes) override;
  absl::Status Flush() override { return absl::OkStatus(); }
  std::string bytes;
};

// Gives `bytes` in pieces of at most `piece` bytes.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(absl::string_view bytes, size_t piece = SIZE_MAX)
      : left_(bytes), piece_(piece) {}
  absl::StatusOr<size_t> Read(ByteSpan into) override;
  size_t left() const { return left_.size(); }

 private:
  absl::string_view left_;
  size_t piece_;
};

Uuid TestUuid(uint8_t first);
// `size` bytes that do not compress, or hardly a hundred different ones.
std::string RandomBytes(uint64_t seed, size_t size);
std::string TextBytes(uint64_t seed, size_t size);

// A record as text, for comparing and printing: "DATA 1 +65536 5:9f3c…".
std::string Describe(const Record& record);

// What came of reading a stream to its end or its first error.
struct ReadBack {
  absl::Status status;  // OK: up to the END
  Prelude prelude;
  std::vector<std::string> records;  // checkpoints left out
  std::vector<Position> checkpoints;
  std::vector<size_t> before_checkpoint;  // [i]: records before checkpoints[i]
};
ReadBack ReadAll(ByteSource& source);
ReadBack ReadAll(absl::string_view bytes);

// Makes the CRCs, the XXH64s, the sequence numbers and the chain of a stream right again after its
// bytes were changed, as far as its lengths lead.
void Reseal(std::string& bytes);

}  // namespace h2bd::stream
