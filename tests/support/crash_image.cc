#include "tests/support/crash_image.h"

#include <algorithm>
#include <utility>

namespace h2bd {
namespace {

constexpr uint64_t kSector = 512;  // the unit that a device writes as a whole

void ApplyWhole(SparseImage& image, const IoEvent& write) {
  image.Write(write.off, write.bytes->span());
}

// Runs of neighbouring sectors that are kept go in together.
template <class Keep>
void ApplySectors(SparseImage& image, const IoEvent& write, Keep& keep) {
  const ConstByteSpan bytes = write.bytes->span();
  for (uint64_t at = 0; at < bytes.size();) {
    uint64_t end = at;
    while (end < bytes.size() && keep()) end = std::min<uint64_t>(end + kSector, bytes.size());
    if (end > at) image.Write(write.off + at, bytes.subspan(at, end - at));
    at = end + kSector;  // the sector that ended the run was lost
  }
}

// A coin that costs one bit of randomness.
class Coin {
 public:
  explicit Coin(SeededRandom& rng) : rng_(rng) {}
  bool operator()() {
    if (left_ == 0) {
      bits_ = rng_.Next64();
      left_ = 64;
    }
    return (bits_ >> --left_ & 1) != 0;
  }

 private:
  SeededRandom& rng_;
  uint64_t bits_ = 0;
  int left_ = 0;
};

bool Covers(const IoEvent& write, const IoEvent& other) {
  return write.device == other.device && write.off <= other.off &&
         other.off + other.bytes->size() <= write.off + write.bytes->size();
}

void Shuffle(std::vector<const IoEvent*>& writes, SeededRandom& rng) {
  for (size_t i = writes.size(); i > 1; --i) std::swap(writes[i - 1], writes[rng.Next64() % i]);
}

}  // namespace

size_t IoLog::size() const {
  absl::MutexLock lock(&mu_);
  return events_.size();
}

std::vector<IoEvent> IoLog::events() const {
  absl::MutexLock lock(&mu_);
  return events_;
}

uint64_t IoLog::Tick() {
  absl::MutexLock lock(&mu_);
  return ++now_;
}

size_t IoLog::Append(IoEvent event) {
  absl::MutexLock lock(&mu_);
  events_.push_back(std::move(event));
  return events_.size() - 1;
}

void IoLog::Ended(size_t write) {
  absl::MutexLock lock(&mu_);
  events_[write].ended = ++now_;
}

void IoLog::SyncFailed(int device, uint64_t began) {
  absl::MutexLock lock(&mu_);
  ++now_;
  for (IoEvent& event : events_) {
    const bool covered =
        event.kind == IoEvent::kWrite && event.device == device && event.ended < began;
    if (covered) event.doubted = std::min(event.doubted, now_);
  }
}

void IoLog::ServerRestarted() {
  absl::MutexLock lock(&mu_);
  ++now_;
  for (IoEvent& event : events_) {
    if (event.kind != IoEvent::kWrite) continue;
    event.ended = std::min(event.ended, now_);
    if (event.doubted != UINT64_MAX) event.trusted = std::min(event.trusted, now_);
  }
}

absl::Status RecordingDevice::Write(ByteOff off, ConstByteSpan from) {
  IoEvent event{.kind = IoEvent::kWrite, .device = device_, .off = off.v};
  event.bytes = std::make_shared<const AlignedBuffer>(AlignedBuffer::CopyOf(from));
  const size_t at = log_.Append(std::move(event));
  H2_RETURN_IF_ERROR(inner_.Write(off, from));
  log_.Ended(at);
  return absl::OkStatus();
}

absl::Status RecordingDevice::Sync() {
  IoEvent event{.kind = IoEvent::kSync, .device = device_};
  event.began = log_.Tick();
  const absl::Status status = inner_.Sync();
  if (status.ok()) {
    log_.Append(std::move(event));
  } else {
    log_.SyncFailed(device_, event.began);
  }
  return status;
}

CrashStates::CrashStates(std::vector<SparseImage> bases, std::span<const IoEvent> log)
    : durable_(std::move(bases)), log_(log) {}

void CrashStates::AdvanceTo(size_t cut) {
  H2_ASSERT(cut >= cut_ && cut <= log_.size());
  for (; cut_ < cut; ++cut_) {
    const IoEvent& event = log_[cut_];
    if (event.kind == IoEvent::kWrite) {
      pending_.push_back(&event);
    } else {
      Settle(event);
    }
  }
}

void CrashStates::Settle(const IoEvent& sync) {
  const auto settled = [&](const IoEvent* write) {
    return write != nullptr && write->device == sync.device && write->ended < sync.began &&
           (sync.began <= write->doubted || write->trusted < sync.began);
  };
  for (size_t i = 0; i < pending_.size(); ++i) {
    if (!settled(pending_[i])) continue;
    const IoEvent& write = *pending_[i];
    ApplyWhole(durable_[static_cast<size_t>(write.device)], write);
    // What stood undecided in its place is decided now.
    for (size_t older = 0; older < i; ++older) {
      if (pending_[older] != nullptr && Covers(write, *pending_[older])) pending_[older] = nullptr;
    }
    pending_[i] = nullptr;
  }
  std::erase(pending_, nullptr);
}

std::vector<SparseImage> CrashStates::Draw(SeededRandom& rng, CrashStyle style) const {
  if (style == CrashStyle::kAny) {
    style = static_cast<CrashStyle>(rng.Next64() % static_cast<uint64_t>(CrashStyle::kAny));
  }
  std::vector<SparseImage> images = durable_;
  std::vector<const IoEvent*> writes = pending_;
  if (style == CrashStyle::kWhole || style == CrashStyle::kSectors) Shuffle(writes, rng);
  Coin coin(rng);
  const size_t torn = writes.empty() ? 0 : rng.Next64() % writes.size();
  for (size_t i = 0; i < writes.size(); ++i) {
    SparseImage& image = images[static_cast<size_t>(writes[i]->device)];
    switch (style) {
      case CrashStyle::kNone:
      case CrashStyle::kAny:
        break;
      case CrashStyle::kAll:
        ApplyWhole(image, *writes[i]);
        break;
      case CrashStyle::kWhole:
        if (coin()) ApplyWhole(image, *writes[i]);
        break;
      case CrashStyle::kSectors:
        ApplySectors(image, *writes[i], coin);
        break;
      case CrashStyle::kPrefix:
        if (i < torn) ApplyWhole(image, *writes[i]);
        if (i == torn) ApplySectors(image, *writes[i], coin);
        break;
    }
  }
  return images;
}

SparseImage CrashImage(const SparseImage& base, std::span<const IoEvent> log, size_t cut,
                       SeededRandom& rng) {
  CrashStates states({base}, log);
  states.AdvanceTo(cut);
  return std::move(states.Draw(rng).front());
}

}  // namespace h2bd
