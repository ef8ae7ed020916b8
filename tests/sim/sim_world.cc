#include "tests/sim/sim_world.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/media/check_code.h"
#include "core/media/constants.h"

namespace h2bd {
namespace {

bool IsHeader(ByteOff off, ConstByteSpan from) {
  return from.size() == kVolumeHeaderBytes && off.v % kVolumeHeaderSpacing == 0 &&
         off.v / kVolumeHeaderSpacing < kVolumeHeaderSlots;
}

}  // namespace

void Digest::Add(uint64_t value) {
  hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15;
  hash_ ^= hash_ >> 29;
}

void Digest::Add(absl::string_view text) {
  Add(text.size());
  Add(Xxhash64(AsBytes(text)));
}

void SimWorld::Tell(absl::string_view line) {
  digest_.Add(line);
  if (trace_) std::fprintf(stderr, "sim: %.*s\n", static_cast<int>(line.size()), line.data());
}

void SimWorld::Yield() {
  if (yielding_ || dead_ || !on_yield_) return;
  yielding_ = true;
  on_yield_();
  yielding_ = false;
}

void SimWorld::Preempt() {
  if (yielding_ || dead_ || !on_preempt_) return;
  on_preempt_();
}

void SimWorld::set_faults(const FaultRates& rates) {
  rates_ = rates;
  std::fill(std::begin(failures_to_come_), std::end(failures_to_come_), 0);
}

void SimWorld::NewServer() {
  set_faults({});
  calls_to_live_ = 0;
  dead_ = faulted_ = read_failed_ = false;
}

SimWorld::Fate SimWorld::FateOf(Call call) {
  if (dead_) return Fate::kNothing;
  if (calls_to_live_ != 0 && --calls_to_live_ == 0) {
    Tell("the server is killed");
    dead_ = faulted_ = true;
    return Fate::kNothing;
  }
  const auto kind = static_cast<size_t>(call);
  const uint32_t rate = std::array{rates_.reads, rates_.writes, rates_.headers, rates_.syncs}[kind];
  uint64_t& to_come = failures_to_come_[kind];
  if (to_come == 0 && OneIn(rate)) to_come = 1 + (OneIn(2) ? 0 : Pick(6));
  if (to_come == 0) return Fate::kDone;
  --to_come;
  faulted_ = true;
  read_failed_ |= call == Call::kRead;
  return static_cast<Fate>(1 + Pick(3));
}

void SimExecutor::RunAll(size_t n, absl::FunctionRef<void(size_t)> body) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[world_.Pick(i)]);
  for (const size_t i : order) {
    world_.Yield();
    body(i);
  }
}

void SimLogger::Write(LogSeverity, absl::string_view message,
                      std::initializer_list<LogField> fields) {
  if (message == kPreemption) {
    world_.Preempt();
    return;
  }
  std::string line = absl::StrCat("  log: ", message);
  for (const auto& [name, value] : fields) absl::StrAppend(&line, " ", name, "=", value);
  world_.Tell(line);
}

absl::Status LyingDevice::Outcome() {
  if (!std::exchange(fail_next_, false)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(name(), ": simulated fault"));
}

absl::Status LyingDevice::Write(ByteOff off, ConstByteSpan from) {
  H2_RETURN_IF_ERROR(inner_.Write(off, from));
  return Outcome();
}

absl::Status LyingDevice::Sync() {
  H2_RETURN_IF_ERROR(inner_.Sync());
  return Outcome();
}

absl::Status SimDevice::Failure(absl::string_view call) const {
  world_.Tell(absl::StrCat("  ", name(), ": ", call, " fails"));
  return absl::UnavailableError(absl::StrCat(name(), ": simulated fault in ", call));
}

absl::Status SimDevice::Read(ByteOff off, ByteSpan into) {
  if (world_.FateOf(SimWorld::Call::kRead) != SimWorld::Fate::kDone) return Failure("read");
  return inner_.Read(off, into);
}

absl::Status SimDevice::Write(ByteOff off, ConstByteSpan from) {
  world_.Yield();
  const SimWorld::Fate fate =
      world_.FateOf(IsHeader(off, from) ? SimWorld::Call::kHeader : SimWorld::Call::kWrite);
  world_.Tell(absl::StrCat("  ", name(), ": write ", from.size(), " bytes at ", off.v, ", code ",
                           Xxhash64(from), ", fate ", static_cast<int>(fate)));
  if (fate == SimWorld::Fate::kDone) return inner_.Write(off, from);
  const uint64_t part = RoundDown(from.size() / 2, sector_bytes());
  const uint64_t done = fate == SimWorld::Fate::kAll    ? from.size()
                        : fate == SimWorld::Fate::kPart ? part
                                                        : 0;
  if (done > 0) {
    below_.FailNext();
    inner_.Write(off, from.first(done)).IgnoreError();
  }
  return Failure("write");
}

absl::Status SimDevice::Sync() {
  world_.Yield();
  const SimWorld::Fate fate = world_.FateOf(SimWorld::Call::kSync);
  world_.Tell(absl::StrCat("  ", name(), ": barrier, fate ", static_cast<int>(fate)));
  if (fate == SimWorld::Fate::kDone) return inner_.Sync();
  if (!world_.dead()) {
    below_.FailNext();
    inner_.Sync().IgnoreError();
  }
  return Failure("barrier");
}

}  // namespace h2bd
