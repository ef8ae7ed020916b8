#include "core/dio/dio.h"

#include <bit>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/dio/frame.h"
#include "core/dio/frame_table.h"
#include "core/media/constants.h"

namespace h2bd {
namespace {

// Frames that go to the device in one batch: enough to keep its queue full, few enough for a short
// Drain.
constexpr size_t kBatchFrames = 128;

bool LiesInOneFrame(DataOff at) {
  const unsigned radix = at.radix();
  return radix >= kRadixMin && radix <= kRadixMax && at.end().v <= at.buffer().v + kPbufBytes;
}

}  // namespace

// The life of a frame: clean and idle in the table -> dirty, with a ticket, in the queue ->
// writing, its dirty units in flight and frozen -> written, suspect until Confirm, or back in the
// queue when blocks arrived meanwhile -> clean again. Each step but the first holds a pin, so all
// that no barrier has covered can be read, merged with and written again from memory.
//
// Partial frames wait in the queue until something is gained by writing them: more blocks of the
// same frame usually follow at once, and each early write would be repeated.
struct Dio::Impl {
  Impl(DeviceSet& device_set, DioOptions dio_options, Logger& log, Metrics& counters)
      : devices(device_set),
        options(dio_options),
        logger(log),
        metrics(counters),
        table(dio_options.cached_buffers),
        queue(counters.queued_bytes) {
    for (size_t i = 0; i < options.writer_threads; ++i) {
      writers.emplace_back([this, i] {
        NameThisThread(absl::StrCat("h2bd-dio", i));
        WriteUntilStopped();
      });
    }
  }

  ~Impl() {
    {
      absl::MutexLock lock(&mu);
      stopping = true;
    }
    for (std::thread& writer : writers) writer.join();
  }

  absl::StatusOr<AlignedBuffer> Read(DataOff at) ABSL_LOCKS_EXCLUDED(mu);
  absl::Status Write(DataOff at, SharedBytes block, bool fresh_units) ABSL_LOCKS_EXCLUDED(mu);
  absl::Status Drain() ABSL_LOCKS_EXCLUDED(mu);

  // Reads `missing` of the media into the frame, without its lock: a writer of other blocks in it
  // never waits for the device (F-301). One thread fetches, the others wait for it.
  absl::Status Fetch(Frame& frame, UnitMask missing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(frame.mu);
  absl::StatusOr<UnitMask> ReadUnits(uint64_t base, UnitMask missing, ByteSpan into);
  absl::Status ReadDevice(uint64_t off, ByteSpan into);
  absl::Status AwaitRoom() ABSL_LOCKS_EXCLUDED(mu);
  void Enqueue(Frame& frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(frame.mu) ABSL_LOCKS_EXCLUDED(mu);

  void WriteUntilStopped() ABSL_LOCKS_EXCLUDED(mu);
  // Writes one batch; false when there was nothing to write.
  bool WriteSome() ABSL_LOCKS_EXCLUDED(mu);
  void Land(Frame& frame, uint64_t ticket, UnitMask units, const absl::Status& outcome)
      ABSL_LOCKS_EXCLUDED(mu);
  void Confirm() ABSL_LOCKS_EXCLUDED(mu);
  void WriteAgain() ABSL_LOCKS_EXCLUDED(mu);
  std::vector<Frame*> TakeUnconfirmed() ABSL_LOCKS_EXCLUDED(mu);
  void CountWrite(uint64_t base, const FrameContent::Flight& flight);

  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return !failure.ok() || options.writer_threads == 0 || queue.bytes() == 0 ||
           queue.bytes() < options.queue_limit_bytes;
  }
  // Whether partial frames must go out, too.
  bool IsUrgent() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return drains > 0 || !failure.ok() || queue.bytes() * 2 >= options.queue_limit_bytes;
  }
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return queue.has_complete() || (IsUrgent() && !queue.empty());
  }
  // What a drainer writes at once by itself is not worth waking a writer for.
  bool IsShortDrain() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return drains > 0 && queue.bytes() <= kBatchFrames * kPbufBytes;
  }
  bool HasWorkOrStops() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return stopping || (HasWork() && !IsShortDrain());
  }

  DeviceSet& devices;
  const DioOptions options;
  Logger& logger;
  Metrics& metrics;

  absl::Mutex mu;  // taken after a frame's
  FrameTable table ABSL_GUARDED_BY(mu);
  WriteQueue queue ABSL_GUARDED_BY(mu);
  std::vector<Frame*> unconfirmed ABSL_GUARDED_BY(mu);  // pinned, each once
  absl::Status failure ABSL_GUARDED_BY(mu);             // of the first write that failed; sticky
  int drains ABSL_GUARDED_BY(mu) = 0;                   // that wait now
  bool stopping ABSL_GUARDED_BY(mu) = false;
  std::vector<std::thread> writers;
};

