// One value for everything that a reader sees of a disk or of a PFS, equal on two volumes with
// equal contents however they are stored. README.md of this folder says how it is made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/digest/sha256.h"

namespace h2bd {

inline constexpr uint64_t kAttestBlockBytes = 65536;
inline constexpr uint64_t kAttestFanout = 128;

// Of one block. `bytes`: at most kAttestBlockBytes; what is missing counts as zeros. Safe from any
// thread: the blocks of a disk may be hashed at the same time.
Sha256Digest AttestBlock(ConstByteSpan bytes);

// Of a disk whose blocks come in ascending order; blocks that do not come are zeros. A jump costs
// O(log), not O(distance). Memory: one hash state for each of at most 7 levels. Not thread-safe.
class AttestDisk {
 public:
  // At most 2^63 bytes, the format's limit.
  explicit AttestDisk(uint64_t size_bytes);

  // The block at `offset`, a multiple of kAttestBlockBytes below the size and above those before.
  // What lies behind the size must be zeros, or missing.
  void Block(uint64_t offset, ConstByteSpan bytes);
  // The same for a block of which AttestBlock gave `value`.
  void Block(uint64_t offset, const Sha256Digest& value);

  // Once, after the last block.
  Sha256Digest Finish();

 private:
  struct Node {  // the one of its level that has some of its children
    Sha256 hash;
    uint64_t children = 0;
  };
  void SkipTo(uint64_t block);
  // Appends a whole subtree of `level`.
  void Append(unsigned level, const Sha256Digest& value);

  const uint64_t size_bytes_;
  const uint64_t blocks_;   // 128^height
  uint64_t next_ = 0;       // number of the next block
  std::vector<Node> open_;  // [i]: of level i + 1
  Sha256Digest root_{};     // when next_ is blocks_
};

// Of a PFS whose entries come in ascending order of their paths' bytes, each path once.
class AttestPfs {
 public:
  AttestPfs();
  // `path` without a leading '/', `type` the media's object type (spec 01 §7), `content` as
  // README.md says. Both at most 2^32 - 1 bytes.
  void Add(absl::string_view path, uint8_t type, ConstByteSpan content);
  Sha256Digest Finish();  // once

 private:
  Sha256 hash_;
  std::string last_path_;
};

}  // namespace h2bd
