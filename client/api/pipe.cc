#include "client/api/pipe.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace h2bd::client {
namespace {

constexpr char kChannelMethod[] = "/h2bd.v1.IoService/Channel";
// How often a quiet stream is looked at.
constexpr std::chrono::milliseconds kQuiet(500);
// Frames below it are sent together with the next one when there is one; larger ones fill packets
// by themselves.
constexpr uint64_t kCorkBytes = 16 * kKiB;

}  // namespace

Pipe::Pipe(std::shared_ptr<Connection> connection, std::string disk, const StreamWindow& window)
    : connection_(std::move(connection)),
      disk_(std::move(disk)),
      window_(window),
      stub_(connection_->channel),
      thread_([this] { Run(); }) {}

Pipe::~Pipe() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    const bool idle = open_operations_ == 0 && stream_ != nullptr && stream_->handle != 0;
    if (idle) {
      WriteNext();
    } else if (stream_ != nullptr) {
      stream_->context.TryCancel();
    }
  }
  thread_.join();
  events_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (events_.Next(&tag, &ok)) continue;
}

void Pipe::Submit(Op op) {
  absl::Status failed;
  {
    absl::MutexLock lock(&mu_);
    const auto may_go = [this, bytes = op.length]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return !failed_.ok() || open_operations_ == 0 ||
             (open_bytes_ + bytes <= window_.bytes && open_operations_ < window_.operations);
    };
    mu_.Await(absl::Condition(&may_go));
    failed = failed_;
    if (failed.ok()) {
      if (open_operations_ == 0) progress_ = connection_->options.env.clock->MonotonicNow();
      ++open_operations_;
      open_bytes_ += op.length;
      queue_.push_back({.op = std::move(op)});
      WriteNext();
      return;
    }
  }
  op.done(failed, {});
}

void Pipe::Drain() {
  absl::MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return open_operations_ == 0; };
  mu_.Await(absl::Condition(&idle));
}

absl::StatusOr<uint64_t> Pipe::DiskSize() {
  absl::MutexLock lock(&mu_);
  const auto known = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return disk_size_.has_value(); };
  mu_.Await(absl::Condition(&known));
  return *disk_size_;
}

void Pipe::Run() {
  Retrier retrier(connection_->options.retry, connection_->options.env, absl::InfiniteFuture());
  while (true) {
    const absl::Status status = RunStream();
    if (MayTryAgain(retrier, status)) continue;
    return Fail(status.ok() ? absl::CancelledError("given up by the client") : status);
  }
}

// Puts back what was not answered and waits, unless this was the end.
bool Pipe::MayTryAgain(Retrier& retrier, const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  while (!in_flight_.empty()) {
    const auto last = std::prev(in_flight_.end());
    queue_.push_front(std::move(last->second));
    in_flight_.erase(last);
  }
  if (std::exchange(progressed_, false)) retrier.Reset();
  if (closing_ || status.ok()) return false;
  const std::optional<absl::Duration> delay = retrier.NextDelay(status);
  if (!delay.has_value()) return false;
  return !mu_.AwaitWithTimeout(absl::Condition(&closing_), *delay);
}

// From the start of a stream to its end. OK when this side closed it.
absl::Status Pipe::RunStream() {
  Stream stream;
  {
    absl::MutexLock lock(&mu_);
    if (closing_) return absl::OkStatus();
    stream_ = &stream;
    progress_ = connection_->options.env.clock->MonotonicNow();
    stream.rpc = stub_.PrepareCall(&stream.context, kChannelMethod, &events_);
    stream.rpc->StartCall(reinterpret_cast<void*>(Event::kStarted));
    ++stream.events_due;
  }
  bool ended = false;
  while (!ended) {
    void* tag = nullptr;
    bool ok = false;
    const auto next = events_.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kQuiet);
    if (next == grpc::CompletionQueue::GOT_EVENT) {
      OnEvent(stream, static_cast<Event>(reinterpret_cast<intptr_t>(tag)), ok);
    }
    OnQuiet(stream);
    absl::MutexLock lock(&mu_);
    ended = stream.events_due == 0;
    if (ended) stream_ = nullptr;
  }
  if (!stream.error.ok()) return stream.error;
  if (stream.half_closed && stream.final_status.ok()) return absl::OkStatus();
  const absl::Status status = FromGrpc(stream.final_status);
  // A server that stops ends its streams with OK or CANCELLED: there is work left, so it is
  // missing.
  if (status.ok() || absl::IsCancelled(status)) {
    return absl::UnavailableError("the server ended the stream");
  }
  return status;
}

void Pipe::OnEvent(Stream& stream, Event event, bool ok) {
  if (event == Event::kRead && ok) {
    absl::StatusOr<ChannelAnswer> answer = DecodeAnswer(stream.read_buffer);
    if (answer.ok()) {
      OnAnswer(stream, *std::move(answer));
    } else {
      absl::MutexLock lock(&mu_);
      Abandon(stream, answer.status());
    }
  }
  absl::MutexLock lock(&mu_);
  --stream.events_due;
  switch (event) {
    case Event::kStarted:
      if (ok) {
        v1::ChannelRequest open;
        open.set_op(v1::CHANNEL_OP_OPEN);
        open.set_disk(disk_);
        open.set_id(stream.next_id++);
        WriteFrame(stream, open, {}, false);
      }
      [[fallthrough]];
    case Event::kRead:
      if (ok) {
        stream.rpc->Read(&stream.read_buffer, reinterpret_cast<void*>(Event::kRead));
      } else {
        stream.rpc->Finish(&stream.final_status, reinterpret_cast<void*>(Event::kFinished));
      }
      ++stream.events_due;
      break;
    case Event::kWritten:
      stream.writing = false;
      // Not ok: the stream has broken, and the read that is due says so.
      if (ok) WriteNext();
      break;
    case Event::kFinished:
      break;
  }
}

