#include "core/digest/attest_hash.h"

#include <algorithm>
#include <array>
#include <limits>

#include "core/base/status.h"

namespace h2bd {
namespace {

// The first byte of all that is hashed: no value of one kind is one of another.
enum class Tag : uint8_t { kBlock = 0, kNode = 1, kDisk = 2, kPfs = 3 };

constexpr uint64_t kSizeMax = uint64_t{1} << 63;
constexpr unsigned kHeightMax = 7;  // 128^7 blocks of 2^16 are 2^65 bytes

template <class Integer>
void AddInteger(Sha256& hash, Integer value) {
  std::array<std::byte, sizeof value> bytes;
  StoreAs(ByteSpan(bytes), value);
  hash.Add(bytes);
}

uint64_t BlocksBelow(unsigned level) {
  uint64_t blocks = 1;
  for (unsigned i = 0; i < level; ++i) blocks *= kAttestFanout;
  return blocks;
}

unsigned HeightOf(uint64_t size_bytes) {
  unsigned height = 0;
  while (BlocksBelow(height) < (size_bytes + kAttestBlockBytes - 1) / kAttestBlockBytes) ++height;
  return height;
}

void StartNode(Sha256& hash, unsigned level) {
  AddInteger(hash, Tag::kNode);
  AddInteger(hash, static_cast<uint8_t>(level));
}

// The value of a subtree of `level` that holds nothing but zeros.
const Sha256Digest& ZeroSubtree(unsigned level) {
  static const auto kValues = [] {
    std::array<Sha256Digest, kHeightMax + 1> values;
    values[0] = AttestBlock({});
    for (unsigned i = 1; i <= kHeightMax; ++i) {
      Sha256 hash;
      StartNode(hash, i);
      for (uint64_t child = 0; child < kAttestFanout; ++child) hash.Add(values[i - 1]);
      values[i] = hash.Finish();
    }
    return values;
  }();
  return kValues[level];
}

}  // namespace

Sha256Digest AttestBlock(ConstByteSpan bytes) {
  H2_ASSERT(bytes.size() <= kAttestBlockBytes);
  static const AlignedBuffer kZeros = AlignedBuffer::Zeroed(kAttestBlockBytes);
  Sha256 hash;
  AddInteger(hash, Tag::kBlock);
  hash.Add(bytes);
  hash.Add(kZeros.span().first(kAttestBlockBytes - bytes.size()));
  return hash.Finish();
}

AttestDisk::AttestDisk(uint64_t size_bytes)
    : size_bytes_(size_bytes), blocks_(BlocksBelow(HeightOf(size_bytes))) {
  H2_ASSERT(size_bytes <= kSizeMax);
  open_.resize(HeightOf(size_bytes));
}

void AttestDisk::Block(uint64_t offset, ConstByteSpan bytes) { Block(offset, AttestBlock(bytes)); }

void AttestDisk::Block(uint64_t offset, const Sha256Digest& value) {
  H2_ASSERT(offset % kAttestBlockBytes == 0 && offset < size_bytes_);
  SkipTo(offset / kAttestBlockBytes);
  Append(0, value);
}

Sha256Digest AttestDisk::Finish() {
  SkipTo(blocks_);
  Sha256 hash;
  AddInteger(hash, Tag::kDisk);
  AddInteger(hash, size_bytes_);
  AddInteger(hash, static_cast<uint8_t>(open_.size()));
  hash.Add(root_);
  return hash.Finish();
}

void AttestDisk::SkipTo(uint64_t block) {
  H2_ASSERT(next_ <= block);
  while (next_ < block) {
    unsigned level = 0;
    while (level < open_.size() && next_ % BlocksBelow(level + 1) == 0 &&
           BlocksBelow(level + 1) <= block - next_) {
      ++level;
    }
    Append(level, ZeroSubtree(level));
  }
}

void AttestDisk::Append(unsigned level, const Sha256Digest& value) {
  H2_ASSERT(next_ < blocks_);
  next_ += BlocksBelow(level);
  Sha256Digest below = value;
  for (; level < open_.size(); ++level) {
    Node& node = open_[level];
    if (node.children == 0) StartNode(node.hash, level + 1);
    node.hash.Add(below);
    if (++node.children < kAttestFanout) return;
    below = node.hash.Finish();
    node.children = 0;
  }
  root_ = below;
}

AttestPfs::AttestPfs() { AddInteger(hash_, Tag::kPfs); }

void AttestPfs::Add(absl::string_view path, uint8_t type, ConstByteSpan content) {
  H2_ASSERT(last_path_ < path);
  H2_ASSERT(std::max(path.size(), content.size()) <= std::numeric_limits<uint32_t>::max());
  last_path_ = std::string(path);
  AddInteger(hash_, static_cast<uint32_t>(path.size()));
  hash_.Add(AsBytes(path));
  AddInteger(hash_, type);
  AddInteger(hash_, static_cast<uint32_t>(content.size()));
  hash_.Add(content);
}

Sha256Digest AttestPfs::Finish() { return hash_.Finish(); }

}  // namespace h2bd
