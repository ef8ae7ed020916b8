// Turns a snapshot, or a difference of two, into a stream.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/stream/byte_stream.h"
#include "client/stream/encoder.h"
#include "client/stream/source_volume.h"

namespace h2bd::stream {

struct SendProgress {
  uint64_t disks = 0;       // all that are to be sent
  uint64_t disk = 0;        // number of the present one
  uint64_t data_bytes = 0;  // of all parts of the stream, before compression
  uint64_t hole_bytes = 0;
  uint64_t sent_bytes = 0;  // that went out, of this part
};

// Asked after each block, hole and disk. May wait, to keep to a rate; an error ends the sending.
class SendObserver {
 public:
  virtual ~SendObserver() = default;
  virtual absl::Status Sent(const SendProgress& progress) = 0;
};

struct SendOptions {
  EncoderOptions encoding;
  Uuid stream{};                  // a new one; not used with `resume`
  std::optional<Prelude> resume;  // a token: where the stream goes on
  SendObserver* observer = nullptr;
};

// Sends all of `source`. kFailedPrecondition when the token is of other snapshots; kInternal when
// `source` gives ranges that make no sense; the errors of `source`, `sink` and the observer. What
// went out before an error is a good stream that was cut.
absl::StatusOr<SendProgress> Send(SourceVolume& source, ByteSink& sink, const SendOptions& options);

}  // namespace h2bd::stream
