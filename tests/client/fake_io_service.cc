#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/clock.h"
#include "core/base/random.h"
#include "h2bd/v1/io_service.grpc.pb.h"
#include "tests/client/fake_server_state.h"

namespace h2bd {
namespace {

class FakeIoService final : public v1::IoService::Service {
  using Stream = grpc::ServerReaderWriter<v1::ChannelResponse, v1::ChannelRequest>;

 public:
  explicit FakeIoService(FakeState* state) : s_(*state) {}

  grpc::Status Read(grpc::ServerContext* context, const v1::ReadRequest* request,
                    v1::ReadResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Read"); !status.ok()) return status;
    const auto disk = s_.disks.find(FakeState::Resolve(request->disk()));
    if (disk == s_.disks.end()) return {grpc::StatusCode::NOT_FOUND, "no such disk"};
    if (request->offset() + request->length() > disk->second.size()) {
      return {grpc::StatusCode::OUT_OF_RANGE, "beyond the end of the disk"};
    }
    response->set_data(disk->second.substr(request->offset(), request->length()));
    return grpc::Status::OK;
  }
  grpc::Status Write(grpc::ServerContext* context, const v1::WriteRequest* request,
                     v1::WriteResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Write"); !status.ok()) return status;
    return Change(*request, request->data(), response, "Write");
  }
  grpc::Status WriteZeroes(grpc::ServerContext* context, const v1::WriteZeroesRequest* request,
                           v1::WriteZeroesResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "WriteZeroes"); !status.ok()) return status;
    return Change(*request, std::string(request->length(), '\0'), response, "WriteZeroes");
  }
  grpc::Status Discard(grpc::ServerContext* context, const v1::DiscardRequest* request,
                       v1::DiscardResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Discard"); !status.ok()) return status;
    return Change(*request, std::string(request->length(), '\0'), response, "Discard");
  }
  grpc::Status Sync(grpc::ServerContext* context, const v1::SyncRequest*,
                    v1::SyncResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "Sync"); !status.ok()) return status;
    s_.durable = s_.disks;
    response->set_durable_seq(s_.seq);
    response->set_mirror_tid(100 + s_.seq);
    return s_.End("Sync");
  }
  grpc::Status Channel(grpc::ServerContext* context, Stream* stream) override {
    int frames = 0;
    int break_after = -1, unanswered = 0, cumulative = 1;
    std::optional<uint64_t> order_seed;
    {
      absl::MutexLock lock(&s_.mu);
      if (grpc::Status status = s_.Begin(context, "Channel"); !status.ok()) return status;
      break_after = std::exchange(s_.break_after, -1);
      unanswered = s_.break_unanswered;
      cumulative = s_.cumulative;
      order_seed = s_.order_seed;
    }
    if (order_seed.has_value()) return ShuffledChannel(*order_seed, stream);
    std::string disk;
    v1::ChannelRequest request;
    int held = 0;  // writes applied and not answered
    while (stream->Read(&request)) {
      v1::ChannelResponse response;
      {
        absl::MutexLock lock(&s_.mu);
        response = Answer(request, &disk);
      }
      ++frames;
      if (frames == break_after) return {grpc::StatusCode::UNAVAILABLE, "the stream broke"};
      if (break_after >= 0 && frames > break_after - unanswered) continue;
      const bool is_write = request.op() == v1::CHANNEL_OP_WRITE && response.code() == 0;
      if (is_write && held + 1 < cumulative) {
        ++held;
        continue;
      }
      if (is_write) response.set_cumulative(std::exchange(held, 0));
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  // Takes frames as they come; a second thread picks any of them, applies and answers it.
  grpc::Status ShuffledChannel(uint64_t seed, Stream* stream) {
    absl::Mutex mu;
    std::vector<v1::ChannelRequest> waiting;
    bool ended = false;
    std::thread worker([&] {
      SeededRandom random(seed);
      std::string disk;
      const auto ready = [&] { return ended || !waiting.empty(); };
      while (true) {
        // Lets more frames come in, so that there is a choice.
        absl::SleepFor(absl::Microseconds(50));
        v1::ChannelRequest request;
        {
          absl::MutexLock lock(&mu);
          mu.Await(absl::Condition(&ready));
          if (waiting.empty()) return;
          std::swap(waiting[random.Next64() % waiting.size()], waiting.back());
          request = std::move(waiting.back());
          waiting.pop_back();
        }
        v1::ChannelResponse response;
        {
          absl::MutexLock lock(&s_.mu);
          response = Answer(request, &disk);
        }
        stream->Write(response);
      }
    });
    v1::ChannelRequest request;
    while (stream->Read(&request)) {
      absl::MutexLock lock(&mu);
      waiting.push_back(request);
    }
    {
      absl::MutexLock lock(&mu);
      ended = true;
    }
    worker.join();
    return grpc::Status::OK;
  }

  template <class Request, class Response>
  grpc::Status Change(const Request& request, const std::string& bytes, Response* response,
                      const std::string& method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    if (!request.transaction().empty()) {
      const auto found = s_.transactions.find(request.transaction());
      if (found == s_.transactions.end()) {
        return {grpc::StatusCode::NOT_FOUND, "no such transaction"};
      }
      found->second.writes.push_back({request.disk(), request.offset(), bytes});
      return s_.End(method);
    }
    const grpc::Status status = s_.Apply(request.disk(), request.offset(), bytes);
    if (!status.ok()) return status;
    if (request.durability() == v1::DURABILITY_DURABLE) s_.durable = s_.disks;
    response->set_seq(s_.seq);
    return s_.End(method);
  }

  v1::ChannelResponse Answer(const v1::ChannelRequest& request, std::string* disk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(s_.mu) {
    v1::ChannelRequest frame = request;
    frame.clear_data();
    s_.frames.push_back(frame);
    v1::ChannelResponse response;
    response.set_id(request.id());
    if (request.op() == v1::CHANNEL_OP_OPEN) {
      *disk = FakeState::Resolve(request.disk());
      if (!s_.disks.contains(*disk))
        return Refuse(response, {grpc::StatusCode::NOT_FOUND, "no such disk"}, "");
      response.set_handle(5);
      response.set_size_bytes(s_.disks[*disk].size());
      return response;
    }
    FakeFrameFault& fault = s_.frame_faults[request.offset()];
    if (fault.times > 0) {
      --fault.times;
      return Refuse(response, fault.status, fault.reason);
    }
    if (request.op() == v1::CHANNEL_OP_READ) {
      response.set_data(s_.disks[*disk].substr(request.offset(), request.length()));
      return response;
    }
    const std::string bytes =
        request.op() == v1::CHANNEL_OP_WRITE ? request.data() : std::string(request.length(), '\0');
    const grpc::Status status = s_.Apply(*disk, request.offset(), bytes);
    if (!status.ok()) return Refuse(response, status, "");
    response.set_seq(s_.seq);
    return response;
  }

  static v1::ChannelResponse Refuse(v1::ChannelResponse response, const grpc::Status& status,
                                    const std::string& reason) {
    response.set_code(status.error_code());
    response.set_message(status.error_message());
    response.set_reason(reason);
    return response;
  }

  FakeState& s_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeIoService(FakeState* state) {
  return std::make_unique<FakeIoService>(state);
}

}  // namespace h2bd