namespace {

// A frame that stays where it is for one scope. Declare it before the lock of the frame: dropping
// the last pin may free the frame.
template <class Impl>
class PinnedFrame {
 public:
  // The frame at `base`, made where there is none if `make`.
  PinnedFrame(Impl& impl, uint64_t base, bool make) : impl_(impl) {
    absl::MutexLock lock(&impl_.mu);
    frame_ = make ? &impl_.table.FindOrMake(base) : impl_.table.Find(base);
  }
  ~PinnedFrame() {
    if (frame_ == nullptr) return;
    absl::MutexLock lock(&impl_.mu);
    impl_.table.Unpin(*frame_);
  }
  PinnedFrame(const PinnedFrame&) = delete;
  PinnedFrame& operator=(const PinnedFrame&) = delete;
  Frame* get() const { return frame_; }

 private:
  Impl& impl_;
  Frame* frame_ = nullptr;
};

}  // namespace

absl::StatusOr<AlignedBuffer> Dio::Impl::Read(DataOff at) {
  if (!LiesInOneFrame(at)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "data_off %#x: radix %d, legal 10..16 within one 64 KiB buffer", at.raw, at.radix()));
  }
  AlignedBuffer block(at.bytes());
  // A whole block that is not on its way out is read past the table: the cache above keeps it
  // decoded.
  const PinnedFrame pinned(*this, at.buffer().v, /*make=*/at.bytes() < kPbufBytes);
  if (pinned.get() == nullptr) {
    H2_RETURN_IF_ERROR(ReadDevice(at.offset().v, block.span()));
    return block;
  }
  Frame& frame = *pinned.get();
  const uint64_t off = at.offset().v - frame.base;
  absl::MutexLock lock(&frame.mu);
  if (frame.content.MissingForRead(off, at.bytes()) == 0) metrics.buffer_hits.Add();
  for (;;) {
    const UnitMask missing = frame.content.MissingForRead(off, at.bytes());
    if (missing == 0) break;
    H2_RETURN_IF_ERROR(Fetch(frame, missing));
  }
  frame.content.CopyOut(off, block.span());
  return block;
}

absl::Status Dio::Impl::Write(DataOff at, SharedBytes block, bool fresh_units) {
  H2_ASSERT(LiesInOneFrame(at) && block != nullptr && block->size() == at.bytes());
  H2_RETURN_IF_ERROR(AwaitRoom());
  const PinnedFrame pinned(*this, at.buffer().v, /*make=*/true);
  Frame& frame = *pinned.get();
  const uint64_t off = at.offset().v - frame.base;
  absl::MutexLock lock(&frame.mu);
  if (at.bytes() == kPbufBytes) {
    frame.content.PutWhole(std::move(block));
  } else {
    for (;;) {
      const UnitMask missing = frame.content.MissingForWrite(off, at.bytes());
      if (missing == 0) break;
      // A block of these units that came before is still here: what is not known is empty.
      if (fresh_units) {
        frame.content.LearnEmpty(missing);
      } else {
        H2_RETURN_IF_ERROR(Fetch(frame, missing));
      }
    }
    frame.content.Put(off, block->span());
  }
  Enqueue(frame);
  return absl::OkStatus();
}

absl::Status Dio::Impl::ReadDevice(uint64_t off, ByteSpan into) {
  metrics.reads.Add();
  metrics.read_bytes.Add(into.size());
  return devices.Read(ByteOff(off), into);
}

absl::Status Dio::Impl::Fetch(Frame& frame, UnitMask missing) {
  if (frame.fetching) {
    frame.mu.Await(absl::Condition(
        +[](Frame* f) ABSL_EXCLUSIVE_LOCKS_REQUIRED(f->mu) { return !f->fetching; }, &frame));
    return absl::OkStatus();  // the caller looks again at what is missing
  }
  frame.fetching = true;
  frame.mu.Unlock();
  AlignedBuffer media(kPbufBytes);
  const absl::StatusOr<UnitMask> read = ReadUnits(frame.base, missing, media.span());
  frame.mu.Lock();
  frame.fetching = false;
  H2_RETURN_IF_ERROR(read.status());
  frame.content.Learn(media.span(), *read);  // not over what was written meanwhile
  return absl::OkStatus();
}

