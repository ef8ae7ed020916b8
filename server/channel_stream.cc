#include "server/channel_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/channel_server.h"
#include "server/resource_names.h"
#include "server/status_map.h"

namespace h2bd {
namespace {

Method MethodOf(int op) {
  switch (op) {
    case v1::CHANNEL_OP_OPEN:
      return Method::kChannelOpen;
    case v1::CHANNEL_OP_CLOSE:
      return Method::kChannelClose;
    case v1::CHANNEL_OP_READ:
      return Method::kChannelRead;
    case v1::CHANNEL_OP_WRITE:
      return Method::kChannelWrite;
    case v1::CHANNEL_OP_WRITE_ZEROES:
      return Method::kChannelWriteZeroes;
    case v1::CHANNEL_OP_DISCARD:
      return Method::kChannelDiscard;
    case v1::CHANNEL_OP_SYNC:
      return Method::kChannelSync;
    default:
      return Method::kChannelBadFrame;
  }
}

}  // namespace

void ChannelStream::Accept(ChannelServer& server, grpc::ServerCompletionQueue& queue) {
  auto stream = std::make_shared<ChannelStream>(server, queue);
  stream->self_ = stream;
  server.Add(stream.get());
  stream->context_.AsyncNotifyWhenDone(&stream->on_done_);
  server.service().RequestChannel(&stream->context_, &stream->io_, &queue, &queue,
                                  &stream->on_call_);
}

ChannelStream::ChannelStream(ChannelServer& server, grpc::ServerCompletionQueue& queue)
    : server_(server), env_(server.env()), queue_(queue) {}

ChannelStream::~ChannelStream() { server_.Remove(this); }

// --- events
// --------------------------------------------------------------------------------------------------

void ChannelStream::OnCall(bool ok) {
  if (!ok) {
    // The server stops. No call, so OnDone will not come either.
    self_.reset();
    return;
  }
  Accept(server_, queue_);
  context_.AddInitialMetadata(kInstanceKey, env_.instance);
  const absl::Status admission = env_.gate.EnterChannel();
  admitted_ = admission.ok();
  deadline_ = DeadlineOf(context_);
  if (admitted_) {
    env_.metrics.channels.Add(1);
  } else {
    env_.metrics.refused_calls.Add();
  }
  absl::MutexLock lock(&mu_);
  started_ = true;
  if (admitted_) {
    ReadMore();
    FinishIfDrained();  // Drain may have come before the call
    return;
  }
  finishing_ = true;
  io_.Finish(ToGrpcStatus(admission), &on_finished_);
}

void ChannelStream::OnRead(bool ok) {
  if (!ok) {
    {
      absl::MutexLock lock(&mu_);
      reading_ = false;
      read_closed_ = true;
      FinishIfDrained();
    }
    return EndIfOver();
  }
  const uint64_t message_bytes = incoming_.Length();
  bool late = false;
  {
    absl::MutexLock lock(&mu_);
    // The stream has been finished since this frame was asked for: it is not carried out, nor could
    // it be answered.
    late = finishing_;
    reading_ = !late;
    if (!late) {
      ++ops_;
      bytes_ += message_bytes;
    }
  }
  if (late) return EndIfOver();
  ChannelFrame frame;
  const absl::Status decoded = DecodeChannelRequest(incoming_, frame);
  const Method method = decoded.ok() ? MethodOf(frame.op) : Method::kChannelBadFrame;
  const uint64_t reply_bytes =
      method == Method::kChannelRead ? std::min(frame.length, MaxIoBytes(env_.limits)) : 0;
  Op op{frame.id, RpcScope(env_.metrics.of(method), env_.clock), message_bytes + reply_bytes};
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    bytes_ += reply_bytes;
    ReadMore();
  }
  if (!decoded.ok()) return Fail(std::move(op), decoded);
  Carry(std::move(frame), std::move(op));
}

void ChannelStream::OnWritten(bool ok) {
  grpc::ByteBuffer message;
  grpc::WriteOptions options;
  bool more = false;
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    ops_ -= std::exchange(written_ops_, 0);
    bytes_ -= std::exchange(written_bytes_, 0);
    if (!ok) broken_ = true;
    if (broken_) DropAnswers();
    more = !answers_.empty();
    if (more) message = TakeAnswers(&options);
    ReadMore();
    FinishIfDrained();
  }
  if (more) return io_.Write(message, options, &on_written_);
  EndIfOver();
}

