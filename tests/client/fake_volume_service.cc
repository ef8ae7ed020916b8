#include "h2bd/v1/volume_service.grpc.pb.h"
#include "tests/client/fake_server_state.h"

namespace h2bd {
namespace {

class FakeVolumeService final : public v1::VolumeService::Service {
 public:
  explicit FakeVolumeService(FakeState* state) : s_(*state) {}

  grpc::Status GetVolume(grpc::ServerContext* context, const v1::GetVolumeRequest*,
                         v1::GetVolumeResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "GetVolume"); !status.ok()) return status;
    v1::Volume* volume = response->mutable_volume();
    volume->set_fsid("0a0b");
    volume->add_devices("disk.img");
    volume->set_total_bytes(8ull << 30);
    volume->mutable_space()->set_free_bytes(5ull << 30);
    volume->set_header_slots(4);
    volume->set_default_pfs("pfs/DATA");
    volume->mutable_failure()->set_code(grpc::StatusCode::UNAVAILABLE);
    volume->mutable_failure()->set_message("a barrier failed");
    return grpc::Status::OK;
  }
  grpc::Status ListFlushCycles(grpc::ServerContext* context,
                               const v1::ListFlushCyclesRequest* request,
                               v1::ListFlushCyclesResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListFlushCycles"); !status.ok()) return status;
    for (uint64_t number : {4, 5}) {
      if (request->limit() == 1 && number == 4) continue;
      v1::FlushCycle& cycle = *response->add_cycles();
      cycle.set_number(number);
      cycle.set_reason(v1::FLUSH_REASON_AGE);
      cycle.mutable_duration()->set_nanos(2'500'000);
      cycle.set_mirror_tid(17);
      v1::FlushPhase& phase = *cycle.add_phases();
      phase.set_name("cut");
      phase.mutable_duration()->set_nanos(1000);
    }
    response->mutable_cycles()->rbegin()->mutable_failure()->set_code(grpc::StatusCode::DATA_LOSS);
    return grpc::Status::OK;
  }
  grpc::Status ListPfs(grpc::ServerContext* context, const v1::ListPfsRequest*,
                       v1::ListPfsResponse* response) override {
    absl::MutexLock lock(&s_.mu);
    if (grpc::Status status = s_.Begin(context, "ListPfs"); !status.ok()) return status;
    response->add_pfs()->set_name("pfs/DATA");
    response->add_pfs()->set_name("pfs/LOCAL");
    return grpc::Status::OK;
  }

 private:
  FakeState& s_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeVolumeService(FakeState* state) {
  return std::make_unique<FakeVolumeService>(state);
}

}  // namespace h2bd
