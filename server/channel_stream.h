// One IoService.Channel stream on a completion queue.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "server/channel_frame.h"
#include "server/io_ops.h"
#include "server/io_service.h"

namespace h2bd {

class ChannelServer;

//   waiting ──call──> reading ──half-close, Drain, error──> draining ──all answered──> finishing
//   ──> gone
//
// reading:    frames are taken while what is in flight is below the window.
// draining:   no frame is taken any more; what is in flight is carried out and answered.
// finishing:  the status is on its way; nothing is in flight.
//
// The queue's only thread runs the On* steps; it never waits. Work that may wait runs on the pools
// of ServiceEnv, and whoever finishes an operation also starts the write of its answer, if none is
// running. The stream lives until gRPC has given back every event it was asked for and no operation
// is in flight.
class ChannelStream : public std::enable_shared_from_this<ChannelStream> {
 public:
  static constexpr size_t kMaxHandles = 1024;

  // One event of a completion queue: which step of which stream it is.
  struct Event {
    ChannelStream* stream;
    void (ChannelStream::*step)(bool ok);
    // Any thread that answers the last operation may let the stream go, so it is held until the
    // step is over.
    void Run(bool ok) {
      const std::shared_ptr<ChannelStream> self = stream->shared_from_this();
      (self.get()->*step)(ok);
    }
  };

  // Waits for a new call on `queue`; it is followed by another wait, so one call keeps the queue
  // accepting.
  static void Accept(ChannelServer& server, grpc::ServerCompletionQueue& queue);
  ChannelStream(ChannelServer& server, grpc::ServerCompletionQueue& queue);
  ~ChannelStream();

  // Takes no more frames; ends with SHUTTING_DOWN when what is in flight is answered. Any thread.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // An operation that was taken and is not answered yet.
  struct Op {
    uint64_t id = 0;
    RpcScope scope;
    uint64_t charge = 0;  // bytes of the window
  };
  struct QueuedAnswer {
    ChannelAnswer answer;
    uint64_t charge = 0;
    bool plain = false;  // OK without content: may go along with the one that follows
  };

  void OnCall(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void OnRead(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void OnWritten(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void OnFinished(bool ok) ABSL_LOCKS_EXCLUDED(mu_);
  void OnDone(bool ok) ABSL_LOCKS_EXCLUDED(mu_);  // the call is over, perhaps by cancellation

  void Carry(ChannelFrame frame, Op op);
  void Open(const ChannelFrame& frame, Op op);
  void Close(const ChannelFrame& frame, Op op) ABSL_LOCKS_EXCLUDED(mu_);
  void Read(ChannelFrame frame, Op op);
  void Write(ChannelFrame frame, Op op);
  void ChangeOnWorker(ChannelFrame frame, Change change, Op op);
  void Sync(const ChannelFrame& frame, Op op);
  // After a change: answers, or asks for durability first.
  void Changed(Op op, int durability, const DiskId& disk, const absl::StatusOr<OpSeq>& seq);
  absl::StatusOr<DiskRef> DiskOf(uint64_t handle) ABSL_LOCKS_EXCLUDED(mu_);
  // The change that a frame asks for; `change.pieces` points into the frame.
  absl::StatusOr<Change> ChangeOf(const ChannelFrame& frame);

  void Fail(Op op, const absl::Status& status);
  void Answer(Op op, ChannelAnswer answer, bool plain) ABSL_LOCKS_EXCLUDED(mu_);
  // The next message, with as many plain answers in one frame as go together; sets writing_.
  grpc::ByteBuffer TakeAnswers(grpc::WriteOptions* options) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishIfDrained() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropAnswers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Lets the stream go when nothing refers to it any more.
  void EndIfOver() ABSL_LOCKS_EXCLUDED(mu_);
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  ChannelServer& server_;
  ServiceEnv& env_;
  grpc::ServerCompletionQueue& queue_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> io_{&context_};
  Event on_call_{this, &ChannelStream::OnCall};
  Event on_read_{this, &ChannelStream::OnRead};
  Event on_written_{this, &ChannelStream::OnWritten};
  Event on_finished_{this, &ChannelStream::OnFinished};
  Event on_done_{this, &ChannelStream::OnDone};
  absl::Time deadline_ = absl::InfiniteFuture();
  grpc::ByteBuffer incoming_;  // the queue's thread, gRPC's between Read and OnRead
  std::atomic<bool> cancelled_{false};
  bool admitted_ = false;
  std::shared_ptr<ChannelStream> self_;  // while gRPC may still give events

  absl::Mutex mu_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;  // there is a call
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool read_closed_ ABSL_GUARDED_BY(mu_) = false;  // half-closed by the client, or broken
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;  // answers cannot be sent any more
  uint64_t ops_ ABSL_GUARDED_BY(mu_) = 0;     // in flight, until the answer is written
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t written_ops_ ABSL_GUARDED_BY(mu_) = 0;  // in the write that is running
  uint64_t written_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<QueuedAnswer> answers_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint32_t, DiskRef> handles_ ABSL_GUARDED_BY(mu_);
  uint32_t next_handle_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace h2bd