absl::StatusOr<UnitMask> Dio::Impl::ReadUnits(uint64_t base, UnitMask missing, ByteSpan into) {
  if (ReadDevice(base, into).ok()) return kAllUnits;
  // A bad sector elsewhere in the frame must not take the neighbours with it.
  for (unsigned i = 0; i < kUnitsPerFrame; ++i) {
    if ((missing >> i & 1) == 0) continue;
    H2_RETURN_IF_ERROR(ReadDevice(base + i * kUnitBytes, into.subspan(i * kUnitBytes, kUnitBytes)));
  }
  return missing;
}

absl::Status Dio::Impl::AwaitRoom() {
  absl::MutexLock lock(&mu);
  if (HasRoom()) return failure;
  const absl::Duration began = SystemClock().MonotonicNow();
  mu.Await(absl::Condition(this, &Impl::HasRoom));
  metrics.room_waits.Observe(SystemClock().MonotonicNow() - began);
  return failure;
}

void Dio::Impl::Enqueue(Frame& frame) {
  absl::MutexLock lock(&mu);
  if (frame.ticket == 0) frame.ticket = queue.NewTicket();
  if (frame.writing) return;  // Land puts it into the queue
  if (!frame.queued) {
    frame.queued = true;
    table.Pin(frame);
    queue.Add(frame, frame.content.all_dirty());
  } else if (frame.content.all_dirty()) {
    queue.Promote(frame);
  }
}

void Dio::Impl::WriteUntilStopped() {
  for (;;) {
    {
      absl::MutexLock lock(&mu);
      mu.Await(absl::Condition(this, &Impl::HasWorkOrStops));
      if (stopping) return;
    }
    WriteSome();
    LetOthersRun();
  }
}

bool Dio::Impl::WriteSome() {
  std::vector<Frame*> frames;
  absl::Status outcome;
  {
    absl::MutexLock lock(&mu);
    frames = queue.Take(kBatchFrames, IsUrgent());
    outcome = failure;
  }
  std::vector<FrameContent::Flight> flights;
  std::vector<uint64_t> tickets;
  std::vector<WriteOp> ops;
  flights.reserve(frames.size());
  for (Frame* frame : frames) {
    absl::MutexLock lock(&frame->mu);
    frame->queued = false;
    frame->writing = true;
    tickets.push_back(std::exchange(frame->ticket, 0));
    flights.push_back(frame->content.TakeOff());
    AppendWrites(frame->base, flights.back(), &ops);
  }
  // After a failure nothing of this volume will be committed any more: do not wait for a dying
  // device.
  if (outcome.ok() && !ops.empty()) {
    for (size_t i = 0; i < frames.size(); ++i) CountWrite(frames[i]->base, flights[i]);
    metrics.writes.Add(ops.size());
    outcome = devices.WriteBatch(ops);
  }
  for (size_t i = 0; i < frames.size(); ++i) {
    flights[i].bytes.reset();
    Land(*frames[i], tickets[i], flights[i].units, outcome);
  }
  return !frames.empty();
}

void Dio::Impl::Land(Frame& frame, uint64_t ticket, UnitMask units, const absl::Status& outcome) {
  bool was_suspect = false;
  {
    absl::MutexLock frame_lock(&frame.mu);
    frame.writing = false;
    was_suspect = frame.content.suspect();
    frame.content.Landed(units);
    if (frame.content.dirty()) {
      absl::MutexLock lock(&mu);
      frame.queued = true;
      table.Pin(frame);
      queue.Add(frame, frame.content.all_dirty());
    }
  }
  absl::MutexLock lock(&mu);
  queue.Close(ticket);
  if (!outcome.ok()) {
    if (failure.ok()) {
      logger.Error("a queued write failed: nothing is queued until all is written again",
                   {{"error", outcome.ToString()}});
    }
    failure.Update(outcome);
  }
  if (was_suspect) {
    table.Unpin(frame);
  } else {
    unconfirmed.push_back(&frame);  // with the pin of the queue
    metrics.unconfirmed_bytes.Add(kPbufBytes);
  }
}

std::vector<Frame*> Dio::Impl::TakeUnconfirmed() {
  absl::MutexLock lock(&mu);
  H2_ASSERT(queue.ClosedUpTo(queue.last_ticket()));
  metrics.unconfirmed_bytes.Set(0);
  return std::exchange(unconfirmed, {});
}

void Dio::Impl::Confirm() {
  for (Frame* const frame : TakeUnconfirmed()) {
    bool forget = false;
    {
      absl::MutexLock lock(&frame->mu);
      frame->content.Confirmed();
      forget = frame->content.whole();
    }
    absl::MutexLock lock(&mu);
    if (forget) {
      table.UnpinAndForget(*frame);
    } else {
      table.Unpin(*frame);
    }
  }
}

