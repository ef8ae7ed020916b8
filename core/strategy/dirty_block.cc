#include "core/strategy/dirty_block.h"

#include <algorithm>

#include "core/base/status.h"

namespace h2bd {

void DirtyBlock::Write(uint32_t at, ConstByteSpan bytes) {
  H2_ASSERT(at + bytes.size() <= kLogicalBytes);
  if (bytes.empty()) return;
  if (whole_ != nullptr) {
    if (whole_.use_count() > 1) {
      whole_ = std::make_shared<AlignedBuffer>(AlignedBuffer::CopyOf(whole_->span()));
    }
    std::memcpy(whole_->data() + at, bytes.data(), bytes.size());
    return;
  }
  valid_.Add(at, at + bytes.size());
  while (!bytes.empty()) {
    std::unique_ptr<Page>& page = pages_[at / kPageBytes];
    if (page == nullptr) page = std::make_unique_for_overwrite<Page>();
    const uint32_t in_page = at % kPageBytes;
    const size_t n = std::min<size_t>(bytes.size(), kPageBytes - in_page);
    std::memcpy(page->bytes.data() + in_page, bytes.data(), n);
    bytes = bytes.subspan(n);
    at += static_cast<uint32_t>(n);
  }
}

void DirtyBlock::WriteZeros(uint32_t begin, uint32_t end) {
  static constexpr std::array<std::byte, kPageBytes> kZeros{};
  while (begin < end) {
    const uint32_t n = std::min<uint32_t>(end - begin, kPageBytes);
    Write(begin, ConstByteSpan(kZeros).first(n));
    begin += n;
  }
}

void DirtyBlock::WriteWhole(AlignedBuffer bytes) {
  H2_ASSERT(bytes.size() == kLogicalBytes);
  for (std::unique_ptr<Page>& page : pages_) page.reset();
  valid_.Clear();
  whole_ = std::make_shared<AlignedBuffer>(std::move(bytes));
}

bool DirtyBlock::Defines(uint32_t begin, uint32_t end) const {
  return over_zeros_ || whole_ != nullptr || valid_.Covers(begin, end);
}

std::vector<std::pair<uint64_t, uint64_t>> DirtyBlock::Missing(uint32_t begin, uint32_t end) const {
  if (over_zeros_ || whole_ != nullptr) return {};
  return valid_.Gaps(begin, end);
}

void DirtyBlock::CopyOver(uint32_t begin, ByteSpan into) const {
  if (whole_ != nullptr) {
    std::memcpy(into.data(), whole_->data() + begin, into.size());
    return;
  }
  if (over_zeros_) std::memset(into.data(), 0, into.size());
  for (const auto& [first, last] : valid_.Within(begin, begin + into.size())) {
    for (uint64_t at = first; at < last;) {
      const uint64_t in_page = at % kPageBytes;
      const uint64_t n = std::min(last - at, kPageBytes - in_page);
      std::memcpy(into.data() + (at - begin), pages_[at / kPageBytes]->bytes.data() + in_page, n);
      at += n;
    }
  }
}

bool DirtyBlock::AllZero() const {
  if (whole_ != nullptr) return IsAllZero(whole_->span());
  if (!Defines(0, kLogicalBytes)) return false;
  for (const auto& [first, last] : valid_.intervals()) {
    for (uint64_t at = first; at < last;) {
      const uint64_t in_page = at % kPageBytes;
      const uint64_t n = std::min(last - at, kPageBytes - in_page);
      if (!IsAllZero(ConstByteSpan(pages_[at / kPageBytes]->bytes).subspan(in_page, n))) {
        return false;
      }
      at += n;
    }
  }
  return true;
}

void DirtyBlock::Absorb(const DirtyBlock& newer) {
  if (newer.whole_ != nullptr) {
    WriteWhole(AlignedBuffer::CopyOf(newer.whole_->span()));
    over_zeros_ = newer.over_zeros_;
    return;
  }
  if (newer.over_zeros_) *this = DirtyBlock(/*over_zeros=*/true);
  for (const auto& [first, last] : newer.valid_.intervals()) {
    for (uint64_t at = first; at < last;) {
      const uint64_t in_page = at % kPageBytes;
      const uint64_t n = std::min(last - at, kPageBytes - in_page);
      Write(static_cast<uint32_t>(at),
            ConstByteSpan(newer.pages_[at / kPageBytes]->bytes).subspan(in_page, n));
      at += n;
    }
  }
}

uint64_t DirtyBlock::memory_bytes() const {
  // The object, its hash and tree nodes and one interval, rounded up.
  static constexpr uint64_t kOverhead = 512;
  if (whole_ != nullptr) return kOverhead + kLogicalBytes;
  const auto pages = std::count_if(pages_.begin(), pages_.end(),
                                   [](const std::unique_ptr<Page>& p) { return p != nullptr; });
  return kOverhead + static_cast<uint64_t>(pages) * kPageBytes;
}

}  // namespace h2bd
