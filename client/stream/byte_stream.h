// Where a stream goes and where it comes from: a pipe, a file, memory.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/bytes.h"

namespace h2bd::stream {

// Neither is thread-safe. Errors are the target's and the source's own and end the stream.

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual absl::Status Write(ConstByteSpan bytes) = 0;  // all of them
  // Nothing that was written waits in a buffer of this process any more.
  virtual absl::Status Flush() = 0;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // At least one byte and at most all of `into`; 0: the end. `into` is not empty.
  virtual absl::StatusOr<size_t> Read(ByteSpan into) = 0;
};

}  // namespace h2bd::stream