// Ends a stream on which nothing moves although something should.
void Pipe::OnQuiet(Stream& stream) {
  absl::MutexLock lock(&mu_);
  const absl::Duration quiet = connection_->options.env.clock->MonotonicNow() - progress_;
  const bool waiting = open_operations_ != 0 || stream.handle == 0;
  if (closing_ && quiet > absl::FromChrono(kQuiet)) {
    stream.context.TryCancel();
  } else if (waiting && stream.error.ok() && quiet > connection_->options.default_timeout) {
    Abandon(stream, absl::DeadlineExceededError(absl::StrCat("no answer from the server for ",
                                                             absl::FormatDuration(quiet))));
  }
}

void Pipe::OnAnswer(Stream& stream, ChannelAnswer answer) {
  std::vector<InFlight> done;
  {
    absl::MutexLock lock(&mu_);
    progress_ = connection_->options.env.clock->MonotonicNow();
    if (stream.handle == 0) return OnOpened(stream, answer);
    const auto last = in_flight_.find(answer.id);
    const auto first = in_flight_.lower_bound(answer.id - std::min(answer.cumulative, answer.id));
    if (last == in_flight_.end()) {
      return Abandon(stream, answer.status.ok()
                                 ? absl::InternalError("the server answered what was not asked")
                                 : answer.status);
    }
    if (IsRetryable(answer.status) &&
        ++last->second.attempts < connection_->options.retry.attempts_max) {
      Abandon(stream, answer.status);
      return;
    }
    progressed_ |= answer.status.ok();
    for (auto entry = first; entry != std::next(last); ++entry) {
      done.push_back(std::move(entry->second));
    }
    in_flight_.erase(first, std::next(last));
  }
  for (InFlight& entry : done) {
    const bool is_last = &entry == &done.back();
    if (entry.op.kind != v1::CHANNEL_OP_READ && answer.status.ok()) {
      connection_->restarts.Acknowledged(stream.instance, disk_, answer.seq);
    }
    Complete(std::move(entry), is_last ? answer.status : absl::OkStatus(),
             is_last ? std::move(answer.data) : AlignedBuffer());
  }
}

void Pipe::OnOpened(Stream& stream, const ChannelAnswer& answer) {
  if (!answer.status.ok()) return Abandon(stream, answer.status);
  if (answer.handle == 0) {
    return Abandon(stream, absl::InternalError("the server gave no handle for the disk"));
  }
  stream.instance = InstanceOf(stream.context);
  stream.handle = answer.handle;
  if (!disk_size_.has_value()) disk_size_ = answer.size_bytes;
  WriteNext();
}

void Pipe::Complete(InFlight entry, const absl::Status& status, AlignedBuffer bytes) {
  entry.op.done(status, std::move(bytes));
  absl::MutexLock lock(&mu_);
  --open_operations_;
  open_bytes_ -= entry.op.length;
}

// The end of the pipe, on its thread.
void Pipe::Fail(const absl::Status& status) {
  std::deque<InFlight> lost;
  {
    absl::MutexLock lock(&mu_);
    failed_ = status;
    if (!disk_size_.has_value()) disk_size_ = status;
    lost.swap(queue_);
  }
  for (InFlight& entry : lost) Complete(std::move(entry), status, {});
}

void Pipe::Abandon(Stream& stream, const absl::Status& why) {
  if (stream.error.ok()) stream.error = why;
  stream.context.TryCancel();
}

// Sends the next frame if it is time for one. The event kWritten brings the one after it.
void Pipe::WriteNext() {
  if (stream_ == nullptr) return;
  Stream& stream = *stream_;
  if (stream.handle == 0 || stream.writing || stream.half_closed || !stream.error.ok()) return;
  if (queue_.empty()) {
    if (!closing_ || open_operations_ != 0) return;
    stream.half_closed = stream.writing = true;
    ++stream.events_due;
    stream.rpc->WritesDone(reinterpret_cast<void*>(Event::kWritten));
    return;
  }
  const uint64_t id = stream.next_id++;
  InFlight& entry = in_flight_.emplace(id, std::move(queue_.front())).first->second;
  queue_.pop_front();
  v1::ChannelRequest request;
  request.set_id(id);
  request.set_op(entry.op.kind);
  request.set_handle(stream.handle);
  request.set_offset(entry.op.offset);
  if (entry.op.kind != v1::CHANNEL_OP_WRITE) request.set_length(entry.op.length);
  WriteFrame(stream, request, entry.op, !queue_.empty());
}

void Pipe::WriteFrame(Stream& stream, const v1::ChannelRequest& request, const Op& op, bool more) {
  grpc::WriteOptions options;
  const size_t bytes = op.data == nullptr ? 0 : op.length;
  if (more && bytes < kCorkBytes) options.set_buffer_hint();
  stream.writing = true;
  ++stream.events_due;
  stream.rpc->Write(EncodeFrame(request, op.owner, {op.data, bytes}), options,
                    reinterpret_cast<void*>(Event::kWritten));
}

}  // namespace h2bd::client
