// Writes a stream: numbers, checks and chains its records, and puts checkpoints between them.
#pragma once

#include <cstdint>
#include <vector>

#include "client/stream/byte_stream.h"
#include "client/stream/format.h"
#include "core/digest/sha256.h"

namespace h2bd::stream {

struct EncoderOptions {
  bool compress = true;  // LZ4, block by block, where that makes it smaller
  // A checkpoint after so many bytes of records: what a cut costs at most.
  uint64_t checkpoint_bytes = 64 * kMiB;
};

// Not thread-safe. A record that may not stand where it is put is a bug of the caller, who has the
// order from a snapshot. Errors are those of `sink`; nothing may be written after one.
class Encoder {
 public:
  // Goes on at `start`: StartOf(identity), or what a checkpoint's token says. `sink` must outlive
  // it.
  Encoder(ByteSink& sink, const Prelude& start, const EncoderOptions& options = {});

  absl::Status Begin();                       // once, before all others
  absl::Status Disk(const DiskRecord& disk);  // `number` is the next one
  absl::Status Data(uint64_t offset, ConstByteSpan bytes);
  absl::Status Hole(uint64_t offset, uint64_t bytes);
  absl::Status Remove(absl::string_view base_path);
  absl::Status End(const Sha256Digest& attest);  // once, after all others

  const Position& position() const { return position_; }
  uint64_t sent_bytes() const { return sent_bytes_; }  // everything that went to the sink

 private:
  absl::Status Put(RecordHeader header, ConstByteSpan payload);
  absl::Status CheckpointWhenDue();

  ByteSink& sink_;
  const Identity identity_;
  const EncoderOptions options_;
  Position position_;
  Sha256 link_;  // of the records since the last checkpoint, led by its chain
  uint64_t since_checkpoint_ = 0;
  uint64_t sent_bytes_ = 0;
  std::vector<std::byte> compressed_;
};

}  // namespace h2bd::stream