void ChannelStream::OnFinished(bool) {
  {
    absl::MutexLock lock(&mu_);
    finished_ = true;
  }
  EndIfOver();
}

void ChannelStream::OnDone(bool) {
  if (context_.IsCancelled()) cancelled_.store(true, std::memory_order_relaxed);
  {
    absl::MutexLock lock(&mu_);
    done_ = true;
    if (cancelled()) {
      broken_ = true;
      if (!writing_) DropAnswers();
      FinishIfDrained();
    }
  }
  EndIfOver();
}

void ChannelStream::Drain() {
  absl::MutexLock lock(&mu_);
  draining_ = true;
  FinishIfDrained();
}

void ChannelStream::EndIfOver() {
  {
    absl::MutexLock lock(&mu_);
    if (ended_ || !done_ || !finished_ || reading_ || writing_ || ops_ != 0) return;
    ended_ = true;
    handles_.clear();
  }
  if (admitted_) {
    env_.metrics.channels.Add(-1);
    env_.gate.LeaveChannel();
  }
  self_.reset();
}

// --- flow
// ----------------------------------------------------------------------------------------------------

void ChannelStream::ReadMore() {
  if (reading_ || read_closed_ || draining_ || finishing_ || broken_) return;
  // An operation larger than the window passes when it is alone.
  if (ops_ > 0 &&
      (bytes_ >= env_.limits.stream_window_bytes || ops_ >= env_.limits.stream_window_ops)) {
    return;
  }
  reading_ = true;
  io_.Read(&incoming_, &on_read_);
}

void ChannelStream::FinishIfDrained() {
  if (!started_ || finishing_ || ops_ != 0 || writing_) return;
  if (!read_closed_ && !draining_ && !broken_) return;
  finishing_ = true;
  const bool refused = draining_ && !read_closed_;
  io_.Finish(refused ? ToGrpcStatus(ShuttingDownError()) : grpc::Status::OK, &on_finished_);
}

void ChannelStream::DropAnswers() {
  for (const QueuedAnswer& queued : answers_) {
    ops_ -= 1;
    bytes_ -= queued.charge;
  }
  answers_.clear();
}

grpc::ByteBuffer ChannelStream::TakeAnswers(grpc::WriteOptions* options) {
  QueuedAnswer next = std::move(answers_.front());
  answers_.pop_front();
  written_ops_ = 1;
  written_bytes_ = next.charge;
  while (next.plain && !answers_.empty() && answers_.front().plain &&
         answers_.front().answer.id == next.answer.id + 1) {
    next.answer.id += 1;
    next.answer.cumulative += 1;
    next.answer.seq = std::max(next.answer.seq, answers_.front().answer.seq);
    written_ops_ += 1;
    written_bytes_ += answers_.front().charge;
    answers_.pop_front();
  }
  env_.metrics.cumulative_answers.Add(next.answer.cumulative);
  // More follows at once, so the transport need not send yet.
  if (!answers_.empty()) options->set_buffer_hint();
  writing_ = true;
  return EncodeChannelResponse(next.answer);
}

void ChannelStream::Answer(Op op, ChannelAnswer answer, bool plain) {
  op.scope.Finish(answer.status);
  answer.id = op.id;
  if (answer.data.has_value()) env_.metrics.sent_payload_bytes.Add(answer.data->size());
  // When this was the last operation of a dead stream, the queue's thread may end it at once.
  const std::shared_ptr<ChannelStream> self = shared_from_this();
  grpc::ByteBuffer message;
  grpc::WriteOptions options;
  bool write = false;
  {
    absl::MutexLock lock(&mu_);
    answers_.push_back({std::move(answer), op.charge, plain});
    if (broken_ && !writing_) DropAnswers();
    write = !writing_ && !answers_.empty();
    if (write) message = TakeAnswers(&options);
    FinishIfDrained();
  }
  if (write) return io_.Write(message, options, &on_written_);
  EndIfOver();
}

void ChannelStream::Fail(Op op, const absl::Status& status) {
  Answer(std::move(op), {.status = status}, /*plain=*/false);
}

}  // namespace h2bd
