// One pipelined IoService.Channel stream on one disk, which survives broken connections. Not for
// users of the library, who have DiskWriter and DiskReader (stream.h).
//
// Callers queue operations; at most one frame is being written at a time, by whoever finds none
// being written. The pipe's thread waits for events of the stream: frames written, answers, the
// end. When the stream breaks with kUnavailable, the unanswered operations go back to the head of
// the queue in their order, and the thread opens the next stream.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "client/api/connection.h"
#include "client/api/stream.h"
#include "client/api/wire.h"
#include "core/base/bytes.h"

namespace h2bd::client {

// Thread-safe.
class Pipe {
 public:
  // Runs once, with no lock held; must not wait. On the pipe's thread, or within Submit when the
  // pipe has ended with an error. `bytes` is the answer to a read.
  using Done = absl::AnyInvocable<void(const absl::Status& status, AlignedBuffer bytes)>;

  struct Op {
    v1::ChannelOp kind = v1::CHANNEL_OP_UNSPECIFIED;
    uint64_t offset = 0;
    uint64_t length = 0;  // of reads and WriteZeroes; of what counts in the window
    SharedBytes owner;    // of a write's bytes
    const std::byte* data = nullptr;
    Done done;
  };

  Pipe(std::shared_ptr<Connection> connection, std::string disk, const StreamWindow& window);
  // Gives up what is not answered: its Done gets kCancelled.
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  // Waits until the window has room, then queues.
  void Submit(Op op);
  // Waits until everything is answered.
  void Drain();
  // The size of the disk when it was opened. Waits for the answer to that.
  absl::StatusOr<uint64_t> DiskSize();

 private:
  struct InFlight {
    Op op;
    int attempts = 0;  // answered kUnavailable so many times
  };
  // One stream from its start to its end. Pointers to it are valid while it is streams_.
  struct Stream {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> rpc;
    grpc::ByteBuffer read_buffer;
    grpc::Status final_status;
    std::string instance;
    int events_due = 0;    // completions that the queue still owes
    bool writing = false;  // a frame is being written
    bool half_closed = false;
    uint32_t handle = 0;  // 0: not open yet
    uint64_t next_id = 1;
    absl::Status error;  // why this side gave the stream up
  };
  enum class Event : intptr_t { kStarted = 1, kWritten, kRead, kFinished };

  void Run();
  bool MayTryAgain(Retrier& retrier, const absl::Status& status);
  absl::Status RunStream();
  void OnEvent(Stream& stream, Event event, bool ok);
  void OnQuiet(Stream& stream);
  void OnAnswer(Stream& stream, ChannelAnswer answer);
  void OnOpened(Stream& stream, const ChannelAnswer& answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Complete(InFlight entry, const absl::Status& status, AlignedBuffer bytes);
  void Fail(const absl::Status& status);
  void Abandon(Stream& stream, const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WriteFrame(Stream& stream, const v1::ChannelRequest& request, const Op& op, bool more)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<Connection> connection_;
  const std::string disk_;
  const StreamWindow window_;
  grpc::CompletionQueue events_;
  grpc::GenericStub stub_;

  mutable absl::Mutex mu_;
  std::deque<InFlight> queue_ ABSL_GUARDED_BY(mu_);              // not sent on this stream
  std::map<uint64_t, InFlight> in_flight_ ABSL_GUARDED_BY(mu_);  // sent; by id
  uint64_t open_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of both, and of those whose Done runs
  uint32_t open_operations_ ABSL_GUARDED_BY(mu_) = 0;
  Stream* stream_ ABSL_GUARDED_BY(mu_) = nullptr;
  absl::Duration progress_
      ABSL_GUARDED_BY(mu_);  // monotonic time of the last answer, or when waiting began
  std::optional<absl::StatusOr<uint64_t>> disk_size_ ABSL_GUARDED_BY(mu_);
  absl::Status failed_ ABSL_GUARDED_BY(mu_);  // not OK: the pipe has ended
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool progressed_ ABSL_GUARDED_BY(mu_) = false;  // an operation succeeded since the last break

  std::thread thread_;  // runs Run
};

}  // namespace h2bd::client
