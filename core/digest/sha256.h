// SHA-256 (FIPS 180-4) of bytes that come in pieces.
#pragma once

#include <array>
#include <memory>

#include "core/base/bytes.h"

namespace h2bd {

using Sha256Digest = std::array<std::byte, 32>;

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Add(ConstByteSpan bytes);
  // Of all bytes since the start or since the last Finish.
  Sha256Digest Finish();

  static Sha256Digest Of(ConstByteSpan bytes);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace h2bd
