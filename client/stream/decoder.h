// Reads a stream: gives a record only when all of it has been verified.
#pragma once

#include <cstdint>
#include <vector>

#include "client/stream/byte_stream.h"
#include "client/stream/format.h"
#include "core/digest/sha256.h"

namespace h2bd::stream {

// Reason with kUnavailable: the stream ended before its END. It can go on at the last checkpoint.
inline constexpr char kReasonStreamCut[] = "STREAM_CUT";

// Not thread-safe. Memory: one block and its compressed form. Errors: kDataLoss for damage and for
// records that make no sense where they stand, with the number of the record; kUnavailable with
// kReasonStreamCut; kFailedPrecondition for another version; those of `source`. After an error
// every call gives it again.
class Decoder {
 public:
  explicit Decoder(ByteSource& source);  // which must outlive it

  absl::StatusOr<Prelude> Begin();  // once, before all Next
  // Reads up to the end of the record and not beyond. Spans in it are good until the next call.
  // After an END there is nothing more: calling again is a bug.
  absl::StatusOr<Record> Next();

  // Behind the last record that was given.
  const Position& position() const { return position_; }

 private:
  absl::Status Fill(ByteSpan into);
  absl::StatusOr<Record> ReadRecord();
  absl::StatusOr<Record> Interpret(const RecordHeader& header, ConstByteSpan payload);
  absl::StatusOr<Record> Disk(const RecordHeader& header, ConstByteSpan payload);
  absl::StatusOr<Record> Data(const RecordHeader& header, ConstByteSpan payload);
  absl::StatusOr<Record> Checkpoint(const RecordHeader& header, ConstByteSpan payload);
  absl::StatusOr<Record> End(const RecordHeader& header, ConstByteSpan payload);

  ByteSource& source_;
  Identity identity_;
  Position position_;
  Sha256 link_;  // as in Encoder
  absl::Status error_;
  bool ended_ = false;
  std::vector<std::byte> payload_;
  std::vector<std::byte> block_;  // decompressed
};

}  // namespace h2bd::stream
