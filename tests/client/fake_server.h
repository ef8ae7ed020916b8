// An h2bd server in this process with disks in memory, which can be told to fail, to lose answers
// and to restart.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "h2bd/v1/io_service.pb.h"

namespace h2bd {

struct FakeState;

// Thread-safe.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string address() const { return address_; }

  void AddDisk(const std::string& path, uint64_t size_bytes);
  // What reads see, and what a restart would leave.
  std::string Content(const std::string& path);
  std::string DurableContent(const std::string& path);

  // The next `times` calls of `method` ("Write", "Sync", "CommitTransaction", …) fail before they
  // do anything.
  void FailNext(const std::string& method, int times, grpc::Status status);
  // The next call of `method` takes effect, and its answer is lost: UNAVAILABLE.
  void LoseNextAnswer(const std::string& method);
  // A stream breaks with UNAVAILABLE when it has applied so many frames and answered none of the
  // last `unanswered`.
  void BreakNextChannel(int frames, int unanswered);
  // Frames at this offset are answered so, `times` times.
  void FailFramesAt(uint64_t offset, int times, grpc::Status status, const std::string& reason);
  // Writes are answered in one frame for each `count` of them; a test sends a multiple of that
  // many.
  void AnswerCumulatively(int count);
  // Channels apply and answer what is in flight in any order, drawn from `seed`.
  void ApplyInAnyOrder(uint64_t seed);
  // As after kill -9 and a new start: unsynced writes and all transactions are gone.
  void Restart();
  // Whether answers carry the instance of the server.
  void SendInstance(bool yes);

  int calls(const std::string& method);
  std::vector<std::string> request_ids();  // of all mutations, in their order
  std::vector<v1::ChannelRequest>
  frames();  // of all channels, data cleared, in the order of arrival

 private:
  std::unique_ptr<FakeState> state_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

// An error as the server sends it: with a google.rpc.ErrorInfo.
grpc::Status ErrorWithReason(grpc::StatusCode code, const std::string& message,
                             const std::string& reason);

}  // namespace h2bd