void Dio::Impl::WriteAgain() {
  const std::vector<Frame*> frames = TakeUnconfirmed();
  {
    absl::MutexLock lock(&mu);
    failure = absl::OkStatus();
  }
  metrics.rewritten_bytes.Add(frames.size() * kPbufBytes);
  for (Frame* const frame : frames) {
    {
      absl::MutexLock lock(&frame->mu);
      frame->content.Redo();
      Enqueue(*frame);
    }
    absl::MutexLock lock(&mu);
    table.Unpin(*frame);
  }
}

void Dio::Impl::CountWrite(uint64_t base, const FrameContent::Flight& flight) {
  Metrics::Written& written = metrics.written[devices.DeviceAt(ByteOff(base))];
  const uint64_t bytes =
      flight.whole ? kPbufBytes : static_cast<uint64_t>(std::popcount(flight.units)) * kUnitBytes;
  if (base % kFreemapLeafSpan < kZoneSegBytes) {
    written.freemap.Add(bytes);
  } else {
    (flight.whole ? written.data : written.meta).Add(bytes);
  }
}

absl::Status Dio::Impl::Drain() {
  absl::MutexLock lock(&mu);
  const uint64_t last = queue.last_ticket();
  const auto closed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { return queue.ClosedUpTo(last); };
  const auto closed_or_work = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return queue.ClosedUpTo(last) || HasWork();
  };
  ++drains;
  if (options.writer_threads == 0) queue.Rewind();
  // This thread writes, too: for the few blocks of a small cycle it is done before a writer wakes.
  while (!closed()) {
    mu.Await(absl::Condition(&closed_or_work));
    if (!HasWork()) continue;
    mu.Unlock();
    WriteSome();
    mu.Lock();
  }
  --drains;
  return failure;
}

Dio::Dio(DeviceSet& devices, DioOptions options, Logger& logger) : devices_(devices) {
  for (size_t i = 0; i < devices.size(); ++i) metrics_.written.emplace_back();
  // Here and not in the list above: the writers count in metrics_, which is made after impl_.
  impl_ = std::make_unique<Impl>(devices, options, logger, metrics_);
}

Dio::~Dio() { impl_.reset(); }

absl::StatusOr<AlignedBuffer> Dio::ReadBlock(DataOff at) { return impl_->Read(at); }

absl::Status Dio::WriteBlock(DataOff at, std::shared_ptr<const AlignedBuffer> block,
                             bool fresh_units) {
  return impl_->Write(at, std::move(block), fresh_units);
}

absl::Status Dio::Drain() { return impl_->Drain(); }

void Dio::Confirm() { impl_->Confirm(); }

void Dio::WriteAgain() { impl_->WriteAgain(); }

absl::Status Dio::failure() const {
  absl::MutexLock lock(&impl_->mu);
  return impl_->failure;
}

void Dio::Describe(MetricVisitor& visitor) const {
  const auto counter = [&](absl::string_view name, absl::string_view help, const Counter& value,
                           const MetricLabels& labels = {}) {
    visitor.OnCounter(name, help, labels, static_cast<double>(value.value()));
  };
  for (size_t i = 0; i < devices_.size(); ++i) {
    const Metrics::Written& of = metrics_.written[i];
    const std::string& device = devices_.device(i).name();
    const auto written = [&](const char* kind, const Counter& bytes) {
      counter("h2bd_flush_device_write_bytes_total", "Bytes handed to a device, by what they are.",
              bytes, {{"device", device}, {"kind", kind}});
    };
    written("data", of.data);
    written("meta", of.meta);
    written("freemap", of.freemap);
  }
  visitor.OnHistogram("h2bd_backpressure_wait_seconds", "Time writers waited for a resource.",
                      {{"resource", "device_queue"}}, metrics_.room_waits);
  counter("h2bd_dio_writes_total", "Block writes handed to the devices.", metrics_.writes);
  counter("h2bd_dio_reads_total", "Reads handed to the devices.", metrics_.reads);
  counter("h2bd_dio_read_bytes_total", "Bytes read from the devices.", metrics_.read_bytes);
  counter("h2bd_dio_buffer_hits_total", "Block reads served by a 64 KiB buffer in memory.",
          metrics_.buffer_hits);
  counter("h2bd_dio_rewritten_bytes_total",
          "Bytes handed to the devices again after a failed write or barrier.",
          metrics_.rewritten_bytes);
  visitor.OnGauge("h2bd_dio_unconfirmed_bytes",
                  "Buffers that were written and that no barrier has covered.", {},
                  static_cast<double>(metrics_.unconfirmed_bytes.value()));
  visitor.OnGauge("h2bd_dio_queued_bytes", "Buffers that wait for the devices.", {},
                  static_cast<double>(metrics_.queued_bytes.value()));
}

}  // namespace h2bd
